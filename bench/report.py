"""Results as text: a table for each group, the targets, and where another program is ahead.

usage: report.py [RESULTS.json]

Writes bench/README.md and the charts anew, from the given results or the newest ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import charts
from contenders import PEERS
from rows import GROUPS, Group
from targets import judge

__all__ = ["cell_text", "markdown", "publish"]

Results = dict[str, Any]
Cell = dict[str, float]

HERE = Path(__file__).parent
README = HERE / "README.md"
RESULTS = HERE / "results"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

INTRODUCTION = """\
### Servers and clients under load

`bench/run.py` compares wsfast with other servers and clients: the same load for each, from a
generator in C (`load.c`, built when it is needed), which checks that what comes back is right.
They take turns, so that what slows the machine slows all of them.

```sh
.venv/bin/python bench/run.py                    # a subset, about seven minutes
.venv/bin/python bench/run.py --full             # everything, in about fifty; or FULL=1
.venv/bin/python bench/run.py --rows 'echo/*/16,memory' --peers 'wsfast-*,node'
.venv/bin/python bench/run.py --rows 'deflate*'  # what is about compression
.venv/bin/python bench/run.py --uwebsockets PATH # with the EchoServer example of uWebSockets
.venv/bin/python bench/report.py                 # writes this part anew from the newest results
```

It needs a C compiler, the headers of OpenSSL for the TLS rows and of zlib for those with
compression (Debian: libssl-dev, zlib1g-dev), Node for its rows, libuv for socketify (Debian:
libuv1), and two cores that are otherwise idle. What is missing is left out, and said. `--list`
names the rows, `--seconds` and `--rounds` make a run shorter or longer; `servers/` has the servers
as they were measured, each with the loop that is best for it, wsfast on asyncio's own.
"""

LABELS = {peer.key: peer.label for peer in PEERS}
OURS = [peer.key for peer in PEERS if peer.kind == "ours"]
FLOOR = [peer.key for peer in PEERS if peer.kind == "floor"]

# What a table shows: a heading, the number that is compared, and whether more of it is better.
SHOWN = {
    "rate": ("{unit}s a second", "rate", True),
    "cpu": ("Processor time for each {unit}, user + system, in µs", "cpu", False),
    "per_byte": ("Processor time for each byte, in ns", "per_byte", False),
    "ratio": ("What is sent, as a part of the messages", "ratio", False),
    "bytes": ("KiB for each connection", "bytes", False),
    "kept": ("MiB kept", "kept", False),
    "latency": ("Latency p50 / p99 / p99.9", "p99", False),
    "seconds": ("Seconds, and bytes a second", "seconds", False),
}


def short(number: float) -> str:
    """A rate with three digits."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            scaled = number / unit
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{letter}"
    return f"{number:.0f}"


