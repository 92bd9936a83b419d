"""Only known clients get a WebSocket, and the listener gets to know whose it is:
python client_authentication.py PORT
"""

import asyncio
import hmac
import signal
import sys

import wsfast
from wsfast.protocol.http import parse_request

sockets = wsfast.WebSocketServer(no_server=True)

TOKENS = {"alice": "correct-horse", "bob": "battery-staple"}  # put yours where nobody reads them


async def authenticate(request):
    """Whose token the request has; a coroutine, because this may have to ask a database."""
    authorization = request.headers.get("Authorization", "")
    for user, token in TOKENS.items():
        if hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return user
    return None


@sockets.on("connection")
def connection(ws, request, user):
    @ws.on("message")
    def message(data, is_binary):
        print(f"received message {data} from user {user}", flush=True)


async def serve(reader, writer):
    """One connection of the web server."""
    try:
        async with asyncio.timeout(10):
            request = parse_request(await reader.readuntil(b"\r\n\r\n"))
    except (OSError, EOFError, asyncio.LimitOverrunError, wsfast.InvalidHandshake):
        writer.close()
        return
    user = await authenticate(request)
    if user is None:
        writer.write(
            b"HTTP/1.1 401 Unauthorized\r\n"
            b"WWW-Authenticate: Bearer\r\n"
            b"Connection: close\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        writer.close()
        return
    ws = await sockets.handle_upgrade(request, (reader, writer))
    if ws is not None:
        # What is behind the first two is yours: it reaches the listener as it is.
        sockets.emit("connection", ws, request, user)


async def main(port):
    http = await asyncio.start_server(serve, "127.0.0.1", port)
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, sockets.close)
    async with http:
        print("listening on port", http.sockets[0].getsockname()[1], flush=True)
        await sockets.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
