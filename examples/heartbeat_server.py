"""A server that ends connections to clients that are gone, though nobody told:

    python heartbeat_server.py PORT [INTERVAL] [built-in]

Every INTERVAL seconds (30) each client is sent a ping, and cut off if it did not answer the one
before: the recipe of ws's README, with listeners and a timer. The built-in way is two options.
"""

import asyncio
import sys

import wsfast


def by_hand(port, interval):
    server = wsfast.WebSocketServer("127.0.0.1", port, ping_interval=None)

    @server.on("connection")
    def connection(ws, request):
        ws.is_alive = True

        @ws.on("pong")
        def heartbeat(data):
            ws.is_alive = True

        @ws.on("close")
        def closed(code, reason):
            print("closed:", code, flush=True)

    async def look_after_clients():
        while True:
            await asyncio.sleep(interval)
            for ws in server.connections:
                if not ws.is_alive:
                    ws.terminate()
                    continue
                ws.is_alive = False
                ws.ping()

    @server.on("listening")
    def listening():
        task = asyncio.create_task(look_after_clients())
        server.on("close", task.cancel)

    return server


def built_in(port, interval):
    """The same: one sweep looks after all connections, and `missed_pings` and `latency` tell more.

    Both options are 20 seconds if you say nothing.
    """

    async def handler(ws):
        try:
            async for _ in ws:
                pass
        except wsfast.ConnectionClosedError as error:
            print("closed:", error.close_code, error.__cause__, flush=True)

    return wsfast.serve(
        handler, "127.0.0.1", port, ping_interval=interval, ping_timeout=interval, close_timeout=1
    )


def main(port, interval="30", way="by hand"):
    make = built_in if way == "built-in" else by_hand
    server = make(int(port), float(interval))

    @server.on("listening")
    def listening():
        print("listening on port", server.address()[1], flush=True)

    server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
