"""Run the Autobahn test suite against wsfast, as server and as client, on both backends.

    python compliance/run.py [--side server|client|both] [--backend compiled|pure|both]
                             [--compression all|one|none] [--cases PATTERNS] [--update-expected]

Exits with 0 if every case has a strict pass, 1 if not, and 77 if the suite cannot be installed.
What a pass is, and what the suite needs, is in compliance/README.md.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import glob
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = ROOT / ".venv-autobahn"
REQUIREMENTS = HERE / "requirements.txt"
EXPECTED = HERE / "expected-results.json"
SUMMARY = HERE / "summary.md"
REPORTS = HERE / "reports"

EXIT_FAILED = 1
EXIT_CANNOT_INSTALL = 77

# The last virtualenv that runs on, and so surely creates, CPython 2.7.
VIRTUALENV = "virtualenv==20.15.1"
# Without this incremental, Twisted's set-up would fetch a newer one, which is Python 3 code.
INSTALL_FIRST = ["pip==20.3.4", "setuptools==44.0.0", "wheel==0.37.1", "incremental==16.10.1"]

# The groups, and how many cases each has.
PROTOCOL = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
COMPRESSION = {"12": 90, "13": 126}
DATA_SET = {"12.1": 18}
CASES = PROTOCOL | COMPRESSION | DATA_SET
# These show what an implementation does, and have no other verdict.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

# Seconds. A pass takes about 20 on an idle machine, with compression some minutes; these only end
# what is stuck.
INSTALL_TIMEOUT = 600
START_TIMEOUT = 30
PASS_TIMEOUT = 240
STALL_TIMEOUT = 60
# The suite itself ends a case of compression after 480.
COMPRESSION_PASS_TIMEOUT = 3600
COMPRESSION_STALL_TIMEOUT = 500
STOP_TIMEOUT = 5

# The suite as it comes listens on every interface and wants its port named beforehand.
WSTEST = """
from autobahntestsuite import choosereactor, fuzzing, wstest
from twisted.internet import reactor

def listen(factory, context=None):
    if context is None:
        listener = reactor.listenTCP(0, factory, 50, "127.0.0.1")
    else:
        listener = reactor.listenSSL(0, factory, context, 50, "127.0.0.1")
    factory.externalPort = listener.getHost().port
    print("listening %d" % factory.externalPort)

fuzzing.listenWS = listen
wstest.run()
"""

# The suite brings an OpenSSL, so nothing else is needed for a certificate.
MAKE_CERTIFICATE = """
import sys
from OpenSSL import crypto

key = crypto.PKey()
key.generate_key(crypto.TYPE_RSA, 2048)
certificate = crypto.X509()
certificate.set_version(2)
certificate.get_subject().CN = "localhost"
certificate.set_issuer(certificate.get_subject())
certificate.gmtime_adj_notBefore(0)
certificate.gmtime_adj_notAfter(86400)
certificate.add_extensions([crypto.X509Extension(b"subjectAltName", False, b"IP:127.0.0.1")])
certificate.set_pubkey(key)
certificate.sign(key, "sha256")
for path, text in zip(
    sys.argv[1:],
    (
        crypto.dump_certificate(crypto.FILETYPE_PEM, certificate),
        crypto.dump_privatekey(crypto.FILETYPE_PEM, key),
    ),
):
    with open(path, "wb") as file:
        file.write(text)
