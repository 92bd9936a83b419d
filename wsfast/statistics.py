"""What is counted: of one connection, of a server, and of a client that connects again."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Statistics"]


class Statistics(NamedTuple):
    """What went over a connection so far, or over all connections of a server.

    Sizes are in bytes. Those of messages are as the application sees them, before compression and
    behind decompression; wire bytes are those of whole frames, without TLS and the opening
    handshake.
    """

    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    fragments_received: int
    fragments_sent: int
    wire_bytes_received: int
    wire_bytes_sent: int
    messages_dropped: int
