"""Opening a client's connection: the transport, the opening handshake, and redirects."""

from __future__ import annotations

import asyncio
import inspect
import logging
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from . import logs
from ._backend import encode_frame, masking_key
from .connection import WebSocket, closed_before
from .exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    NetworkError,
    OpenTimeout,
    RedirectError,
)
from .extensions import Extensions
from .extensions.negotiation import activate_extensions, close_reason
from .extensions.stack import attach
from .frames import Opcode, State
from .protocol import handshake
from .protocol.http import Request, Response, ResponseReader
from .redirects import Target, location, next_target
from .sweep import Clients

if TYPE_CHECKING:
    from .client import connect

__all__ = ["ClientHandshake", "Opening"]


class Releaser:
    """What is called with a client's connection at its end.

    Args:
        clients: looked after the connection.
        config: how it was made.
    """

    __slots__ = ("clients", "logger", "stats")

    def __init__(self, clients: Clients, config: connect) -> None:
        self.clients = clients
        self.logger = config.logger
        self.stats = config.stats

    def __call__(self, websocket: WebSocket) -> None:
        self.clients.discard(websocket)
        if isinstance(websocket.driver, Opening):
            logs.opening_failed(self.logger, websocket)
        else:
            logs.connection_closed(self.logger, websocket)


