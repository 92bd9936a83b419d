"""What a connection does with extensions that it cannot do by itself.

Messages go as wholes through a container of extensions, both ways, and come out in their order, at
once or later. Only what comes out decides what happens: the state machine goes on with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._backend import Deflate
from ..awaitables import Completion, Failed
from ..exceptions import ExtensionError, PayloadTooBig, wire_error
from ..frames import Opcode, State
from .interface import Message

if TYPE_CHECKING:
    from ..frames import Close
    from .container import Extensions

__all__ = ["Agreed", "Stack", "attach"]

# As many messages may be on their way in, if the queue takes more; then reading stops.
MAX_INCOMING = 16

# Why reading is stopped: what came is answered faster than extensions process the answers.
IN_EXTENSIONS = 64


class Agreed(NamedTuple):
    """What both sides agreed on.

    Args:
        names: of the extensions, in their order.
        header: the response's Sec-WebSocket-Extensions.
    """

    names: tuple[str, ...]
    header: str | None

    @property
    def size(self) -> int:
        """How many bytes wait for extensions: none."""
        return 0

    def rest(self, now: float) -> float:
        """There is nothing to free."""
        return float("inf")


agreed = lru_cache(maxsize=256)(Agreed)


def attach(protocol: Any, extensions: Extensions) -> None:
    """Let a connection use what was agreed; before it is open.

    Permessage-deflate alone is done in the core. With other extensions all of them go through the
    stack.
    """
    sessions = extensions.sessions
    deflate = getattr(sessions[0], "deflate", None) if len(sessions) == 1 else None
    if isinstance(deflate, Deflate):
        # The container is not needed any more: most connections agree on the same.
        protocol.use_deflate(agreed(extensions.names, extensions.header), deflate)
    elif sessions:
        protocol.use_stack(Stack(protocol, extensions))


class Stack:
    """The extensions of a connection, and what they are busy with.

    Args:
        protocol: the connection.
        extensions: what was agreed.
    """

    __slots__ = (
        "_deflating",
        "_extensions",
        "_failed",
        "_fragments",
        "_max_incoming",
        "_protocol",
        "_receiving",
        "_sent",
        "_sizes",
        "_stopped",
        "_waiters",
        "closing",
        "incoming",
        "outgoing",
        "ready",
        "size",
    )

    def __init__(self, protocol: Any, extensions: Extensions) -> None:
        self._protocol = protocol
        self._extensions = extensions
        self._deflating: list[Any] = [
            session
            for session in extensions.sessions
            if isinstance(getattr(session, "deflate", None), Deflate)
        ]
        self._receiving = False
        self._failed = False
        self._fragments: list[bytes] = []
        self._max_incoming = min(protocol.options.max_queue or MAX_INCOMING, MAX_INCOMING)
        # The sizes of the messages on their way out, and their sum.
        self._sizes: deque[int] = deque()
        self.size = 0
        # How many messages have gone out, whether no others will, and who waits for which of them.
        self._sent = 0
        self._stopped = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        #: How many messages are on their way in, and out.
        self.incoming = 0
        self.outgoing = 0
        #: Messages that have come through, and at their end perhaps an error.
        self.ready: deque[Any] = deque()
        #: The close frame to send when all messages have gone out.
        self.closing: Close | None = None

    @property
    def rsv(self) -> int:
        """The reserved bits that they use."""
        return self._extensions.rsv

    @property
    def header(self) -> str | None:
        """What was agreed."""
        return self._extensions.header

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the extensions, in their order."""
        return self._extensions.names

    # In

    def receive(self, opcode: int, rsv: int, data: bytes) -> bool:
        """Begin with a message; False if no more should come for now."""
        message = Message(bool(rsv & 4), bool(rsv & 2), bool(rsv & 1), opcode, data)
        self.incoming += 1
        self._receiving = True
        try:
            self._extensions.process_incoming_message(message, self._processed_incoming)
        finally:
            self._receiving = False
        return self.incoming < self._max_incoming

    def _processed_incoming(self, error: BaseException | None, message: Message | None) -> None:
        if self._failed:
            return
        if error is not None:
            # Nothing comes behind it, however much is still on its way.
            self._failed = True
            self.incoming = 1
        self.incoming -= 1
        self.ready.append(message if error is None else error)
        if not self._receiving:
            self._protocol.on_processed()

    def take(self) -> tuple[int, str | bytes]:
        """The next message that has come through.

        Raises:
            ExtensionError, ProtocolError: there is none, because of this.
        """
        message = self.ready.popleft()
        if isinstance(message, BaseException):
            raise message
        check_opcode(message)
        data = memoryview(message.data).tobytes()
        limit = self._protocol.options.max_size
        if limit is not None and len(data) > limit:
            raise PayloadTooBig(len(data), limit, "Message")
        if message.opcode == Opcode.TEXT:
            if self._protocol.options.skip_utf8_validation:
                return Opcode.TEXT, data
            try:
                return Opcode.TEXT, data.decode()
            except UnicodeDecodeError:
                raise wire_error("WS_ERR_INVALID_UTF8") from None
        return Opcode.BINARY, data

    # Out

    def send(self, opcode: int, data: bytes, fin: bool, compress: bool) -> None:
        """Begin with a message, when all of its fragments are there."""
        if not fin or self._fragments:
            self._fragments.append(data)
            if not fin:
                return
            data = b"".join(self._fragments)
            self._fragments.clear()
        self.outgoing += 1
        self._sizes.append(len(data))
        self.size += len(data)
        for session in self._deflating:
            session.wanted.append(compress)
        message = Message(False, False, False, opcode, data)
        self._extensions.process_outgoing_message(message, self._processed_outgoing)
        if self.outgoing:
            self._tell_size()

    def _processed_outgoing(self, error: BaseException | None, message: Message | None) -> None:
        if self._protocol.negotiated is not self:
            return  # the connection is closed, and has begun another life
        self.outgoing -= 1
        self.size -= self._sizes.popleft()
        self._tell_size()
        protocol = self._protocol
        sent = False
        try:
            if message is not None:
                rsv = bool(message.rsv1) << 2 | bool(message.rsv2) << 1 | bool(message.rsv3)
                if rsv & ~self.rsv:
                    raise ExtensionError("a message has a reserved bit that no extension uses")
                check_opcode(message)
                sent = protocol.send_processed(
                    message.opcode, rsv, memoryview(message.data).tobytes()
                )
        except Exception as failure:  # the masking key, or what is no message
            error = failure
        if sent:
            self._sent += 1
            self._wake(self._sent)
        else:
            self._stopped = True
            self._wake(float("inf"))
        if error is not None:
            protocol.fail(error)
        if not self.outgoing and self.closing is not None:
            protocol.finish_close(self.closing)

    def _tell_size(self) -> None:
        # The first is not waiting for others.
        waiting = self.size - self._sizes[0] if self._sizes else 0
        self._protocol.sends_waiting(IN_EXTENSIONS, waiting)

    def rest(self, now: float) -> float:
        """Free compressors as `Deflate.rest`; returns when to call again."""
        return min((session.deflate.rest(now) for session in self._deflating), default=float("inf"))

    def sent(self) -> Any:
        """What a send returns: the awaitable that waits until its message has gone out."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return Failed(protocol, protocol.closed_error)
        if not self.outgoing:
            return protocol.drain()
        return Completion(partial(self._wait, self._sent + self.outgoing))

    async def _wait(self, number: int) -> None:
        protocol = self._protocol
        if self._sent < number and not self._stopped:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((number, future))
            await future
        if self._sent < number:
            raise protocol.closed_error()
        await protocol.drain()

    def _wake(self, number: float) -> None:
        waiters = self._waiters
        self._waiters = [waiter for waiter in waiters if waiter[0] > number]
        for wanted, future in waiters:
            if wanted <= number and not future.done():
                future.set_result(None)

    # The end

    def close(self) -> None:
        """The connection is closed."""
        self._failed = self._stopped = True
        self.incoming = 0
        self._extensions.close()
        self._wake(float("inf"))


def check_opcode(message: Message) -> None:
    """Refuse what an extension has made that is no message."""
    if message.opcode not in (Opcode.TEXT, Opcode.BINARY):
        raise ExtensionError(f"the opcode of a message is 1 or 2, not {message.opcode!r}")