"""


class CannotInstall(Exception):
    pass


class RunFailed(Exception):
    pass


# --- Installing the suite ---------------------------------------------------------------------


def find_python27():
    """Return the path of a CPython 2.7, or raise CannotInstall."""
    if given := os.environ.get("PYTHON27"):
        candidates = [given]
    else:
        pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        candidates = sorted(glob.glob(f"{pyenv}/versions/2.7*/bin/python2.7"), reverse=True)
        candidates += filter(None, map(shutil.which, ["python2.7", "python2"]))
    for candidate in candidates:
        # A pyenv shim is on the path whether or not it has a 2.7 to start, so ask.
        code = "import platform as p; print(p.python_implementation() + p.python_version())"
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                [candidate, "-c", code], capture_output=True, text=True, timeout=START_TIMEOUT
            )
            if answer.stdout.startswith("CPython2.7"):
                return candidate
    raise CannotInstall(
        "the Autobahn suite needs CPython 2.7: install one (`pyenv install 2.7.18`), "
        "put it on the PATH as python2.7 or set PYTHON27 to its path"
    )


def install():
    """Return the Python of a virtual environment with the suite in it; build it if need be."""
    python = VENV / "bin" / "python"
    complete = VENV / "complete"
    wanted = REQUIREMENTS.read_text()
    if complete.is_file() and complete.read_text() == wanted:
        return python
    python27 = find_python27()
    print(f"installing the Autobahn suite into {VENV.name} with {python27}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    helper = VENV / "helper"
    run_quietly([sys.executable, "-m", "venv", helper])
    run_quietly([helper / "bin" / "pip", "install", "-q", VIRTUALENV])
    run_quietly([helper / "bin" / "python", "-m", "virtualenv", "-q", "-p", python27, VENV])
    shutil.rmtree(helper)
    pip = [python, "-W", "ignore", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run_quietly([*pip, *INSTALL_FIRST])
    run_quietly([*pip, "-r", REQUIREMENTS])
    complete.write_text(wanted)
    return python


def run_quietly(command):
    """Run a step of the installation; show what it printed only if it fails."""
    command = [str(part) for part in command]
    try:
        step = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"`{' '.join(command)}` did not end in {INSTALL_TIMEOUT} s") from None
    except OSError as exc:
        raise CannotInstall(f"`{' '.join(command)}` cannot be started: {exc}") from None
    if step.returncode:
        print(step.stdout[-4000:], file=sys.stderr)
        raise CannotInstall(f"`{' '.join(command)}` failed; its output is above")


# --- Running it -------------------------------------------------------------------------------


def in_group(case, group):
    return case.startswith(f"{group}.")


@dataclasses.dataclass
class Agent:
    """One implementation under test, with its own suite process, so that agents run at once."""

    side: str
    backend: str
    style: str = "coroutine"
    driver: str | None = None
    tls: bool = False
    groups: tuple[str, ...] = tuple(PROTOCOL)
    cases: list[str] = dataclasses.field(default_factory=list)
    cases_seen: int = 0
    cases_total: int = 0
    seconds: float = 0.0
    error: str | None = None
    results: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        parts = [self.side, self.backend]
        if self.style != "coroutine":
            parts.append(self.style)
        if self.driver is not None:
            parts.append(self.driver)
        if self.tls:
            parts.append("tls")
        if self.compression:
            parts += ["deflate", *self.groups]
        return "-".join(parts)

    @property
    def compression(self):
        return not PROTOCOL.keys() & self.groups

    def cases_in(self, patterns):
        """Those of the patterns that lie in the agent's groups; without patterns, all its cases."""
        if patterns is None:
            return [f"{group}.*" for group in self.groups]
        return [p for p in patterns if any(in_group(p, group) for group in self.groups)]

    @property
    def timeouts(self):
        """Of the pass, and of the silence in it."""
        if self.compression:
            return COMPRESSION_PASS_TIMEOUT, COMPRESSION_STALL_TIMEOUT
        return PASS_TIMEOUT, STALL_TIMEOUT

    @property
    def directory(self):
        return REPORTS / self.name

    @property
    def scheme(self):
        return "wss" if self.tls else "ws"

    @property
    def certificate(self):
        return self.directory / "cert.pem"

    @property
    def key(self):
        return self.directory / "key.pem"


def agents(side, backend, compression, patterns):
    """Return the agents that have cases: those for the protocol, then those for compression.

    With compression nearly all the time goes by in the suite, so there each group is an agent of
    its own, to run at once with others, and where only the API or the transport differs, one data
    set will do.
    """
    sides = ["server", "client"] if side == "both" else [side]
    backends = ["compiled", "pure"] if backend == "both" else [backend]
    found = []
    for side, name in itertools.product(sides, backends):
        found.append(Agent(side, name))
        if side == "server":
            found.append(Agent(side, name, "event"))
        if name == "compiled":
            found.append(Agent(side, name, driver="asyncio"))
            found.append(Agent(side, name, tls=True))
    for agent in found[: {"all": None, "one": 1, "none": 0}[compression]]:
        plain = agent == Agent(agent.side, agent.backend)
        groups = COMPRESSION if plain else DATA_SET
        found += [dataclasses.replace(agent, groups=(group,)) for group in groups]
    for agent in found:
        agent.cases = agent.cases_in(patterns)
    return [agent for agent in found if agent.cases]


