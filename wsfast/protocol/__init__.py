"""WebSocket without I/O: for those who bring their own sockets, and for tests.

`ServerProtocol` and `ClientProtocol` turn bytes into events and calls into bytes. The opening
handshake is also there as functions, in `wsfast.protocol.handshake`.
"""

from .base import Event, EventProtocol, Message, Ping, Pong
from .client import ClientProtocol
from .headers import Headers
from .http import Request, Response
from .server import ServerProtocol

__all__ = [
    "ClientProtocol",
    "Event",
    "EventProtocol",
    "Headers",
    "Message",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "ServerProtocol",
]
