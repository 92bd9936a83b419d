"""README.md: every code block is run, every default and every link is checked."""

import asyncio
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import wsfast

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()
TIMEOUT = 30
PATH = os.pathsep.join(sys.path)  # the package that was imported, whatever it was built for

# Runs a script and tells on standard output when its server listens.
TELL = """
import logging, runpy, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


SERVER, CLIENT, COMPRESSION, EVENTS = blocks("python")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def free_port():
    # Both families, because "localhost" may be both.
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])


class Running:
    """A process whose lines are read in a thread, so that a test waits for one and not longer."""

    def __init__(self, *command):
        self.lines = queue.SimpleQueue()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": PATH, "PYTHONUNBUFFERED": "1"},
        )
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def wait_for(self, text):
        seen = ""
        while text not in seen:
            line = self.lines.get(timeout=TIMEOUT)
            assert line, f"no {text!r} in {seen}"
            seen += line

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.terminate()
        try:
            self.status = self.process.wait(TIMEOUT)
        finally:
            self.process.kill()
            self.process.wait()
            self.thread.join()
            self.process.stdout.close()


def script(tmp_path, name, code, port):
    assert "8765" in code
    path = tmp_path / f"{name}.py"
    path.write_text(code.replace("8765", port))
    return str(path)


def lines_of_code(code):
    return sum(bool(line.strip()) for line in code.splitlines())


def test_the_server_and_the_client_are_short():
    assert lines_of_code(SERVER) == 8
    assert lines_of_code(CLIENT) == 6


def test_both_sides_compress(tmp_path, free_port):
    example = subprocess.run(
        [sys.executable, script(tmp_path, "compression", COMPRESSION, free_port)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": PATH},
    )
    assert (example.stdout, example.stderr) == ("('permessage-deflate',)\n", "")


@pytest.mark.parametrize("server", [SERVER, EVENTS], ids=["coroutine", "events"])
def test_the_client_talks_to_each_server(server, tmp_path, free_port):
    with Running(
        sys.executable, "-c", TELL, script(tmp_path, "server", server, free_port)
    ) as running:
        running.wait_for("server listening on")
        client = subprocess.run(
            [sys.executable, script(tmp_path, "client", CLIENT, free_port)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": PATH},
        )
        assert (client.returncode, client.stdout, client.stderr) == (0, "Hello!\n", "")
    if server is EVENTS:
        assert running.status == 0


@pytest.mark.parametrize("server", [SERVER, EVENTS], ids=["coroutine", "events"])
async def test_each_server_echoes_text_and_binary(server, tmp_path, free_port):
    path = script(tmp_path, "server", server, free_port)
    with Running(sys.executable, "-c", TELL, path) as running:
        await asyncio.to_thread(running.wait_for, "server listening on")
        async with wsfast.connect(f"ws://localhost:{free_port}") as ws:
            for message in ("grün", b"\x00\xff"):
                await ws.send(message)
                assert await ws.recv() == message


def test_every_command_exists(free_port):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    makefile = (ROOT / "Makefile").read_text()
    rest = []
    for command in COMMANDS:
        if match := re.fullmatch(r'pip install "?(\w+)(?:\[(\w+)\])?"?', command):
            assert match[1] == project["name"]
            assert match[2] is None or match[2] in project["optional-dependencies"]
        elif match := re.fullmatch(r"make (\w+)", command):
            assert re.search(rf"^{match[1]}:", makefile, re.MULTILINE)
        else:
            rest.append(command)
    wsfast_command = [sys.executable, "-m", "wsfast"]
    assert rest[0] == "wsfast serve"
    with Running(*wsfast_command, "serve", "--port", free_port) as running:
        running.wait_for("Ctrl-C stops the server.")
        for command in rest[1:]:
            program, *arguments = command.replace("8080", free_port).split()
            assert program == "wsfast"
            subprocess.run(
                [*wsfast_command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=TIMEOUT,
                cwd=ROOT,
            )
    assert running.status == 0


def test_the_table_has_all_limits_with_their_defaults():
    table = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", TEXT, re.MULTILINE))
    defaults = wsfast.Options()
    assert list(table) == [field.name for field in fields(defaults) if field.name != "codec"]
    for name, default in table.items():
        assert eval(default) == getattr(defaults, name), name


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
