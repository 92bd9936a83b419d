"""The client: `connect`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import engine
from ._backend import encode_frame, masking_key
from .connection import WebSocket
from .dial import open_socket, open_unix_socket
from .exceptions import InvalidHandshake, InvalidMessage, NetworkError
from .extensions import Extensions
from .extensions.negotiation import activate_extensions, close_reason, select_extensions
from .extensions.stack import attach
from .frames import Opcode
from .options import (
    Options,
    check_flag,
    check_function,
    check_int,
    check_logger,
    check_socket,
    check_str,
)
from .protocol import handshake
from .protocol.headers import Headers
from .protocol.http import ResponseReader
from .sessions import Resumption
from .sweep import Clients
from .tls import client_context, given_names
from .transport import TransportDriver
from .uri import parse_uri

if TYPE_CHECKING:
    from types import TracebackType

    from .extensions import Extension
    from .protocol.http import Request, Response
    from .typing import Compression, HeadersLike, LoggerLike

__all__ = ["connect"]

logger = logging.getLogger("wsfast.client")


class connect:
    """Connect to a WebSocket server.

    Use it as ``async with connect(...) as ws:``, which closes the connection at the end, or as
    ``ws = await connect(...)``.

    Args:
        uri: ws, wss, http, https, or ws+unix for a Unix socket
            (``ws+unix:/path/of/the/socket:/path``).
        subprotocols: to offer, in the order of preference.
        require_subprotocol: whether to refuse a server that selects none of them.
        origin: the Origin header.
        additional_headers: further headers of the request.
        auth: (user name, password) for Basic authentication; those of the address come first.
        user_agent_header: the User-Agent header; None for none.
        ssl: a context for TLS. It is taken as it is; connecting again with it to the same server
            resumes a session, on the epoll driver, unless its options have ``OP_NO_TICKET``.
        cert, key, ca, verify: instead of ``ssl``: paths of PEM files, or PEM bytes. ``ca`` is
            trusted besides the system's authorities; ``verify=False`` trusts everybody. With them,
            or without any, TLS is 1.2 or 1.3, ALPN offers "http/1.1", renegotiation is refused.
        server_hostname: the name that the server is asked for by SNI, and that its certificate must
            have; by default the address's host.
        sock: a connected socket to use.
        host, port: to connect to instead of those of the address.
        local_address: (host, port) to connect from.
        extensions: to offer, in the order of preference.
        compression: "deflate" or True to offer to compress messages, None or False not to, or a
            `PerMessageDeflate` that says how; it stands behind ``extensions``.
        protocol_version: 13 or 8.
        generate_mask: returns the 4 bytes of the next masking key; it must not use the
            connection.
        logger: instead of the logger ``wsfast.client``.
        driver: "epoll" or "asyncio"; by default "epoll" where it is to be had.
        options: the limits and timeouts, see `Options`.

    Raises:
        InvalidURI: at the call; the address is not valid.
        TypeError, ValueError: at the call; an option is not valid. The text names it.
        NetworkError: the server cannot be reached; an ``OSError`` with a ``code`` such as
            "ECONNREFUSED".
        InvalidHandshake: the server does not accept the connection.
        TimeoutError: it took longer than ``open_timeout``.
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
        auth: str | tuple[str, str] | None = None,
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
        protocol_version: int = 13,
        generate_mask: Callable[[], bytes] | None = None,
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
        if server_hostname is not None:
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
        if sock is not None and instead:
            raise ValueError(f"give either sock or {instead[0]}, not both")
        if host is not None:
            check_str("host", host)
        if port is not None:
            check_int("port", port, 1, 65535)
        if local_address is not None:
            check_address("local_address", local_address)
        self.require_subprotocol = require_subprotocol
        self.origin = origin
        self.additional_headers = checked_headers(additional_headers)
        self.auth = auth
        self.user_agent_header = user_agent_header
        self.protocol_version = protocol_version
        self.generate_mask = generate_mask
        self.logger = logger
        self.ssl = client_context(ssl, cert, key, ca, verify) if self.uri.secure else None
        self.server_hostname = server_hostname
        self._sock = sock
        self._host = host
        self._port = port
        self._local_address = local_address
        self._websocket: WebSocket | None = None
        self.extensions = select_extensions(extensions, compression, self.options.max_size)
        # So that a bad header is refused at the call.
        self._request("", None)

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

    def _request(self, key: str, extensions: str | None) -> Request:
        return handshake.build_request(
            self.uri,
            key,
            subprotocols=self.subprotocols,
            extensions=extensions,
            origin=self.origin,
            additional_headers=self.additional_headers,
            auth=self.auth,
            user_agent=self.user_agent_header,
            version=self.protocol_version,
        )

    async def _connect(self) -> WebSocket:
        loop = asyncio.get_running_loop()
        opening = ClientHandshake(self, loop)
        websocket = None
        try:
            async with asyncio.timeout(self.options.open_timeout):
                await self._open_transport(loop, opening)
                websocket = await opening.done
            return websocket
        except NetworkError:
            raise
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise TimeoutError("timed out during opening handshake") from error
            raise NetworkError.wrap(error) from error
        finally:
            if websocket is None:
                opening.give_up()

    async def _open_transport(
        self, loop: asyncio.AbstractEventLoop, opening: ClientHandshake
    ) -> None:
        uri = self.uri
        host, port = self._host or uri.host, self._port or uri.port
        if self._sock is not None:
            sock = self._sock
        elif uri.unix_path is not None:
            sock = await open_unix_socket(loop, uri.unix_path)
        else:
            sock = await open_socket(loop, host, port, self._local_address)
        name = self.server_hostname
        if name is None:
            name = uri.host.removesuffix(".")  # as RFC 6066 section 3 has it
        write_limit = self.options.write_limit
        try:
            if self._epoll:
                resumption = None if self.ssl is None else Resumption(self.ssl, host, port, name)
                opening.driver = engine.adopt(
                    loop, sock, opening, write_limit, self.ssl, name or None, resumption
                )
                return
            options: dict[str, Any] = {}
            if self.ssl is not None:
                options["ssl"] = self.ssl
                options["server_hostname"] = name
                options["ssl_shutdown_timeout"] = self.options.close_timeout
            await loop.create_connection(
                lambda: TransportDriver(opening, write_limit), sock=sock, **options
            )
        except BaseException:
            sock.close()
            raise


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
        raise TypeError(f"additional_headers must be a mapping or pairs, not {headers!r}")
    if isinstance(headers, Mapping):
        return Headers(headers)
    pairs = list(headers)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"additional_headers must be a mapping or pairs, not {pairs!r}")
    return Headers(pairs)


