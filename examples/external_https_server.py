"""A web server over TLS that is not wsfast's, with WebSockets on the same port:
python external_https_server.py CERTIFICATE.pem KEY.pem PORT
"""

import asyncio
import signal
import ssl
import sys

import wsfast

sockets = wsfast.WebSocketServer(no_server=True)  # it listens on nothing itself


@sockets.on("connection")
def connection(ws, request):
    ws.on("error", print)

    @ws.on("message")
    def message(data, is_binary):
        print("received:", data, flush=True)

    ws.send("something")


async def serve(reader, writer):
    """One connection of the web server."""
    try:
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError):
        writer.close()
        return
    if b"\r\nupgrade: websocket\r\n" in head.lower():
        # From here on the connection belongs to the WebSocket server, which answers: with 101, or
        # with an error, after which there is None.
        ws = await sockets.handle_upgrade(head, (reader, writer))
        if ws is not None:
            sockets.emit("connection", ws, ws.request)
        return
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhello\n")
    await writer.drain()
    writer.close()


async def main(cert, key, port):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    http = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, sockets.close)
    async with http:
        print("listening on port", http.sockets[0].getsockname()[1], flush=True)
        await sockets.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
