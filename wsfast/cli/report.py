"""What a load found, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from .._backend import BACKEND
from .._version import __version__
from .shared import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .histogram import Histogram
    from .loading import Load

__all__ = ["as_json", "as_text", "is_good", "plural", "short"]

PERCENTS = (50, 90, 99, 99.9)
COLUMNS = ("min", *[f"p{percent}" for percent in PERCENTS], "max")

# How many reasons are shown.
MOST = 5

# From here on it is we who limit the rate (as a part of the time), or who are late (in ns).
BUSY = 0.9
LATE = 1e6


def is_good(load: Load) -> bool:
    """Whether something was measured, and nothing failed."""
    if load.failed or load.lost or load.stalled or load.wrong:
        return False
    if not load.plan.echo:
        return load.counted > 0
    return load.answered > 0 and not load.extra and (load.interrupted or not load.unanswered)


def short(value: float) -> str:
    """A number with about three digits."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def distribution(histogram: Histogram) -> dict[str, float] | None:
    """Minimum, percentiles and maximum, in nanoseconds."""
    if not histogram.count:
        return None
    middle = [histogram.percentile(percent) for percent in PERCENTS]
    values = (histogram.minimum, *middle, histogram.maximum)
    return dict(zip(COLUMNS, values, strict=True))


def as_json(load: Load) -> str:
    """All of it. Times are seconds, sizes bytes, rates per second."""

    def seconds(histogram: Histogram) -> dict[str, float] | None:
        values = distribution(histogram)
        return values and {name: value / 1e9 for name, value in values.items()}

    codes: dict[str, int] = {}
    for close, number in load.closes.items():
        codes[str(close.code)] = codes.get(str(close.code), 0) + number
    result = {
        "wsfast": __version__,
        "backend": BACKEND,
        "uri": str(load.connector.uri),
        "extensions": load.extensions,
        "plan": dataclasses.asdict(load.plan),
        "good": is_good(load),
        "interrupted": load.interrupted,
        "stalled": load.stalled,
        "connections": {"opened": load.opened, "failed": load.failed, "lost": load.lost},
        "failures": dict(load.failures),
        "closes": codes,
        "errors": dict(load.errors),
        "messages": {
            "sent": load.sent,
            "answered": load.answered,
            "unanswered": load.unanswered,
            "extra": load.extra,
            "wrong": load.wrong,
        },
        "elapsed": load.elapsed,
        "rate": {name: rate(load, number) for name, number in totals(load).items()},
        "opening": seconds(load.opening),
        "latency": seconds(load.latency),
        "lateness": seconds(load.lateness),
        "cpu": load.cpu,
        "cpu_wait": load.cpu_wait,
    }
    return json.dumps(result, indent=2)


def totals(load: Load) -> dict[str, int]:
    return {
        "messages": load.counted,
        "bytes_sent": load.bytes_sent,
        "bytes_received": load.bytes_received,
        "wire_bytes_sent": load.wire_bytes_sent,
        "wire_bytes_received": load.wire_bytes_received,
    }


def rate(load: Load, number: int) -> float:
    return number / load.elapsed if load.elapsed else 0.0


def as_text(load: Load) -> str:
    """What one wants to know, for a terminal."""
    lines = [f"{name:<13}{escape(text)}" for name, text in rows(load)]
    lines += ["", *table(load)]
    found = list(notes(load))
    if found:
        lines += ["", *found]
    return "\n".join(lines)


def rows(load: Load) -> Iterator[tuple[str, str]]:
    plan = load.plan
    kind = "binary" if plan.binary else "text"
    yield "Server", str(load.connector.uri)
    if plan.rate is not None:
        pace = f"{plan.rate:,g} a second"
    elif plan.echo:
        pace = f"{plan.depth:,} on the way on each connection"
    else:
        pace = "as fast as they are read"
    yield "Load", f"{kind} messages of {plural(plan.message_size, 'byte')}, {pace}"
    if plan.deflate:
        yield "Extensions", load.extensions or "none: nothing is compressed"
    opened = [f"{load.opened:,} opened"]
    opened += [f"{load.failed:,} failed"] if load.failed else []
    opened += [f"{load.lost:,} lost"] if load.lost else []
    yield "Connections", ", ".join(opened)
    yield from reasons("Failed", load.failures)
    messages = [f"{load.sent:,} sent"]
    messages += [f"{load.answered:,} answered"] if plan.echo else []
    messages += [f"{load.extra:,} came"] if load.extra and not plan.echo else []
    yield "Messages", ", ".join(messages)
    each = {name: rate(load, number) for name, number in totals(load).items()}
    yield (
        "Rate",
        f"{each['messages']:,.0f} messages/s, {short(each['bytes_sent'] / 1e6)} MB/s sent, "
        f"{short(each['bytes_received'] / 1e6)} MB/s received, for {short(load.elapsed)} s",
    )
    if load.extensions and load.bytes_sent and load.bytes_received:
        sent = load.wire_bytes_sent / load.bytes_sent
        received = load.wire_bytes_received / load.bytes_received
        yield "On the wire", f"{sent:.1%} of what was sent, {received:.1%} of what was received"
    yield from reasons("Closed", load.closes)
    yield from reasons("Errors", load.errors)


def reasons(name: str, counted: Any) -> Iterator[tuple[str, str]]:
    """A row for each of the most frequent reasons."""
    for reason, number in counted.most_common(MOST):
        yield name, f"{number:,} x {reason}"
        name = ""
    others = sum(number for _, number in counted.most_common()[MOST:])
    if others:
        yield "", f"{others:,} x for other reasons"


def table(load: Load) -> Iterator[str]:
    yield "ms".ljust(11) + "".join(f"{column:>9}" for column in COLUMNS)
    found = {"Opening": load.opening, "Latency": load.latency, "Sent late": load.lateness}
    for name, histogram in found.items():
        values = distribution(histogram)
        if values is not None:
            yield f"{name:<11}" + "".join(f"{short(v / 1e6):>9}" for v in values.values())


def notes(load: Load) -> Iterator[str]:
    """What the reader must know to judge the numbers."""
    plan = load.plan
    if load.interrupted:
        yield f"Interrupted after {short(load.elapsed)} s."
    if not load.sent:
        yield "Nothing was sent."
    elif not plan.echo:
        if load.stalled:
            yield f"The server did not read everything within {plan.timeout:g} s."
    elif not load.answered:
        yield (
            "The server answered nothing. It must send one message back for each that it gets: "
            "--payload\nsays what to send it; with --no-echo no answers are expected."
        )
    else:
        if load.stalled:
            yield f"The server stopped answering: nothing came for {plan.timeout:g} s."
        if load.unanswered:
            yield f"{plural(load.unanswered, 'message')} had no answer."
        if load.extra:
            yield (
                f"{plural(load.extra, 'message')} came while no answer was missing. If the server "
                "does not send exactly one\nfor each that it gets, the latencies are wrong."
            )
    if load.wrong:
        yield f"{plural(load.wrong, 'answer')} differed from what was sent."
    if load.cpu + load.cpu_wait >= BUSY:
        yield (
            f"This program ran {load.cpu:.0%} of the time and waited for a CPU "
            f"{load.cpu_wait:.0%}: it may be the bottleneck."
        )
    if load.lateness.count and (late := load.lateness.percentile(50)) >= LATE:
        yield (
            f"Half of the messages were sent over {short(late / 1e6)} ms late: this program cannot "
            "keep that rate here."
        )
