"""A server that shows on a page what it needs and what it does, ten times a second:

    python server_stats.py PORT

Then open http://127.0.0.1:PORT.
"""

import json
import os
import sys
from pathlib import Path

import wsfast
from wsfast import Headers, Response

PAGE = Path(__file__).with_suffix(".html").read_bytes()


def memory():
    """What this process occupies, in bytes, and how many objects it has allocated."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not on Linux
        return {"blocks": sys.getallocatedblocks()}
    return {
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
        "blocks": sys.getallocatedblocks(),
    }


def page(ws, request):
    """Answer what is no WebSocket."""
    if request.path == "/":
        return Response(200, "OK", Headers({"Content-Type": "text/html; charset=utf-8"}), PAGE)
    if request.path != "/stats":
        return Response(404, "Not Found", Headers())
    return None


async def stats(ws):
    async with wsfast.Monitor(ws.server, window=5, interval=0.1) as monitor:
        async for rates in monitor:
            message = {
                "memory": memory(),
                "stats": ws.server.stats.as_dict(),
                "rates": rates._asdict(),
            }
            await ws.send(json.dumps(message))


server = wsfast.serve(stats, "127.0.0.1", int(*sys.argv[1:]), process_request=page)


@server.on("listening")
def listening():
    print("listening on port", server.address()[1], flush=True)


server.run()