class Opening:
    """The opening of one connection, until it is open or fails.

    It begins the life of the WebSocket, and is its driver until there is another: the user may
    close a connection that is not open yet.

    Args:
        config: what the user wants.
        websocket: what is to be opened; by default a new one.
    """

    def __init__(self, config: connect, websocket: WebSocket | None = None) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._clients = Clients.of(self._loop, config.options.sweep_interval)
        self._first = self._target = Target(config.uri, config.additional_headers, config.auth)
        self._task: asyncio.Task[Any] | None = None
        self._aborted = False
        self._begun = False
        self._in_background = False
        self._unheard: Exception | None = None  # why it failed, if that is to be heard
        self._redirects = 0
        self.is_waiting = False
        """Whether the attempt is delayed."""
        self._handshake = ClientHandshake(config, self._target, self, self._clients)
        life: dict[str, Any] = {
            "options": config.options,
            "driver": self,
            "loop": self._loop,
            "client": True,
            "request": self._handshake.request,
            "release": Releaser(self._clients, config),
            "generate_mask": config.generate_mask,
        }
        if websocket is None:
            websocket = config.websocket_class(None, **life)
        else:
            websocket.begin(**life)
        websocket.url = str(config.uri)
        self.websocket = websocket

    # From the connection, as its driver

    def abort(self, connection: WebSocket) -> None:
        """End it."""
        self._aborted = True
        if self._task is not None:
            self._task.cancel()
        self._loop.call_soon(self._end, connection)

    def _end(self, connection: WebSocket) -> None:
        error, self._unheard = self._unheard, None
        heard = error is None or bool(connection.listeners("error"))
        connection.lost(None)
        if not heard and connection.is_over:
            self._loop.call_exception_handler(
                {
                    "message": "a WebSocket was not opened, and has no 'error' listener",
                    "exception": error,
                    "websocket": connection,
                }
            )

    def get_extra_info(self, connection: WebSocket, name: str, default: Any = None) -> Any:
        """There is nothing to tell."""
        return 0 if name == "buffered" else default

    # Steps

    def start(self) -> None:
        """Open the connection in the background."""
        # The task is not kept before it runs: cancelled then, it would do nothing at all.
        self._loop.create_task(self.run_in_background()).add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        # Who cancels all tasks of a loop may cancel this one before it begins.
        if task.cancelled() and not self._begun:
            self._config.close_socket()
            self.websocket.terminate()
            del self._handshake, self.websocket

    async def run_in_background(self, delay: float = 0.0) -> None:
        """Open the connection; listeners are told if it fails, or else the loop."""
        self._in_background = self._begun = True
        try:
            await self.run(delay)
        except Exception:
            pass  # listeners are told, and it is logged

    async def run(self, delay: float = 0.0) -> WebSocket:
        """Open the connection.

        Args:
            delay: in seconds, before.

        Returns:
            What is open now, unless a listener for "unexpected-response" took over.

        Raises:
            Exception: as `connect` says.
        """
        websocket = self.websocket
        task = self._task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        config = self._config
        error: Exception
        try:
            await self._check_wanted()
            if delay:
                await asyncio.sleep(delay)
            self.is_waiting = False
            config.stats.delay = 0.0
            config.stats.attempts += 1
            async with asyncio.timeout(config.options.open_timeout):
                while (to := await self._attempt()) is not None:
                    self._follow(to)
            return websocket
        except asyncio.CancelledError:
            # The user who closed it does not mean to cancel whoever waits for it.
            if not self._aborted or task.uncancel() > cancelling:
                self._task = None
                websocket.terminate()  # it may be open by now
                raise
            error = websocket.error or closed_before()  # type: ignore[assignment]
        except NetworkError as failure:
            error = failure
        except TimeoutError as failure:
            if failure.errno is None:
                error = OpenTimeout("timed out during opening handshake")
                error.__cause__ = failure
            else:
                error = NetworkError.wrap(failure)
        except OSError as failure:
            error = NetworkError.wrap(failure)
        except Exception as failure:
            error = failure
        finally:
            self._task = None
            if self._handshake.driver is None:
                config.close_socket()
            # Each knows the other.
            del self._handshake, self.websocket
        if not self._aborted:
            config.stats.failed(error)
            self._unheard = error if self._in_background else None
            websocket.abort(error)
        try:
            raise error
        finally:
            # The WebSocket keeps the error, which keeps the frames that it came through.
            clear_frames(error.__traceback__)
            del error, websocket

    async def _check_wanted(self) -> None:
        """End here if a listener closed the connection."""
        if self._aborted:
            await asyncio.sleep(0)  # the cancellation, if there is one, is to arrive here
            raise asyncio.CancelledError

    async def _attempt(self) -> str | None:
        """Make one request; returns where it is redirected to, None if this was the last."""
        opening = self._handshake
        try:
            await self._check_wanted()
            await self._config.open_transport(self._target.uri, opening)
            return await opening.done
        finally:
            if self.websocket.driver is self:  # it is not open
                opening.give_up()

    def _follow(self, to: str) -> None:
        """Prepare the request of a redirect."""
        config, websocket = self._config, self.websocket
        self._redirects += 1
        if self._redirects > config.max_redirects:
            raise RedirectError("Maximum redirects exceeded")
        current = self._target
        authorization = self._handshake.request.headers.get_all("Authorization")
        if authorization and "Authorization" not in current.headers:
            # The first that is sent is sent on (RD1).
            headers = current.headers.copy()
            for value in authorization:
                headers["Authorization"] = value
            current = current._replace(headers=headers)
        self._target = next_target(
            self._first,
            current,
            to,
            keep=bool(websocket.listeners("redirect")),
            allow_insecure=config.follow_redirects == "insecure",
        )
        config.check_redirect(self._target.uri)
        self._handshake = ClientHandshake(config, self._target, self, self._clients)
        websocket._request = self._handshake.request
        websocket.url = str(self._target.uri)
        websocket.emit("redirect", websocket.url, self._handshake.request)