def three(number: float) -> str:
    """A number with about three digits."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def time_text(microseconds: float) -> str:
    """A time with its unit."""
    if microseconds >= 1000:
        return f"{three(microseconds / 1000)} ms"
    return f"{three(microseconds)} µs"


def latency_text(cell: Cell) -> str:
    """The percentiles, in the unit of the largest."""
    names = ("p50", "p99", "p999")
    if cell["p999"] >= 1000:
        return " / ".join(three(cell[name] / 1000) for name in names) + " ms"
    return " / ".join(f"{cell[name]:.0f}" for name in names) + " µs"


def value_text(what: str, cell: Cell) -> str:
    """One entry of a table, without its ratio."""
    if what == "rate":
        return short(cell["rate"]) + (" †" if is_load_bound(cell) else "")
    if what == "cpu":
        return f"{three(cell['user'])} + {three(cell['system'])}"
    if what == "per_byte":
        return three(cell["per_byte"])
    if what == "ratio":
        return f"{cell['ratio']:.1%}"
    if what == "seconds":
        return f"{three(cell['seconds'])} s, {three(cell['speed'] / 2**20)} MiB/s"
    if what == "bytes":
        return f"{cell['bytes'] / 1024:.2f}"
    if what == "kept":
        return f"{cell['kept'] / 2**20:.1f}"
    return latency_text(cell) + (" ‡" if is_behind(cell) else "")


def is_load_bound(cell: Cell) -> bool:
    """Whether it was the load generator that could not do more."""
    return cell.get("load_share", 0) > 0.97 and cell.get("server_share", 1) < 0.9


def is_behind(cell: Cell) -> bool:
    """Whether a server did not keep up with a fixed rate."""
    return cell["polite_rate"] < 0.98 * cell.get("asked_rate", 0)


def cell_text(cell: Cell) -> str:
    """A measurement for the terminal."""
    if "bytes" in cell:
        return f"{cell['bytes'] / 1024:.2f} KiB a connection"
    if "kept" in cell:
        return f"{cell['kept'] / 2**20:.1f} MiB kept"
    if "speed" in cell:
        return value_text("seconds", cell)
    text = f"{cell['rate']:>11,.0f}/s  {three(cell['user'])} + {three(cell['system'])} µs"
    if "ratio" in cell:
        text += f"  {cell['ratio']:.1%} of the bytes"
    if "p99" in cell:
        text += f"  p99 {time_text(cell['p99'])}"
    return text


def by_group(results: Results, group: Group) -> dict[str, Any]:
    """The rows of a group."""
    return {
        name: row
        for name, row in results["rows"].items()
        if name.partition("/")[0] == group.name and row["cells"]
    }


def table(rows: dict[str, Any], what: str, failed: set[str]) -> str:
    """A table with a line for each program: ours first, then by the first column.

    What failed ("row program") is n/a; what was not asked for is empty.
    """
    _, number, more = SHOWN[what]
    medians = {
        name: {key: cell["median"] for key, cell in row["cells"].items()}
        for name, row in rows.items()
    }
    keys = {key for row in medians.values() for key in row}

    def order(key: str) -> tuple[Any, ...]:
        values = [row[key][number] for row in medians.values() if key in row]
        rank = values[0] if values else 0
        ours = OURS.index(key) if key in OURS else len(OURS)
        return ours, key in FLOOR, -rank if more else rank

    ordered = sorted(keys, key=order)
    lines = ["| | " + " | ".join(row["title"] for row in rows.values()) + " |"]
    lines.append("| --- |" + " ---: |" * len(rows))
    for key in ordered:
        entries = []
        for name, row in medians.items():
            cell, first = row.get(key), row.get(ordered[0])
            if cell is None:
                text = "n/a" if f"{name} {key}" in failed else ""
            else:
                text = value_text(what, cell)
            if cell is not None and first is not None and key != ordered[0] and what != "kept":
                text += f" ({ratio(first[number], cell[number], more)})"
            entries.append(text)
        label = f"**{LABELS[key]}**" if key in OURS else LABELS[key]
        lines.append(f"| {label} | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def ratio(first: float, other: float, more: bool) -> str:
    """How many times better the first number is."""
    if not first or not other:
        return "-"
    return f"{first / other if more else other / first:.2f}x"


def targets_table(results: Results) -> str:
    """What is wanted and what was measured."""
    lines = ["| what | against | wanted | measured | |", "| --- | --- | ---: | ---: | --- |"]
    for target, measured in judge(results):
        if measured is None and not results["full"]:
            continue
        bound = target.at_least if target.at_least is not None else target.at_most
        unit = "x" if target.theirs is not None else ""
        wanted = f"{'≥' if target.at_least is not None else '≤'} {bound:g}{unit}"
        if measured is None:
            entry, verdict = "-", "not measured"
        else:
            entry = target.text(measured) + unit
            verdict = "met" if target.is_met(measured) else "**missed**"
        against = LABELS.get(target.against, target.against)
        lines.append(f"| {target.work} | {against} | {wanted} | {entry} | {verdict} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def where_others_lead(results: Results) -> str:
    """Each row in which a library has a better number than the better one of our two styles."""
    lines = []
    for group in GROUPS:
        _, number, more = SHOWN[group.shows[0]]
        for row in by_group(results, group).values():
            values = {key: cell["median"].get(number) for key, cell in row["cells"].items()}
            ours = [value for key, value in values.items() if key in OURS and value is not None]
            if not ours:
                continue
            best = max(ours) if more else min(ours)
            for key, value in values.items():
                if key in OURS or key in FLOOR or value is None:
                    continue
                by = ratio(value, best, more)
                if by != "-" and float(by[:-1]) > 1:
                    lines.append(f"- {group.title}: {row['title']}: {LABELS[key]}, {by}")
    return "\n".join(lines) or "Nowhere, in the rows of this run."


def group_section(results: Results, group: Group) -> str:
    """A group's heading, text and tables."""
    rows = by_group(results, group)
    if not rows:
        return ""
    parts = [f"#### {group.title}"]
    if group.text:
        parts.append(group.text)
    failed = {failure.partition(": ")[0] for failure in results["failures"]}
    for what in group.shows:
        heading = SHOWN[what][0].format(unit=group.unit)
        parts += [f"{heading[0].upper()}{heading[1:]}:", table(rows, what, failed)]
    return "\n\n".join(parts)


