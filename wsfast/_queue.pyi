"""The messages that wait for `recv`, compiled. The pure twin is `_pure/queue.py`."""

from typing import Any

class MessageQueue:
    """A queue of messages and fragments.

    A message is its str or bytes; a fragment, in fragment mode, a tuple of opcode, data and fin.
    """

    def __len__(self) -> int: ...
    def append(self, item: Any) -> int:
        """Put an item at the end."""

    def take_message(self) -> Any:
        """Take the next whole message, put together if it is in fragments; None if there is none.

        Fragments whose beginning was taken already are dropped.
        """

    def take_parts(self) -> tuple[int, list[Any]] | None:
        """Like `take_message`, but not put together: its opcode and its fragments.

        A text that did not come in fragments is one str.
        """

    def take_fragment(self) -> Any:
        """Take the next fragment; a whole message is one. None if there is none."""

    def drop_incomplete(self) -> int:
        """Drop the fragments at the end of a message whose last fragment will not come."""

    def clear(self) -> int:
        """Drop all items."""
