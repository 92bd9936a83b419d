"""The echo server that the Autobahn suite tests. Prints its port and backend once it listens."""

import argparse
import asyncio
import socket

import wsfast

# Cases 9.1.6 and 9.2.6 send messages of exactly 16 MiB, and want them back.
OPTIONS = {
    "max_size": 2**24,
    "max_write_buffer": 2**25,
    "ping_interval": None,
    "compression": "deflate",
}


async def echo(ws):
    try:
        async for message in ws:
            await ws.send(message)
    except wsfast.ConnectionClosed:
        # Most cases end in a failure that the suite asked for, and it is the suite that judges.
        pass


async def serve_coroutines(sock):
    async with wsfast.serve(echo, sock=sock, **OPTIONS) as server:
        announce(sock)
        await server.serve_forever()


async def serve_events(sock):
    server = wsfast.WebSocketServer(sock=sock, **OPTIONS)

    @server.on("connection")
    def connection(ws, request):
        @ws.on("message")
        def message(data, is_binary):
            ws.send(data)

    async with server:
        announce(sock)
        await server.serve_forever()


def announce(sock):
    print("listening", sock.getsockname()[1], wsfast.BACKEND, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=["coroutine", "event"], default="coroutine")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--driver", choices=["epoll", "asyncio"], help="instead of the best")
    parser.add_argument("--cert", help="a certificate, for TLS")
    parser.add_argument("--key", help="its key")
    args = parser.parse_args()
    OPTIONS.update(driver=args.driver, cert=args.cert, key=args.key)
    sock = socket.create_server(("127.0.0.1", args.port), backlog=128)
    serve = serve_events if args.style == "event" else serve_coroutines
    asyncio.run(serve(sock))


if __name__ == "__main__":
    main()