def releaser(clients: Clients, logger: LoggerLike) -> Callable[[WebSocket], None]:
    """What is called with a connection at its end."""

    def release(websocket: WebSocket) -> None:
        clients.discard(websocket)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("connection closed: %s", websocket.closed_error())

    return release


class ClientHandshake:
    """The opening handshake of one connection: the driver's target before the WebSocket is."""

    __slots__ = (
        "_config",
        "_extensions",
        "_key",
        "_linger",
        "_loop",
        "_reader",
        "_request",
        "done",
        "driver",
    )

    def __init__(self, config: connect, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self._reader = ResponseReader()
        self._key = handshake.generate_key()
        self._extensions = Extensions(config.extensions, strict=True)
        self._request = config._request(self._key, self._extensions.generate_offer())
        self.driver: Any = None
        self._linger: asyncio.TimerHandle | None = None
        self.done: asyncio.Future[WebSocket] = loop.create_future()

    # From the driver

    def connected(self, driver: Any) -> None:
        self.driver = driver
        driver.write(self, (self._request.serialize(),))

    def received(self, data: Any) -> None:
        if self.done.done():
            return
        try:
            result = self._reader.feed(bytes(data))
            if result is not None:
                self._answer(*result)
        except InvalidHandshake as error:
            self._fail(error)

    def eof(self) -> bool:
        if not self.done.done():
            try:
                self._answer(self._reader.eof(), b"")
            except InvalidHandshake as error:
                self._fail(error)
        return False

    def writable(self) -> None:
        pass

    def lost(self, error: BaseException | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if not self.done.done():
            if error is not None:
                self._fail(NetworkError.wrap(error))
            else:
                self._fail(InvalidMessage("connection closed while reading HTTP status line"))

    def give_up(self) -> None:
        """It failed, or whoever waited is gone: close the transport."""
        self._extensions.close()
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # not to be complained about
        if self.driver is not None and self._linger is None:
            self.driver.abort(self)

    # Steps

    def _answer(self, response: Response, rest: Any) -> None:
        config = self._config
        subprotocol = handshake.check_response(
            response,
            self._key,
            subprotocols=config.subprotocols,
            require_subprotocol=config.require_subprotocol,
        )
        try:
            activate_extensions(response.headers, self._extensions)
        except InvalidHandshake as error:
            self._refuse_extensions(error)
            raise
        clients = Clients.of(self._loop, config.options.sweep_interval)
        websocket = WebSocket(
            config.options,
            self.driver,
            self._loop,
            client=True,
            request=self._request,
            release=releaser(clients, config.logger),
            url=str(config.uri),
            generate_mask=config.generate_mask,
        )
        websocket._response = response
        websocket.subprotocol = subprotocol
        self.driver.target = websocket
        attach(websocket, self._extensions)
        websocket.opened()
        clients.add(websocket)
        config.logger.debug("connected to %s", websocket.url)
        self.done.set_result(websocket)
        if rest:
            websocket.receive_soon(bytes(rest))

    def _refuse_extensions(self, error: InvalidHandshake) -> None:
        """Tell the server, which believes that the connection is open, why it is not."""
        payload = (1010).to_bytes(2, "big") + close_reason(error).encode()
        frame = encode_frame(Opcode.CLOSE, payload, True, 0, masking_key())
        self.driver.write(self, (frame,))
        self.driver.shutdown_write(self)
        timeout = self._config.options.close_timeout or 10
        self._linger = self._loop.call_later(timeout, self.driver.abort, self)

    def _fail(self, error: Exception) -> None:
        self.done.set_exception(error)
