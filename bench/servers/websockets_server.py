"""websockets."""

import os
import sys

if "BENCH_NO_SPEEDUPS" in os.environ:
    # As where its C extension could not be built.
    sys.modules["websockets.speedups"] = None

from coroutine_server import serve_with
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

serve_with(serve, broadcast, ConnectionClosed)
