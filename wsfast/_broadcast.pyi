"""One frame to many connections, compiled. The pure twin is `_pure/broadcast.py`."""

from collections.abc import Callable
from typing import Any

from .extensions.deflate import DeflateParameters

class Round:
    """The broadcasts of one pass of the loop."""

    def end(self) -> None:
        """The pass is over: send what is held."""

def send_to_all(
    connections: tuple[Any, ...],
    frame: bytes,
    size: int,
    wait: bool,
    compressed: Callable[[DeflateParameters], bytes] | None = None,
) -> list[Any]:
    """Send a frame that was made before to every connection that is open.

    In a pass of the loop the first leaves at once, and what follows when the pass ends.

    Args:
        frame: without a masking key.
        size: of its payload.
        wait: whether to send to those with blocked writes, too.
        compressed: called once for each set of parameters; returns the frame for those who agreed
            on it, or the same frame if it is to be sent as it is.

    Returns:
        The connections that it was not sent to, though they are open: those that need frames of
        their own, are in the middle of a message, or are blocked.
    """
