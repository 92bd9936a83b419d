"""docs/ws-parity.md: every row of the list of features is in it, with a test that names it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "ws-parity.md").read_text()

# How many rows each part of the list has.
PARTS = {
    "E": 9,
    "K": 6,
    "C": 28,
    "RD": 5,
    "EV": 10,
    "W": 17,
    "ET": 6,
    "L": 18,
    "RX": 11,
    "ST": 7,
    "SV": 16,
    "SE": 9,
    "SD": 6,
    "ENV": 4,
    "M": 21,
    "F": 18,
}
ROWS = [f"{part}{number}" for part, count in PARTS.items() for number in range(1, count + 1)]

# They may be left out, with a reason, and have no test then.
LEFT_OUT = {"E8", "C6", "SD5"}

CELLS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if re.match(r"\| [A-Z]+\d+ \|", line)
]


@cache
def functions(path):
    """The tests of a file, by name, with what names the rows: the name and the docstring."""
    return {
        node.name: f"{node.name} {ast.get_docstring(node) or ''}"
        for node in ast.parse((TESTS / path).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def names(text, row):
    """Whether a test names a row, also as one of several, as in "RX1 to RX7"."""
    if re.search(rf"\b{row}\b", text) or f"_{row.lower()}_" in text:
        return True
    part, number = re.fullmatch(r"([A-Z]+)(\d+)", row).groups()
    spans = re.findall(rf"\b{part}(\d+)(?:-| to )(?:{part})?(\d+)\b", text)
    return any(int(first) <= int(number) <= int(last) for first, last in spans)


def test_every_row_is_there_once():
    assert [cells[0] for cells in CELLS] == ROWS


@pytest.mark.parametrize("cells", CELLS, ids=lambda cells: cells[0])
def test_every_row_has_what_it_says(cells):
    row, theirs, ours, difference, test = cells
    assert theirs
    assert ours
    if row in LEFT_OUT:
        assert difference.startswith("left out: ")
        return
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", test)
    assert tests
    for path, name in tests:
        assert names(functions(path)[name], row), f"{path}::{name} does not name {row}"
