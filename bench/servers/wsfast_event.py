"""wsfast with listeners."""

import asyncio
import os

from settings import HOST, MAX_SIZE, count, message, messages, mode, port, run, tls_context
from wsfast_options import options

import wsfast
import wsfast.protocol.http

if "BENCH_HTTP_PARSER" in os.environ:
    wsfast.protocol.http.HTTP_PARSER = os.environ["BENCH_HTTP_PARSER"]

server = wsfast.WebSocketServer(
    HOST,
    port,
    ssl=tls_context(),
    max_size=MAX_SIZE,
    max_write_buffer=2 * MAX_SIZE,
    ping_interval=None,
    **options,
)
clients = set()


async def push():
    while True:
        for client in tuple(clients):
            for _ in range(count):
                sent = client.send(message)
            try:
                await sent  # which waits while this client is slow
            except wsfast.ConnectionClosed:
                clients.discard(client)
        await asyncio.sleep(0 if clients else 0.05)


def broadcast():
    for _ in range(count):
        wsfast.broadcast(clients, next(messages))


@server.on("connection")
def connection(ws, request):
    if mode == "echo":

        @ws.on("message")
        def answer(data, is_binary):
            ws.send(data)

        return

    if mode == "broadcast":
        clients.add(ws)

    @ws.on("message")
    def asked(data, is_binary):
        if mode == "broadcast":
            server.loop.call_soon(broadcast)
        else:
            clients.add(ws)

    @ws.on("close")
    def closed(code, reason):
        clients.discard(ws)


async def main():
    async with server:
        if mode == "push":
            await push()
        await server.serve_forever()


run(main())
