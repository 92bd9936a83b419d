"""The server of websockets and of picows.websockets, which have the same interface."""

import asyncio
import contextlib

from settings import HOST, MAX_SIZE, count, message, messages, mode, port, run, tls_context

clients = set()


def serve_with(serve, broadcast, closed_error, **options):
    """Run the server with the given functions and exception, and with further options."""
    options.setdefault("compression", None)

    async def echo(ws):
        async for data in ws:
            await ws.send(data)

    async def receivers(ws):
        if mode == "broadcast":
            clients.add(ws)
        try:
            async for _ in ws:
                if mode == "broadcast":
                    asyncio.get_running_loop().call_soon(broadcast_to_all)
                else:
                    clients.add(ws)
        finally:
            clients.discard(ws)

    def broadcast_to_all():
        for _ in range(count):
            broadcast(clients, next(messages))

    async def push():
        while True:
            for client in tuple(clients):
                with contextlib.suppress(closed_error):
                    for _ in range(count):
                        await client.send(message)
            await asyncio.sleep(0 if clients else 0.05)

    async def main():
        async with serve(
            echo if mode == "echo" else receivers,
            HOST,
            port,
            ssl=tls_context(),
            max_size=MAX_SIZE,
            max_queue=None,  # with a limit it stops and resumes reading all the time
            ping_interval=None,
            **options,
        ) as server:
            if mode == "push":
                await push()
            await server.serve_forever()

    run(main())
