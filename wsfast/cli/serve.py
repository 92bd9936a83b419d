"""``wsfast serve``: run a handler, or the demo."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from ..server import serve
from .demo import Demo, demo_response, read_page
from .shared import Failure, check_file, reason

if TYPE_CHECKING:
    from ..server import Handler, WebSocketServer

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="run a server",
        description="Serve HANDLER, or without one a demo: an echo at /echo, a chat at /chat and "
        "a page for a browser that uses both at /. SIGINT (Ctrl-C) or SIGTERM closes the "
        "connections with 1001 and ends it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "handler",
        nargs="?",
        metavar="MODULE:HANDLER",
        help="a coroutine function that takes a WebSocket; MODULE is imported from the current "
        "directory or the Python path",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=port_number, default=8080, help="port; 0 for a free one (%(default)s)"
    )
    parser.add_argument("--path", help="serve HANDLER only at this path (all paths)")
    parser.add_argument(
        "--compression", action="store_true", help="compress messages for clients that offer it"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain in PEM: use TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")


def port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    arguments: dict[str, Any] = {
        "cert": options.tls_cert,
        "key": options.tls_key,
        "compression": options.compression,
    }
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
        server = serve(handler, options.host, options.port, **arguments)
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
