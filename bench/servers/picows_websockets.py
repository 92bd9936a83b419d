"""picows with the interface of websockets."""

from coroutine_server import serve_with
from picows.websockets import ConnectionClosed, broadcast, serve
from settings import settings


def agree(ws, request, response):
    """Answer with the parameters that were asked for: by itself it always takes the largest ones.

    It cannot be told its level and memory level, which are zlib's: 6 and 8.
    """
    if "Sec-WebSocket-Extensions" in response.headers:
        bits = settings.deflate
        header = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
        if settings.no_takeover:
            header += "; server_no_context_takeover; client_no_context_takeover"
        del response.headers["Sec-WebSocket-Extensions"]
        response.headers["Sec-WebSocket-Extensions"] = header
    return response


options = {"compression": "deflate", "process_response": agree} if settings.deflate else {}

serve_with(serve, broadcast, ConnectionClosed, **options)
