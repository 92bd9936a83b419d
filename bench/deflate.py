"""What permessage-deflate costs and saves: settings, sizes, both zlibs, with and without takeover.

usage: deflate.py [--quick] [--write]

The messages are those of `wsfast bench --compression`, which does the same with one's own. A time
is the processor's, for one message, in the fastest of many rounds. docs/compression.md says what
follows; --write puts the tables there. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import zlib
from pathlib import Path

from micro import conditions, markdown, replace
from mirror import size_text

from wsfast.cli.compression import Cost, Setting, available, measure, memory
from wsfast.cli.samples import make_messages

PAGE = Path(__file__).parent.parent / "docs" / "compression.md"

SIZES = (100, 200, 1024, 4096, 16384)

# Level, window bits, memory level: one changes, the others stay; then both of those that memory
# depends on, and the most.
LEVELS = tuple((level, 12, 5) for level in (1, 2, 3, 4, 6, 9))
SETTINGS = (
    *LEVELS,
    *((6, bits, 5) for bits in (9, 10, 11, 13, 15)),
    *((6, 12, mem_level) for mem_level in (1, 3, 4, 6, 8)),
    *((6, 9, 1), (6, 10, 3), (6, 11, 4), (1, 15, 8), (6, 15, 8), (9, 15, 9)),
)
# Without context takeover windows and memory levels make no difference that is worth a line.
ALONE = (*LEVELS, (6, 9, 1), (6, 10, 3), (6, 15, 8))
DEFAULTS = {(6, 12, 5): "wsfast, websockets", (6, 15, 8): "zlib, Node's ws"}

# Where it begins to pay.
SMALL = (80, 100, 128, 160, 200, 300, 500, 1024, 4096, 16384)

Costs = dict[tuple[Setting, int], Cost]


def messages_of(size: int) -> list[bytes]:
    """Many more than fit into a window of 32 KiB."""
    return make_messages(size, max(16, 2**17 // size))


def measure_all(settings: list[Setting], sizes: tuple[int, ...], seconds: float) -> Costs:
    """Each setting with messages of each size."""
    costs = {}
    for size in sizes:
        messages = messages_of(size)
        for setting in settings:
            costs[setting, size] = measure(setting, messages, seconds)
        print(f"deflate: {size_text(size)} done", file=sys.stderr, flush=True)
    return costs


def cell(cost: Cost) -> str:
    """What is left, and the microseconds."""
    return f"{cost.ratio:.0%}, {cost.deflate * 1e6:.1f} + {cost.inflate * 1e6:.1f}"


def settings_table(costs: Costs, module: str, takeover: bool) -> str:
    """A line for each setting, a column for each size."""
    headings = ["level", "window", "memory level", *map(size_text, SIZES)]
    if takeover:
        headings.insert(3, "KiB a connection")
    rows = []
    for numbers in SETTINGS if takeover else ALONE:
        found = [costs[Setting(module, *numbers, takeover), size] for size in SIZES]
        row = [*map(str, numbers), *map(cell, found)]
        if takeover:
            kept = found[-1].memory
            row.insert(3, "-" if kept is None else f"{kept / 1024:.0f}")
        if numbers in DEFAULTS:
            row = [f"**{entry}**" for entry in row]
        rows.append(row)
    return markdown(rows, headings, 0)


def memory_table() -> str:
    """A line for each window: what a context needs that compresses, or gets messages back."""
    messages = messages_of(1024)
    mem_levels = (1, 3, 4, 5, 6, 8)
    headings = ["zlib", "window", *(f"send, memory level {n}" for n in mem_levels), "receive"]
    rows = []
    for module in available():
        for bits in range(9, 16):
            sent = [
                memory(Setting(module, 6, bits, n), messages, receives=False) for n in mem_levels
            ]
            received = memory(Setting(module, 6, bits, 5), messages, sends=False)
            cells = ["-" if size is None else f"{size / 1024:.0f}" for size in (*sent, received)]
            rows.append([module.replace("_", "-"), str(bits), *cells])
    return markdown(rows, headings, 1)


def gain(cost: Cost, size: int) -> str:
    """What is left; and where it pays: below this bandwidth it takes less time than it saves."""
    saved = size * (1 - cost.ratio)
    if saved <= 0:
        return f"{cost.ratio:.0%}, never"
    megabits = 8 * saved / ((cost.deflate + cost.inflate) * 1e6)
    return f"{cost.ratio:.0%}, {megabits:,.0f} Mbit/s"


def gain_table(costs: Costs) -> str:
    """A line for each size: what compression saves at the defaults."""
    columns = [
        (module, takeover, numbers)
        for takeover in (True, False)
        for module, numbers in (
            *((module, (6, 12, 5)) for module in available()),
            *((module, (1, 12, 5)) for module in available()),
        )
    ]
    headings = ["message"]
    for module, takeover, numbers in columns:
        name = module.replace("_", "-")
        headings.append(f"{name}, level {numbers[0]}, {'' if takeover else 'no '}takeover")
    rows = [
        [
            size_text(size),
            *(
                gain(costs[Setting(module, *numbers, takeover), size], size)
                for module, takeover, numbers in columns
            ),
        ]
        for size in SMALL
    ]
    return markdown(rows, headings, 1)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, less exact")
    parser.add_argument("--write", action="store_true", help="update the page")
    options = parser.parse_args()
    if options.write and options.quick:
        parser.error("--write needs exact figures")
    seconds = 0.01 if options.quick else 0.1
    modules = available()
    costs = measure_all(
        [
            Setting(module, *numbers, takeover)
            for module in modules
            for takeover in (True, False)
            for numbers in (SETTINGS if takeover else ALONE)
        ],
        SIZES,
        seconds,
    )
    known = [
        Setting(module, level, 12, 5, takeover)
        for module in modules
        for level in (1, 6)
        for takeover in (True, False)
    ]
    costs |= measure_all(known, tuple(size for size in SMALL if size not in SIZES), seconds)
    version = zlib.ZLIB_RUNTIME_VERSION
    if "zlib_ng" in modules:
        version += f", zlib-ng {importlib.metadata.version('zlib-ng')}"
    facts = conditions("deflate.py", sys.argv[1:], "zlib", version)
    parts = ["".join(f"- {name}: {value}\n" for name, value in facts.items())]
    for module in modules:
        for takeover in (True, False):
            title = f"{module.replace('_', '-')}, {'' if takeover else 'no '}context takeover"
            parts.append(f"#### {title}\n\n{settings_table(costs, module, takeover)}")
    parts.append(f"#### Memory of a context, KiB\n\n{memory_table()}")
    parts.append(f"#### Where it pays\n\n{gain_table(costs)}")
    text = "\n".join(parts)
    print(text)
    if options.write:
        replace(PAGE, "deflate", text)


if __name__ == "__main__":
    main()
