"""The pure twin of `wsfast._queue`: the same queue. See `_queue.pyi`."""

from __future__ import annotations

from collections import deque
from typing import Any

from .frame import BINARY, CONT, TEXT

__all__ = ["MessageQueue"]


class MessageQueue(deque[Any]):
    """A queue of messages and fragments."""

    __slots__ = ()

    def take_message(self) -> Any:
        """Take the next whole message, or None."""
        while self:
            item = self[0]
            if type(item) is not tuple:
                return self.popleft()
            if item[0] != CONT:
                break
            self.popleft()  # the rest of a message that recv_streaming() gave up
        for count, part in enumerate(self, 1):
            if part[2]:
                parts = [self.popleft() for _ in range(count)]
                data = b"".join([data for _, data, _ in parts])
                return data.decode() if parts[0][0] == TEXT else data
        return None

    def take_fragment(self) -> Any:
        """Take the next fragment, or None."""
        if not self:
            return None
        item = self.popleft()
        if type(item) is tuple:
            return item
        return (TEXT if isinstance(item, str) else BINARY), item, True

    def take_batch(self) -> list[Any] | None:
        """Take all whole messages, or None."""
        batch = []
        while (message := self.take_message()) is not None:
            batch.append(message)
        return batch or None