def notes(results: Results) -> str:
    """Where, when and what."""
    machine = results["machine"]
    packages = sorted(
        {package for text in results["versions"].values() for package in text.split(", ") if text},
        key=str.lower,
    )
    rounds, more = results["rounds"], results.get("more_rounds", 0)
    counts = f"{rounds}, or {rounds + more} of what a target is about" if more else f"{rounds}"
    lines = [
        f"{results['scope']}, {results['date']}: `{results['command']}`. Rounds: "
        f"{counts}; in each of them one program after the other for {results['seconds']:g} s. The "
        "numbers are medians of the rounds.",
        f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}; "
        f"{machine['python']}; {machine['compiler']}. The server has one core, the load generator "
        "another, loopback between them. No keepalive, and no compression but where it is named.",
        "In parentheses: how many times better wsfast's first line is. "
        "† The load generator was the bottleneck. ‡ The server did not keep up with the rate.",
        f"Versions: {', '.join(packages)}.",
    ]
    if results["missing"]:
        lines.append(
            "Not measured: "
            + "; ".join(f"{LABELS.get(key, key)}: {why}" for key, why in results["missing"].items())
            + "."
        )
    if results["failures"]:
        lines.append("Failed: " + "; ".join(results["failures"]) + ".")
    return "\n\n".join(lines)


def markdown(results: Results, groups: list[Group]) -> str:
    """The whole report, without the charts."""
    parts = [notes(results)]
    targets = targets_table(results)
    if targets:
        parts += ["#### Targets", targets]
    parts += ["#### Where another program is ahead", where_others_lead(results)]
    parts += [section for group in groups if (section := group_section(results, group))]
    return "\n\n".join(parts) + "\n"


def publish(results: Results, groups: list[Group]) -> None:
    """Write the charts and our part of bench/README.md."""
    drawn = charts.draw(results, RESULTS)
    pictures = "\n\n".join(f"![{title}](results/{name})" for name, title in drawn)
    write_part(f"{INTRODUCTION}\n{pictures}\n\n{markdown(results, groups)}")


def write_part(part: str) -> None:
    """Put our part of bench/README.md between its marks, at the end if they are not there yet."""
    body = f"{BEGIN}\n{part}{END}"
    text = README.read_text() if README.exists() else "# Benchmarks\n"
    before, found, rest = text.partition(BEGIN)
    if found and END in rest:
        text = before + body + rest.partition(END)[2]
    else:
        text = f"{text.rstrip()}\n\n{body}\n"
    README.write_text(text)


def main() -> None:
    """Report anew what was measured before."""
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
    else:
        found = sorted(RESULTS.glob("[0-9]*.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise SystemExit("report: there are no results")
        path = found[-1]
    publish(json.loads(path.read_text()), GROUPS)


if __name__ == "__main__":
    main()
