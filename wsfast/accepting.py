"""The server's side of the opening handshake of one connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from inspect import isawaitable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from . import logs
from .connection import WebSocket
from .exceptions import InvalidHandshake, InvalidOrigin, InvalidPath, NetworkError
from .extensions.negotiation import accept_extensions
from .extensions.stack import attach
from .protocol import handshake
from .protocol.http import HeadReader, Request, Response, parse_request

if TYPE_CHECKING:
    from .extensions import Extensions
    from .server import WebSocketServer

__all__ = ["SERVER_CLOSING", "ClientInfo", "ServerHandshake"]

# They yield a hook and its arguments, and return the response, or the head of a 101 as it is sent.
Steps = Generator[tuple[Callable[..., Any], tuple[Any, ...]], Any, Response | bytes]

# How long, in seconds, a refused client gets to read the answer before the connection is closed.
LINGER = 2.0

SERVER_CLOSING = "The server is closing.\n"

# How many bytes behind the request are kept while a hook is awaited. Reading goes on as far, which
# is how one learns that the client is gone.
MAX_EARLY = 16 * 1024


class ClientInfo(NamedTuple):
    """What ``verify_client`` gets.

    Args:
        origin: the Origin header, None if there is none.
        request: the request.
        secure: whether the client used TLS: by the word of a trusted proxy, if it came by one.
    """

    origin: str | None
    request: Request
    secure: bool


class ServerHandshake:
    """The opening handshake of one connection: the driver's target before the WebSocket is.

    The steps are a generator, which yields the hooks to call. As long as hooks return what need not
    be awaited there is no task.
    """

    __slots__ = (
        "_answered",
        "_deadline",
        "_driver",
        "_extensions",
        "_paused",
        "_reader",
        "_request",
        "_rest",
        "_server",
        "_started",
        "_task",
        "_ws",
    )

    announces = True  # "connection" is emitted at the end

    def __init__(self, server: WebSocketServer) -> None:
        self._server = server
        self._reader: HeadReader | None = HeadReader()
        self._driver: Any = None
        self._request: Request | None = None
        self._rest = b""
        self._ws: WebSocket | None = None
        self._extensions: Extensions | None = None
        self._task: asyncio.Task[None] | None = None  # while a hook is awaited
        self._paused = False
        self._started = False
        self._answered = False
        timeout = server.options.open_timeout
        self._deadline = float("inf") if timeout is None else monotonic() + timeout

    # From the driver

    def connected(self, driver: Any) -> None:
        self._driver = driver
        self._server.handshake_started(self)

    def tls_failed(self, error: Exception) -> None:
        """There will be no request; the driver has sent the alert that says why."""
        error = NetworkError.wrap(error)
        self._server.tally.failed(error)
        logs.tls_failed(self._server.logger, self._driver, error)
        self._hang_up()

    def received(self, data: Any) -> None:
        self._started = True
        if self._answered:
            return  # what comes behind a refused request is discarded
        if self._reader is None:
            self._rest += bytes(data)
            self._limit_rest()
            return
        try:
            result = self._reader.feed(data)
            if result is None:
                return
            self._reader = None
            head, self._rest = result
            request = parse_request(head)
        except InvalidHandshake as error:
            self._refuse(error)
            return
        self._begin(request, head)

    def _begin(self, request: Request, head: Request | bytes) -> None:
        """Take the steps as far as they go without waiting for a hook."""
        self._request = request
        steps = self._steps(request, head)
        awaitable = self._advance(steps, None)
        if awaitable is not None:
            self._limit_rest()
            task = self._server._start_task(self._await(steps, awaitable))
            if not self._answered:  # as an eager task may have done
                self._task = task

    def _limit_rest(self) -> None:
        """Stop reading if much came behind the request."""
        if len(self._rest) > MAX_EARLY and not self._paused:
            self._driver.pause(self)
            self._paused = True

    def eof(self) -> bool:
        return False

    def writable(self) -> None:
        pass

    def lost(self, error: BaseException | None) -> None:
        self._answered = True
        self._end_hook()
        self._drop_extensions()
        if self._ws is not None:
            self._ws.lost(error)  # a hook may have given it to somebody who waits for its end
        self._server.handshake_ended(self)

    def tick(self, now: float) -> None:
        """End a handshake that takes too long, or a refused client that does not go."""
        if now >= self._deadline:
            if not self._answered:
                logs.handshake_timed_out(self._server.logger, self._driver)
            self.abort()

    @property
    def is_answered(self) -> bool:
        """Whether the client has its answer, or is gone."""
        return self._answered

    def abort(self) -> None:
        """End the connection at once."""
        self._driver.abort(self)

    # Steps

    def _advance(self, steps: Steps, value: Any) -> Any:
        """Go on until a hook returns what must be awaited, which is returned, or to the end."""
        try:
            while True:
                hook, arguments = steps.send(value)
                try:
                    value = hook(*arguments)
                except (Exception, asyncio.CancelledError) as error:
                    # What is cancelled is something that the hook asked for, not the handshake.
                    self._fail(error)
                    return None
                if value is not None and isawaitable(value):
                    return value
        except StopIteration as stop:
            response = stop.value
        except InvalidHandshake as error:
            self._refuse(error)
            return None
        except Exception as error:
            self._fail(error)
            return None
        # Behind the try: what a handler raises as it starts has no StopIteration as its context.
        if isinstance(response, Response) and response.status_code != 101:
            logs.handshake_refused(self._server.logger, self._driver, response.status_code)
        self._answer(response)
        return None

    async def _await(self, steps: Steps, awaitable: Any) -> None:
        """Await what a hook returned, and go on."""
        try:
            while awaitable is not None:
                value = await awaitable
                awaitable = None if self._answered else self._advance(steps, value)
        except Exception as error:
            self._fail(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._answer(handshake.rejection(error))
                raise
            self._fail(error)
        finally:
            steps.close()

    def _end_hook(self) -> None:
        """Nobody waits any more for the hook that is awaited."""
        task, self._task = self._task, None
        if task is not None:
            # Not before it begins: what the hook returned would never be awaited.
            self._server.loop.call_soon(task.cancel)

    def _steps(self, request: Request, head: Request | bytes) -> Steps:
        """The checks, in the order of DESIGN section 5; returns the response."""
        server = self._server
        unavailable = server.unavailable()
        if unavailable is not None:
            return unavailable
        if server.cors is not None and request.method == "OPTIONS":
            preflight = server.cors.preflight(request)
            if preflight is not None:
                return preflight
        hears_headers = "headers" in server.heard
        keep = (
            server.process_request
            or server.process_response
            or server.verify_client
            or hears_headers
        )
        ws = self._ws = server.websocket_class(
            None,
            options=server.options,
            driver=self._driver,
            loop=server.loop,
            client=False,
            request=request if keep else head,
            release=server.release,
            server=server,
        )
        response: Response | None
        if server.process_request is not None:
            response = yield server.process_request, (ws, request)
            if response is not None:
                return check_response(response, "process_request")
        handshake.check_method(request)
        handled = server.should_handle(request)
        if handled is not True:
            if handled is not False:
                # Whatever it is, a coroutine for instance, it must not let everybody in.
                raise TypeError(f"should_handle must return a bool, not {handled!r}")
            raise InvalidPath(request.path)
        upgrade = handshake.check_upgrade(request.headers)
        origin = handshake.check_origin(request.headers, upgrade.version, server.origins)
        if server.verify_client is not None:
            secure = ws.client_scheme == "wss"
            verdict = yield server.verify_client, (ClientInfo(origin, request, secure),)
            if isinstance(verdict, Response):
                return verdict
            if not isinstance(verdict, bool):
                # Whatever it is, a coroutine for instance, it must not let everybody in.
                raise TypeError(f"verify_client must return a bool or a Response, not {verdict!r}")
            if not verdict:
                return handshake.text_response(401, "The server refused the client.\n")
        offered = handshake.offered_subprotocols(request.headers)
        if server.select_subprotocol is not None:
            selected = yield server.select_subprotocol, (ws, offered)
            ws.subprotocol = handshake.check_selected_subprotocol(selected, offered)
        else:
            ws.subprotocol = handshake.select_subprotocol(offered, server.subprotocols)
        self._extensions = accept_extensions(request.headers, server.extensions)
        extensions = None if self._extensions is None else self._extensions.header
        if server.process_response is None and not hears_headers:
            if keep or server.select_subprotocol is not None:
                unavailable = server.unavailable()  # it may be, since a hook was awaited
            return unavailable or handshake.accept_head(
                upgrade.key, ws.subprotocol, extensions, server.server_header
            )
        response = handshake.accept_response(
            upgrade.key,
            subprotocol=ws.subprotocol,
            extensions=extensions,
            server_header=server.server_header,
        )
        if server.process_response is not None:
            other = yield server.process_response, (ws, request, response)
            if other is not None:
                response = check_response(other, "process_response")
        unavailable = server.unavailable()
        if unavailable is not None:
            return unavailable
        if hears_headers and response.status_code == 101:
            server.emit("headers", response.headers, request)
        return response

    def turn_away(self) -> None:
        """The server closes: wait neither for the request nor for a hook."""
        if self._started and not self._answered:
            self._end_hook()
            self._answer(handshake.text_response(503, SERVER_CLOSING))
        elif not (self._answered and self._driver.get_extra_info(self, "buffered")):
            # It has asked for nothing, as browsers that connect in advance, or has its answer.
            # One that is on its way, a page for instance, gets as far as close_timeout lets it.
            self._driver.abort(self)

    def _refuse(self, error: InvalidHandshake) -> None:
        """Answer a bad request."""
        server = self._server
        server.tally.failed(error)
        response = handshake.rejection(error)
        # What is valid, but not for here, is no error of the client.
        if "client-error" in server.heard and not isinstance(error, (InvalidPath, InvalidOrigin)):
            server.emit("client-error", error, response, self._request)
            if response.status_code == 101:
                self._fail_response(ValueError("a bad request cannot be answered with 101"))
                return
        logs.handshake_refused(server.logger, self._driver, response.status_code, error)
        self._answer(response)

    def _fail(self, error: BaseException) -> None:
        """Answer a request that a hook failed at."""
        self._note_failure(error)
        self._answer(handshake.rejection(error))

    def _note_failure(self, error: BaseException) -> None:
        self._server.tally.failed(error)
        logs.handshake_failed(self._server.logger, self._driver, error)

    def _answer(self, response: Response | bytes) -> None:
        if self._answered:
            return  # the client is gone
        self._task = None
        if self._paused:
            # Before the first frames, which may fill the queue and stop reading.
            self._driver.resume(self)
        server = self._server
        answer: bytes
        if isinstance(response, bytes):
            answer = response
        elif response.status_code != 101 or self._ws is None:
            try:
                if server.cors is not None and self._request is not None:
                    response = server.cors.apply(response, self._request)
                date = handshake.http_date(time.time())
                answer = self._closing(response, date).serialize()
            except Exception as error:
                self._fail_response(error)
                return
            self._end(answer, response.status_code)
            return
        else:
            try:
                self._check_extensions(response)
                answer = response.serialize()
            except Exception as error:
                self._fail_response(error)
                return
        self._answered = True
        websocket = self._ws
        assert websocket is not None
        if not isinstance(response, bytes):
            websocket._response = response
        driver = self._driver
        driver.write(self, (answer,))
        driver.target = websocket
        if self._extensions is not None:
            attach(websocket, self._extensions)
        websocket.opened()
        server.accept_connection(websocket, self._request if self.announces else None)
        server.handshake_ended(self)
        if self._rest:
            websocket.receive_soon(self._rest)

    def _closing(self, response: Response, date: str | None = None) -> Response:
        head = self._request is not None and self._request.method == "HEAD"
        return handshake.closing_response(response, date=date, head=head)

    def _check_extensions(self, response: Response) -> None:
        """A hook may have left them out; it cannot have agreed to others."""
        header = response.headers.get("Sec-WebSocket-Extensions")
        if header is None:
            self._drop_extensions()
        elif self._extensions is None or header != self._extensions.header:
            raise ValueError(
                "process_response and listeners for 'headers' cannot change "
                "Sec-WebSocket-Extensions, only leave it out"
            )

    def _drop_extensions(self) -> None:
        """The handshake fails behind their negotiation."""
        if self._extensions is not None:
            self._extensions.close()
            self._extensions = None

    def _fail_response(self, error: Exception) -> None:
        """A hook's response cannot be sent, for instance because of a line break in a header."""
        self._note_failure(error)
        response = self._closing(handshake.rejection(error))
        self._end(response.serialize(), response.status_code)

    def _end(self, answer: bytes, status_code: int) -> None:
        """Answer, and close."""
        self._server.tally.refused(status_code)
        self._driver.write(self, (answer,))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close so that what was sent arrives: what comes is read and discarded."""
        self._answered = True
        self._reader = None
        self._drop_extensions()
        timeout = self._server.options.close_timeout
        if not self._driver.get_extra_info(self, "buffered"):
            timeout = LINGER if timeout is None else min(timeout, LINGER)
        self._deadline = float("inf") if timeout is None else monotonic() + timeout
        self._driver.shutdown_write(self)


def check_response(response: Any, hook: str) -> Response:
    """Refuse what a hook must not return."""
    if not isinstance(response, Response):
        raise TypeError(f"{hook} must return a Response or None, not {response!r}")
    return response
