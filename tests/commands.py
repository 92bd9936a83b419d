"""Runs the command `wsfast` as its users do, and what it needs around it."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

import wsfast

TIMEOUT = 30
WSFAST = [sys.executable, "-m", "wsfast"]


def start(*arguments, cwd=None, **options):
    """Start the command, on the backend of this process."""
    return subprocess.Popen(
        [*WSFAST, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def run(*arguments, stdin=b"", **options):
    """Run the command to its end; returns its exit status and what it printed."""
    with ended(start(*arguments, stdin=subprocess.PIPE, **options)) as process:
        output, errors = process.communicate(stdin, timeout=TIMEOUT)
    return process.returncode, output.decode(), errors.decode()


@contextlib.contextmanager
def ended(process, timeout=TIMEOUT):
    """End a process if the test failed before it did."""
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        timer.join()
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def serving(*arguments, scheme="http", timeout=TIMEOUT, **options):
    """`wsfast serve` on a free port; gives the process, whose `address` is host and port."""
    with ended(start("serve", "--port", "0", *arguments, **options), timeout) as process:
        line = process.stdout.readline().decode()
        found = re.search(rf"{scheme}://(127\.0\.0\.1:\d+)", line)
        assert found, line or process.stderr.read().decode()
        process.address = found[1]
        process.line = line
        assert process.stdout.readline() == b"Ctrl-C stops the server.\n"
        yield process


def failure(*arguments, **options):
    status, output, errors = run(*arguments, **options)
    assert (status, output) == (1, "")
    assert errors.startswith("wsfast: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1
    return errors.removeprefix("wsfast: ").rstrip("\n")


@contextlib.contextmanager
def open_screen(*arguments, **options):
    """A terminal with the command in it."""
    pytest.importorskip("pty")
    screen = Screen(*arguments, **options)
    try:
        with ended(screen.process):
            yield screen
    finally:
        os.close(screen.fd)


class Screen:
    """What `open_screen` gives."""

    def __init__(self, *arguments, columns=40, **streams):
        import pty
        import termios

        self.fd, child = pty.openpty()
        termios.tcsetwinsize(child, (10, columns))
        attributes = termios.tcgetattr(child)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(child, termios.TCSANOW, attributes)
        self.process = start(
            *arguments, **{"stdin": child, "stdout": child, "stderr": child, **streams}
        )
        os.close(child)
        self.text = b""

    def type(self, text):
        os.write(self.fd, text)

    def read_until(self, end):
        """Read what the program writes up to ``end``, and return it."""
        while end not in self.text:
            try:
                self.text += os.read(self.fd, 65536)
            except OSError:
                raise AssertionError(f"the program ended with {self.text!r}") from None
        before, _, self.text = self.text.partition(end)
        return (before + end).decode()

    def read(self):
        """Read what the program writes until it ends."""
        with contextlib.suppress(OSError):  # Linux's way to tell the end
            while more := os.read(self.fd, 65536):
                self.text += more
        return self.text.decode()


class Peer:
    """A server in a thread that handles one connection with a coroutine function."""

    def __init__(self, handler, **options):
        self.handler = handler
        self.options = options

    def __enter__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.sock.getsockname()[1]}"
        self.thread = threading.Thread(target=asyncio.run, args=(self.serve(),))
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        self.sock.close()

    async def serve(self):
        done = asyncio.Event()

        async def handle(ws):
            try:
                await self.handler(ws)
                await ws.close()
            finally:
                done.set()

        async with wsfast.serve(handle, sock=self.sock, **self.options):
            await asyncio.wait_for(done.wait(), TIMEOUT)
