"""docs/monitoring.md: every code block is run, and prints what stands behind it."""

import ast
import inspect
import json
import logging
import re
import socket
from pathlib import Path

import pytest

import wsfast

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "monitoring.md"
TEXT = PAGE.read_text()
CONNECTION, SERVER, RATES, ALERT, FORMATTER = re.findall(
    r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE
)


@pytest.fixture
def run():
    """Runs a block, which may await, with a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])

    async def run(block, names):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(block.replace("8765", port), PAGE.name, "exec", flags)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result

    return run


def comments(block):
    """What the lines that print have as comments."""
    return re.findall(r"print\(.*  # (.*)$", block, re.MULTILINE)


async def definitions(run):
    """What the first block defines."""
    names = {}
    await run(CONNECTION.replace("asyncio.run(main())\n", ""), names)
    return names


async def test_the_counters_of_a_connection_are_printed(run, capsys):
    names = await definitions(run)
    await names["main"]()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "1 message of 1700 bytes"
    assert re.fullmatch(r"compressed to [1-5] %", second)


@pytest.mark.parametrize("block", [SERVER, RATES], ids=["server", "rates"])
async def test_the_counters_and_rates_of_a_server_are_those_in_the_comments(run, block, capsys):
    await run(block, await definitions(run))
    assert comments(block)
    assert capsys.readouterr().out.splitlines() == comments(block)


async def test_the_alert_tells_when_errors_are_many(run, capsys):
    names = await definitions(run)
    await run(ALERT, names)
    assert inspect.iscoroutinefunction(names["watched_server"])
    rates = wsfast.Monitor(wsfast.WebSocketServer(port=0)).rates()
    names["alert"](rates._replace(connects=10, errors=1))
    assert capsys.readouterr().out == ""
    names["alert"](rates._replace(connects=10, errors=1.25))
    assert capsys.readouterr().out == "1.25 errors per second\n"


async def test_the_formatter_writes_json(run, capsys):
    logger = logging.getLogger("wsfast")
    level = logger.level
    names = {}
    await run(FORMATTER, names)
    try:
        server = wsfast.WebSocketServer(port=0)
        server._accept_failed(OSError(24, "Too many open files"))
    finally:
        logger.removeHandler(names["handler"])
        logger.setLevel(level)
    assert json.loads(capsys.readouterr().err) == {
        "level": "WARNING",
        "logger": "wsfast.server",
        "text": "cannot accept a connection: [Errno 24] Too many open files",
        "event": "accept_failed",
        "error_code": "EMFILE",
    }


def fields(heading):
    """The names in the first column of the table below a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)[1]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_tables_have_all_fields():
    server = wsfast.WebSocketServer(port=0).stats
    assert sorted(fields("A connection")) == sorted(wsfast.Statistics._fields)
    assert sorted(fields("A server")) == sorted(server.as_dict())
    for name in wsfast.Rates._fields:
        assert f"`{name}`" in TEXT
    for name in ("reconnects", *wsfast.ClientStatistics.__slots__):
        assert f"`{name}`" in TEXT


def test_files_that_are_named_exist():
    for name in re.findall(r"\bexamples/[\w.]+\.py", TEXT):
        assert (ROOT / name).exists(), name
