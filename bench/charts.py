"""Draws results as SVG, for a README in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from contenders import PEERS

__all__ = ["draw"]

Results = dict[str, Any]

LABELS = {peer.key: peer.label for peer in PEERS}
KINDS = {peer.key: peer.kind for peer in PEERS}

WIDTH = 760
LABEL_WIDTH = 245
BAR_WIDTH = 310
LINE = 24
BAR = 15

# A card of its own colour: a picture in a README does not know the colour of the page.
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .panel, .strong { font-weight: 600 }
  .dim { fill: #59636e }
  .card { fill: #ffffff; stroke: #d1d9e0 }
  .ours { fill: #1f6feb } .peer { fill: #8c959f } .floor { fill: #c8a13a }
  .second { opacity: .5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .dim { fill: #9198a1 }
    .card { fill: #161b22; stroke: #3d444d }
    .ours { fill: #58a6ff } .peer { fill: #7d8590 } .floor { fill: #b58e2c }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        key: whose it is.
        parts: lengths that follow one another; the second is paler.
        text: beside it.
    """

    key: str
    parts: tuple[float, ...]
    text: str


def panel(title: str, bars: list[Bar], top: int) -> tuple[list[str], int]:
    """A group of bars with a scale of its own; its lines, and where it ends."""
    longest = max((sum(bar.parts) for bar in bars), default=0) or 1
    lines = [f'<text class="panel" x="24" y="{top + 14}">{escape(title)}</text>']
    y = top + 26
    for bar in bars:
        kind = KINDS[bar.key]
        strong = ' class="strong"' if kind == "ours" else ""
        lines.append(
            f'<text x="{LABEL_WIDTH}" y="{y + 12}" text-anchor="end"{strong}>'
            f"{escape(LABELS[bar.key])}</text>"
        )
        x = LABEL_WIDTH + 10.0
        for number, part in enumerate(bar.parts):
            width = part / longest * BAR_WIDTH
            paler = " second" if number else ""
            lines.append(
                f'<rect class="{kind}{paler}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
                f'height="{BAR}"/>'
            )
            x += width
        lines.append(f'<text class="dim" x="{x + 8:.1f}" y="{y + 12}">{escape(bar.text)}</text>')
        y += LINE
    return lines, y + 12


def chart(title: str, subtitle: str, panels: Iterable[tuple[str, list[Bar]]]) -> str:
    """A picture of panels below one another."""
    lines: list[str] = []
    y = 72
    for name, bars in panels:
        drawn, y = panel(name, bars, y)
        lines += drawn
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{y - 1}" rx="8"/>',
        f'<text class="title" x="24" y="32">{escape(title)}</text>',
        f'<text class="dim" x="24" y="52">{escape(subtitle)}</text>',
    ]
    return "\n".join([*head, *lines, "</svg>", ""])


def medians(results: Results, row: str) -> dict[str, dict[str, float]]:
    """The medians of a row by program, ours first."""
    cells = results["rows"].get(row, {}).get("cells", {})
    keys = sorted(cells, key=lambda key: ("ours", "peer", "floor").index(KINDS[key]))
    return {key: cells[key]["median"] for key in keys}


def rate_bars(cells: dict[str, dict[str, float]]) -> list[Bar]:
    """Messages a second."""
    return [
        Bar(key, (cell["rate"],), f"{cell['rate'] / 1000:,.0f},000 a second")
        if cell["rate"] >= 10000
        else Bar(key, (cell["rate"],), f"{cell['rate']:,.0f} a second")
        for key, cell in cells.items()
    ]


def cpu_bars(cells: dict[str, dict[str, float]]) -> list[Bar]:
    """User and system time."""
    return [
        Bar(key, (cell["user"], cell["system"]), f"{cell['user']:.2f} + {cell['system']:.2f} µs")
        for key, cell in cells.items()
    ]


def memory_bars(cells: dict[str, dict[str, float]]) -> list[Bar]:
    """Memory for each connection."""
    return [
        Bar(key, (max(cell["bytes"], 0),), f"{cell['bytes'] / 1024:.2f} KiB")
        for key, cell in cells.items()
    ]


def latency_bars(cells: dict[str, dict[str, float]]) -> list[Bar]:
    """The 99th percentile, and the others in words."""
    return [
        Bar(key, (cell["p99"],), " / ".join(f"{cell[p] / 1000:.2f}" for p in PERCENTILES) + " ms")
        for key, cell in cells.items()
    ]


PERCENTILES = ("p50", "p99", "p999")

CHARTS = [
    (
        "rate.svg",
        "Echo: messages a second",
        "100 connections, server on one core; more is better",
        rate_bars,
        {
            "echo/32B/1": "32 B, 1 in flight on each",
            "echo/32B/16": "32 B, 16 in flight on each",
            "echo/1KiB/1": "1 KiB, 1 in flight on each",
        },
    ),
    (
        "cpu.svg",
        "Echo: processor time for each message",
        "100 connections; user time, and paler the system's; less is better",
        cpu_bars,
        {
            "echo/32B/1": "32 B, 1 in flight on each",
            "echo/32B/16": "32 B, 16 in flight on each",
            "tls/32B/1": "32 B over TLS, 1 in flight on each",
        },
    ),
    (
        "memory.svg",
        "Memory for each idle connection",
        "Resident memory of the server with 10,000 connections; less is better",
        memory_bars,
        {"memory/idle": "idle"},
    ),
    (
        "latency.svg",
        "Latency at the same fixed rate",
        "Half of picows core's maximum; bar: p99, text: p50 / p99 / p99.9; less is better",
        latency_bars,
        {
            "latency/even": "100 polite connections",
            "latency/flooded": "99 polite connections beside one that floods",
        },
    ),
]


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Write the pictures of a run; their names and titles."""
    folder.mkdir(exist_ok=True)
    drawn = []
    for name, title, subtitle, bars_of, rows in CHARTS:
        panels = [
            (words, bars_of(cells))
            for row, words in rows.items()
            if (cells := medians(results, row))
        ]
        if panels:
            (folder / name).write_text(chart(title, subtitle, panels))
            drawn.append((name, title))
    return drawn
