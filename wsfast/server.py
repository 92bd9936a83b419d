"""The server: `serve` for coroutine handlers, `WebSocketServer` for listeners."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from . import engine, logs
from .accepting import SERVER_CLOSING, ClientInfo, ServerHandshake
from .awaitables import Completion
from .connection import WebSocket
from .cors import CORS, check_cors
from .events import EventSource
from .exceptions import ConnectionClosed
from .extensions.negotiation import select_extensions
from .forwarded import TrustedProxies, check_trusted_proxies
from .frames import State, check_close
from .listening import listening_sockets, unix_socket
from .options import (
    Options,
    check_class,
    check_flag,
    check_function,
    check_int,
    check_logger,
    check_socket,
    check_str,
)
from .protocol import handshake
from .protocol.headers import check_header
from .protocol.http import Request, Response
from .statistics import ServerStatistics, Tally, error_code
from .sweep import Sweep
from .tls import server_context
from .transport import TransportDriver
from .upgrading import handle_upgrade

if TYPE_CHECKING:
    import re
    from types import TracebackType

    from typing_extensions import Buffer

    from .extensions import Extension
    from .typing import Compression, LoggerLike
    from .upgrading import Where

__all__ = ["ClientInfo", "WebSocketServer", "serve"]

logger = logging.getLogger("wsfast.server")

# asyncio accepts as many connections in a row as the backlog is long, and when the process has no
# more files it reports as many errors.
ACCEPTS = 16

Handler = Callable[[WebSocket], Awaitable[None]]


class WebSocketServer(EventSource):
    """A WebSocket server.

    Attach listeners with `on`:

    - "listening" and "close" get nothing.
    - "connection" gets the `WebSocket` and its `Request`, and may be a coroutine function.
    - "disconnection" gets the `WebSocket` of a connection that is gone.
    - "headers" gets the `Headers` of a 101, which it may change, and the `Request`.
    - "client-error" gets the exception, the `Response`, which it may change, and the `Request`, or
      None if there is none: before a request that is no valid handshake is answered.
    - "error" gets the exception if the address cannot be listened on, which is also raised, and
      when no connection can be accepted for a moment.

    Then `run` it, or use it as a context manager, or await it.

    Args:
        host: the address to listen on, or several; None for all.
        port: the port; 0 for a free one.
        path: serve WebSockets only at this path; None for every path.
        sock: a listening socket to use instead of ``host`` and ``port``.
        unix_path: a Unix socket to listen on instead of ``host`` and ``port``.
        no_server: True to listen on nothing: another server hands connections over by
            `handle_upgrade`.
        ssl: a context for TLS. It is taken as it is.
        cert, key, ca, verify: instead of ``ssl``: paths of PEM files, or PEM bytes. ``ca`` demands
            certificates of the clients; with ``verify=False`` they may have none. TLS is 1.2 or
            1.3, ALPN has "http/1.1", renegotiation is refused.
        origins: the origins that may connect: str, compiled patterns, and None for clients that
            send none. None (no list) allows all. Give it wherever browsers send cookies.
        verify_client: called with a `ClientInfo`; returns whether to accept, or a `Response`.
        subprotocols: those that the server speaks, in its order of preference.
        select_subprotocol: called with the WebSocket and the offered ones; returns one or None.
        process_request: called with the WebSocket and the `Request`; may return a `Response`.
        process_response: called with the WebSocket, the `Request` and the `Response`; may return
            another `Response`.
        extensions: those that the server has, in its order of preference.
        compression: True or "deflate" to compress messages, or a `PerMessageDeflate` that says how;
            it stands behind ``extensions``.
        websocket_class: the subclass of `WebSocket` for the connections. Its ``__init__`` must pass
            its arguments on.
        client_tracking: whether `connections` is kept.
        max_connections: further clients get 503.
        backlog, reuse_port: of the listening socket.
        cors: a `CORS`, which says what web pages may read of the HTTP answers, and where there are
            no ``origins`` who may connect; or True for the pages of ``origins``.
        trusted_proxies: the addresses and networks of reverse proxies, and "unix", whose
            X-Forwarded-For, -Proto and -Host tell `WebSocket.client_address` and what is
            `ClientInfo.secure`; or a `TrustedProxies`, for those that send Forwarded (RFC 7239).
        server_header: the Server header; None for none.
        logger: instead of the logger ``wsfast.server``.
        driver: "epoll" or "asyncio"; by default "epoll" where it is to be had.
        options: the limits and timeouts, see `Options`.

    The functions may be coroutine functions.

    Attributes:
        handler: the coroutine function given to `serve`, or None.
        logger: what it logs to.
        loop: the event loop, from `start` on.
        options: the limits and timeouts, as `Options`.

    Raises:
        TypeError, ValueError: an option is not valid. The text names it.
    """

    EVENTS = frozenset(
        {
            "listening",
            "connection",
            "disconnection",
            "headers",
            "client-error",
            "error",
            "close",
        }
    )
    COROUTINE_EVENTS = frozenset({"connection"})

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        path: str | None = None,
        sock: socket.socket | None = None,
        unix_path: str | None = None,
        no_server: bool = False,
        ssl: ssl_module.SSLContext | None = None,
        cert: Any = None,
        key: Any = None,
        ca: Any = None,
        verify: bool | None = None,
        origins: Iterable[str | re.Pattern[str] | None] | None = None,
        verify_client: Callable[[ClientInfo], Any] | None = None,
        subprotocols: Sequence[str] | None = None,
        select_subprotocol: Callable[[WebSocket, Sequence[str]], Any] | None = None,
        process_request: Callable[[WebSocket, Request], Any] | None = None,
        process_response: Callable[[WebSocket, Request, Response], Any] | None = None,
        extensions: Iterable[Extension] | None = None,
        compression: Compression = None,
        websocket_class: type[WebSocket] = WebSocket,
        client_tracking: bool = True,
        max_connections: int | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
        cors: CORS | bool | None = None,
        trusted_proxies: TrustedProxies | Iterable[str] | None = None,
        server_header: str | None = handshake.SERVER,
        logger: LoggerLike = logger,
        driver: str | None = None,
        **options: Any,
    ) -> None:
        self._epoll = engine.choose(driver)
        self.options = Options.take(options)
        if options:
            raise TypeError(f"there is no option {next(iter(options))!r}")
        if isinstance(host, (str, bytes)) or not isinstance(host, Iterable):
            names = [] if host is None else [host]
        else:
            host = names = list(host)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"host must be a str, several, or None, not {host!r}")
        check_flag("no_server", no_server)
        if sum(given is not None for given in (sock, unix_path, port, no_server or None)) != 1:
            raise ValueError('give exactly one of "port", "sock", "unix_path" and "no_server"')
        if no_server and host is not None:
            raise ValueError("host is of no use with no_server")
        if port is not None:
            check_int("port", port, 0, 65535)
        if unix_path is not None:
            check_str("unix_path", unix_path)
        if path is not None:
            check_str("path", path)
            if not path.startswith("/"):
                raise ValueError(f"path must begin with a slash, not {path!r}")
        if max_connections is not None:
            check_int("max_connections", max_connections, 1)
        check_int("backlog", backlog, 1)
        check_flag("reuse_port", reuse_port)
        check_flag("client_tracking", client_tracking)
        check_socket("sock", sock)
        check_function("verify_client", verify_client)
        check_function("select_subprotocol", select_subprotocol)
        check_function("process_request", process_request)
        check_function("process_response", process_response)
        check_logger(logger)
        check_class("websocket_class", websocket_class, WebSocket)
        self.websocket_class = websocket_class
        self.path = path
        self.logger = logger
        self.loop: Any = None
        self.client_tracking = client_tracking
        self.max_connections = max_connections
        if server_header is not None:
            check_header("Server", server_header)
        self.server_header = server_header
        self.ssl = server_context(ssl, cert, key, ca, verify)
        self.origins = handshake.OriginPolicy(origins)
        self.cors = check_cors(cors, None if origins is None else self.origins)
        if origins is None and self.cors is not None:
            self.origins = self.cors.policy
        self.subprotocols = handshake.check_subprotocols(
            () if subprotocols is None else subprotocols
        )
        self.extensions = select_extensions(extensions, compression, self.options.max_size)
        self.trusted_proxies = check_trusted_proxies(trusted_proxies)
        self.verify_client = verify_client
        self.select_subprotocol = select_subprotocol
        self.process_request = process_request
        self.process_response = process_response
        self.handler: Handler | None = None
        self.release = self._connection_closed  # one bound method for all connections

        self._host = host
        self._port = port
        self._sock = sock
        self._unix_path = unix_path
        self._backlog = backlog
        self._reuse_port = reuse_port
        self._no_server = no_server
        self._listeners = ()
        self.heard: frozenset[str] = frozenset()  # the events that have listeners
        self._sockets: tuple[socket.socket, ...] = ()
        self._acceptors: list[Any] = []
        self._closing: asyncio.Task[None] | None = None
        # From the start, or the first upgrade, until the end of close().
        self._running = no_server
        self._closed = asyncio.Event()
        if not no_server:
            self._closed.set()
        self._open: set[WebSocket] = set()
        self._handshakes: set[ServerHandshake] = set()
        # The handlers with their connections, and the hooks and listeners that are awaited.
        self._tasks: dict[asyncio.Task[Any], WebSocket | None] = {}
        self._idle = asyncio.Event()
        self.tally = Tally()
        self._sweep = Sweep(self.options.sweep_interval, self._open, self._handshakes)

    # Life

    async def start(self) -> WebSocketServer:
        """Begin to listen; nothing happens if the server does so already.

        Raises:
            OSError: the address cannot be listened on. It is told to "error", too.
            RuntimeError: the server is closing, or it was left open in another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._closing is not None and not self._closing.done():
            raise RuntimeError("the server is closing; await wait_closed() before you start it")
        if self._sockets:
            if self.loop is not loop:
                raise RuntimeError("the server was not closed in the event loop that it is of")
            return self
        self.loop = loop
        if self._no_server:
            self._enter()
            return self
        try:
            await self._listen()
        except OSError as error:
            self.emit("error", error)
            raise
        self._enter()
        for sock in self.sockets:
            name = sock.getsockname()
            extra = {"event": "server_listening", "local_address": name}
            self.logger.info("server listening on %s", address_text(name), extra=extra)
        self.emit("listening")
        return self

    def _enter(self) -> None:
        """From now on there is something to close."""
        self.loop = asyncio.get_running_loop()
        self._running = True
        self._closing = None
        if self._closed.is_set():
            self._closed = asyncio.Event()  # those that were waited for belong to their loop

    async def _listen(self) -> None:
        if self._sock is not None:
            sockets = [self._sock]
        elif self._unix_path is not None:
            sockets = [unix_socket(self._unix_path, self._backlog)]
        else:
            assert self._port is not None
            sockets = listening_sockets(self._host, self._port, self._backlog, self._reuse_port)
        self._sockets = tuple(sockets)
        try:
            for sock in sockets:
                self._acceptors.append(await self._accept_on(sock))
        except BaseException:
            for acceptor in self._acceptors:
                acceptor.close()
            if self._sock is None:
                for sock in sockets:
                    sock.close()
            self._acceptors = []
            self._sockets = ()
            raise

    async def _accept_on(self, sock: socket.socket) -> Any:
        """Accept the connections of a listening socket; returns what stops doing so by close()."""
        if self._epoll:
            sock.listen(self._backlog)
            return engine.listen(
                self.loop,
                sock,
                partial(ServerHandshake, self),
                self._accept_failed,
                self.options.write_limit,
                self.ssl,
            )
        sock.listen(self._backlog)  # what cannot listen is an OSError, also on Python 3.13
        options: dict[str, Any] = {"ssl": self.ssl, "backlog": min(self._backlog, ACCEPTS)}
        if self.ssl is not None:
            options["ssl_handshake_timeout"] = self.options.open_timeout
            options["ssl_shutdown_timeout"] = self.options.close_timeout
        unix = sock.family == getattr(socket, "AF_UNIX", None)
        create = self.loop.create_unix_server if unix else self.loop.create_server
        server = await create(self._make_driver, sock=sock, **options)
        sock.listen(self._backlog)
        return server

    def _accept_failed(self, error: OSError) -> None:
        """No connection can be accepted for a moment."""
        self.tally.failed(error)
        extra = {"event": "accept_failed", "error_code": error_code(error)}
        self.logger.warning("cannot accept a connection: %s", error, extra=extra)
        self.emit("error", error)

    def _make_driver(self) -> TransportDriver:
        return TransportDriver(ServerHandshake(self), self.options.write_limit)

    def __await__(self) -> Generator[Any, None, WebSocketServer]:
        return self.start().__await__()

    async def __aenter__(self) -> WebSocketServer:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def serve_forever(self) -> None:
        """Wait until the server is closed. Cancelling it closes the server."""
        if not self._acceptors and self._closing is None:
            await self.start()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            await self.close()
            raise

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, which closes the connections with 1001.

        A second signal ends them at once. It blocks, in an event loop of its own.
        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        try:
            for number in signals:
                loop.add_signal_handler(number, self._receive_signal)
        except (NotImplementedError, RuntimeError, ValueError):
            signals = ()  # not on this system, or not in this thread
        try:
            await self.start()
            await self.wait_closed()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _receive_signal(self) -> None:
        if self._closing is None:
            self.close()
        else:
            for websocket in tuple(self._open):
                websocket.terminate()
            for opening in tuple(self._handshakes):
                opening.abort()
            for task in tuple(self._tasks):
                task.cancel()

    def close(self, code: int = 1001, reason: str = "", close_connections: bool = True) -> Any:
        """Stop accepting; close the clients, or wait until they close.

        Awaiting the result waits for the end. Clients in the opening handshake get 503. Handlers
        that still run ``close_timeout`` seconds after the last connection are cancelled.

        Args:
            code, reason: for the close frames.
            close_connections: False to leave the clients connected; a later call may close them.

        Raises:
            TypeError, ValueError: at the call; the code or the reason cannot be sent.
        """
        check_close(code, reason)
        if self._running:
            if self._closing is None:
                self.logger.info("server closing", extra={"event": "server_closing"})
                if self.loop is None:  # without a single upgrade
                    self.loop = asyncio.get_running_loop()
                for acceptor in self._acceptors:
                    acceptor.close()
                self._sockets = ()  # they are closed, however long the clients stay
                self._closing = self.loop.create_task(self._close())
                for opening in tuple(self._handshakes):
                    opening.turn_away()
            if close_connections:
                for websocket in tuple(self._open):
                    websocket.close(code, reason)
        return Completion(self.wait_closed)

    async def _close(self) -> None:
        try:
            self._idle = asyncio.Event()
            if self._open or self._handshakes:
                await self._idle.wait()
            if self._tasks:
                _, running = await asyncio.wait(self._tasks, timeout=self.options.close_timeout)
                for task in running:
                    task.cancel()
                if running:
                    await asyncio.wait(running)
        finally:
            for acceptor in self._acceptors:
                # From Python 3.13 on, asyncio knows those in the middle of a TLS handshake.
                if hasattr(acceptor, "abort_clients"):
                    acceptor.abort_clients()
            self._acceptors = []
            self._running = False
            self._closed.set()
        self.logger.info("server closed", extra={"event": "server_closed"})
        self.emit("close")

    async def wait_closed(self) -> None:
        """Wait until the server is closed."""
        await self._closed.wait()

    @property
    def connections(self) -> set[WebSocket]:
        """The open connections.

        Raises:
            AttributeError: ``client_tracking`` is off.
        """
        if not self.client_tracking:
            raise AttributeError("connections are not kept, because client_tracking is off")
        return {websocket for websocket in self._open if websocket.state is State.OPEN}

    clients = connections
    """The open connections, by the name that they have in ws."""

    @property
    def stats(self) -> ServerStatistics:
        """What was counted since the server was made.

        It is added up when asked for: the more connections are open, the longer it takes, about
        a microsecond for each.
        """
        pending = sum(not opening.is_answered for opening in self._handshakes)
        return self.tally.statistics(self._open, pending)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none from the call of `close` on."""
        return self._sockets

    def address(self) -> Any:
        """The address of the first listening socket, as (host, port), or a path; None if closed.

        Raises:
            RuntimeError: the server has ``no_server``.
        """
        if self._no_server:
            raise RuntimeError('the server is operating in "no_server" mode')
        sockets = self.sockets
        if not sockets:
            return None
        name = sockets[0].getsockname()
        return name[:2] if isinstance(name, tuple) else name

    @property
    def is_serving(self) -> bool:
        """Whether the server accepts connections."""
        return (self._no_server or bool(self._acceptors)) and self._closing is None

    def should_handle(self, request: Request) -> bool:
        """Whether a request is for this server; others get 404. To be overridden.

        By default it compares the path, up to the "?", with the option ``path``.
        """
        return self.path is None or request.path.partition("?")[0] == self.path

    def handle_upgrade(
        self, request: Request | Buffer, where: Where, head: Buffer = b""
    ) -> asyncio.Future[WebSocket | None]:
        """Take over a connection of another server, which got a request to open a WebSocket.

        The connection belongs to this server from the call on: the other one must not read, write
        or close it. The request is checked as any other, and answered. "connection" is not emitted
        by itself; do it with ``server.emit("connection", ws, request)``, and with further
        arguments, if you like. A handler of `serve` is started.

        Args:
            request: the request, or the bytes of its head.
            where: an asyncio transport, a pair of `asyncio.StreamReader` and
                `asyncio.StreamWriter`, or a connected socket without TLS.
            head: what was read behind the request. What is still in a ``StreamReader`` comes
                behind it.

        Returns:
            A future of the open `WebSocket`; of None if the client was refused, and has its
            answer, or if it is gone. Cancelling it gives the connection up.

        Raises:
            RuntimeError: the connection was handed over before.
            TypeError: an argument is of no use.
        """
        return handle_upgrade(self, request, where, head)

    # From the handshakes and the connections

    def accept_response(self, websocket: WebSocket) -> Response:
        """The response that opened a connection, which is not kept where no hook made it."""
        return handshake.accept_response(
            websocket.request.headers["Sec-WebSocket-Key"],
            subprotocol=websocket.subprotocol,
            extensions=None if websocket.negotiated is None else websocket.negotiated.header,
            server_header=self.server_header,
        )

    def accept_connection(self, websocket: WebSocket, request: Request | None) -> None:
        """Take a connection whose handshake is done, and start its handler.

        Args:
            request: for "connection"; None to leave that to the user.
        """
        self._open.add(websocket)
        if self.logger.isEnabledFor(logging.DEBUG):
            logs.connection_opened(self.logger, websocket)
        if self.handler is not None:
            self._start_handler(self.handler, websocket)
        if self._listeners and request is not None:
            self.emit("connection", websocket, request)

    def _connection_closed(self, websocket: WebSocket) -> None:
        """Let go of a connection."""
        if websocket not in self._open:
            return  # its handshake did not succeed
        self._open.discard(websocket)
        self.tally.connection_closed(websocket)
        if "disconnection" in self.heard:
            self.emit("disconnection", websocket)
        self._note_end()
        logs.connection_closed(self.logger, websocket)

    def handshake_started(self, handshake: ServerHandshake) -> None:
        """Look after a handshake."""
        self.tally.handshakes_started += 1
        self._handshakes.add(handshake)
        self._sweep.start()

    def handshake_ended(self, handshake: ServerHandshake) -> None:
        """Let go of a handshake."""
        self._handshakes.discard(handshake)
        if not self._open:
            self._note_end()

    def unavailable(self) -> Response | None:
        """The response for a client that cannot be taken now."""
        if self._closing is not None:
            return handshake.text_response(503, SERVER_CLOSING)
        if self.max_connections is not None and len(self._open) >= self.max_connections:
            return handshake.text_response(503, "The server has too many connections.\n")
        return None

    def _note_end(self) -> None:
        """A connection, or a handshake, is gone."""
        if not self._open and not self._handshakes:
            self._sweep.stop_if_idle()
            self._idle.set()

    def _listeners_changed(self, event: str) -> None:
        self.heard = frozenset(self._listeners[::2])

    def _run_listener(self, awaitable: Any) -> None:
        async def run() -> None:
            try:
                await awaitable
            except Exception as error:
                self.listener_failed(error, "connection")

        self._start_task(run())

    def _start_task(self, coroutine: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.loop.create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def _start_handler(self, handler: Handler, websocket: WebSocket) -> None:
        # The handler's own coroutine is the task: one around it would double what an idle
        # connection needs.
        try:
            task = self.loop.create_task(handler(websocket), name="wsfast handler")
        except Exception as error:
            self._handler_failed(websocket, error)
        else:
            self._tasks[task] = websocket
            task.add_done_callback(self._end_handler)

    def _end_handler(self, task: asyncio.Task[None]) -> None:
        websocket = self._tasks.pop(task)
        assert websocket is not None
        if task.cancelled():
            websocket.close(1001)
            return
        error = task.exception()
        if error is None:
            websocket.close(1000)
        elif isinstance(error, ConnectionClosed):
            # The usual end of a handler that does not expect the peer to go.
            websocket.close(1011)
        else:
            self._handler_failed(websocket, error)

    def _handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        self.tally.handler_failed(error)
        logs.handler_failed(self.logger, websocket, error)
        websocket.close(1011)


def address_text(name: Any) -> str:
    """A socket's address for the log."""
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def serve(
    handler: Handler,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    **options: Any,
) -> WebSocketServer:
    """Serve WebSockets with a coroutine for each connection.

    When the handler returns the connection is closed with 1000; when it raises an exception, with
    1011, and the exception is logged. Use it as ``async with serve(...) as server:`` or as
    ``server = await serve(...)``.

    Args:
        handler: a coroutine function; gets the `WebSocket`.
        host: the address to listen on, or several; None for all.
        port: the port; 0 for a free one.
        options: as for `WebSocketServer`.
    """
    if not callable(handler):
        raise TypeError(f"handler must be a coroutine function, not {handler!r}")
    server = WebSocketServer(host, port, **options)
    server.handler = handler
    return server
