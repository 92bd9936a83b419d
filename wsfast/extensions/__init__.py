"""WebSocket extensions: a container for them, and what they must look like.

Users pass extensions to ``serve``, ``connect`` or ``WebSocketServer``. Those who write an extension
find its methods at `Extension`, `ClientSession`, `ServerSession` and `Session`, and need to import
nothing. Those who implement the WebSocket protocol themselves need `Extensions` alone.
"""

from .container import Extensions
from .deflate import PerMessageDeflate
from .header import format_extensions, parse_extensions
from .interface import ClientSession, Extension, Frame, Message, ServerSession, Session

__all__ = [
    "ClientSession",
    "Extension",
    "Extensions",
    "Frame",
    "Message",
    "PerMessageDeflate",
    "ServerSession",
    "Session",
    "format_extensions",
    "parse_extensions",
]
