"""Runs the programs of examples/ as they stand, on the backend of the tests."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TIMEOUT = 30


class Program:
    """A program under way. It is killed if it does not end in time."""

    def __init__(self, name, *arguments, **options):
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT,
                "text": True,
                **options,
            },
        )
        self.timer = threading.Timer(TIMEOUT, self.process.kill)
        self.timer.start()

    def line(self):
        """The next line that it prints."""
        return self.process.stdout.readline().rstrip("\n")

    def port(self):
        """The port in the line with which a server tells that it listens."""
        return int(self.line().rpartition(" ")[2])

    def stop(self):
        """End it, as Ctrl-C does; returns what it still printed."""
        self.process.terminate()
        return self.finish()

    def finish(self, status=0):
        """Wait for its end; returns what it still printed."""
        printed = self.process.communicate()[0]
        assert self.process.returncode == status, printed
        return printed


@contextlib.contextmanager
def program(name, *arguments, **options):
    """A program of examples/, which has ended at the end, also if the test failed."""
    running = Program(name, *arguments, **options)
    try:
        yield running
    finally:
        running.timer.cancel()
        running.timer.join()
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def output(name, *arguments, status=0, **options):
    """What a program prints from its beginning to its end."""
    with program(name, *arguments, **options) as running:
        return running.finish(status)
