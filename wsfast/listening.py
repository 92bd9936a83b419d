"""Listening sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence

__all__ = ["listening_sockets", "unix_socket"]


def listening_sockets(
    host: str | Sequence[str] | None, port: int, backlog: int, reuse_port: bool
) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``: one, several, or None for all.

    Raises:
        OSError: an address cannot be listened on. The text names it.
    """
    hosts = [host] if host is None or isinstance(host, str) else list(host)
    addresses = dict.fromkeys(
        info
        for name in hosts
        for info in socket.getaddrinfo(
            name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in addresses:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT and len(addresses) > 1:
                    continue  # a system without IPv6
                raise
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # Each family has a socket of its own.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bind(sock, address)
            sock.listen(backlog)
            sock.setblocking(False)
            if port == 0 and host is None:
                port = sock.getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bind(sock: socket.socket, address: object) -> None:
    """Bind, with the address in the error."""
    try:
        sock.bind(address)  # type: ignore[arg-type]
    except OSError as error:
        text = f"cannot listen on {address!r}: {os.strerror(error.errno or 0).lower()}"
        raise OSError(error.errno, text) from None


def unix_socket(path: str, backlog: int) -> socket.socket:
    """A Unix socket that listens on ``path``. A socket left there by another process is removed."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bind(sock, path)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
