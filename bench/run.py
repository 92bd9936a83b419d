"""Runs the benchmark: many servers and clients under the same load, in turns.

usage: run.py [--full] [--rows PATTERN] [--peers PATTERN] [--seconds S] [--rounds N]
              [--uwebsockets PATH]

The subset takes about seven minutes; --full (or FULL=1 in the environment) measures every row, in
about fifty. PATTERN is a shell pattern or several with commas between them, for instance
"echo/*/16", "memory,push" or "deflate*". --list names the rows and the programs.

A run of everything or of the subset goes to bench/results/ and into bench/README.md. What --rows
or --peers picked out is only printed, and written to build/bench/last.json.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fnmatch
import json
import os
import shlex
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import report
from contenders import PEERS, Peer, find_peers
from processes import (
    LOAD_CORE,
    SERVER_CORE,
    Failure,
    Server,
    available_memory,
    holding,
    raise_file_limit,
    run,
)
from programs import BUILD, build_programs, describe_machine, make_certificate, message_file
from rows import GROUPS, ROWS, Row
from targets import TARGETED

RESULTS = Path(__file__).parent / "results"

WARMUP = 0.1
# Seconds; rounds; and how many more rounds for what a verdict depends on.
SUBSET = (0.25, 3, 2)
FULL = (1.0, 3, 2)

Cell = dict[str, float]


@dataclass
class Bench:
    """A run: what it measures, and what it has found out.

    Args:
        rows: in their order.
        seconds: of each measurement.
        rounds: of each row.
        more_rounds: of what a target is about.
        programs: the paths of the C programs.
        certificate: the paths for TLS.
    """

    rows: list[Row]
    seconds: float
    rounds: int
    more_rounds: int
    programs: dict[str, str]
    certificate: tuple[str, str] | None
    cells: dict[str, dict[str, list[Cell]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    servers: dict[tuple[str, ...], Server] = field(default_factory=dict)
    done: float = 0.0
    started: float = field(default_factory=time.monotonic)

    # What is to be done

    def rounds_of(self, row: Row, key: str) -> int:
        """How often a program is measured in a row."""
        more = (row.name, key) in TARGETED or row.group == "latency"  # there the best round counts
        rounds = self.rounds + (self.more_rounds if more else 0)
        return rounds if row.rounds is None else min(row.rounds, rounds)

    def weight(self, row: Row) -> float:
        """About how many seconds a cell takes, for the estimate of the time left."""
        if row.kind == "memory":
            return 3.0
        if row.kind == "speed":
            _, size, count = row.load
            return 0.5 + int(count) * (60e-6 + int(size) * 5e-9)
        start = {"client": 0.3, "burst": 1.5}.get(row.kind, 0.4 if row.deflate else 0.1)
        opened = argument_of(row, "--connections", 100) * (3 if "--handshakes" in row.load else 1)
        return start + WARMUP + self.seconds + opened / 5000

    def measure_all(self) -> None:
        """Measure the rows, round by round, in each round one program after the other."""
        cells = [(row, key) for row in self.rows for key in row.peers]
        total = sum(self.weight(row) * self.rounds_of(row, key) for row, key in cells)
        group = None
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop_servers)
            for row in self.rows:
                if row.group != group:
                    self.stop_servers()
                    group = row.group
                rounds = {key: self.rounds_of(row, key) for key in row.peers}
                for number in range(max(rounds.values())):
                    for key in row.peers:
                        if number < rounds[key]:
                            self.measure(row, PEER[key], number, total)
                            self.done += self.weight(row)

    def measure(self, row: Row, peer: Peer, number: int, total: float) -> None:
        """Measure one cell once, and tell."""
        failed = f"{row.name} {peer.key}"
        if any(line.startswith(f"{failed}: ") for line in self.failures):
            return
        measured = self.cells.setdefault(row.name, {}).setdefault(peer.key, [])
        try:
            cell = getattr(self, f"measure_{row.kind}")(row, peer)
        except Failure as failure:
            self.failures.append(f"{failed}: {failure}")
            text = f"FAILED: {failure}"
        else:
            measured.append(cell)
            text = report.cell_text(cell)
        elapsed = time.monotonic() - self.started
        left = elapsed / self.done * (total - self.done) if self.done else total
        place = f"{row.name:<19} {peer.key:<18} {number + 1}/{self.rounds_of(row, peer.key)}"
        print(f"{minutes(left):>6} left  {place}  {text}", flush=True)

    # Servers

    def server(self, row: Row, peer: Peer) -> Server:
        """The running server for a row; the rows of a group share it."""
        command = self.server_command(row, peer)
        key = (peer.key, *command)
        if key not in self.servers:
            self.servers[key] = self.start(peer, command)
        return self.servers[key]

    def start(self, peer: Peer, command: list[str]) -> Server:
        """Start a server on its core."""
        return Server(command, peer.variables(), BUILD / f"{peer.key}.log", SERVER_CORE)

    def server_command(self, row: Row, peer: Peer) -> list[str]:
        """How the server of a row is started."""
        command = [*peer.server_command(self.programs), "PORT", *row.mode]
        if row.tls:
            assert self.certificate is not None
            command += ["--cert", self.certificate[0], "--key", self.certificate[1]]
        return with_messages(row, command)

    def stop_servers(self) -> None:
        """End all of them."""
        for server in self.servers.values():
            server.stop()
        self.servers.clear()

    # The kinds of rows

    def load_command(self, row: Row, server: Server, arguments: list[str]) -> list[str]:
        """The load generator on a server."""
        command = [self.programs["load"], "--port", str(server.port), *arguments, *row.deflate]
        return with_messages(row, command)

    def times(self) -> list[str]:
        """How long the load generator runs."""
        return ["--warmup", str(WARMUP), "--seconds", str(self.seconds)]

    def measure_load(self, row: Row, peer: Peer) -> Cell:
        """Rate, processor time and latency under load."""
        server = self.server(row, peer)
        arguments = [*row.load, *self.times(), "--pid", str(server.pid)]
        rate = 0.0
        if row.rate_of is not None:
            rate = self.half_rate(*row.rate_of)
            arguments += ["--rate", f"{rate:.0f}"]
        output = run(self.load_command(row, server, arguments), LOAD_CORE, BUILD / "load.log")
        if argument_of(row, "--connections", 100) >= 1000:
            server.wait_until_quiet()
        cell = per_message(json.loads(output))
        if row.group == "size":
            cell["per_byte"] = cell["cpu"] * 1000 / argument_of(row, "--size", 0)
        return {**cell, "asked_rate": rate} if rate else cell

    def half_rate(self, name: str, key: str) -> float:
        """Half of what a program reached in a row, which is measured now if it was not yet."""
        if not self.cells.get(name, {}).get(key):
            row = next(row for row in ROWS if row.name == name)
            cell = self.measure_load(row, PEER[key])
            self.cells.setdefault(name, {}).setdefault(key, []).append(cell)
        return statistics.median(cell["rate"] for cell in self.cells[name][key]) / 2

    def measure_memory(self, row: Row, peer: Peer) -> Cell:
        """Memory of connections that do nothing, in a fresh server."""
        server = self.start(peer, self.server_command(row, peer))
        try:
            before = self.warm_memory(row, server)
            command = self.load_command(row, server, list(row.load))
            with holding(command, LOAD_CORE, BUILD / "load.log") as line:
                server.wait_until_quiet()
                after = server.resident
                connections = json.loads(line)["connections"]
        finally:
            server.stop()
        return {"bytes": (after - before) / connections, "total": after}

    def measure_burst(self, row: Row, peer: Peer) -> Cell:
        """Memory that is kept after large messages, in a fresh server."""
        server = self.start(peer, self.server_command(row, peer))
        try:
            before = self.warm_memory(row, server)
            command = self.load_command(row, server, [*row.load, *self.times()])
            with holding(command, LOAD_CORE, BUILD / "load.log"):
                server.wait_until_quiet()
                after = server.resident
        finally:
            server.stop()
        return {"kept": after - before, "total": after}

    def warm_memory(self, row: Row, server: Server) -> int:
        """Memory after a hundred connections, so that what is loaded once does not count.

        With compression they are ten: what they leave is memory that others then take.
        """
        arguments = ["--seconds", "0.1", "--warmup", "0"]
        if row.deflate:
            arguments += ["--connections", "10", "--size", str(argument_of(row, "--size", 0))]
        command = self.load_command(row, server, arguments)
        run(command, LOAD_CORE, BUILD / "load.log")
        server.wait_until_quiet()
        return server.resident

    def measure_client(self, row: Row, peer: Peer) -> Cell:
        """The rate of a client, which here is on the core under test."""
        size, count = row.load
        command = [self.programs["feed"], "PORT", "stream", "--size", size, "--count", count]
        key = ("feed", *command)
        if key not in self.servers:
            self.servers[key] = Server(command, {}, BUILD / "feed.log", LOAD_CORE)
        arguments = [str(self.servers[key].port), str(WARMUP), str(self.seconds), size]
        output = run(
            [*peer.client_command(), *arguments],
            SERVER_CORE,
            BUILD / f"{peer.key}.log",
            peer.variables(),
        )
        return per_message(json.loads(output))

    def measure_speed(self, row: Row, peer: Peer) -> Cell:
        """The seconds of a serial echo between a client and a server of the same library."""
        port = self.server(row, peer).port
        log = BUILD / f"{peer.key}.log"
        command = [*peer.speed_command(), str(port), *row.load]
        seconds = float(run(command, LOAD_CORE, log, peer.variables()))
        _, size, count = row.load
        return {"seconds": seconds, "speed": 2 * int(size) * int(count) / seconds}


PEER = {peer.key: peer for peer in PEERS}


def argument_of(row: Row, name: str, default: int) -> int:
    """A number among the arguments of the load generator."""
    return int(row.load[row.load.index(name) + 1]) if name in row.load else default


def with_messages(row: Row, command: list[str]) -> list[str]:
    """A command with the file of messages that the row needs."""
    if "MESSAGES" not in command:
        return command
    path = message_file(argument_of(row, "--size", 0))
    return [path if word == "MESSAGES" else word for word in command]


def per_message(result: Cell) -> Cell:
    """Processor time in microseconds for each message, in place of the sums."""
    messages = result["messages"]
    if not messages:
        raise Failure("no message came back in time")
    for name in ("user", "system"):
        result[name] = result.pop(f"server_{name}") / messages * 1e6
    result["cpu"] = result["user"] + result["system"]
    return result


def minutes(seconds: float) -> str:
    """Seconds as "1:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def matches(name: str, patterns: str | None) -> bool:
    """Whether a name is among the patterns; a group's name stands for its rows."""
    if patterns is None:
        return True
    return any(fnmatch.fnmatch(name, p) or name.startswith(f"{p}/") for p in patterns.split(","))