@contextlib.asynccontextmanager
async def process(command, log, **options):
    """Start a process whose output is read line by line and copied to a file; end it at exit."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        limit=2**20,
        **options,
    )
    try:
        with open(log, "wb", buffering=0) as file:

            async def line():
                data = await child.stdout.readline()
                file.write(data)
                return data.decode(errors="replace").rstrip("\n")

            child.line = line
            yield child
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), STOP_TIMEOUT)
            except TimeoutError:
                child.kill()
                await child.wait()


def tail(log, lines=15):
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


async def first_line(child, prefix, log):
    """Wait for the line that says a process is ready, and return what follows the prefix."""
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not (line := await child.line()).startswith(prefix):
                if not line and child.stdout.at_eof():
                    raise RunFailed(f"{log.name}: ended before it was ready\n{tail(log)}")
    except TimeoutError:
        raise RunFailed(f"{log.name}: not ready in {START_TIMEOUT} s\n{tail(log)}") from None
    return line.removeprefix(prefix).split()


def start_peer(script, arguments, agent, log):
    if agent.driver is not None:
        arguments = [*arguments, "--driver", agent.driver]
    environment = {**os.environ, "WSFAST_PURE": "1"}
    if agent.backend == "compiled":
        del environment["WSFAST_PURE"]
    command = [sys.executable, "-u", HERE / script, *arguments]
    return process(command, log, env=environment)


def start_suite(python, mode, spec, agent, log):
    path = agent.directory / f"{mode}.json"
    path.write_text(json.dumps(spec))
    command = [python, "-u", "-c", WSTEST, "-m", mode, "-s", path, "-u", "0"]
    return process(command, log, cwd=agent.directory)


async def follow(child, agent, log):
    """Read the output of a process until it ends, and count the cases that it names."""
    _, stall_timeout = agent.timeouts
    while True:
        try:
            line = await asyncio.wait_for(child.line(), stall_timeout)
        except TimeoutError:
            raise RunFailed(f"{log.name}: nothing in {stall_timeout} s\n{tail(log)}") from None
        if line.startswith("Running test case"):
            agent.cases_seen += 1
        elif line.startswith("Ok, will run"):
            agent.cases_total = int(line.split()[3])
        elif line.startswith("Connection to"):
            raise RunFailed(f"{log.name}: {line}")
        elif not line and child.stdout.at_eof():
            break
    if code := await child.wait():
        raise RunFailed(f"{log.name}: exit code {code}\n{tail(log)}")


async def discard(child):
    """Read the output of a process so that it cannot fill the pipe."""
    while await child.line() or not child.stdout.at_eof():
        pass


def check_backend(found, agent):
    if found != agent.backend:
        raise RunFailed(f"the peer runs on the {found} backend; is wsfast built in this Python?")


async def run_server(python, agent):
    suite_log, peer_log = agent.directory / "suite.log", agent.directory / "peer.log"
    arguments = ["--style", agent.style]
    if agent.tls:
        arguments += ["--cert", agent.certificate, "--key", agent.key]
    async with start_peer("echo_server.py", arguments, agent, peer_log) as peer:
        port, backend = await first_line(peer, "listening ", peer_log)
        check_backend(backend, agent)
        spec = {
            "outdir": str(agent.directory),
            "servers": [{"agent": agent.name, "url": f"{agent.scheme}://127.0.0.1:{port}"}],
            "cases": agent.cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        reading = asyncio.create_task(discard(peer))
        try:
            async with start_suite(python, "fuzzingclient", spec, agent, suite_log) as suite:
                await follow(suite, agent, suite_log)
        finally:
            reading.cancel()
        if peer.returncode is not None:
            raise RunFailed(f"{peer_log.name}: the server died\n{tail(peer_log)}")


async def run_client(python, agent):
    suite_log, peer_log = agent.directory / "suite.log", agent.directory / "peer.log"
    spec = {
        "url": f"{agent.scheme}://127.0.0.1:1",
        "outdir": str(agent.directory),
        "cases": agent.cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    if agent.tls:
        spec |= {"cert": str(agent.certificate), "key": str(agent.key)}
    async with start_suite(python, "fuzzingserver", spec, agent, suite_log) as suite:
        total = await first_line(suite, "Ok, will run ", suite_log)
        agent.cases_total = int(total[0])
        [port] = await first_line(suite, "listening ", suite_log)
        arguments = [f"{agent.scheme}://127.0.0.1:{port}", agent.name]
        if agent.tls:
            arguments += ["--ca", agent.certificate]
        async with start_peer("echo_client.py", arguments, agent, peer_log) as peer:
            [backend] = await first_line(peer, "backend ", peer_log)
            check_backend(backend, agent)
            # The suite goes on listening, so it is the client that ends the run.
            suite_ends = asyncio.create_task(follow(suite, agent, suite_log))
            peer_ends = asyncio.create_task(discard(peer))
            try:
                await asyncio.wait([suite_ends, peer_ends], return_when=asyncio.FIRST_COMPLETED)
                if suite_ends.done():
                    await suite_ends
                    raise RunFailed(f"{suite_log.name}: ended before the client\n{tail(suite_log)}")
                if code := await peer.wait():
                    raise RunFailed(f"{peer_log.name}: exit code {code}\n{tail(peer_log)}")
            finally:
                suite_ends.cancel()
                peer_ends.cancel()


async def run_agent(python, agent, places):
    async with places:
        shutil.rmtree(agent.directory, ignore_errors=True)
        agent.directory.mkdir(parents=True)
        started = time.monotonic()
        run = run_server if agent.side == "server" else run_client
        paths = agent.certificate, agent.key
        timeout, _ = agent.timeouts
        try:
            if agent.tls:
                run_quietly([python, "-W", "ignore", "-c", MAKE_CERTIFICATE, *paths])
            await asyncio.wait_for(run(python, agent), timeout)
            index = json.loads((agent.directory / "index.json").read_text())
            agent.results = index.get(agent.name, {})
        except TimeoutError:
            agent.error = f"did not end in {timeout} s"
        except (RunFailed, CannotInstall, OSError, ValueError) as exc:
            agent.error = str(exc)
        agent.seconds = time.monotonic() - started
        result = "failed" if agent.error else outcome(agent)
        say(f"{agent.name}: {result} in {agent.seconds:.1f} s")


def say(line):
    # On a terminal the line of progress is written over.
    print(("\r\033[K" if sys.stdout.isatty() else "") + line, flush=True)


async def show_progress(everyone):
    """Say every now and then how far each agent is: on one line of a terminal, else in a log."""
    terminal = sys.stdout.isatty()
    while True:
        await asyncio.sleep(0.5 if terminal else 10)
        running = [a for a in everyone if a.cases_total and not a.seconds]
        line = "  ".join(f"{a.name} {a.cases_seen}/{a.cases_total}" for a in running)
        if terminal:
            print(f"\r\033[K{line}", end="", flush=True)
        elif line:
            print(line, flush=True)


async def run_all(python, everyone, jobs):
    # So that a `kill` unwinds, and ends what was started, as Ctrl-C does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    progress = asyncio.create_task(show_progress(everyone))
    try:
        # A pass of the protocol sleeps for most of its time, and minds a busy machine. One with
        # compression keeps a core busy, for the suite and the peer take turns.
        for compression, together in (False, jobs), (True, min(jobs, os.cpu_count() or 1)):
            places = asyncio.Semaphore(together)
            async with asyncio.TaskGroup() as group:
                for agent in everyone:
                    if agent.compression is compression:
                        group.create_task(run_agent(python, agent, places))
    finally:
        progress.cancel()


# --- Judging ----------------------------------------------------------------------------------


def case_key(case):
    return [int(number) for number in case.split(".")]


def outcome(agent):
    counts = collections.Counter(result["behavior"] for result in agent.results.values())
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), reverse=True))


def is_strict(case, result):
    allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
    return {result["behavior"], result["behaviorClose"]} <= allowed


def problems_of(agent, everything):
    """Yield what keeps an agent from passing, a line each."""
    if agent.error:
        yield agent.error
        return
    expected = sum(CASES[group] for group in agent.groups)
    if everything and len(agent.results) != expected:
        yield f"{len(agent.results)} cases, not {expected}"
    if not agent.results:
        yield "no case was run"
    for case, result in stable(agent).items():
        if not is_strict(case, result):
            name = agent.results[case]["reportfile"].replace(".json", ".html")
            report = (agent.directory / name).relative_to(ROOT)
            yield f"{case}: {show(result)} is not a strict pass (see {report})"


def stable(agent):
    """Return the results of an agent without what differs between two runs of the same code."""
    return {
        case: {part: result[part] for part in ("behavior", "behaviorClose", "remoteCloseCode")}
        for case, result in sorted(agent.results.items(), key=lambda item: case_key(item[0]))
    }


def differences(agent, expected, everything):
    """Yield how an agent's strict passes differ from the committed ones, a line each."""
    if agent.name not in expected:
        yield f"not in {EXPECTED.name}"
        return
    found, wanted = stable(agent), expected[agent.name]
    cases = found.keys() | wanted.keys() if everything else found.keys()
    for case in sorted(cases, key=case_key):
        told = case in found and not is_strict(case, found[case])
        if found.get(case) != wanted.get(case) and not told:
            yield f"{case}: {show(found.get(case))}, expected {show(wanted.get(case))}"


