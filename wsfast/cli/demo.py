"""What ``wsfast serve`` serves without a handler: an echo, a chat, and a page that uses both."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Any

from ..broadcast import broadcast
from ..protocol.handshake import text_response
from ..protocol.headers import Headers
from ..protocol.http import Request, Response

if TYPE_CHECKING:
    from ..connection import WebSocket

__all__ = ["Demo", "demo_response", "read_page"]

NOT_FOUND = "Nothing is here. WebSockets are at /echo and /chat, a page for a browser is at /.\n"


def read_page() -> bytes:
    return importlib.resources.files(__package__).joinpath("demo.html").read_bytes()


def demo_response(page: bytes) -> Any:
    """The ``process_request`` of the demo: the page, and 404 where nothing is."""
    headers = Headers(
        {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-cache",
            # The page is one file: it loads nothing, and nothing may put it into a frame.
            "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        }
    )

    def process_request(ws: WebSocket, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path in ("/echo", "/chat"):
            return None
        if path == "/" and request.method == "GET" and "Upgrade" not in request.headers:
            return Response(200, "OK", headers, page)
        return text_response(404, NOT_FOUND)

    return process_request


class Demo:
    """The handlers of the demo."""

    def __init__(self) -> None:
        self.chatting: set[WebSocket] = set()

    async def handle(self, ws: WebSocket) -> None:
        if ws.path.partition("?")[0] == "/chat":
            await self.chat(ws)
        else:
            await self.echo(ws)

    async def echo(self, ws: WebSocket) -> None:
        """Send every message back."""
        async for message in ws:
            await ws.send(message)

    async def chat(self, ws: WebSocket) -> None:
        """Send every message to everybody."""
        self.chatting.add(ws)
        try:
            async for message in ws:
                broadcast(self.chatting, message)
        finally:
            self.chatting.discard(ws)
