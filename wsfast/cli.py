"""The command ``wsfast``: ``serve`` a handler or a demo, ``connect`` from a terminal or a pipe."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.resources
import inspect
import os
import platform
import select
import shutil
import ssl
import sys
import threading
import traceback
import unicodedata
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from ._backend import BACKEND
from ._version import __version__
from .broadcast import broadcast
from .client import connect
from .exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from .frames import Close
from .protocol.handshake import text_response
from .protocol.headers import Headers
from .protocol.http import HTTP_PARSER, Request, Response
from .server import WebSocketServer
from .server import serve as make_server

if TYPE_CHECKING:
    from .connection import WebSocket
    from .server import Handler
    from .typing import Data

__all__ = ["main"]

READ_SIZE = 65536
PREVIEW_SIZE = 64

# The control characters: C0, DEL and C1. A terminal would obey them.
CONTROLS = {i: repr(chr(i))[1:-1] for i in (*range(0x20), *range(0x7F, 0xA0))}

NOT_FOUND = "Nothing is here. WebSockets are at /echo and /chat, a page for a browser is at /.\n"

CONNECT_HELP = """\
Lines of standard input are sent as text messages, in UTF-8. Messages that come are printed, one
per line: text with its control characters escaped, binary in hexadecimal.

In a terminal, Ctrl-D or Ctrl-C closes the connection. In a pipe, only messages are written to
standard output, everything else to standard error; at the end of the input the connection is
closed with 1000 once no message has come for --wait seconds, so that answers can arrive. Answers
that the server sends before it confirms the closing are printed even with --wait 0.

The exit status is 0 if the connection was closed normally (1000, 1001 or no code), else 1.
"""


class Failure(Exception):
    """Something that the user must know, in one line."""


def escape(text: str) -> str:
    """Make text fit for one line of a terminal."""
    return text.translate(CONTROLS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        return status
    except Failure as failure:
        print(f"wsfast: {escape(str(failure))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output is gone, and Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wsfast", description="WebSocket server and client.")
    parser.add_argument("--version", action="version", version=version_text())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run a server",
        description="Serve HANDLER, or without one a demo: an echo at /echo, a chat at /chat and "
        "a page for a browser that uses both at /. SIGINT (Ctrl-C) or SIGTERM closes the "
        "connections with 1001 and ends it.",
    )
    serve.set_defaults(run=serve_command)
    serve.add_argument(
        "handler",
        nargs="?",
        metavar="MODULE:HANDLER",
        help="a coroutine function that takes a WebSocket; MODULE is imported from the current "
        "directory or the Python path",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=port_number, default=8080, help="port; 0 for a free one (%(default)s)"
    )
    serve.add_argument("--path", help="serve HANDLER only at this path (all paths)")
    serve.add_argument("--tls-cert", metavar="FILE", help="certificate chain in PEM: use TLS")
    serve.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")

    connect = commands.add_parser(
        "connect",
        help="talk to a server",
        description="Connect to a WebSocket server.",
        epilog=CONNECT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    connect.set_defaults(run=connect_command)
    connect.add_argument("uri", metavar="URI", help="such as wss://example.com/path")
    connect.add_argument(
        "--subprotocol",
        action="append",
        metavar="NAME",
        help="offer a subprotocol; repeat it to offer several",
    )
    connect.add_argument(
        "--header",
        action="append",
        type=header,
        metavar="'NAME: VALUE'",
        help="add a header to the request; repeat it for several",
    )
    connect.add_argument("--origin", help="the Origin header")
    connect.add_argument("--auth", type=credentials, metavar="USER:PASSWORD", help="Basic auth")
    connect.add_argument(
        "--insecure", action="store_true", help="do not verify the server's certificate"
    )
    connect.add_argument("--ca", metavar="FILE", help="trust the certificates in this PEM file too")
    connect.add_argument(
        "--wait",
        type=seconds,
        default=1.0,
        metavar="SECONDS",
        help="in a pipe, close after so much silence behind the end of the input; "
        "inf to stay (%(default)g)",
    )
    return parser


def version_text() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"wsfast {__version__}, {BACKEND} backend, {HTTP_PARSER} parses HTTP, {python}"


def port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"it takes a number of seconds, not {text!r}")
    return number


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"a header is 'NAME: VALUE', not {text!r}")
    return name, value.strip()


def credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("it takes USER:PASSWORD")
    return user, password


def check_file(path: str | None) -> None:
    """Name the file that cannot be read, which the ssl module does not."""
    if path is not None:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}") from None


def reason(error: Exception) -> str:
    """Why something failed, in the system's words if it was the system."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        number = cause.errno
        if number is not None and number > 0:  # the resolver's are below
            return os.strerror(number)
    return str(error)


# serve


def serve_command(options: argparse.Namespace) -> int:
    arguments: dict[str, Any] = {"cert": options.tls_cert, "key": options.tls_key}
    if options.handler is None:
        if options.path is not None:
            raise Failure("--path needs MODULE:HANDLER; the demo has paths of its own")
        handler: Handler = Demo().handle
        arguments["process_request"] = demo_response(read_page())
    else:
        handler = find_handler(options.handler)
        arguments["path"] = options.path
    if options.tls_key is not None and options.tls_cert is None:
        raise Failure("--tls-key needs --tls-cert")
    check_file(options.tls_cert)
    check_file(options.tls_key)
    try:
        server = make_server(handler, options.host, options.port, **arguments)
    except ValueError as error:
        raise Failure(str(error)) from None
    server.on("listening", lambda: print_addresses(server, options))
    try:
        server.run()
    except OSError as error:
        where = f"[{options.host}]" if ":" in options.host else options.host
        raise Failure(
            f"cannot listen on {where}:{options.port}: {reason(error)}; "
            "choose an address with --host and --port"
        ) from None
    return 0


