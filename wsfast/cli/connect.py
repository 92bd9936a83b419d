"""``wsfast connect``: talk to a server from a terminal or a pipe."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import select
import shutil
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ..exceptions import ConnectionClosed
from ..frames import Close
from .shared import (
    Failure,
    add_request_arguments,
    escape,
    make_connector,
    open_connection,
    seconds,
)

if TYPE_CHECKING:
    from ..connection import WebSocket
    from ..typing import Data

__all__ = ["add_parser"]

READ_SIZE = 65536
PREVIEW_SIZE = 64

HELP = """\
Lines of standard input are sent as text messages, in UTF-8. Messages that come are printed, one
per line: text with its control characters escaped, binary in hexadecimal.

In a terminal, Ctrl-D or Ctrl-C closes the connection. In a pipe, only messages are written to
standard output, everything else to standard error; at the end of the input the connection is
closed with 1000 once no message has come for --wait seconds, so that answers can arrive. Answers
that the server sends before it confirms the closing are printed even with --wait 0.

The exit status is 0 if the connection was closed normally (1000, 1001 or no code), else 1.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "connect",
        help="talk to a server",
        description="Connect to a WebSocket server.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_request_arguments(parser)
    parser.add_argument(
        "--no-compression", action="store_true", help="do not offer to compress messages"
    )
    parser.add_argument(
        "--wait",
        type=seconds,
        default=1.0,
        metavar="SECONDS",
        help="in a pipe, close after so much silence behind the end of the input; "
        "inf to stay (%(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    return asyncio.run(talk(options))


async def talk(options: argparse.Namespace) -> int:
    """Connect, exchange messages until either side ends, and close."""
    output: Output
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        output, wait = Terminal(), 0.0
    else:
        output, wait = Output(), options.wait
    compression = None if options.no_compression else "deflate"
    ws = await open_connection(make_connector(options, compression=compression))
    output.connected(ws)
    activity = Activity()
    receiving = asyncio.create_task(receive(ws, output, activity))
    sending = asyncio.create_task(send_input(ws, output))
    clean = False
    try:
        try:
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            await activity.silence(wait, receiving)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            current.uncancel()  # Ctrl-C; a second one ends the program at once
        ws.close()
        with contextlib.suppress(ConnectionClosed):
            await receiving
            clean = True
        await ws.wait_closed()
        if sending.done():
            sending.result()
    finally:
        sending.cancel()
        receiving.cancel()
        ws.terminate()
    output.note(f"Connection closed: {escape(close_text(ws))}.")
    return 0 if clean else 1


def close_text(ws: WebSocket) -> str:
    text = str(Close(ws.close_code or 1006, ws.close_reason or ""))
    return text if ws.error is None else f"{text}: {ws.error}"


class Activity:
    """When a message came last."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> None:
        self.time = asyncio.get_running_loop().time()

    async def silence(self, seconds: float, receiving: asyncio.Task[None]) -> None:
        """Wait until no message has come for some time, or none will."""
        self.now()
        while not receiving.done():
            left = self.time + seconds - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait((receiving,), timeout=None if left == float("inf") else left)


async def receive(ws: WebSocket, output: Output, activity: Activity) -> None:
    async for message in ws:
        activity.now()
        output.message(message)


async def send_input(ws: WebSocket, output: Output) -> None:
    number = 0
    async for lines in read_input():
        for line in lines:
            number += 1
            try:
                text = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                raise Failure(f"line {number} of the input is not UTF-8") from None
            try:
                await ws.send(text)
            except ConnectionClosed:
                return
        output.prompt()


async def read_input() -> AsyncIterator[list[bytes]]:
    """The lines of standard input, as many at a time as are there.

    A thread reads them, because a read of a terminal or a file blocks and cannot be cancelled. It
    reads on when the lines before are used up. It is a daemon, and reads the file descriptor:
    the program may end while it is in there, and it would hold the lock of ``sys.stdin``.
    """
    if sys.stdin is None:
        return
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[bytes] | None] = asyncio.Queue()
    wanted = threading.Semaphore(0)

    def put(item: list[bytes] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read(fd: int) -> None:
        parts: list[bytes] = []
        with open(fd, "rb", buffering=0, closefd=False) as file:
            wanted.acquire()
            while chunk := read_chunk(file):
                head, newline, tail = chunk.rpartition(b"\n")
                if not newline:
                    parts.append(tail)
                    continue
                put(b"".join((*parts, head)).split(b"\n"))
                parts = [tail]
                wanted.acquire()
        rest = b"".join(parts)
        if rest:
            put([rest])
        put(None)

    thread = threading.Thread(target=read, args=(sys.stdin.fileno(),), daemon=True)
    thread.start()
    while True:
        wanted.release()
        lines = await queue.get()
        if lines is None:
            return
        yield lines


def read_chunk(file: Any) -> bytes:
    """Read what is there; b"" at the end."""
    while True:
        try:
            chunk: bytes | None = file.read(READ_SIZE)
        except OSError:
            return b""  # as from a terminal that went away
        if chunk is not None:
            return chunk
        select.select([file], [], [])  # whoever shares it made it non-blocking


class Output:
    """Prints messages to a pipe or a file."""

    def connected(self, ws: WebSocket) -> None:
        """The connection is open."""

    def message(self, data: Data) -> None:
        """A message came."""
        print(escape(data) if isinstance(data, str) else data.hex(), flush=True)

    def note(self, text: str) -> None:
        """Say something that is not a message."""
        print(text, file=sys.stderr, flush=True)

    def prompt(self) -> None:
        """More input is wanted."""


class Terminal(Output):
    """Prints messages above the line that the user is typing."""

    def connected(self, ws: WebSocket) -> None:
        agreed = [f"subprotocol {ws.subprotocol}"] if ws.subprotocol else []
        agreed += ws.extensions
        using = f" with {' and '.join(agreed)}" if agreed else ""
        print(f"Connected to {ws.url}{using}. Ctrl-D closes the connection.")
        self.prompt()

    def message(self, data: Data) -> None:
        if isinstance(data, str):
            self.print_above(f"< {escape(data)}")
        else:
            more = " ..." if len(data) > PREVIEW_SIZE else ""
            preview = data[:PREVIEW_SIZE].hex(" ")
            self.print_above(f"< (binary, {len(data)} bytes) {preview}{more}")

    def print_above(self, text: str) -> None:
        size = shutil.get_terminal_size()
        rows = max(1, -(-columns(text) // size.columns))
        if rows >= size.lines:
            sys.stdout.write(f"\r\x1b[K{text}\n> ")
        else:
            # Remember the place where the user types; make room below, where the screen may
            # scroll; go up, move that line down; print; and go back to where that place is now.
            down, up = "\n" * rows, f"\x1b[{rows}A"
            sys.stdout.write(f"\x1b7{down}{up}\r\x1b[{rows}L{text}\x1b8\x1b[{rows}B")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        print(f"\r\x1b[K{text}", flush=True)

    def prompt(self) -> None:
        print("> ", end="", flush=True)


def columns(text: str) -> int:
    """How wide a text is on a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
