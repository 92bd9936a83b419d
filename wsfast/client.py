"""The client: `connect`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Literal

from . import engine, logs
from .adopting import adopt, open_tls
from .connecting import Opening
from .connection import WebSocket
from .dial import open_socket, open_unix_socket
from .exceptions import ConnectionClosedOK, InvalidStatus, RedirectError
from .extensions.negotiation import select_extensions
from .frames import State
from .options import (
    Options,
    check_class,
    check_flag,
    check_function,
    check_int,
    check_logger,
    check_socket,
    check_str,
    check_timeout,
)
from .protocol import handshake
from .protocol.headers import Bearer, Headers
from .proxy import check_proxy, find_proxy
from .reconnection import Reconnection, Schedule, backoff, process_exception
from .redirects import Target, place
from .sessions import Resumption
from .statistics import ClientStatistics
from .tls import client_context, given_names
from .transport import TransportDriver
from .tunnel import open_through
from .uri import WebSocketURI, parse_uri

if TYPE_CHECKING:
    from types import TracebackType

    from .connecting import ClientHandshake
    from .extensions import Extension
    from .protocol.http import Request
    from .typing import Compression, HeadersLike, LoggerLike

__all__ = ["connect"]

logger = logging.getLogger("wsfast.client")


class connect:
    """Connect to a WebSocket server.

    Use it as ``async with connect(...) as ws:``, which closes the connection at the end, or as
    ``ws = await connect(...)``. As ``async for ws in connect(...):`` it connects again whenever the
    connection is over at the end of the loop's body, until it was closed with 1000.

    Args:
        uri: ws, wss, http, https, or ws+unix for a Unix socket
            (``ws+unix:/path/of/the/socket:/path``).
        subprotocols: to offer, in the order of preference.
        require_subprotocol: whether to refuse a server that selects none of them.
        origin: the Origin header.
        additional_headers: further headers of the request.
        auth: (user name, password) or "user name:password" for Basic authentication, or a `Bearer`;
            a user name and a password in the address come first.
        user_agent_header: the User-Agent header; None for none.
        ssl: a context for TLS. It is taken as it is; connecting again with it to the same server
            resumes a session, on the epoll driver, unless its options have ``OP_NO_TICKET``.
        cert, key, ca, verify: instead of ``ssl``: paths of PEM files, or PEM bytes. ``ca`` is
            trusted besides the system's authorities; ``verify=False`` trusts everybody. With them,
            or without any, TLS is 1.2 or 1.3, ALPN offers "http/1.1", renegotiation is refused. A
            redirect to another host does not take ``cert`` along.
        server_hostname: the name that the server is asked for by SNI, and that its certificate must
            have; by default the address's host. Empty to ask for none, where no name is verified.
        sock: a connected socket to use.
        host, port: to connect to instead of those of the address.
        local_address: (host, port) to connect from.
        proxy: True for the proxy that the environment says to use, if it does (see
            `wsfast.proxy.get_proxy`); None for none; or its address, with http:, https:, socks4:,
            socks4a:, socks5: or socks5h:, for example "http://user:password@proxy:8080". Not used
            for Unix sockets and with ``sock`` or ``create_connection``. SOCKS needs python-socks,
            the extra ``wsfast[socks]``.
        proxy_ssl: a context for TLS with the proxy itself, if its address has https:. With such a
            proxy, asyncio's transports are used on any driver.
        extensions: to offer, in the order of preference.
        compression: "deflate" or True to offer to compress messages, None or False not to, or a
            `PerMessageDeflate` that says how; it stands behind ``extensions``.
        protocol_version: 13 or 8.
        generate_mask: returns the 4 bytes of the next masking key; it must not use the
            connection.
        follow_redirects: whether to follow a status of 300 to 399 with a Location. To another host
            or port, or from wss to ws, no Authorization, Cookie and Proxy-Authorization are taken
            along; but if there is a listener for "redirect", it decides, and all are. From wss to
            ws only "insecure" follows.
        max_redirects: how many to follow.
        finish_request: called with the `Request` and the `WebSocket` when the transport is
            connected, before the request is sent; it may change the headers, and may be a coroutine
            function. It is called for every request, those of redirects too.
        create_connection: a coroutine function, called with host and port, that returns a connected
            socket or transport to use.
        websocket_class: the subclass of `WebSocket` to make.
        process_exception: called with the exception that ended a connection, or that an attempt
            failed with; returns None to connect again, or the exception to raise. See
            `wsfast.process_exception`, the default. This and the following are for
            ``async for ws in connect(...)`` and for ``WebSocket(..., reconnect=True)``.
        reconnect_delays: returns an iterator of the delays between attempts, in seconds. See
            `wsfast.backoff`, the default: 0.5 s, twice as long each time up to 60 s, less a random
            part.
        min_uptime: how long a connection must have been open, in seconds, for the delays to start
            over.
        max_attempts: how often to try again in a row before the last exception is raised; None for
            ever.
        max_elapsed: how long to try, in seconds, likewise.
        logger: instead of the logger ``wsfast.client``.
        driver: "epoll" or "asyncio"; by default "epoll" where it is to be had.
        options: the limits and timeouts, see `Options`.

    Raises:
        InvalidURI: at the call; the address is not valid.
        InvalidProxy: the address of the proxy is not valid; at the call, if it is given there.
        TypeError, ValueError: at the call; an option is not valid. The text names it.
        NetworkError: the server, or the proxy, cannot be reached; an ``OSError`` with a ``code``
            such as "ECONNREFUSED".
        InvalidHandshake: the server does not accept the connection; a ProxyError: the proxy does
            not open the way to it.
        OpenTimeout: it took longer than ``open_timeout``; a ``TimeoutError``.
    """

    # Lower case, because it is called like a function.

    def __init__(
        self,
        uri: str,
        *,
        subprotocols: Sequence[str] | None = None,
        require_subprotocol: bool = False,
        origin: str | None = None,
        additional_headers: HeadersLike | None = None,
        auth: str | tuple[str, str] | Bearer | None = None,
        user_agent_header: str | None = handshake.USER_AGENT,
        ssl: ssl_module.SSLContext | None = None,
        cert: Any = None,
        key: Any = None,
        ca: Any = None,
        verify: bool | None = None,
        server_hostname: str | None = None,
        sock: socket.socket | None = None,
        host: str | None = None,
        port: int | None = None,
        local_address: tuple[str, int] | None = None,
        proxy: str | Literal[True] | None = True,
        proxy_ssl: ssl_module.SSLContext | None = None,
        protocol_version: int = 13,
        generate_mask: Callable[[], bytes] | None = None,
        follow_redirects: bool | Literal["insecure"] = True,
        max_redirects: int = 10,
        finish_request: Callable[[Request, WebSocket], Any] | None = None,
        create_connection: Callable[[str, int], Awaitable[Any]] | None = None,
        websocket_class: type[WebSocket] = WebSocket,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        reconnect_delays: Callable[[], Iterator[float]] = backoff,
        min_uptime: float = 5.0,
        max_attempts: int | None = None,
        max_elapsed: float | None = None,
        extensions: Iterable[Extension] | None = None,
        compression: Compression = "deflate",
        logger: LoggerLike = logger,
        driver: str | None = None,
        **options: Any,
    ) -> None:
        self._epoll = engine.choose(driver)
        check_str("uri", uri)
        self.uri = parse_uri(uri)
        self.options = Options.take(options)
        if options:
            raise TypeError(f"there is no option {next(iter(options))!r}")
        for_tls = given_names(
            ssl=ssl, cert=cert, key=key, ca=ca, verify=verify, server_hostname=server_hostname
        )
        if for_tls and not self.uri.secure:
            raise ValueError(f"{for_tls[0]} is of no use with a ws: address; use wss:")
        if server_hostname is not None and server_hostname != "":
            check_str("server_hostname", server_hostname)
        self.subprotocols = handshake.check_subprotocols(
            () if subprotocols is None else subprotocols
        )
        check_flag("require_subprotocol", require_subprotocol)
        if require_subprotocol and not self.subprotocols:
            raise ValueError("require_subprotocol needs subprotocols")
        check_function("generate_mask", generate_mask)
        check_logger(logger)
        check_socket("sock", sock)
        instead = given_names(host=host, port=port, local_address=local_address)
        if create_connection is not None:
            check_function("create_connection", create_connection)
            instead += given_names(create_connection=create_connection)
        if sock is not None and instead:
            raise ValueError(f"give either sock or {instead[0]}, not both")
        if follow_redirects != "insecure" and not isinstance(follow_redirects, bool):
            raise TypeError(
                f'follow_redirects must be a bool or "insecure", not {follow_redirects!r}'
            )
        check_int("max_redirects", max_redirects, 0)
        check_function("finish_request", finish_request)
        check_class("websocket_class", websocket_class, WebSocket)
        for name, function in (
            ("process_exception", process_exception),
            ("reconnect_delays", reconnect_delays),
        ):
            if not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        check_timeout("min_uptime", min_uptime or None)
        if max_attempts is not None:
            check_int("max_attempts", max_attempts, 0)
        check_timeout("max_elapsed", max_elapsed)
        if host is not None:
            check_str("host", host)
        if port is not None:
            check_int("port", port, 1, 65535)
        if local_address is not None:
            check_address("local_address", local_address)
        check_proxy(proxy, proxy_ssl)
        self.require_subprotocol = require_subprotocol
        self.origin = origin
        self.additional_headers = checked_headers(additional_headers)
        self.auth = auth
        self.user_agent_header = user_agent_header
        self.protocol_version = protocol_version
        self.generate_mask = generate_mask
        self.logger = logger
        self.ssl = self._other_ssl = None
        if self.uri.secure:
            self.ssl = self._other_ssl = client_context(ssl, cert, key, ca, verify)
            if cert is not None:
                self._other_ssl = client_context(None, None, None, ca, verify)
            if server_hostname == "" and self.ssl.check_hostname:
                raise ValueError(
                    "server_hostname must not be empty while names are verified; give verify=False"
                )
        self.server_hostname = server_hostname
        self._sock = sock
        self._host = host
        self._port = port
        self._local_address = local_address
        self._proxy = proxy
        self._proxy_ssl = proxy_ssl
        self.follow_redirects = follow_redirects
        self.max_redirects = max_redirects
        self.finish_request = finish_request
        self.create_connection = create_connection
        self.websocket_class = websocket_class
        self.process_exception = process_exception
        self.reconnect_delays = reconnect_delays
        self.min_uptime = min_uptime
        self.max_attempts = max_attempts
        self.max_elapsed = max_elapsed
        self._websocket: WebSocket | None = None
        self.stats = ClientStatistics()
        self.extensions = select_extensions(extensions, compression, self.options.max_size)
        # So that a bad header is refused at the call.
        self.build_request(Target(self.uri, self.additional_headers, auth), "", None)

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._connect().__await__()

    async def __aenter__(self) -> WebSocket:
        self._websocket = await self._connect()
        return self._websocket

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._websocket is not None:
            websocket, self._websocket = self._websocket, None
            await websocket.__aexit__(exc_type, exc_value, traceback)

    async def _connect(self) -> WebSocket:
        websocket = await Opening(self).run()
        if websocket.state is State.CONNECTING:
            # A listener, which a subclass may have, took the response.
            assert websocket.response is not None
            error = InvalidStatus(websocket.response)
            websocket.abort(error)
            try:
                raise error
            finally:
                del error, websocket  # each knows the other
        return websocket

    async def __aiter__(self) -> AsyncIterator[WebSocket]:
        if self._sock is not None:
            raise ValueError("a connection of sock cannot be made again; use create_connection")
        schedule = self.schedule()
        while True:
            error: Exception | None = None
            try:
                websocket = await self._connect()
            except Exception as failure:
                error = failure
            else:
                schedule.opened()
                was_closed = False
                try:
                    yield websocket
                    was_closed = websocket.state is not State.OPEN
                finally:
                    await websocket.close()
                if was_closed:
                    error = websocket.closed_error()
                del websocket
            delay = schedule.next_delay(error)
            if isinstance(delay, Exception):
                if isinstance(delay, ConnectionClosedOK) and not schedule.is_exhausted:
                    return
                try:
                    raise delay
                finally:
                    del delay, error  # they keep this frame
            self.reconnecting(error, delay)
            error = None
            await asyncio.sleep(delay)

    # For the opening

    def schedule(self) -> Schedule:
        """When to connect again."""
        return Schedule(
            self.process_exception,
            self.reconnect_delays,
            self.min_uptime,
            self.max_attempts,
            self.max_elapsed,
        )

    def reconnecting(self, error: Exception | None, delay: float) -> None:
        """There will be another attempt."""
        self.stats.delay = delay
        logs.reconnecting(self.logger, str(self.uri), error, delay)

    def build_request(self, target: Target, key: str, extensions: str | None) -> Request:
        """The request for a target."""
        return handshake.build_request(
            target.uri,
            key,
            subprotocols=self.subprotocols,
            extensions=extensions,
            origin=self.origin,
            additional_headers=target.headers,
            auth=target.auth,  # type: ignore[arg-type]
            user_agent=self.user_agent_header,
            version=self.protocol_version,
        )

    def check_redirect(self, uri: WebSocketURI) -> None:
        """Refuse a redirect to where the options cannot be followed.

        Raises:
            RedirectError: a socket is given, or a host or port, and it leads elsewhere.
        """
        if self._sock is not None:
            raise RedirectError(f"cannot follow redirect to {uri} with a preexisting socket")
        if place(uri) != place(self.uri) and (self._host is not None or self._port is not None):
            raise RedirectError(
                f"cannot follow cross-origin redirect to {uri} with an explicit host or port"
            )

    def close_socket(self) -> None:
        """Close the socket that was given, which nothing is made of."""
        if self._sock is not None:
            self._sock.close()

    async def open_transport(self, uri: WebSocketURI, opening: ClientHandshake) -> None:
        """Connect to where an address leads, with ``opening`` as the driver's target."""
        loop = asyncio.get_running_loop()
        host, port = self._host or uri.host, self._port or uri.port
        name = uri.host.removesuffix(".")  # as RFC 6066 section 3 has it
        context = self._other_ssl
        if place(uri) == place(self.uri):
            context = self.ssl
            if self.server_hostname is not None:
                name = self.server_hostname
        if not uri.secure:
            context = None
        elif context is None:
            context = client_context(None, None, None, None, None)
        where: Any
        if self._sock is not None:
            where = self._sock
        elif uri.unix_path is not None:
            where = await open_unix_socket(loop, uri.unix_path)
        elif self.create_connection is not None:
            where = await self.create_connection(host, port)
            check_connection(where)
        elif (proxy := find_proxy(self._proxy, uri)) is not None:
            where = await open_through(
                loop,
                proxy,
                host,
                port,
                proxy_ssl=self._proxy_ssl,
                local_address=self._local_address,
                user_agent=self.user_agent_header,
                ssl_shutdown_timeout=self.options.close_timeout,
            )
        else:
            where = await open_socket(loop, host, port, self._local_address)
        write_limit = self.options.write_limit
        shutdown_timeout = None if context is None else self.options.close_timeout
        if not isinstance(where, socket.socket):
            await adopt(where, opening, write_limit, context, name, shutdown_timeout)
            return
        try:
            where.setblocking(False)
            if self._epoll:
                resumption = None if context is None else Resumption(context, host, port, name)
                opening.driver = engine.adopt(
                    loop, where, opening, write_limit, context, name or None, resumption
                )
                return
            if context is None:
                await loop.create_connection(
                    lambda: TransportDriver(opening, write_limit), sock=where
                )
            else:
                driver = TransportDriver(opening, write_limit)
                await open_tls(loop, where, driver, context, name, shutdown_timeout)
        except BaseException:
            where.close()
            raise


