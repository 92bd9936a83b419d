"""Starting, pinning, watching and ending the processes of a run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = [
    "LOAD_CORE",
    "SERVER_CORE",
    "Failure",
    "Server",
    "available_memory",
    "holding",
    "raise_file_limit",
    "run",
]

_cores = sorted(os.sched_getaffinity(0))
SERVER_CORE = _cores[0]
LOAD_CORE = _cores[1] if len(_cores) > 1 else _cores[0]

START_TIMEOUT = 20.0
MAX_FILES = 20_000
PR_SET_PDEATHSIG = 1
LISTENING = "0A"  # in /proc/net/tcp

_libc = ctypes.CDLL(None)


class Failure(Exception):
    """A process that did not do what it should; the text is for the terminal."""


def _pinned(core: int) -> None:
    """In the child: take one core, and do not outlive the benchmark."""
    os.sched_setaffinity(0, {core})
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(
    command: Sequence[str], core: int, environment: Mapping[str, str], log: Path, **options: object
) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command,
            env={**os.environ, **environment},
            stderr=errors,
            text=True,
            preexec_fn=lambda: _pinned(core),
            **options,
        )


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def run(command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] = {}) -> str:
    """Run a program to its end; returns what it printed.

    Raises:
        Failure: it failed, or took more than two minutes.
    """
    process = _start(command, core, environment, log, stdout=subprocess.PIPE)
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        raise Failure("took more than two minutes") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise Failure(_last_line(log))
    return output


@contextlib.contextmanager
def holding(command: Sequence[str], core: int, log: Path) -> Iterator[str]:
    """Run a program that prints a line and then waits for the end of its input.

    Raises:
        Failure: it ended without a line.
    """
    process = _start(command, core, {}, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise Failure(_last_line(log))
        yield line
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()


class Server:
    """A server under test, on a free port of its own.

    Args:
        command: the program and its arguments; "PORT" stands for the port.
        environment: in addition to ours.
        log: where its messages go.

    Raises:
        Failure: it does not listen.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, core: int
    ) -> None:
        self.log = log
        wanted = free_port()
        command = [str(wanted) if word == "PORT" else word for word in command]
        self._process = _start(command, core, environment, log, stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        try:
            self.port = self._wait_for_port(wanted)
        except BaseException:
            self.stop()
            raise

    def _wait_for_port(self, wanted: int) -> int:
        """The port it listens on: the one it was given, or one that it was built for."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Failure(f"the server ended: {_last_line(self.log)}")
            ports = listening_ports(self.pid)
            if ports:
                return wanted if wanted in ports else min(ports)
            time.sleep(0.02)
        raise Failure("the server does not listen")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    @property
    def resident(self) -> int:
        """Its resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failure("the server has no memory; it ended")

    def wait_until_quiet(self, limit: float = 5.0) -> None:
        """Wait until it does nothing any more, for instance for connections that were closed."""
        deadline = time.monotonic() + limit
        before = self._processor_time()
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self._processor_time()
            if now - before < 0.005:
                return
            before = now

    def _processor_time(self) -> float:
        # clock_getcpuclockid(3): the clock of a process is the complement of its id, shifted.
        return time.clock_gettime((~self.pid << 3) | 2)


def raise_file_limit() -> int:
    """Let this process and those it starts open more files; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(soft, limit)


def available_memory() -> int:
    """How many bytes may be used without others having to go."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening_ports(pid: int) -> set[int]:
    """The ports that a process listens on; none if it is gone."""
    inodes, ports = set(), set()
    with contextlib.suppress(OSError):
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{entry}")
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and fields[9] in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
