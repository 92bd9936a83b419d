"""docs: every code block is run or compiled, and prints what stands behind it."""

import ast
import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("block", blocks(EXTENSIONS, "Using extensions"))
def test_what_users_read_compiles(block):
    compile(block, "extensions.md", "exec")


def test_links_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", EXTENSIONS, re.MULTILINE)
    anchors = {"#" + heading.lower().replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(([^)]+)\)", EXTENSIONS):
        assert link in anchors, link


def test_files_that_are_named_exist():
    for name in re.findall(r"\bexamples/[\w.]+", EXTENSIONS):
        assert (ROOT / name).exists(), name
