"""aiohttp."""

import asyncio

from aiohttp import WSMsgType, web
from settings import HOST, MAX_SIZE, port, run, tls_context


async def echo(request):
    ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_SIZE)
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


async def main():
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, ssl_context=tls_context()).start()
    await asyncio.Event().wait()


run(main())
