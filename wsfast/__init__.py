"""WebSockets for Python: client and server, strict to RFC 6455."""

from ._backend import BACKEND
from ._version import __version__
from .auth import basic_auth
from .broadcast import broadcast
from .client import connect
from .connection import Statistics, WebSocket
from .exceptions import *
from .exceptions import __all__ as exception_names
from .frames import Close, CloseCode, Opcode, State
from .options import Options
from .protocol.handshake import accept_key
from .protocol.headers import Headers
from .protocol.http import Request, Response
from .server import ClientInfo, WebSocketServer, serve
from .typing import Data, DataLike, Origin, Subprotocol

__all__ = [
    "BACKEND",
    "ClientInfo",
    "Close",
    "CloseCode",
    "Data",
    "DataLike",
    "Headers",
    "Opcode",
    "Options",
    "Origin",
    "Request",
    "Response",
    "State",
    "Statistics",
    "Subprotocol",
    "WebSocket",
    "WebSocketServer",
    "__version__",
    "accept_key",
    "basic_auth",
    "broadcast",
    "connect",
    "serve",
]
__all__ += exception_names
del exception_names
