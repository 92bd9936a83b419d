"""wsfast with a coroutine for each connection."""

from settings import HOST, MAX_SIZE, port, run, tls_context
from wsfast_options import options

import wsfast


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main():
    async with wsfast.serve(
        echo,
        HOST,
        port,
        ssl=tls_context(),
        max_size=MAX_SIZE,
        max_write_buffer=2 * MAX_SIZE,
        ping_interval=None,
        **options,
    ) as server:
        await server.serve_forever()


run(main())
