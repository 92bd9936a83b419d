"""docs/compression.md: every code block is run, and every link leads somewhere."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compression.md"
TEXT = PAGE.read_text()
TIMEOUT = 30


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


EXCHANGE, *SETTINGS = blocks("python")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def run(*command, cwd):
    """Run a command to its end, which must be a good one; returns what it printed."""
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_exchange_is_compressed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
    output = run(sys.executable, "-c", EXCHANGE.replace("8765", port), cwd=tmp_path)
    size, came = map(int, re.fullmatch(r"(\d+) bytes came as (\d+)\n", output).groups())
    assert size == 1700
    assert came < 100


@pytest.mark.parametrize("code", SETTINGS)
def test_settings_are_valid(code, tmp_path):
    assert run(sys.executable, "-c", code, cwd=tmp_path) == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_tell_something(command, tmp_path):
    (tmp_path / "messages.txt").write_text('{"state": "open"}\n' * 10)
    program, *arguments = command.split()
    assert program == "wsfast"
    output = run(sys.executable, "-m", "wsfast", *arguments, cwd=tmp_path)
    assert "with context takeover" in output


def test_the_tables_are_there():
    before, _, rest = TEXT.partition("<!-- deflate: begin -->")
    table, _, after = rest.partition("<!-- deflate: end -->")
    assert before
    assert after.strip() == ""
    assert "- command: python bench/deflate.py --write" in table
    assert table.count("| **6** | **12** | **5** |") >= 2


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert link.startswith("https://") or (PAGE.parent / link).exists(), link
