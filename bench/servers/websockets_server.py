"""websockets."""

import os
import sys

if "BENCH_NO_SPEEDUPS" in os.environ:
    # As where its C extension could not be built.
    sys.modules["websockets.speedups"] = None

from coroutine_server import serve_with
from settings import settings
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

options = {}
if settings.deflate:
    deflate = ServerPerMessageDeflateFactory(
        server_no_context_takeover=settings.no_takeover,
        client_no_context_takeover=settings.no_takeover,
        server_max_window_bits=settings.deflate,
        client_max_window_bits=settings.deflate,
        compress_settings={"level": settings.level, "memLevel": settings.mem_level},
    )
    options["extensions"] = [deflate]

serve_with(serve, broadcast, ConnectionClosed, **options)
