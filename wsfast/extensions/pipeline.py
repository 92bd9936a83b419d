"""How messages go through the sessions: in order, also when sessions answer later.

As long as every session answers at once, a message goes through a plain loop and nothing else is
made. The first one that has to wait opens the queue of its direction: what follows is handed to the
first session at once, and each message goes on to the next session when the one before it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from ..awaitables import Completion
from ..exceptions import ConcurrencyError, ExtensionError, InvalidState, ProtocolError
from .answers import Answer, begin, close_session, processor
from .interface import Session

__all__ = ["Callback", "Direction", "Pipeline"]

logger = logging.getLogger("wsfast.extensions")

Callback: TypeAlias = Callable[[Exception | None, Any], object]

# The states of a direction. Only an idle one takes the plain loop.
IDLE = 0
LOOPING = 1  # a message is in the loop
QUEUED = 2  # messages wait for sessions
FAILED = 3  # a session failed; nothing more comes out
CLOSED = 4


class Entry:
    """A message in a queue, linked with those in front of it and behind it."""

    __slots__ = ("answer", "behind", "callback", "dropped", "front", "message", "ready", "stage")

    def __init__(self, callback: Callback, front: Entry | None, stage: int = 0) -> None:
        self.callback = callback
        self.front = front
        self.behind: Entry | None = None
        self.stage = stage  # the index of the session that has it
        self.ready = False  # that session has answered `message`
        self.message: Any = None
        self.answer: Answer | None = None
        self.dropped = False


class Direction:
    """One way through the sessions.

    Args:
        stages: the name of each extension in this order, and the function of its session.
    """

    __slots__ = ("error", "failed", "head", "stages", "state", "tail")

    def __init__(self, stages: Sequence[tuple[str, Callable[[Any], Any]]]) -> None:
        self.stages = tuple(stages)
        self.state = IDLE
        self.head: Entry | None = None
        self.tail: Entry | None = None
        self.error: ExtensionError | ProtocolError | None = None
        # The entry that failed, and those behind it, until all in front have come out.
        self.failed: deque[Entry] | None = None

    def holds(self, stage: int) -> bool:
        """Whether a message is at this stage, or will come to it."""
        return self.tail is not None and self.tail.stage <= stage

    def append(self, callback: Callback, stage: int = 0) -> Entry:
        """Put an entry behind all others."""
        entry = Entry(callback, self.tail, stage)
        if self.tail is None:
            self.head = entry
        else:
            self.tail.behind = entry
        self.tail = entry
        return entry

    def popleft(self) -> None:
        """Take the first entry out."""
        assert self.head is not None
        self.head = self.head.behind
        if self.head is None:
            self.tail = None
            if self.state == QUEUED:
                self.state = IDLE
        else:
            self.head.front = None

    def cut(self, entry: Entry) -> deque[Entry]:
        """Take an entry and all behind it out."""
        self.tail = entry.front
        if self.tail is None:
            self.head = None
        else:
            self.tail.behind = None
        entries: deque[Entry] = deque()
        rest: Entry | None = entry
        while rest is not None:
            rest.dropped = True
            rest.ready = False
            if rest.answer is not None:
                rest.answer.cancel()
            entries.append(rest)
            rest = rest.behind
        return entries

    def refusal(self) -> InvalidState:
        """The error of a message that is not processed."""
        if self.error is None:
            return InvalidState("the extensions are closed")
        refusal = InvalidState(f"an extension failed at a message before: {self.error}")
        refusal.__cause__ = self.error
        return refusal


class Pipeline:
    """Sends messages through the sessions of a connection, and closes them.

    Args:
        sessions: the names of the active extensions, in their order, with their sessions.
    """

    __slots__ = ("_closing", "_open", "_waiters", "incoming", "outgoing")

    def __init__(self, sessions: Sequence[tuple[str, Session]]) -> None:
        self.outgoing = Direction(
            [(name, processor(session.process_outgoing_message)) for name, session in sessions]
        )
        self.incoming = Direction(
            [
                (name, processor(session.process_incoming_message))
                for name, session in reversed(sessions)
            ]
        )
        # With the place of each in `outgoing`.
        self._open = list(enumerate(sessions))
        self._closing = False
        self._waiters: list[Callable[[], object]] = []

    def process(self, direction: Direction, message: Any, callback: Callback | None) -> Any:
        """Process a message; see `Extensions.process_outgoing_message`."""
        if direction.state:
            return self._queue(direction, message, callback)
        direction.state = LOOPING
        answer = error = None
        name = ""
        try:
            for name, process in direction.stages:  # noqa: B007 (who failed, or has to be waited for)
                result = process(message)
                if type(result) is not type(message):
                    answer = begin(result)
                    if answer is not None:
                        if not answer.done or answer.error is not None:
                            break
                        result, answer = answer.message, None
                message = result
        except Exception as caught:
            error = ExtensionError.wrap(name, caught)
        finally:
            direction.state = CLOSED if self._closing else IDLE
        if answer is not None:
            if not answer.done:
                return self._wait(direction, name, answer, callback)
            error = ExtensionError.wrap(name, answer.error)
        if error is not None:
            direction.state = FAILED
            direction.error = error
        if self._closing:
            self._settle()
        if callback is not None:
            callback(error, None if error else message)
            return None
        if error is not None:
            raise error
        return message

    def close(self, callback: Callable[[], object] | None) -> Completion[None] | None:
        """Close the sessions; see `Extensions.close`."""
        self._closing = True
        for direction in (self.incoming, self.outgoing):
            if direction.state in (IDLE, QUEUED):
                direction.state = CLOSED
        self._settle()
        if callback is None:
            return Completion(self._closed_future)
        if self._closed():
            callback()
        else:
            self._waiters.append(callback)
        return None

    # The queue of a direction

    def _wait(
        self, direction: Direction, name: str, answer: Answer, callback: Callback | None
    ) -> asyncio.Future[Any] | None:
        """Open the queue for the message that a session answers later."""
        if direction.state == IDLE:
            direction.state = QUEUED
        stage = [stage[0] for stage in direction.stages].index(name)
        entry = direction.append(callback or ignore, stage)
        self._listen(direction, entry, answer)
        future = None
        if callback is None:
            # Now, since it needs a running loop: the message goes its way without one, too.
            future, entry.callback = promise()
        if self._closing:
            self._settle()
        return future

    def _queue(
        self, direction: Direction, message: Any, callback: Callback | None
    ) -> asyncio.Future[Any] | None:
        """Put a message behind those that wait, or refuse it."""
        if direction.state == LOOPING:
            raise ConcurrencyError("a session cannot send a message the way it is just working in")
        if direction.state == QUEUED or direction.failed:
            future = None
            if callback is None:
                future, callback = promise()
            if direction.failed:  # has not come out yet, and is what the caller has to hear first
                direction.failed.append(Entry(callback, None))
            else:
                self._hand(direction, direction.append(callback), 0, message)
            return future
        if callback is None:
            raise direction.refusal()
        callback(direction.refusal(), None)
        return None

    def _hand(self, direction: Direction, entry: Entry, stage: int, message: Any) -> None:
        """Give a message to the session of a stage, or to the driver after the last one."""
        entry.stage = stage
        entry.ready = False
        if stage == len(direction.stages):
            direction.popleft()
            tell(entry.callback, None, message)
            self._tell_failed(direction)
            return
        try:
            result = direction.stages[stage][1](message)
            answer = None if type(result) is type(message) else begin(result)
        except Exception as error:
            self._answered(direction, entry, error, None)
        else:
            if answer is None:
                self._answered(direction, entry, None, result)
            elif answer.done:
                self._answered(direction, entry, answer.error, answer.message)
            else:
                self._listen(direction, entry, answer)

    def _listen(self, direction: Direction, entry: Entry, answer: Answer) -> None:
        if entry.dropped:  # by what the session itself has called
            answer.cancel()
        else:
            entry.answer = answer
            answer.listener = partial(self._answered, direction, entry)

    def _answered(self, direction: Direction, entry: Entry, error: object, message: Any) -> None:
        """Take what a session made of a message, and hand on what may leave its stage."""
        if entry.dropped:
            return
        entry.answer = None
        if error is not None:
            self._fail(direction, entry, error)
            return
        entry.message = message
        entry.ready = True
        stage = entry.stage
        following: Entry | None = entry
        while (
            following is not None
            and following.ready
            and following.stage == stage
            and (following.front is None or following.front.stage > stage)
        ):
            entry = following
            following = entry.behind
            self._hand(direction, entry, stage + 1, entry.message)
            if self._closing:
                self._settle()

    def _fail(self, direction: Direction, entry: Entry, error: object) -> None:
        """Let nothing out of a direction but what is in front of the entry, and then the error."""
        direction.state = FAILED
        direction.error = ExtensionError.wrap(direction.stages[entry.stage][0], error)
        failed = direction.cut(entry)
        failed.extend(direction.failed or ())
        direction.failed = failed
        self._tell_failed(direction)
        if self._closing:
            self._settle()

    def _tell_failed(self, direction: Direction) -> None:
        """Tell the error, and those behind it that they were dropped, when it is their turn."""
        if direction.head is None and direction.failed:
            tell(direction.failed.popleft().callback, direction.error, None)
            while direction.failed:
                tell(direction.failed.popleft().callback, direction.refusal(), None)

    # Closing

    def _settle(self) -> None:
        """Close each session that nothing more comes to, and tell when all is done."""
        if self.incoming.state == LOOPING or self.outgoing.state == LOOPING:
            return
        last = len(self.outgoing.stages) - 1
        for item in self._open.copy():
            index, (name, session) = item
            busy = self.outgoing.holds(index) or self.incoming.holds(last - index)
            if not busy and item in self._open:
                self._open.remove(item)
                close_session(name, session)
        if self._waiters and self._closed():
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                tell(waiter)

    def _closed(self) -> bool:
        return not (self._open or self.incoming.failed or self.outgoing.failed)

    def _closed_future(self) -> asyncio.Future[None] | None:
        if self._closed():
            return None
        future = asyncio.get_running_loop().create_future()
        self._waiters.append(lambda: None if future.done() else future.set_result(None))
        return future


def promise() -> tuple[asyncio.Future[Any], Callback]:
    """A future of the running loop, and the callback that completes it."""
    future = asyncio.get_running_loop().create_future()

    def complete(error: Exception | None, message: Any) -> None:
        if future.done():  # it was cancelled
            return
        if error is None:
            future.set_result(message)
        else:
            future.set_exception(error)
            future.exception()  # so that it may be ignored

    return future, complete


def ignore(error: Exception | None, message: Any) -> None:
    """The callback of who was told already."""


def tell(callback: Callable[..., object], *arguments: Any) -> None:
    """Call the driver back; what it raises must not stop the messages behind."""
    try:
        callback(*arguments)
    except Exception:
        logger.exception("a callback for messages failed")
