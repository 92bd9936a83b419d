"""The pure twin of `wsfast._broadcast`. See `_broadcast.pyi`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..frames import State

if TYPE_CHECKING:
    from ..extensions.deflate import DeflateParameters

__all__ = ["send_to_all"]


class Round:
    """The broadcasts of one pass of the loop."""

    __slots__ = ("holding", "over")

    def __init__(self) -> None:
        self.holding: list[Any] = []  # the connections that have something to send when it ends
        self.over = False

    def end(self) -> None:
        self.over = True
        holding, self.holding = self.holding, []
        for i, connection in enumerate(holding):
            try:
                connection._scheduled_flush()
            except Exception as error:
                # What it should have sent is gone, but for this connection only.
                connection.abort(error)
            except BaseException:
                self.holding = holding[i + 1 :]
                connection.loop.call_soon(self.end)
                raise


def send_to_all(
    connections: tuple[Any, ...],
    frame: bytes,
    size: int,
    wait: bool,
    compressed: Any = None,
) -> list[Any]:
    frames: dict[tuple[Any, ...], bytes] = {}
    parameters: DeflateParameters | None = None
    latest = frame
    current: Round | None = None
    others = []
    for connection in connections:
        if connection.state is not State.OPEN:
            continue
        fragment_size = connection.options.fragment_size
        if (
            connection.client  # which needs a masking key of its own
            or connection._stacked
            or connection.is_sending_fragments
            or connection.outbox is not None
            or (fragment_size is not None and size > fragment_size)
            or (connection.is_blocked and not wait)
        ):
            others.append(connection)
            continue
        chosen = frame
        deflate = connection.deflate
        if deflate is not None:
            if deflate.parameters is not parameters:
                parameters = deflate.parameters
                sending = parameters.sending
                if sending not in frames:
                    frames[sending] = compressed(parameters)
                latest = frames[sending]
            chosen = latest
            if chosen is not frame:
                # The peer will look back on what our compressor has not seen.
                deflate.forget()
        if connection.broadcasts is None or connection.broadcasts.over:
            if current is None:
                current = Round()
                connection.loop.call_soon(current.end)
            connection.broadcasts = current
            connection.send_prepared(chosen, size, None)
        else:
            connection.send_prepared(chosen, size, connection.broadcasts)
    return others
