"""Opens many connections at once, echoes messages over each, and checks every answer.

usage: client.py URL CONNECTIONS MESSAGES

Prints "open" once all connections are, waits for a line on its standard input, exchanges the
messages on all of them at the same time, and prints "done" when they are closed again.
"""

import asyncio
import resource
import sys

import wsfast

# So that the server's queue of connections that it has not accepted yet does not overflow.
CONNECTING_AT_ONCE = 200


async def open_all(url, count):
    places = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def open_one():
        async with places:
            return await wsfast.connect(url, open_timeout=60, close_timeout=60, ping_interval=None)

    return await asyncio.gather(*[open_one() for _ in range(count)])


async def exchange(ws, name, count):
    messages = [f"{name}, message {number}" for number in range(count)]
    # Every other connection waits for each answer, and the others for none before the end.
    if name % 2:
        for message in messages:
            await ws.send(message)
            answer = await ws.recv()
            assert answer == message, (answer, message)
    else:
        for message in messages:
            await ws.send(message)
        answers = [await ws.recv() for _ in messages]
        assert answers == messages, (answers, messages)
    await ws.close()
    assert ws.close_code == 1000, ws.close_code


async def main(url, connections, messages):
    opened = await open_all(url, connections)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with asyncio.TaskGroup() as group:
        for name, ws in enumerate(opened):
            group.create_task(exchange(ws, name, messages))
    print("done", flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
