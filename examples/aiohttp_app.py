"""An aiohttp application with the WebSockets of wsfast on one of its routes:
python aiohttp_app.py PORT
"""

import sys

from aiohttp import web

import wsfast

sockets = wsfast.WebSocketServer(no_server=True)
VISITS = web.AppKey("visits", list)


@sockets.on("connection")
def connection(ws, request, app):
    app[VISITS].append(request.path)

    @ws.on("message")
    def message(data, is_binary):
        ws.send(data)


async def page(request):
    return web.Response(text=f"{len(request.app[VISITS])} visits\n")


async def upgrade(request):
    """The route of the WebSockets."""
    connection, transport = request.protocol, request.transport
    given = wsfast.Request(request.path_qs, wsfast.Headers(request.headers.items()), request.method)
    opening = sockets.handle_upgrade(given, transport)
    # For aiohttp this connection is lost: it must neither write to it nor close it.
    connection.transport = None
    connection.connection_lost(None)
    ws = await opening
    if ws is not None:
        sockets.emit("connection", ws, given, request.app)
    return web.Response()  # which goes nowhere


async def close(app):
    await sockets.close()


app = web.Application()
app[VISITS] = []
app.router.add_get("/", page)
app.router.add_get("/ws", upgrade)
app.on_shutdown.append(close)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(*sys.argv[1:]))