class ClientHandshake:
    """One request and its response: the driver's target before the WebSocket is.

    Args:
        config: what the user wants.
        target: what to request.
        opening: what this is a part of.
        clients: looks after the connection when it is open.
    """

    __slots__ = (
        "_clients",
        "_config",
        "_extensions",
        "_key",
        "_linger",
        "_loop",
        "_opening",
        "_reader",
        "_task",
        "done",
        "driver",
        "request",
    )

    def __init__(self, config: connect, target: Target, opening: Opening, clients: Clients) -> None:
        self._config = config
        self._opening = opening
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        self._reader = ResponseReader()
        self._key = handshake.generate_key()
        self._extensions = Extensions(config.extensions, strict=True)
        self.request: Request = config.build_request(
            target, self._key, self._extensions.generate_offer()
        )
        self.driver: Any = None
        self._linger: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None  # while finish_request is awaited
        self.done: asyncio.Future[str | None] = self._loop.create_future()
        """Where it is redirected to; None if the connection is open, or a listener took over."""

    # From the driver

    def connected(self, driver: Any) -> None:
        self.driver = driver
        finish_request = self._config.finish_request
        if finish_request is None:
            self._send()
            return
        try:
            result = finish_request(self.request, self._opening.websocket)
        except Exception as error:
            self._fail(error)
            return
        if inspect.isawaitable(result):
            self._task = self._loop.create_task(self._finish(result))
        else:
            self._send()

    async def _finish(self, awaitable: Any) -> None:
        try:
            await awaitable
        except asyncio.CancelledError:
            self._fail(InvalidHandshake("finish_request was cancelled"))  # by itself
            raise
        except Exception as error:
            self._fail(error)
        else:
            self._send()

    def _send(self) -> None:
        if self.done.done() or self._opening.websocket.state is not State.CONNECTING:
            return  # the hook closed the connection, or took too long
        try:
            head = self.request.serialize()
        except ValueError as error:
            self._fail(error)
        else:
            self.driver.write(self, (head,))

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
        if self.done.done():
            return False
        try:
            response = self._reader.eof()
        except InvalidHandshake as error:
            error.__cause__ = EOFError("the server closed the connection")
            self._fail(error)
            return False
        try:
            self._answer(response, b"")
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
                message = InvalidMessage("connection closed while reading HTTP status line")
                message.__cause__ = EOFError("the server closed the connection")
                self._fail(message)

    def give_up(self) -> None:
        """It failed, was redirected, or whoever waited is gone: close the transport."""
        self._extensions.close()
        if self._task is not None:
            self._task.cancel()
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # not to be complained about
        if self.driver is not None and self._linger is None:
            self.driver.abort(self)

    # Steps

    def _answer(self, response: Response, rest: Any) -> None:
        config, websocket = self._config, self._opening.websocket
        websocket._response = response
        if response.status_code != 101:
            self._take_other(response)
            return
        websocket.emit("upgrade", response)
        if websocket.state is not State.CONNECTING:
            return  # the listener closed it
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
        websocket.subprotocol = subprotocol
        self.driver.target = websocket
        websocket.use_driver(self.driver)
        attach(websocket, self._extensions)
        websocket.opened()
        self._clients.add(websocket)
        config.stats.connections += 1
        if config.logger.isEnabledFor(logging.DEBUG):
            logs.connection_opened(config.logger, websocket)
        self.done.set_result(None)
        websocket.tell_open()
        if rest:
            websocket.receive_soon(bytes(rest))

    def _take_other(self, response: Response) -> None:
        """Follow a redirect, or let the user see the response, or fail."""
        to = location(response) if self._config.follow_redirects else None
        if to is not None:
            self.done.set_result(to)
        elif not self._opening.websocket.emit("unexpected-response", self.request, response):
            raise InvalidStatus(response)
        elif not self.done.done():  # the listener may have closed it
            self.done.set_result(None)  # it decides what is next

    def _refuse_extensions(self, error: InvalidHandshake) -> None:
        """Tell the server, which believes that the connection is open, why it is not."""
        payload = (1010).to_bytes(2, "big") + close_reason(error).encode()
        frame = encode_frame(Opcode.CLOSE, payload, True, 0, masking_key())
        self.driver.write(self, (frame,))
        self.driver.shutdown_write(self)
        timeout = self._config.options.close_timeout or 10
        self._linger = self._loop.call_later(timeout, self.driver.abort, self)

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
