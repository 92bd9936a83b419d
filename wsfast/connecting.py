"""Connected sockets, by happy eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import itertools
import socket

__all__ = ["connect_socket", "connect_unix_socket"]

# How long one address is tried before the next is tried beside it, in seconds.
ATTEMPT_DELAY = 0.25

Address = tuple[int, int, int, str, tuple[object, ...]]


async def connect_socket(
    host: str, port: int, local_address: tuple[str, int] | None = None
) -> socket.socket:
    """A socket connected to the first address of ``host`` that answers.

    Raises:
        OSError: the name is unknown, or no address answers; the error of the first.
    """
    loop = asyncio.get_running_loop()
    addresses = await resolve(loop, host, port)
    local = None if local_address is None else await resolve(loop, *local_address)
    attempts: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        while addresses or attempts:
            if addresses:
                attempt = connect_address(loop, addresses.pop(0), local)
                attempts.add(loop.create_task(attempt))
            done, attempts = await asyncio.wait(
                attempts,
                timeout=ATTEMPT_DELAY if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    attempts |= done - {task}
                    return task.result()
                errors.append(error)
        raise errors[0]
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(close_loser)


def close_loser(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Address]:
    """The addresses of a host, the families taking turns (RFC 8305 section 4)."""
    try:
        # An address needs no thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[Address]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*families.values())
    return [info for group in rounds for info in group if info is not None]


async def connect_address(
    loop: asyncio.AbstractEventLoop, info: Address, local: list[Address] | None
) -> socket.socket:
    """A socket connected to one address."""
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if local is not None:
            sock.bind(next(info[4] for info in local if info[0] == family))
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_unix_socket(path: str) -> socket.socket:
    """A socket connected to a Unix socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock
