"""picows with the interface of websockets."""

from coroutine_server import serve_with
from picows.websockets import ConnectionClosed, broadcast, serve

serve_with(serve, broadcast, ConnectionClosed)
