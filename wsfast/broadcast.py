"""One message to many connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from ._backend import Connection, compress_alone, encode_frame, send_to_all
from .awaitables import Completion, Deferred, Operation
from .frames import RSV1, CloseCode, Opcode, State

if TYPE_CHECKING:
    from .connection import WebSocket
    from .extensions.deflate import DeflateParameters
    from .typing import DataLike

__all__ = ["broadcast"]


def broadcast(
    connections: Iterable[WebSocket],
    data: DataLike,
    *,
    slow: Literal["drop", "close", "wait"] = "drop",
) -> Operation[None]:
    """Send a message to every connection that is open.

    The frame is made once, and compressed once for each set of parameters that was agreed: such a
    copy refers to no message before it, nor does the next message of the connections to it. A
    connection that is in the middle of a message gets this one behind it; but between fragments
    that are sent by hand, with ``fin=False``, it cannot be sent: it is dropped for that connection.
    On another thread it acts when the loop awaits it, as `send`.

    Args:
        connections: as `WebSocketServer.connections`; all of one event loop.
        data: str is sent as text, anything bytes-like as binary. With a codec, what its ``encode``
            returns.
        slow: what to do for a connection with more than ``write_limit`` bytes to write: "drop" the
            message, "close" the connection with 1013, or "wait": send, and awaiting the result
            waits for all of them.

    Raises:
        TypeError, UnicodeEncodeError: at the call; nothing is sent.
        ValueError: at the call; ``slow`` is something else.
    """
    if slow not in ("drop", "close", "wait"):
        raise ValueError(f'slow must be "drop", "close" or "wait", not {slow!r}')
    if isinstance(data, str):
        opcode, payload = Opcode.TEXT, data.encode()
    else:
        try:
            opcode, payload = Opcode.BINARY, memoryview(data).tobytes()
            data = payload
        except TypeError:
            raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}") from None
    connections = tuple(connections)
    if connections and connections[0]._thread != threading.get_ident():
        return Deferred(broadcast, connections, data, slow=slow)
    frame = encode_frame(opcode, payload)
    waits: list[Any] = []

    def compressed(parameters: DeflateParameters) -> bytes:
        if len(payload) >= parameters.threshold:
            smaller = compress_alone(parameters, payload)
            if len(smaller) < len(payload):
                return encode_frame(opcode, smaller, True, RSV1)
        return frame

    left_out = send_to_all(connections, frame, len(payload), slow == "wait", compressed)
    for websocket in left_out:
        if websocket.is_blocked and slow == "close":
            websocket.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        elif (websocket.is_blocked and slow == "drop") or (
            websocket.is_sending_fragments and websocket.outbox is None
        ):
            websocket.messages_dropped += 1
        else:
            waits.append(Connection.send(websocket, data))  # it is encoded
    if slow == "wait":
        waits += [
            websocket.drain()
            for websocket in set(connections).difference(left_out)
            if websocket.is_blocked and websocket.state is State.OPEN
        ]
    return Completion(lambda: wait_for_all(waits))


async def wait_for_all(waits: list[Any]) -> None:
    """Wait for each; a connection that ends meanwhile is not an error."""
    await asyncio.gather(*waits, return_exceptions=True)
