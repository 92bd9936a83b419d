"""docs: every code block is run or compiled, and prints what stands behind it."""

import ast
import asyncio
import re
import socket
from pathlib import Path

from peers import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
EXTENSIONS = (ROOT / "docs" / "extensions.md").read_text()


def blocks(text, *headings):
    """The Python code below some headings of the second level."""
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    found = [
        block
        for heading in headings
        for block in re.findall(
            r"^```python\n(.*?)^```$", sections[heading], re.DOTALL | re.MULTILINE
        )
    ]
    assert found
    return found


def run(code, names, capsys):
    """Run a block; what a line prints must be its comment."""
    for statement in ast.parse(code).body:
        source = ast.get_source_segment(code, statement)
        exec(compile(source, "extensions.md", "exec"), names)
        if isinstance(statement, ast.Expr):
            comment = code.splitlines()[statement.end_lineno - 1].partition("  # ")[2]
            printed = capsys.readouterr().out.strip()
            if printed or "print" in source:
                assert printed == comment


def test_what_authors_and_drivers_read_runs(capsys):
    names = {"__name__": "docs"}
    for block in blocks(EXTENSIONS, "Writing an extension", "Driving extensions"):
        run(block, names, capsys)


async def test_what_users_read_runs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    (block,) = blocks(EXTENSIONS, "Using extensions")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = {}
    assert block.count("8765") == 2
    exec(block.replace("8765", str(port)), names)
    async with names["server"], names["client"] as ws:
        for message in "text", b"bytes", "large " * 100_000:
            await ws.send(message)
            assert await asyncio.wait_for(ws.recv(), PATIENCE) == message
    (line,) = [line for line in block.splitlines() if "print(" in line]
    assert capsys.readouterr().out.strip() == line.partition("  # ")[2]


def test_links_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", EXTENSIONS, re.MULTILINE)
    anchors = {"#" + heading.lower().replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(([^)]+)\)", EXTENSIONS):
        assert link in anchors, link


def test_files_that_are_named_exist():
    for name in re.findall(r"\bexamples/[\w.]+", EXTENSIONS):
        assert (ROOT / name).exists(), name


def test_links_to_files_lead_somewhere():
    """From every page."""
    links = [
        (page, link)
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    ]
    assert len(links) > 20
    for page, link in links:
        assert (page.parent / link).exists(), f"{link} in {page.name}"