def print_addresses(server: WebSocketServer, options: argparse.Namespace) -> None:
    """Print where the server is, by the name that was asked for and with the port that it got."""
    host = "localhost" if options.host in ("", "0.0.0.0", "::") else options.host
    if ":" in host:
        host = f"[{host}]"
    tls = "s" if options.tls_cert else ""
    for port in sorted({sock.getsockname()[1] for sock in server.sockets}):
        http, ws = f"http{tls}://{host}:{port}", f"ws{tls}://{host}:{port}"
        if options.handler is None:
            print(f"Open {http}/ in a browser, or connect to {ws}/echo or {ws}/chat.")
        else:
            print(f"Serving {options.handler} on {http}: connect to {ws}{options.path or '/'}.")
    print("Ctrl-C stops the server.", flush=True)


def find_handler(name: str) -> Handler:
    """Import MODULE:HANDLER."""
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise Failure(
            f"{name!r} is not MODULE:HANDLER; for `async def echo(ws)` in app.py, give app:echo"
        )
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise Failure(f"cannot import {module_name!r}: {error}{place(error)}") from None
        raise Failure(
            f"there is no module {error.name!r} in {os.getcwd()} or on the Python path; "
            "run wsfast where it is, or set PYTHONPATH"
        ) from None
    except Exception as error:
        text = f"{type(error).__name__}: {error}{place(error)}"
        raise Failure(f"cannot import {module_name!r}: {text}") from None
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise Failure(f"the module {module_name!r} has no {path!r}")
        found = getattr(found, attribute)
    if not inspect.iscoroutinefunction(found) and not (
        callable(found) and inspect.iscoroutinefunction(type(found).__call__)
    ):
        raise Failure(f"{name} is not a coroutine function; write `async def {attribute}(ws)`")
    handler: Handler = found
    return handler


def place(error: BaseException) -> str:
    """Where a module that is imported raised an error."""
    if isinstance(error, SyntaxError):
        return ""  # its text says so
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({last.filename}, line {last.lineno})"


def read_page() -> bytes:
    return importlib.resources.files(__package__).joinpath("demo.html").read_bytes()


def demo_response(page: bytes) -> Any:
    """The ``process_request`` of the demo: the page, and 404 where nothing is."""
    headers = Headers(
        {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-cache",
            # The page is one file: it loads nothing, and nothing may put it into a frame.
            "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        }
    )

    def process_request(ws: WebSocket, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path in ("/echo", "/chat"):
            return None
        if path == "/" and request.method == "GET" and "Upgrade" not in request.headers:
            return Response(200, "OK", headers, page)
        return text_response(404, NOT_FOUND)

    return process_request


class Demo:
    """The handlers of the demo."""

    def __init__(self) -> None:
        self.chatting: set[WebSocket] = set()

    async def handle(self, ws: WebSocket) -> None:
        if ws.path.partition("?")[0] == "/chat":
            await self.chat(ws)
        else:
            await self.echo(ws)

    async def echo(self, ws: WebSocket) -> None:
        """Send every message back."""
        async for message in ws:
            await ws.send(message)

    async def chat(self, ws: WebSocket) -> None:
        """Send every message to everybody."""
        self.chatting.add(ws)
        try:
            async for message in ws:
                broadcast(self.chatting, message)
        finally:
            self.chatting.discard(ws)


# connect


def connect_command(options: argparse.Namespace) -> int:
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding does not have is escaped, not an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return asyncio.run(talk(options))


async def talk(options: argparse.Namespace) -> int:
    """Connect, exchange messages until either side ends, and close."""
    output: Output
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        output, wait = Terminal(), 0.0
    else:
        output, wait = Output(), options.wait
    ws = await open_connection(options)
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


async def open_connection(options: argparse.Namespace) -> WebSocket:
    check_file(options.ca)
    try:
        return await connect(
            options.uri,
            subprotocols=options.subprotocol,
            origin=options.origin,
            additional_headers=options.header,
            auth=options.auth,
            ca=options.ca,
            verify=False if options.insecure else None,
        )
    except InvalidURI as error:
        raise Failure(str(error)) from None
    except InvalidStatus as error:
        body = error.response.body.decode(errors="replace").strip().partition("\n")[0]
        raise Failure(f"cannot connect: {error}{f', {body:.200}' if body else ''}") from None
    except (OSError, InvalidHandshake, ValueError, TypeError) as error:
        hint = ""
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            hint = "; --ca names a certificate to trust, --insecure trusts every server"
        raise Failure(f"cannot connect: {reason(error)}{hint}") from None


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
        subprotocol = f" with subprotocol {ws.subprotocol}" if ws.subprotocol else ""
        print(f"Connected to {ws.url}{subprotocol}. Ctrl-D closes the connection.")
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
