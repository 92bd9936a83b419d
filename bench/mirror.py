"""The parser and sender benchmarks of Node's ws: both backends of wsfast, and ws itself.

usage: mirror.py [--quick] [--write]

The work and the sizes are those of ws's bench/parser.benchmark.js and bench/sender.benchmark.js;
how it is measured is as in micro.py. bench/README.md says what each row is; --write puts the table
there, and all figures into bench/results/mirror.json. (ws's bench/speed.js is a group of run.py.)
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from contenders import HERE, install_node_peer
from micro import BINARY, Run, Turn, call, conditions, markdown, measure, ratio_text, replace, timed

import wsfast._frame
import wsfast._mask
import wsfast._parser
import wsfast._pure.frame
import wsfast._pure.mask
import wsfast._pure.parser

KEY = bytes([1, 2, 3, 4])
OPCODES = {"text": 1, "binary": BINARY, "ping": 9}

PARSER = [
    ("ping", 5),
    ("ping", 0),
    ("text", 20),
    ("binary", 125),
    ("binary", 65535),
    ("binary", 200 * 1024),
    ("binary", 2**20),
]
SENDER = [
    (kind, size)
    for size in (64, 16 * 1024, 64 * 1024, 200 * 1024, 2**20)
    for kind in ("unmasked", "masked")
]
WORKS = [("parser", *row) for row in PARSER] + [("sender", *row) for row in SENDER]

HEADINGS = ["work", "payload", "compiled", "pure", "Node's ws", "compiled vs Node's ws"]


# --- The work ------------------------------------------------------------------------------------


def parse(parser: Any, kind: str, size: int) -> Run:
    """Feeds one masked frame at a time."""
    opcode = OPCODES[kind]
    frame = wsfast._frame.encode_frame(opcode, b"a" * size, True, 0, KEY)
    reader = parser.FrameReader(client=False, max_size=2**20)
    reader.feed(frame)
    assert reader.next() == (opcode, "a" * size if kind == "text" else b"a" * size, True)

    def run(loops: int) -> None:
        feed, read = reader.feed, reader.next
        for _ in range(loops):
            feed(frame)
            read()

    return run


def send(writer: Any, masks: Any, kind: str, size: int) -> Run:
    """Makes frames; for a masked one a key belongs to the work."""
    data = b"a" * size
    encode, key = writer.encode_frame, masks.masking_key
    if kind == "unmasked":
        return call(encode, BINARY, data)

    def run(loops: int) -> None:
        for _ in range(loops):
            encode(BINARY, data, True, 0, key())

    return run


def ours(work: str, kind: str, size: int, parser: Any, writer: Any, masks: Any) -> Turn:
    """One of the backends."""
    return timed(parse(parser, kind, size) if work == "parser" else send(writer, masks, kind, size))


@contextlib.contextmanager
def node() -> Iterator[subprocess.Popen[str]]:
    """The process of mirror.mjs."""
    command = ["node", str(HERE / "mirror.mjs")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def theirs(process: subprocess.Popen[str], work: str, kind: str, size: int) -> Turn:
    """Node's ws."""
    orders, answers = process.stdin, process.stdout
    assert orders is not None
    assert answers is not None

    def turn(loops: int) -> float:
        orders.write(f"{work} {kind} {size} {loops}\n")
        orders.flush()
        answer = answers.readline()
        if not answer:
            raise SystemExit("mirror: Node ended")
        return float(answer)

    return turn


# --- The report ----------------------------------------------------------------------------------


def size_text(size: int) -> str:
    if size < 1024 or size % 1024:
        return f"{size:,} B"
    return f"{size // 1024} KiB" if size < 2**20 else f"{size // 2**20} MiB"


def row(work: str, kind: str, size: int, times: dict[str, float]) -> list[str]:
    rates = [f"{1e9 / nanoseconds:,.0f}" for nanoseconds in times.values()]
    ratio = times["node"] / times["compiled"]
    return [
        f"{work}, {kind}",
        size_text(size),
        *rates,
        ratio_text(ratio) if ratio >= 0.1 else f"{ratio:.1g}x",
    ]


def write(results: list[dict[str, Any]], known: dict[str, str], rows: list[list[str]]) -> None:
    text = json.dumps({"conditions": known, "unit": "nanoseconds", "cells": results}, indent=1)
    (HERE / "results" / "mirror.json").write_text(text + "\n")
    facts = "".join(f"- {name}: {value}\n" for name, value in known.items())
    replace(HERE / "README.md", "mirror", f"{facts}\n{markdown(rows, HEADINGS, 2)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, less exact")
    parser.add_argument("--write", action="store_true", help="update the table and the results")
    options = parser.parse_args()
    if options.write and options.quick:
        parser.error("--write needs exact figures")
    try:
        versions = install_node_peer()
    except LookupError as error:
        print(f"mirror: not measured: {error}")
        return
    known = conditions("mirror.py", sys.argv[1:], "Node's ws", versions)
    for name, value in known.items():
        print(f"{name}: {value}")
    widths = [17, 8, 12, 12, 12, 21]
    print("\nOperations a second:\n")
    print("  ".join(text.ljust(width) for text, width in zip(HEADINGS, widths, strict=True)))
    gc.collect()
    gc.freeze()
    results: list[dict[str, Any]] = []
    rows = []
    with node() as process:
        for work, kind, size in WORKS:
            times = measure(
                {
                    "compiled": ours(work, kind, size, wsfast._parser, wsfast._frame, wsfast._mask),
                    "pure": ours(
                        work, kind, size, wsfast._pure.parser, wsfast._pure.frame, wsfast._pure.mask
                    ),
                    "node": theirs(process, work, kind, size),
                },
                options.quick,
            )
            rounded = {name: round(value, 2) for name, value in times.items()}
            results.append({"work": work, "kind": kind, "size": size, **rounded})
            rows.append(row(work, kind, size, times))
            cells = zip(rows[-1], widths, strict=True)
            print("  ".join(text.ljust(width) for text, width in cells), flush=True)
    if options.write:
        write(results, known, rows)


if __name__ == "__main__":
    main()
