"""A server that runs its loop again from a listener and from a handler: see test_nested_loop.py.

Prints what two clients got, one of which had the loop run again in the middle of what it sent.
"""

import asyncio
import sys

import nest_asyncio
from peers import MASK, TEXT, client_of, frame

import wsfast

MINE = ["nest", *(f"mine {number}" for number in range(50))]
OTHERS = ["other 0", "other 1"]

received = []
received_other = asyncio.Event()


def take(data):
    """Note a message; one of them has the loop run until what another client sent came."""
    received.append(data)
    if data == OTHERS[-1]:
        received_other.set()
    if data == "nest":
        asyncio.get_event_loop().run_until_complete(received_other.wait())


def serve(style):
    if style == "coroutines":

        async def handler(ws):
            async for data in ws:
                take(data)
                await ws.send(data)

        return wsfast.serve(handler, "127.0.0.1", 0)

    server = wsfast.WebSocketServer("127.0.0.1", 0)

    @server.on("connection")
    def connection(ws, request):
        @ws.on("message")
        def message(data, is_binary):
            take(data)
            ws.send(data)

    return server


async def payloads_of(peer, count):
    return [(await peer.frame()).payload.decode() for _ in range(count)]


async def main(style, idle):
    async with serve(style) as server:
        more = [client_of(server) for _ in range(idle)]
        for client in more:
            await client.__aenter__()
        async with client_of(server) as first, client_of(server) as other:
            first.write(b"".join(frame(TEXT, text, mask=MASK) for text in MINE))
            other.write(b"".join(frame(TEXT, text, mask=MASK) for text in OTHERS))
            assert await payloads_of(first, len(MINE)) == MINE
            assert await payloads_of(other, len(OTHERS)) == OTHERS
        for client in more:
            await client.__aexit__(None, None, None)
    assert [text for text in received if text not in OTHERS] == MINE
    assert received.index(OTHERS[-1]) < received.index(MINE[1]), "the loop was not run inside"
    print("all messages came, in order")


nest_asyncio.apply()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
