"""The sending side of a connection, compiled. The pure twin is `_pure/writing.py`."""

from asyncio import AbstractEventLoop
from typing import Any

from ._protocol import Protocol

class Writer(Protocol):
    """A `Protocol` that holds frames back and lets them leave together, by a driver.

    `Connection` sets it up.
    """

    driver: Any
    loop: AbstractEventLoop
    outbox: Any

    def use_driver(self, driver: Any) -> None:
        """There is a transport now."""

    @property
    def is_blocked(self) -> bool:
        """Whether more waits to be written than the limit allows."""

    def send_rest(
        self, opcode: int, rsv: int, data: bytes, start: int, fin: bool
    ) -> tuple[int, int, bytes, int, bool] | None:
        """Send of a message in fragments what a slow peer takes.

        Args:
            opcode, rsv: of the next frame.
            data: the payload of the message.
            start: where the next frame begins.
            fin: whether the last of them is the message's last.

        Returns:
            The arguments to go on with after `drain`; None if all is sent.

        Raises:
            ConnectionClosed: the connection is not open.
        """

    def cork(self) -> Cork:
        """Hold what is sent inside a ``with`` block until its end."""

    @property
    def buffered_amount(self) -> int:
        """How many bytes wait to be written."""

    def abort(self, error: BaseException | None = None) -> None:
        """Close the transport at once, without a close frame."""

class Cork:
    """The context manager of `Writer.cork`."""

    def __init__(self, connection: Writer) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
