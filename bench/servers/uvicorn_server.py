"""uvicorn with its default class for WebSockets, and an application without a framework."""

import uvicorn
from settings import HOST, MAX_SIZE, port, run


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


config = uvicorn.Config(
    echo,
    host=HOST,
    port=port,
    http="httptools",
    ws="auto",
    ws_max_size=MAX_SIZE,
    ws_ping_interval=None,
    ws_per_message_deflate=False,
    lifespan="off",
    access_log=False,
    log_level="error",
)

run(uvicorn.Server(config).serve())
