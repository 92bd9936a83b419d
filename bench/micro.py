"""Micro-benchmarks: the compiled modules, their pure twins, and websockets with its C extension.

usage: micro.py [--only TEXT] [--quick] [--check] [--write]

Every cell of the table is one piece of work (mask, parse, serialise, UTF-8) at one size. Its
contenders do it in turns, a few milliseconds each, so that what slows the machine slows all of
them. Their times are the processor's, so that other programs count little. A contender's figure is
the best of the medians of three groups of turns.

bench/README.md says what each row is. --write puts the table there, a shorter one into README.md,
and all figures into bench/results/micro.json. --check fails if a requirement is not met.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import websockets
import websockets.frames
import websockets.protocol
import websockets.server
import websockets.speedups

import wsfast
import wsfast._frame
import wsfast._mask
import wsfast._parser
import wsfast._pure.frame
import wsfast._pure.mask
import wsfast._pure.parser

SIZES = {"16 B": 16, "128 B": 128, "1 KiB": 1024, "64 KiB": 65536, "1 MiB": 2**20}
CONTENDERS = ("compiled", "pure", "websockets")
KEY = b"\x37\xfa\x21\x3d"
TEXT, BINARY = 1, 2

GROUPS = 3
TURNS = 7
TURN_SECONDS = 0.006

# What must hold: compiled is so many times as fast as websockets in this cell, and nowhere more
# than so much slower. The first was 20 times as fast as pure while pure took 2.2 us: the same time,
# but it does not move when pure is made faster.
FASTER_THAN_WEBSOCKETS = {("parse binary", "128 B"): 25.0}
SLOWER_THAN_WEBSOCKETS = 1.05

HERE = Path(__file__).parent
ROOT = HERE.parent

# Does its work `loops` times.
Run = Callable[[int], None]
# Does so too, and returns the seconds of processor time that it took.
Turn = Callable[[int], float]


# --- The work ------------------------------------------------------------------------------------


def ascii_text(size: int) -> bytes:
    return (b"The quick brown fox jumps over the lazy dog, and so on. " * (size // 56 + 1))[:size]


def mixed_text(size: int) -> bytes:
    """Words of one, two, three and four bytes a character, about a third of them ASCII."""
    unit = "grün über Ærøskøbing, Привет мир, 你好世界, 𝄞 ".encode()
    data = (unit * (size // len(unit) + 1))[:size]
    text = data.decode(errors="ignore").encode()
    return text + b"." * (size - len(text))


def call(function: Callable[..., object], *arguments: object) -> Run:
    """Calls a function that takes up to two arguments."""
    if len(arguments) == 1:
        (only,) = arguments

        def run(loops: int) -> None:
            for _ in range(loops):
                function(only)

    else:
        first, second = arguments

        def run(loops: int) -> None:
            for _ in range(loops):
                function(first, second)

    return run


def mask(size: int) -> tuple[int, dict[str, Run]]:
    data = os.urandom(size)
    return 1, {
        "compiled": call(wsfast._mask.apply_mask, data, KEY),
        "pure": call(wsfast._pure.mask.apply_mask, data, KEY),
        "websockets": call(websockets.speedups.apply_mask, data, KEY),
    }


def read_with_wsfast(module: object, opcode: int, stream: bytes, count: int) -> Run:
    reader = module.FrameReader(client=False, max_size=2**20)  # type: ignore[attr-defined]

    def run(loops: int) -> None:
        feed, read = reader.feed, reader.next
        for _ in range(loops):
            feed(stream)
            while read() is not None:
                pass

    reader.feed(stream)
    frames = list(iter(reader.next, None))
    assert len(frames) == count
    assert all(type(data) is (str if opcode == TEXT else bytes) for _, data, _ in frames)
    return run


def read_with_websockets(opcode: int, stream: bytes, count: int) -> Run:
    protocol = websockets.server.ServerProtocol(
        state=websockets.protocol.State.OPEN, max_size=2**20
    )

    def run_binary(loops: int) -> None:
        receive, events = protocol.receive_data, protocol.events_received
        for _ in range(loops):
            receive(stream)
            for frame in events():
                frame.data  # noqa: B018

    def run_text(loops: int) -> None:
        receive, events = protocol.receive_data, protocol.events_received
        for _ in range(loops):
            receive(stream)
            for frame in events():
                frame.data.decode()

    protocol.receive_data(stream)
    assert len(protocol.events_received()) == count
    return run_text if opcode == TEXT else run_binary


def parse(opcode: int, make: Callable[[int], bytes]) -> Callable[[int], tuple[int, dict[str, Run]]]:
    def cell(size: int) -> tuple[int, dict[str, Run]]:
        # As many frames as a read of a busy socket may bring, up to a mebibyte.
        count = max(1, min(64, 2**20 // size))
        frame = wsfast._frame.encode_frame(opcode, make(size), True, 0, KEY)
        stream = frame * count
        return count, {
            "compiled": read_with_wsfast(wsfast._parser, opcode, stream, count),
            "pure": read_with_wsfast(wsfast._pure.parser, opcode, stream, count),
            "websockets": read_with_websockets(opcode, stream, count),
        }

    return cell


def serialise_server(size: int) -> tuple[int, dict[str, Run]]:
    data = os.urandom(size)
    frame_class = websockets.frames.Frame
    opcode = websockets.frames.Opcode.BINARY

    def run(loops: int) -> None:
        for _ in range(loops):
            frame_class(opcode, data).serialize(mask=False)

    return 1, {
        "compiled": call(wsfast._frame.encode_frame, BINARY, data),
        "pure": call(wsfast._pure.frame.encode_frame, BINARY, data),
        "websockets": run,
    }


def serialise_client(size: int) -> tuple[int, dict[str, Run]]:
    data = os.urandom(size)
    frame_class = websockets.frames.Frame
    opcode = websockets.frames.Opcode.BINARY

    def with_wsfast(writer: object, masks: object) -> Run:
        encode, key = writer.encode_frame, masks.masking_key  # type: ignore[attr-defined]

        def run(loops: int) -> None:
            for _ in range(loops):
                encode(BINARY, data, True, 0, key())

        return run

    def run(loops: int) -> None:
        for _ in range(loops):
            frame_class(opcode, data).serialize(mask=True)

    return 1, {
        "compiled": with_wsfast(wsfast._frame, wsfast._mask),
        "pure": with_wsfast(wsfast._pure.frame, wsfast._pure.mask),
        "websockets": run,
    }


def utf8(make: Callable[[int], bytes]) -> Callable[[int], tuple[int, dict[str, Run]]]:
    def cell(size: int) -> tuple[int, dict[str, Run]]:
        data = make(size)
        return 1, {
            "compiled": call(wsfast._mask.valid_utf8, data),
            "pure": call(wsfast._pure.mask.valid_utf8, data),
            # Its C extension has no validation: it decodes.
            "websockets": call(bytes.decode, data),
        }

    return cell


WORKS: dict[str, Callable[[int], tuple[int, dict[str, Run]]]] = {
    "mask": mask,
    "parse binary": parse(BINARY, os.urandom),
    "parse text, ASCII": parse(TEXT, ascii_text),
    "parse text, mixed": parse(TEXT, mixed_text),
    "serialise, server": serialise_server,
    "serialise, client": serialise_client,
    "UTF-8, ASCII": utf8(ascii_text),
    "UTF-8, mixed": utf8(mixed_text),
}


# --- Measuring -----------------------------------------------------------------------------------


def timed(run: Run) -> Turn:
    def turn(loops: int) -> float:
        start = process_time()
        run(loops)
        return process_time() - start

    return turn


def measure(contenders: dict[str, Turn], quick: bool) -> dict[str, float]:
    """The nanoseconds that each contender takes for its work once."""
    seconds = TURN_SECONDS / 4 if quick else TURN_SECONDS
    loops = {}
    for name, turn in contenders.items():
        loops[name] = 1
        while (took := turn(loops[name])) < seconds / 4:
            loops[name] *= 2
        loops[name] = max(1, round(loops[name] * seconds / took))
    medians: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 if quick else GROUPS):
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(TURNS):
            for name, turn in contenders.items():
                times[name].append(turn(loops[name]) / loops[name])
        for name, taken in times.items():
            medians[name].append(statistics.median(taken))
    return {name: min(values) * 1e9 for name, values in medians.items()}


def time_text(nanoseconds: float) -> str:
    if nanoseconds < 1000:
        return f"{nanoseconds:.0f} ns"
    if nanoseconds < 1e6:
        return f"{nanoseconds / 1e3:.3g} us"
    return f"{nanoseconds / 1e6:.3g} ms"


def ratio_text(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2f}x"


def row(work: str, size: str, times: dict[str, float]) -> list[str]:
    compiled = times["compiled"]
    return [
        work,
        size,
        *(time_text(times[name]) for name in CONTENDERS),
        ratio_text(times["pure"] / compiled),
        ratio_text(times["websockets"] / compiled),
    ]


HEADINGS = [
    "work", "size", "compiled", "pure", "websockets", "compiled vs pure", "compiled vs websockets"
]  # fmt: skip


def markdown(rows: list[list[str]], headings: list[str], words: int) -> str:
    """A table whose first columns are words, and whose others are numbers."""
    rules = ["---"] * words + ["--:"] * (len(headings) - words)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, rules, *rows))


# --- The report ----------------------------------------------------------------------------------


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def conditions(script: str, arguments: list[str], peer: str, version: str) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wsfast": wsfast.__version__,
        peer: version,
        "command": " ".join([f"python bench/{script}", *arguments]),
    }


def failures(results: dict[tuple[str, str], dict[str, float]]) -> list[str]:
    found = []
    for (work, size), times in results.items():
        slower = times["compiled"] / times["websockets"]
        if slower > SLOWER_THAN_WEBSOCKETS:
            found.append(f"{work}, {size}: compiled takes {slower:.2f} times what websockets takes")
        wanted = FASTER_THAN_WEBSOCKETS.get((work, size))
        faster = times["websockets"] / times["compiled"]
        if wanted is not None and faster < wanted:
            found.append(f"{work}, {size}: compiled is {faster:.1f}x websockets, not {wanted:.0f}x")
    return found


def replace(path: Path, name: str, text: str) -> None:
    """Put text between the two markers of a name in a file."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise SystemExit(f"{path} has no place for the table")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def write(
    results: dict[tuple[str, str], dict[str, float]], known: dict[str, str], rows: list[list[str]]
) -> None:
    (HERE / "results").mkdir(exist_ok=True)
    cells = [
        {"work": work, "size": SIZES[size], **{k: round(v, 2) for k, v in times.items()}}
        for (work, size), times in results.items()
    ]
    text = json.dumps({"conditions": known, "unit": "nanoseconds", "cells": cells}, indent=1)
    (HERE / "results" / "micro.json").write_text(text + "\n")
    facts = "".join(f"- {name}: {value}\n" for name, value in known.items())
    replace(HERE / "README.md", "micro", f"{facts}\n{markdown(rows, HEADINGS, 2)}")
    short = [[line[0], *line[2:]] for line in rows if line[1] == "128 B"]
    headings = [f"{HEADINGS[0]}, 128 B", *HEADINGS[2:]]
    facts = ", ".join([known["processor"], known["python"], "websockets " + known["websockets"]])
    replace(
        ROOT / "README.md", "micro", f"{markdown(short, headings, 1)}\n{facts}, {known['date']}.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, less exact")
    parser.add_argument("--check", action="store_true", help="fail if a requirement is not met")
    parser.add_argument("--write", action="store_true", help="update the tables and the results")
    options = parser.parse_args()
    if options.write and (options.only or options.quick):
        parser.error("--write needs all rows, and exact ones")

    arguments = [name for name in sys.argv[1:] if name != "--check"]
    version = f"{websockets.__version__} with its C extension"
    known = conditions("micro.py", arguments, "websockets", version)
    for name, value in known.items():
        print(f"{name}: {value}")
    widths = [18, 7, 9, 9, 10, 16, 22]
    print()
    print("  ".join(text.ljust(width) for text, width in zip(HEADINGS, widths, strict=True)))
    gc.collect()
    gc.freeze()
    results: dict[tuple[str, str], dict[str, float]] = {}
    rows = []
    for work, make in WORKS.items():
        if options.only not in work:
            continue
        for size, number in SIZES.items():
            count, runs = make(number)
            taken = measure({name: timed(run) for name, run in runs.items()}, options.quick)
            times = {name: nanoseconds / count for name, nanoseconds in taken.items()}
            results[work, size] = times
            rows.append(row(work, size, times))
            cells = zip(rows[-1], widths, strict=True)
            print("  ".join(text.ljust(width) for text, width in cells), flush=True)

    found = failures(results)
    print()
    print("\n".join(found) if found else "All requirements are met.")
    if options.write:
        write(results, known, rows)
    return 1 if found and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
