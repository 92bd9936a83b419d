"""Two WebSocket servers on one web server, told apart by the path: python two_servers.py PORT"""

import asyncio
import signal
import sys

import wsfast
from wsfast.protocol.http import parse_request

# Each has its options, its listeners and its clients.
shouting = wsfast.WebSocketServer(no_server=True, path="/shouting")
counting = wsfast.WebSocketServer(no_server=True, path="/counting", max_size=1000)


@shouting.on("connection")
def shout(ws, request):
    ws.on("message", lambda data, is_binary: ws.send(data.upper()))


@counting.on("connection")
def count(ws, request):
    ws.on("message", lambda data, is_binary: ws.send(str(len(data))))


async def serve(reader, writer):
    """One connection of the web server."""
    try:
        async with asyncio.timeout(10):
            request = parse_request(await reader.readuntil(b"\r\n\r\n"))
    except (OSError, EOFError, asyncio.LimitOverrunError, wsfast.InvalidHandshake):
        writer.close()
        return
    for server in shouting, counting:
        if server.should_handle(request):
            ws = await server.handle_upgrade(request, (reader, writer))
            if ws is not None:
                server.emit("connection", ws, request)
            return
    writer.close()


async def main(port):
    http = await asyncio.start_server(serve, "127.0.0.1", port)
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, close)
    async with http:
        print("listening on port", http.sockets[0].getsockname()[1], flush=True)
        await asyncio.gather(shouting.wait_closed(), counting.wait_closed())


def close():
    shouting.close()
    counting.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