def choose_rows(options: argparse.Namespace, missing: dict[str, str]) -> list[Row]:
    """The rows of this run, with the programs that are there."""
    rows = []
    for each in ROWS:
        # A row that is asked for by its name is measured, subset or not.
        subset = None if options.full or options.rows is not None else each.in_subset()
        row = each if options.full or options.rows is not None else subset
        if row is None or not matches(row.name, options.rows):
            continue
        if (row.tls and "tls" in missing) or (row.deflate and "deflate" in missing):
            continue
        if row.rate_of is not None and row.rate_of[1] in missing:
            continue
        keys = [key for key in row.peers if key not in missing and matches(key, options.peers)]
        if row.tls:
            keys = [key for key in keys if PEER[key].secure]
        if keys:
            rows.append(replace(row, peers=tuple(keys)))
    return rows


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Compares servers and clients under load.",
        epilog="The subset takes about seven minutes.",
    )
    parser.add_argument("--full", action="store_true", default=os.environ.get("FULL") == "1")
    parser.add_argument("--rows", metavar="PATTERN", help="only these rows, only printed")
    parser.add_argument("--peers", metavar="PATTERN", help="only these programs, only printed")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--uwebsockets", metavar="PATH", help="an echo server of uWebSockets")
    parser.add_argument("--list", action="store_true", help="name the rows and the programs")
    options = parser.parse_args()
    seconds, rounds, more = FULL if options.full else SUBSET
    options.seconds = seconds if options.seconds is None else options.seconds
    options.more_rounds = more if options.rounds is None else 0
    options.rounds = rounds if options.rounds is None else options.rounds
    if not 0.05 <= options.seconds <= 30 or not 1 <= options.rounds <= 100:
        parser.error("--seconds must be from 0.05 to 30, --rounds from 1 to 100")
    return options


