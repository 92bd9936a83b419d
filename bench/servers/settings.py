"""What every server of the benchmark has in common: its command line, sizes and loop.

usage: SERVER PORT [echo|push|broadcast] [--loop asyncio|uvloop] [--cert FILE --key FILE]
                   [--count MESSAGES] [--size BYTES] [--max-size BYTES] [--messages FILE]
                   [--deflate BITS --level N --mem-level N [--no-takeover]]

echo answers every message. push, from the first message of a connection on, sends COUNT messages
of SIZE bytes to it in every turn of the loop. broadcast sends COUNT messages of SIZE bytes to
every connection whenever a message comes; with a file of messages, one after the other.

--deflate negotiates permessage-deflate with a window of BITS on both sides, and --no-takeover that
messages stand alone. What a server cannot be told is noted in it.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import Coroutine
from itertools import cycle
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"

FILLER = "0123456789abcdef"

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("mode", nargs="?", default="echo", choices=["echo", "push", "broadcast"])
parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--count", type=int, default=1)
parser.add_argument("--size", type=int, default=128)
# Larger than the largest message of nearly any row, so that no server is held up by a limit.
parser.add_argument("--max-size", type=int, default=2**25)
parser.add_argument("--messages", type=Path)
parser.add_argument("--deflate", type=int)
parser.add_argument("--level", type=int)
parser.add_argument("--mem-level", type=int)
parser.add_argument("--no-takeover", action="store_true")
settings = parser.parse_args()

port: int = settings.port
mode: str = settings.mode
count: int = settings.count
MAX_SIZE: int = settings.max_size
message: str = (FILLER * (settings.size // len(FILLER) + 1))[: settings.size]


def read_messages() -> list[str]:
    """Those of ``--messages``, of ``--size`` bytes each, or the one that needs no file."""
    if settings.messages is None:
        return [message]
    text = settings.messages.read_text()
    return [text[i : i + settings.size] for i in range(0, len(text), settings.size)]


# What is broadcast next: `next(messages)`.
messages = cycle(read_messages())


def tls_context() -> ssl.SSLContext | None:
    """The context for ``--cert`` and ``--key``, None without them."""
    if settings.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.cert, settings.key)
    return context


def run(main: Coroutine[Any, Any, Any]) -> None:
    """Run the server on the loop that was asked for."""
    factory = None
    if settings.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
