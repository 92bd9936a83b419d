"""Connecting to a host that may have several addresses ("happy eyeballs", RFC 8305), on any loop.

uvloop has no such thing. asyncio has, but tells several errors in one without a number, and may
lose a socket when it is cancelled.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

__all__ = ["open_socket", "open_unix_socket"]

# RFC 8305 section 5: how long an attempt is alone before the next address is tried, in seconds.
ATTEMPT_DELAY = 0.25

AddressInfo = tuple[Any, Any, int, str, Any]


async def open_socket(
    loop: asyncio.AbstractEventLoop, host: str, port: int, local_address: tuple[str, int] | None
) -> socket.socket:
    """A socket that is connected to the first of the host's addresses that answers.

    Raises:
        OSError: the host has no address, or none answers. This is the error of the first, with
            those of the others as notes.
    """
    addresses = alternate(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    local: list[AddressInfo] = []
    if local_address is not None:
        local = await loop.getaddrinfo(*local_address, type=socket.SOCK_STREAM)
    if len(addresses) == 1:
        return await attempt(loop, addresses[0], local)
    return await race(loop, addresses, local)


def alternate(addresses: list[AddressInfo]) -> list[AddressInfo]:
    """Let the families take turns, beginning with the preferred one (RFC 8305 section 4)."""
    by_family: dict[Any, list[AddressInfo]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*by_family.values())
    return [address for turn in rounds for address in turn if address is not None]


async def race(
    loop: asyncio.AbstractEventLoop, addresses: list[AddressInfo], local: list[AddressInfo]
) -> socket.socket:
    """Try one address after the other, the next when the last fails or takes long."""
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    waiting = list(reversed(addresses))
    try:
        while True:
            if waiting:
                running.add(loop.create_task(attempt(loop, waiting.pop(), local)))
            if not running:
                for error in errors[1:]:
                    errors[0].add_note(str(error))
                raise errors[0]
            done, running = await asyncio.wait(
                running,
                timeout=ATTEMPT_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            while done:
                task = done.pop()
                failure = task.exception()
                if failure is None:
                    running |= done
                    return task.result()
                errors.append(failure)
    finally:
        for task in running:
            task.add_done_callback(close_loser)
            task.cancel()


def close_loser(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that another was faster than."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def attempt(
    loop: asyncio.AbstractEventLoop, address: AddressInfo, local: list[AddressInfo]
) -> socket.socket:
    """Connect to one address."""
    family, kind, proto, _, name = address
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local:
            bind(sock, local)
        await loop.sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock


def bind(sock: socket.socket, local: list[AddressInfo]) -> None:
    """Bind to the first of our addresses that is of the same family."""
    for family, _, _, _, name in local:
        if family == sock.family:
            sock.bind(name)
            return
    raise OSError(f"no local address of the family {sock.family.name}")


async def open_unix_socket(loop: asyncio.AbstractEventLoop, path: str) -> socket.socket:
    """A socket that is connected to a Unix socket.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock
