"""``wsfast bench``: load a server, and tell how it answers."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import sys
from typing import Any

from ..options import FOREVER
from .loading import Load, Plan
from .progress import Progress
from .report import as_json, as_text, is_good
from .shared import (
    CONNECT_ERRORS,
    Failure,
    add_request_arguments,
    make_connector,
    why_not_connected,
)
from .study import GENERATED, SIZE, compare
from .timing import new_event_loop

__all__ = ["add_parser"]

MAX_SIZE = 2**30

# Files besides the connections, and then some.
OTHER_FILES = 64

HELP = """\
The server is expected to answer each message with one message, as an echo does. All connections
are opened first; then --depth messages are kept on their way on each of them, or --rate messages
are sent a second, for --duration or until all --messages are sent; then the missing answers are
waited for, and the connections are closed with 1000. Ctrl-C ends it early, with the result so far.

Latency is the time from the sending of a message to its answer. With --rate it counts from when the
message was due, so that messages that had to wait for a server that hangs are not left out.

With --deflate messages go compressed where the server agrees to permessage-deflate; those of 80
bytes and more are then JSON, each another, for a row of equal letters would be sent as nothing.

--compression loads no server: it compresses messages here, at several settings, and tells what is
left of them, the processor time and the memory.

The result is written to standard output, the progress to standard error.

The exit status is 0 if every connection was opened and stayed open until the end, and every message
was answered once; 1 if not; 2 if the arguments are wrong.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="load a server",
        description="Load a WebSocket server, and tell how fast it answers.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=functools.partial(run, parser))
    plan = Plan()
    load = parser.add_argument_group("the load")
    load.add_argument(
        "-c",
        "--connections",
        type=count,
        default=plan.connections,
        metavar="N",
        help="connections (%(default)s)",
    )
    load.add_argument(
        "-d",
        "--duration",
        type=period,
        metavar="SECONDS",
        help=f"how long to send ({plan.duration:g} if --messages is not given)",
    )
    load.add_argument(
        "-n", "--messages", type=count, metavar="N", help="how many messages to send in all"
    )
    pace = load.add_mutually_exclusive_group()
    pace.add_argument(
        "--depth",
        type=count,
        default=plan.depth,
        metavar="N",
        help="messages on their way on each connection (%(default)s)",
    )
    pace.add_argument(
        "-r",
        "--rate",
        type=rate,
        metavar="N",
        help="messages a second over all connections, without waiting for answers",
    )
    load.add_argument(
        "--opening",
        type=count,
        default=plan.opening,
        metavar="N",
        help="how many connections to open at once (%(default)s)",
    )
    load.add_argument(
        "--timeout",
        type=period,
        default=plan.timeout,
        metavar="SECONDS",
        help="give up when opening or closing a connection takes so long, or when no answer came "
        "for so long (%(default)g)",
    )

    messages = parser.add_argument_group("the messages")
    content = messages.add_mutually_exclusive_group()
    content.add_argument(
        "-s",
        "--size",
        type=size,
        metavar="BYTES",
        help=f"size of a message ({plan.size}; {SIZE} with --deflate and --compression)",
    )
    content.add_argument("-p", "--payload", type=text, metavar="TEXT", help="what to send")
    kind = messages.add_mutually_exclusive_group()
    kind.add_argument("--text", action="store_true", help="send text messages (the default)")
    kind.add_argument("--binary", action="store_true", help="send binary messages")
    messages.add_argument(
        "--deflate", action="store_true", help="offer permessage-deflate (RFC 7692) to the server"
    )
    answers = messages.add_mutually_exclusive_group()
    answers.add_argument(
        "--verify", action="store_true", help="check that each answer is what was sent"
    )
    answers.add_argument(
        "--no-echo",
        action="store_true",
        help="expect no answers: send as fast as the server reads, or at --rate",
    )

    add_request_arguments(parser, required=False)

    parser.add_argument_group("without a server").add_argument(
        "--compression",
        nargs="?",
        const=GENERATED,
        metavar="FILE",
        help="tell what compression does to the messages of a file, one on each line (- is "
        "standard input), or to messages that are made here, of --size",
    )

    output = parser.add_argument_group("the output")
    output.add_argument(
        "--json",
        action="store_true",
        help="write the result as JSON: times in seconds, sizes in bytes",
    )
    output.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def number(text: str, kind: type[Any]) -> Any:
    """The number in a text; -1 if there is none."""
    try:
        return kind(text)
    except ValueError:
        return -1


def count(text: str) -> int:
    value: int = number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"it takes a number of at least 1, not {text!r}")
    return value


def size(text: str) -> int:
    value: int = number(text, int)
    if not 0 <= value <= MAX_SIZE:
        raise argparse.ArgumentTypeError(f"it takes 0 to {MAX_SIZE} bytes, not {text!r}")
    return value


def rate(text: str) -> float:
    value: float = number(text, float)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"it takes messages a second, not {text!r}")
    return value


def period(text: str) -> float:
    value: float = number(text, float)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"it takes a positive number of seconds, not {text!r}")
    return value


def text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it takes text in the encoding of the terminal") from None
    return text


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.compression is not None:
        if options.uri is not None:
            parser.error("argument --compression: not allowed with a URI")
        print(compare(options.compression, options.size, options.json), flush=True)
        return 0
    if options.uri is None:
        parser.error("the following arguments are required: URI")
    plan = make_plan(options)
    allow_files(plan.connections + OTHER_FILES)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        load = runner.run(perform(options, plan))
    print(as_json(load) if options.json else as_text(load), flush=True)
    return 0 if is_good(load) else 1


def make_plan(options: argparse.Namespace) -> Plan:
    duration = options.duration
    if duration is None and options.messages is None:
        duration = Plan().duration
    return Plan(
        connections=options.connections,
        opening=options.opening,
        duration=endless(duration),
        messages=options.messages,
        size=size_of(options),
        text=options.payload,
        binary=options.binary,
        depth=options.depth,
        rate=options.rate,
        echo=not options.no_echo,
        verify=options.verify,
        deflate=options.deflate,
        timeout=endless(options.timeout),
    )


def size_of(options: argparse.Namespace) -> int:
    if options.size is not None:
        size: int = options.size
        return size
    return SIZE if options.deflate else Plan().size


def endless(seconds: float | None) -> float | None:
    return None if seconds is None or seconds > FOREVER else seconds


def allow_files(number: int) -> None:
    """Let this process open as many files, or as many as it may."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < number:
        limit = number if hard == unlimited else min(number, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


async def perform(options: argparse.Namespace, plan: Plan) -> Load:
    load = Load(make_connector(options, **plan.connect_options()), plan)
    showing = contextlib.nullcontext() if options.quiet else Progress(load, sys.stderr)
    with showing:
        try:
            await load.run()
        except CONNECT_ERRORS as error:
            raise Failure(f"cannot connect: {why_not_connected(error)}") from None
    return load