def open_in_background(
    websocket: WebSocket,
    url: str,
    subprotocols: Sequence[str] | None,
    reconnect: bool,
    resend_limit: int,
    options: dict[str, Any],
) -> None:
    """Open a WebSocket that a user made with an address.

    Raises:
        RuntimeError: there is no running event loop.
        InvalidURI, TypeError, ValueError: as `connect`.
    """
    check_flag("reconnect", reconnect)
    check_int("resend_limit", resend_limit, 0)
    if resend_limit and not reconnect:
        raise ValueError("resend_limit needs reconnect=True")
    if reconnect and options.get("sock") is not None:
        raise ValueError("a connection of sock cannot be made again; use create_connection")
    if "websocket_class" in options:
        raise TypeError("websocket_class is for connect; call the subclass itself")
    config = connect(url, subprotocols=subprotocols, **{"follow_redirects": False, **options})
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "WebSocket(url) connects in the background, and so needs a running event loop; "
            "make it in a coroutine"
        ) from None
    if reconnect:
        websocket.connect_again(Reconnection(config, resend_limit))
    opening = Opening(config, websocket)
    opening.start()


def check_connection(where: object) -> None:
    """Refuse what ``create_connection`` must not return."""
    if not isinstance(where, (socket.socket, asyncio.Transport)) and not hasattr(
        where, "set_protocol"
    ):
        raise TypeError(f"create_connection must return a socket or a transport, not {where!r}")


def check_address(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a tuple of host and port, not {value!r}")
    check_str(f"the host of {name}", value[0])
    check_int(f"the port of {name}", value[1], 0, 65535)


def checked_headers(headers: HeadersLike | None) -> Headers:
    """The ``additional_headers``, as they are now."""
    if headers is None:
        return Headers()
    if isinstance(headers, (str, bytes)) or not isinstance(headers, Iterable):
        raise not_headers(headers)
    if isinstance(headers, Mapping):
        return Headers(headers)
    pairs = list(headers)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise not_headers(pair)
    return Headers(pairs)


def not_headers(value: object) -> TypeError:
    """The error for what is no header. It does not show it: it may be a password."""
    return TypeError(
        "additional_headers must be a mapping, or pairs of name and value, "
        f"not {type(value).__name__}"
    )
