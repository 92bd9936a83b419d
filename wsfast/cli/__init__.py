"""The command ``wsfast``: each subcommand is a module of its own."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence

from .._backend import BACKEND
from .._version import __version__
from ..extensions.deflate_options import default_zlib
from ..protocol.http import HTTP_PARSER
from . import bench, connect, serve
from .shared import Failure, escape

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding does not have is escaped, not an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
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
    for command in (serve, connect, bench):
        command.add_parser(commands)
    return parser


def version_text() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    zlib = default_zlib().__name__.rpartition(".")[2].replace("_", "-")
    return f"wsfast {__version__}, {BACKEND} backend, {HTTP_PARSER}, {zlib}, {python}"
