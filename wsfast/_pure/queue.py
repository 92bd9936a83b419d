"""The pure twin of `wsfast._queue`: the same queue. See `_queue.pyi`."""

from __future__ import annotations

from collections import deque
from typing import Any

from .frame import BINARY, CONT, TEXT

__all__ = ["MessageQueue"]


class MessageQueue(deque[Any]):
    """A queue of messages and fragments."""

    __slots__ = ("whole",)

    def __init__(self) -> None:
        self.whole = 0  # how many items end a message

    def append(self, item: Any) -> None:
        """Put an item at the end."""
        deque.append(self, item)
        if type(item) is not tuple or item[2]:
            self.whole += 1

    def popleft(self) -> Any:
        item = deque.popleft(self)
        if type(item) is not tuple or item[2]:
            self.whole -= 1
        return item

    def clear(self) -> None:
        """Drop all items."""
        deque.clear(self)
        self.whole = 0

    def take_message(self) -> Any:
        """Take the next whole message, or None."""
        if self and type(self[0]) is not tuple:
            self.whole -= 1
            return deque.popleft(self)
        taken = self.take_parts()
        if taken is None:
            return None
        opcode, parts = taken
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data.decode() if opcode == TEXT and type(data) is bytes else data

    def take_parts(self) -> tuple[int, list[Any]] | None:
        """Take the opcode and the fragments of the next whole message, or None."""
        while self:
            item = self[0]
            if type(item) is not tuple:
                self.popleft()
                return (TEXT if isinstance(item, str) else BINARY), [item]
            if item[0] != CONT:
                break
            self.popleft()  # the rest of a message that recv_streaming() gave up
        # For a message that is not complete nothing is looked through, however often it is asked.
        if not self.whole:
            return None
        count = next(count for count, part in enumerate(self, 1) if part[2])
        parts = [self.popleft() for _ in range(count)]
        return parts[0][0], [data for _, data, _ in parts]

    def take_fragment(self) -> Any:
        """Take the next fragment, or None."""
        if not self:
            return None
        item = self.popleft()
        if type(item) is tuple:
            return item
        return (TEXT if isinstance(item, str) else BINARY), item, True

    def drop_incomplete(self) -> int:
        """Drop the fragments at the end of a message whose last fragment will not come."""
        while self and type(self[-1]) is tuple and not self[-1][2]:
            self.pop()
        return 0
