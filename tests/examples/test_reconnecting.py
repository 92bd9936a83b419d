"""examples/reconnecting_*.py: a server that goes away and comes back."""

import asyncio

import pytest
from example_programs import program
from websockets.asyncio.server import serve


async def line(running):
    return await asyncio.to_thread(running.line)


class Server:
    """Greets, and does what it is told with a connection."""

    def __init__(self):
        self.connections = asyncio.Queue()

    async def __call__(self, ws):
        done = asyncio.get_running_loop().create_future()
        self.connections.put_nowait((ws, done))
        await ws.send("hello")
        await done

    async def next(self):
        async with asyncio.timeout(20):
            return await self.connections.get()


@pytest.mark.parametrize(
    ("name", "opened", "lost"),
    [
        ("reconnecting_client.py", "connected", "lost: "),
        ("reconnecting_listeners.py", "open", "again in "),
    ],
)
async def test_a_client_comes_back_until_it_is_closed_with_1000(name, opened, lost):
    handler = Server()
    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with program(name, f"ws://127.0.0.1:{port}") as client:
            assert await line(client) == opened
            assert await line(client) == "received: hello"
            ws, done = await handler.next()
            ws.transport.abort()
            done.set_result(None)
            assert (await line(client)).startswith(lost)
            assert await line(client) == opened
            assert await line(client) == "received: hello"
            ws, done = await handler.next()
            if name == "reconnecting_listeners.py":
                assert await ws.recv() == "I was away"
            await ws.close(1000)
            done.set_result(None)
            printed = await asyncio.to_thread(client.finish)
            assert printed == ("closed: 1000\n" if name == "reconnecting_listeners.py" else "")
