"""WebSocket without I/O: for those who bring their own sockets, and for tests.

`ServerProtocol` and `ClientProtocol` turn bytes into events and calls into bytes. Below them,
`FrameReader` and `encode_frame` read and write single frames. The opening handshake is also there
as functions, in `wsfast.protocol.handshake`.
"""

from .._backend import FrameReader, encode_frame
from .base import Event, EventProtocol, Message, Ping, Pong
from .client import ClientProtocol
from .headers import Headers
from .http import Request, Response
from .server import ServerProtocol

__all__ = [
    "ClientProtocol",
    "Event",
    "EventProtocol",
    "FrameReader",
    "Headers",
    "Message",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "ServerProtocol",
    "encode_frame",
]
