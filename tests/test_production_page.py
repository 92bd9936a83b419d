"""docs/production.md: its examples run one after the other, and print what stands behind them."""

import ast
import inspect
import logging
import re
import socket
from pathlib import Path

import pytest

import wsfast
from wsfast.exceptions import CERTIFICATE_ERRORS, WIRE_ERRORS
from wsfast.reconnection import FINAL_CODES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "production.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch, identity, ca):
    """Where the files are that the examples name."""
    (tmp_path / "server.crt").write_bytes(identity["cert"])
    (tmp_path / "server.key").write_bytes(identity["key"])
    (tmp_path / "ca.crt").write_bytes(ca)
    monkeypatch.chdir(tmp_path)


def expected(block):
    """What a block prints: the comments behind its prints, or below them."""
    return re.findall(r"print\(.*\)(?:  # |\n +# )(.*)", block)


async def run(block, names):
    """Run a block, which may await, as in ``python -m asyncio``."""
    code = compile(block, PAGE.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        await result


@pytest.mark.usefixtures("folder")
async def test_the_examples_run_and_print_what_they_say(capsys):
    """M3, M4, M7, M9, M10, M11, M12, M13, M14, M15, M16, M17, M18, M19, M20"""
    level = logging.getLogger("wsfast.server").level
    names = {"__name__": "docs"}
    for block in BLOCKS:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        await run(block.replace("8765", port), names)
        printed = capsys.readouterr().out.splitlines()
        if "visits" in block:
            assert printed == ["visit 1", "1012", "visit 2", "1012", "visit 3"]
        else:
            assert printed == expected(block), block
    logging.getLogger("wsfast.server").setLevel(level)


def test_every_print_has_its_output():
    prints = sum("print(" in line for block in BLOCKS for line in block.splitlines())
    assert prints == sum(len(expected(block)) for block in BLOCKS) + 2  # those of the loop


def test_every_practice_is_linked_to_its_section():
    headings = re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)
    anchors = {"#" + heading.lower().replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    for link in links:
        assert link in anchors or (PAGE.parent / link).exists(), link
    sections = {
        "#" + heading.lower().replace(" ", "-")
        for heading in re.findall(r"^### (.*)$", TEXT, re.MULTILINE)
    }
    assert sections <= set(links)


def test_the_codes_that_are_named_exist():
    """M15"""
    table = TEXT.partition("### Names of errors")[2].partition("### Logs")[0]
    known = {*CERTIFICATE_ERRORS.values(), *WIRE_ERRORS, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"}
    known |= {"WS_ERR_KEEPALIVE_TIMEOUT", "WS_ERR_WRITE_TIMEOUT", wsfast.InvalidStatus.code}
    for code in re.findall(r"`((?:WS_ERR|ERR|CERT|DEPTH|SELF|UNABLE)_\w+)`", table):
        assert code in known, code


def test_the_options_that_are_named_exist():
    known = {*wsfast.Options.__dataclass_fields__}
    for function in wsfast.WebSocketServer.__init__, wsfast.connect.__init__:
        known |= {*inspect.signature(function).parameters}
    table = TEXT.partition("| practice |")[2].partition("The examples")[0]
    for row in table.splitlines()[2:]:
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[2] if row else ""):
            assert name in known or name == "bytes", name


def test_the_close_codes_that_are_final_are_all_there():
    section = TEXT.partition("### Reconnection")[2].partition("### Clean-up")[0]
    cells = re.findall(r"^\| (\d[\d, ]*) \|", section, re.MULTILINE)
    assert {int(code) for cell in cells for code in cell.split(", ")} == FINAL_CODES