def show(result):
    return "nothing" if result is None else " / ".join(map(str, result.values()))


def write_expected(everyone, expected):
    """Write one case per line, so that a change shows as the lines of the cases that changed."""
    expected = {**expected, **{agent.name: stable(agent) for agent in everyone if agent.results}}
    parts = []
    for name, results in sorted(expected.items()):
        lines = [f'    "{case}": {json.dumps(result)}' for case, result in results.items()]
        parts.append(f'  "{name}": {{\n' + ",\n".join(lines) + "\n  }")
    EXPECTED.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"wrote {EXPECTED.relative_to(ROOT)}")


TITLES = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "auto-fragmentation",
    "12": "compression, payloads",
    "13": "compression, parameters",
    "12.1": "compression, JSON",
}

TABLE = [
    "| group | cases | OK, strict | informational | anything else |",
    "|---|--:|--:|--:|--:|",
]


def row(title, results):
    """Return a line of a table, which counts these results."""
    counts = collections.Counter()
    for result in results:
        both = {result["behavior"], result["behaviorClose"]}
        if both == {"OK"}:
            counts["ok"] += 1
        elif both <= {"OK", "INFORMATIONAL"}:
            counts["informational"] += 1
        else:
            counts["other"] += 1
    return (
        f"| {title} | {counts.total()} | {counts['ok']} "
        f"| {counts['informational']} | {counts['other']} |"
    )