def command_line() -> str:
    """The command as it can be repeated elsewhere, without a path of this machine."""
    words = ["FULL=1"] if os.environ.get("FULL") == "1" else []
    words += ["bench/run.py", *sys.argv[1:]]
    for number, word in enumerate(words):
        if words[number - 1] == "--uwebsockets":
            words[number] = "PATH"
        elif word.startswith("--uwebsockets="):
            words[number] = "--uwebsockets=PATH"
    return shlex.join(words).replace("'FULL=1'", "FULL=1")


def end_by_signal(number: int, frame: object) -> None:
    """End through the handlers that end the servers."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the benchmark."""
    options = parse_options()
    if options.list:
        print("rows:", *(row.name for row in ROWS), sep="\n  ")
        print("programs:", *(peer.key for peer in PEERS), sep="\n  ")
        return
    signal.signal(signal.SIGTERM, end_by_signal)
    programs, features = build_programs()
    certificate = make_certificate() if "tls" in features else None
    versions, missing = find_peers(options.uwebsockets)
    if options.uwebsockets is not None:
        programs["uwebsockets"] = str(Path(options.uwebsockets).resolve())
    for key, reason in missing.items():
        print(f"bench: without {PEER[key].label}: {reason}")
    if certificate is None:
        what = "the openssl command" if "tls" in features else "the headers of OpenSSL"
        missing["tls"] = f"without {what} (Debian: libssl-dev, openssl)"
        print(f"bench: no TLS rows: {missing['tls']}")
    if "zlib" not in features:
        missing["deflate"] = "without the headers of zlib (Debian: zlib1g-dev)"
        print(f"bench: no rows with permessage-deflate: {missing['deflate']}")
    if LOAD_CORE == SERVER_CORE:
        print("bench: there is only one core, which server and load share: rates mean little")
    files = raise_file_limit()
    rows = choose_rows(options, missing)
    free = available_memory()
    for row in rows[:]:
        if argument_of(row, "--connections", 100) > files - 100:
            print(f"bench: without {row.name}: only {files} open files are allowed (ulimit -n)")
            rows.remove(row)
        elif row.needs > free:
            print(f"bench: without {row.name}: it may need {row.needs >> 30} GiB of memory")
            rows.remove(row)
    if not rows:
        raise SystemExit("bench: no such rows (--list names them)")
    bench = Bench(rows, options.seconds, options.rounds, options.more_rounds, programs, certificate)
    # The harness itself stays off the core under test.
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        bench.measure_all()
    except KeyboardInterrupt:
        raise SystemExit("bench: interrupted; nothing is written") from None
    partial = options.rows is not None or options.peers is not None
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command_line(),
        "scope": "Chosen rows" if partial else "Every row" if options.full else "The subset",
        "full": options.full,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "more_rounds": options.more_rounds,
        "machine": describe_machine(),
        "versions": versions,
        "missing": missing,
        "failures": bench.failures,
        "rows": {
            row.name: {
                "title": row.title,
                "cells": {
                    key: {"median": medians(cells), "rounds": cells}
                    for key, cells in bench.cells.get(row.name, {}).items()
                    if cells
                },
            }
            for row in rows
        },
    }
    if partial:
        path = BUILD / "last.json"
    else:
        suffix = "-full" if options.full else ""
        path = RESULTS / f"{results['date'][:10]}{suffix}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print()
    print(report.markdown(results, GROUPS))
    if not partial:
        report.publish(results, GROUPS)
        print("bench: wrote bench/README.md and bench/results/")
    for failure in bench.failures:
        print(f"bench: FAILED {failure}")
    if bench.failures:
        raise SystemExit(1)


def medians(cells: list[Cell]) -> Cell:
    """Of each number, over the rounds."""
    names = set.intersection(*(set(cell) for cell in cells))
    result = {name: statistics.median(cell[name] for cell in cells) for name in sorted(names)}
    if "p99" in result:
        # A virtual machine stands still for milliseconds now and then, whichever program is
        # measured: the percentiles are those of the round with the fewest of these.
        quietest = min(cells, key=lambda cell: cell["p99"])
        result |= {name: quietest[name] for name in ("p50", "p99", "p999", "max") if name in names}
    if "cpu" in result:
        # The kernel tells user and system time apart by a coarse clock, which does better over all
        # rounds together; their sum is exact.
        user, both = (sum(cell[n] * cell["messages"] for cell in cells) for n in ("user", "cpu"))
        result["user"] = result["cpu"] * user / both if both else 0.0
        result["system"] = result["cpu"] - result["user"]
    return result


if __name__ == "__main__":
    main()
