"""``wsfast bench --compression``: what compression would do to one's own messages."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .._version import __version__
from .compression import Cost, Setting, available, measure
from .report import plural, short
from .samples import SMALLEST, make_messages
from .shared import Failure, escape

__all__ = ["GENERATED", "SIZE", "compare"]

# In place of a file: messages that are made here, of this size if no other is given.
GENERATED = ""
SIZE = 1024

# So much of a file is enough: later messages differ from these as these do from each other.
ENOUGH = 2**20

# Level, window bits and memory level; and whose default it is.
SETTINGS = {
    (1, 10, 4): "",
    (1, 12, 5): "",
    (3, 12, 5): "",
    (6, 9, 3): "",
    (6, 10, 4): "",
    (6, 12, 5): "wsfast, websockets",
    (6, 15, 8): "zlib, Node's ws",
    (9, 15, 9): "",
}

NOTES = """\
Sent: what is left of the messages. Deflate and inflate: processor time for a message. Memory: of a
connection that sends and receives, in KiB; without context takeover there is none between messages.
"""


def compare(path: str, size: int | None, as_json: bool) -> str:
    """Compress messages at several settings.

    Args:
        path: of a file with a message on each line, "-" for standard input, or `GENERATED`.
        size: of the messages that are made if there is no file.
        as_json: whether to tell it as JSON.

    Raises:
        Failure: there are no messages.
    """
    messages = read(path) if path != GENERATED else generate(SIZE if size is None else size)
    settings = [
        Setting(zlib, *numbers, takeover)
        for zlib in available()
        for numbers in SETTINGS
        for takeover in (True, False)
    ]
    costs = [measure(setting, messages) for setting in settings]
    if as_json:
        return json.dumps(describe(messages, costs), indent=2)
    origin = {GENERATED: "made here", "-": "from standard input"}.get(path, f"from {path}")
    return "\n".join([summary(messages, origin), "", *table(costs), "", NOTES.rstrip()])


def generate(size: int) -> list[bytes]:
    if size < SMALLEST:
        raise Failure(f"the messages that are made have at least {SMALLEST} bytes")
    return make_messages(size, min(1000, max(1, ENOUGH // 4 // size)))


def read(path: str) -> list[bytes]:
    """The lines of a file that are not empty, until they are enough."""
    messages, total = [], 0
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            for line in file:
                if message := line.rstrip(b"\r\n"):
                    messages.append(message)
                    total += len(message)
                if total >= ENOUGH:
                    break
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}") from None
    if not messages:
        raise Failure(f"there is no message in {path}; it takes one on each line")
    return messages


def summary(messages: Sequence[bytes], origin: str) -> str:
    sizes = [len(message) for message in messages]
    low, high = min(sizes), max(sizes)
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return escape(
        f"{plural(len(messages), 'message')} of {each} bytes, {sum(sizes):,} in all, {origin}"
    )


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """A line for each setting, with and without context takeover."""
    yield f"{'':26}{'with context takeover':^40}{'without':^30}".rstrip()
    columns = ("sent", "deflate", "inflate", "memory", "sent", "deflate", "inflate")
    heads = "".join(f"{name:>10}" for name in columns)
    yield f"{'zlib':<9}{'level':>5}{'window':>7}{'mem':>5}{heads}  default of"
    alone = {cost.setting: cost for cost in costs if not cost.setting.takeover}
    for cost in costs:
        setting = cost.setting
        if not setting.takeover:
            continue
        numbers = (setting.level, setting.window_bits, setting.mem_level)
        kept = "-" if cost.memory is None else short(cost.memory / 1024)
        without = times(alone[dataclasses.replace(setting, takeover=False)])
        text = "".join(f"{entry:>10}" for entry in (*times(cost), kept, *without))
        name = f"{setting.zlib:<9}{numbers[0]:>5}{numbers[1]:>7}{numbers[2]:>5}"
        whose = SETTINGS[numbers] if setting.zlib == "zlib" else ""
        yield f"{name}{text}  {whose}".rstrip()


def times(cost: Cost) -> tuple[str, str, str]:
    """What is sent, and the two times."""
    microseconds = (short(seconds * 1e6) for seconds in (cost.deflate, cost.inflate))
    deflate, inflate = (f"{text} us" for text in microseconds)
    return f"{cost.ratio:.1%}", deflate, inflate


def describe(messages: Sequence[bytes], costs: Sequence[Cost]) -> dict[str, object]:
    """All of it. Times are seconds, sizes bytes."""
    sizes = [len(message) for message in messages]
    return {
        "wsfast": __version__,
        "messages": {
            "count": len(sizes),
            "bytes": sum(sizes),
            "smallest": min(sizes),
            "largest": max(sizes),
        },
        "settings": [flat(dataclasses.asdict(cost)) for cost in costs],
    }


def flat(cost: dict[str, Any]) -> dict[str, object]:
    setting: dict[str, object] = cost.pop("setting")
    return setting | cost