def write_summary(everyone):
    """Write a table per agent. Nothing in it changes between two runs with the same results."""
    lines = [
        "# Autobahn results",
        "",
        "Written by `make compliance`; see [README.md](README.md) for what is run and what passes.",
        "Informational are the cases for which the suite has no other verdict"
        f" ({', '.join(sorted(INFORMATIONAL, key=case_key))}).",
    ]
    for agent in everyone:
        lines += ["", f"## {agent.name}", "", *TABLE]
        for group in agent.groups:
            results = [agent.results[case] for case in agent.results if in_group(case, group)]
            lines.append(row(f"{group} {TITLES[group]}", results))
        if len(agent.groups) > 1:
            lines.append(row("all", agent.results.values()))
    SUMMARY.write_text("\n".join(lines) + "\n")
    print(f"wrote {SUMMARY.relative_to(ROOT)}")


def judge(everyone, everything, update):
    """Print what is wrong, write the files, and return whether all is well."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.is_file() else {}
    good = True
    for agent in everyone:
        problems = list(problems_of(agent, everything))
        if not agent.error and not update:
            problems += differences(agent, expected, everything)
        for problem in problems[:40]:
            print(f"{agent.name}: {problem}")
        if len(problems) > 40:
            print(f"{agent.name}: and {len(problems) - 40} more")
        good = good and not problems
    if update:
        write_expected(everyone, expected)
    return good


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=["server", "client", "both"], default="both")
    parser.add_argument("--backend", choices=["compiled", "pure", "both"], default="both")
    parser.add_argument("--cases", help="such as 6.4.* or 1.*,9.3.1; all by default")
    parser.add_argument(
        "--compression",
        choices=["all", "one", "none"],
        default="one" if os.environ.get("CI") else "all",
        help="how many agents are run with groups 12 and 13: all, or where CI is set, one",
    )
    parser.add_argument("--jobs", type=int, default=6, help="how many agents are run at once (6)")
    parser.add_argument("--update-expected", action="store_true", help=f"write {EXPECTED.name}")
    args = parser.parse_args()

    everything = args.cases is None
    if args.update_expected and not everything:
        parser.error("--update-expected needs all cases")
    patterns = None if everything else args.cases.split(",")
    for pattern in patterns or ():
        if not any(in_group(pattern, group) for group in CASES):
            parser.error(f"{pattern} is in no group")
    everyone = agents(args.side, args.backend, args.compression, patterns)
    if not everyone:
        parser.error(f"with --compression {args.compression}, no agent is for these cases")
    try:
        python = install()
    except CannotInstall as exc:
        print(f"compliance: {exc}", file=sys.stderr)
        return EXIT_CANNOT_INSTALL
    started = time.monotonic()
    try:
        asyncio.run(run_all(python, everyone, args.jobs))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    good = judge(everyone, everything, args.update_expected)
    complete = everything and args.side == args.backend == "both" and args.compression == "all"
    if complete and not any(agent.error for agent in everyone):
        write_summary(everyone)
    print(f"{'passed' if good else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return 0 if good else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
