"""The way to a server through a proxy: HTTP CONNECT over TCP or TLS, and SOCKS.

From a socket nothing is read that does not belong to the proxy's answer, because what comes behind
it is the server's. So it is a socket like any other, and the drivers need not know of the tunnel.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from .adopting import EarlyProtocol, open_tls
from .dial import open_socket
from .exceptions import InvalidHandshake, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from .protocol.handshake import USER_AGENT
from .protocol.headers import Headers, build_authorization_basic
from .protocol.http import Request, ResponseReader
from .proxy import check_proxy_ssl
from .tls import default_context

if TYPE_CHECKING:
    import ssl

    from .proxy import Proxy

__all__ = ["open_through"]

# python-socks has a timeout of its own, in seconds; ours is around it.
SOCKS_TIMEOUT = 10**6

BODY_CHUNK = 64 * 1024
BLANK_LINE = b"\r\n\r\n"


async def open_through(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    host: str,
    port: int,
    *,
    proxy_ssl: ssl.SSLContext | None = None,
    local_address: tuple[str, int] | None = None,
    user_agent: str | None = USER_AGENT,
    ssl_shutdown_timeout: float | None = None,
) -> socket.socket | asyncio.Transport:
    """Open the way to a server through a proxy.

    It has no timeout of its own: put one around it. When it is cancelled, or fails, nothing is left
    open. The caller owns what it returns, and starts TLS with the server on it for wss:.

    Args:
        loop: the running loop.
        proxy: the proxy.
        host, port: the server. With "socks4a", "socks5h", "http" and "https" the proxy resolves
            the name, otherwise this side does.
        proxy_ssl: for TLS with an "https" proxy; by default a context that trusts the system's
            authorities.
        local_address: (host, port) to connect to the proxy from.
        user_agent: the User-Agent header of CONNECT; None for none.
        ssl_shutdown_timeout: how long the TLS of an "https" proxy may take to end, in seconds;
            None for the loop's default.

    Returns:
        With an "https" proxy an asyncio transport that is paused, for `wsfast.adopting.adopt`. With
        all others a non-blocking connected socket, of which nothing was read that is the server's.

    Raises:
        OSError: the proxy cannot be reached, or the connection to it breaks.
        ProxyError: the proxy does not open the way. An ``InvalidProxyStatus`` if it says so in
            HTTP, an ``InvalidProxyMessage`` if it does not speak HTTP.
        ImportError: the proxy is one for SOCKS, and python-socks is not installed.
        ValueError: ``proxy_ssl`` is given for a proxy without TLS, or the host is not valid.
    """
    check_proxy_ssl(proxy, proxy_ssl)
    if proxy.scheme.startswith("socks"):
        return await open_socks(loop, proxy, host, port, local_address)
    request = connect_request(proxy, host, port, user_agent)
    sock = await open_socket(loop, proxy.host, proxy.port, local_address)
    try:
        if proxy.scheme == "http":
            await connect_over_socket(loop, sock, request)
            return sock
        return await connect_over_tls(
            loop,
            sock,
            request,
            proxy_ssl or default_context(),
            proxy.host.removesuffix("."),
            ssl_shutdown_timeout,
        )
    except BaseException:
        sock.close()
        raise


# --- HTTP CONNECT, RFC 9110 section 9.3.6 -----------------------------------------------------


def connect_request(proxy: Proxy, host: str, port: int, user_agent: str | None) -> bytes:
    """The request for a tunnel to a server."""
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    # RFC 9112 sections 3.2 and 3.2.3: the port is never left out, and Host is the same.
    authority = f"{name}:{port}"
    headers = Headers({"Host": authority})
    if user_agent is not None:
        headers["User-Agent"] = user_agent
    if proxy.user_info is not None:
        headers["Proxy-Authorization"] = build_authorization_basic(*proxy.user_info)
    return Request(authority, headers, "CONNECT").serialize()


class ConnectAnswer:
    """Collects the answer to CONNECT."""

    __slots__ = ("_reader", "_tail")

    def __init__(self) -> None:
        self._reader = ResponseReader(tunnel=True)
        self._tail = b""

    @property
    def wanted(self) -> int:
        """How many bytes can be read without one that stands behind the answer."""
        if self._reader.in_body:
            return BODY_CHUNK  # of a refusal, behind which nothing follows
        for size in 3, 2, 1:
            if self._tail.endswith(BLANK_LINE[:size]):
                return 4 - size
        return 4

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes, of which there are none at the end of the connection.

        Returns:
            None while the answer is incomplete; when the tunnel is open, what came through it.

        Raises:
            InvalidProxyStatus, InvalidProxyMessage: it is not, and will not be.
        """
        self._tail = (self._tail + data)[-3:]
        try:
            result = self._reader.feed(data) if data else (self._reader.eof(), b"")
        except InvalidHandshake as error:
            raise InvalidProxyMessage("did not receive a valid HTTP response from proxy") from error
        if result is None:
            return None
        response, rest = result
        if response.status_code // 100 != 2:
            raise InvalidProxyStatus(response)
        return rest


async def connect_over_socket(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, request: bytes
) -> None:
    await loop.sock_sendall(sock, request)
    answer = ConnectAnswer()
    while answer.feed(await loop.sock_recv(sock, answer.wanted)) is None:
        pass


async def connect_over_tls(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    request: bytes,
    context: ssl.SSLContext,
    server_hostname: str,
    ssl_shutdown_timeout: float | None,
) -> asyncio.Transport:
    protocol = ConnectProtocol(loop)
    transport: asyncio.Transport = await open_tls(
        loop, sock, protocol, context, server_hostname, ssl_shutdown_timeout
    )
    try:
        transport.write(request)
        await protocol.open
    except BaseException:
        transport.abort()
        raise
    return transport


class ConnectProtocol(asyncio.Protocol):
    """Reads the answer to CONNECT, and then pauses the transport, which `adopt` takes."""

    # Not a BufferedProtocol with a buffer of `wanted` bytes: at the end of the connection asyncio's
    # TLS drops what does not fit into one, and a proxy that refuses closes the connection.

    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.open: asyncio.Future[None] = loop.create_future()
        self._answer = ConnectAnswer()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def eof_received(self) -> None:
        self._take(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self.open.done():
            self._fail(error)
        else:
            self._take(b"")

    def _take(self, data: bytes) -> None:
        if self.open.done():
            return
        try:
            rest = self._answer.feed(data)
        except ProxyError as error:
            self._fail(error)
            return
        if rest is not None:
            self._transport.pause_reading()
            self._transport.set_protocol(EarlyProtocol(rest))
            self.open.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.open.set_exception(error)
        self.open.exception()  # not to be complained about, if nobody waits any more


# --- SOCKS ------------------------------------------------------------------------------------


async def open_socks(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    host: str,
    port: int,
    local_address: tuple[str, int] | None,
) -> socket.socket:
    try:
        from python_socks import ProxyType
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as error:
        raise ImportError(
            "connecting through a SOCKS proxy requires python-socks: pip install wsfast[socks]"
        ) from error
    socks = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
        loop=loop,
    )
    try:
        sock: socket.socket = await socks.connect(
            host, port, timeout=SOCKS_TIMEOUT, local_addr=local_address
        )
    except OSError:
        raise
    except Exception as error:
        raise ProxyError("failed to connect to SOCKS proxy") from error
    return sock
