"""Tests an installed wheel from outside the checkout: the backend, and echoes over loopback.

usage: wheel_smoke.py compiled|pure
"""

import asyncio
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# A script's own directory is on the path, never the checkout; be sure of that anyway.
CHECKOUT = Path(__file__).resolve().parent.parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]

import wsfast  # noqa: E402

MESSAGES = ["", "text", "\N{SNOWMAN}" * 1000, b"", b"\x00\xff", bytes(range(256)) * 1024]


async def echoes(port: int) -> None:
    async with wsfast.connect(f"ws://127.0.0.1:{port}/") as ws:
        for message in MESSAGES:
            await ws.send(message)
            answer = await ws.recv()
            assert type(answer) is type(message), (type(answer), type(message))
            assert answer == message, f"{len(answer)} for {len(message)}"
        await (await ws.ping())
        await ws.close(1000, "done")
    assert ws.close_code == 1000, ws.close_code


async def coroutine_style() -> None:
    async def handler(ws):
        async for message in ws:
            await ws.send(message)

    async with wsfast.serve(handler, "127.0.0.1", 0) as server:
        await echoes(server.sockets[0].getsockname()[1])


async def event_style() -> None:
    server = wsfast.WebSocketServer(host="127.0.0.1", port=0)

    @server.on("connection")
    def connection(ws, request):
        @ws.on("message")
        def message(data, is_binary):
            ws.send(data)

    async with server:
        await echoes(server.sockets[0].getsockname()[1])


async def main(backend: str) -> None:
    installed = Path(wsfast.__file__).resolve()
    assert not installed.is_relative_to(CHECKOUT / "wsfast"), f"{installed} is the checkout's"
    assert wsfast.BACKEND == backend, f"the backend is {wsfast.BACKEND}"
    assert wsfast.__version__ == version("wsfast")
    assert installed.with_name("py.typed").is_file()
    await asyncio.wait_for(coroutine_style(), 30)
    await asyncio.wait_for(event_style(), 30)
    command = subprocess.run(
        [sys.executable, "-m", "wsfast", "--version"], capture_output=True, text=True, check=True
    )
    assert backend in command.stdout, command.stdout
    print(f"wsfast {wsfast.__version__} {backend} on Python {sys.version.split()[0]}: ok")


if len(sys.argv) != 2 or sys.argv[1] not in ("compiled", "pure"):
    sys.exit(__doc__)
asyncio.run(main(sys.argv[1]))
