"""The programs that are compared: what they are called, how they start, and what they need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PEERS", "Peer", "find_peers"]

HERE = Path(__file__).parent
ROOT = HERE.parent
NODE_MODULES = HERE / "node_modules"

UVLOOP = ("--loop", "uvloop")


@dataclass(frozen=True)
class Peer:
    """A program under test.

    Args:
        key: its name in the rows, on the command line and in the results.
        label: its name in the tables.
        kind: "ours", "peer", or "floor" for the bare C server, which is no library.
        server: the file below servers/, and arguments; nothing if it is only a client.
        client: the file below clients/.
        speed: the file below speed/.
        environment: in addition to ours.
        needs: the packages that must be installed; their versions are recorded.
        secure: whether it can do TLS.
    """

    key: str
    label: str
    kind: str = "peer"
    server: tuple[str, ...] = ()
    client: str | None = None
    speed: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    secure: bool = True

    def variables(self) -> dict[str, str]:
        """Its environment, with the wsfast of this tree."""
        return {"PYTHONPATH": str(ROOT), **self.environment}

    def server_command(self, programs: Mapping[str, str]) -> list[str]:
        """The command that serves; its port and mode come behind."""
        name, *arguments = self.server
        if name in programs:
            return [programs[name], *arguments]
        return [*script("servers", name), *arguments]

    def client_command(self) -> list[str]:
        """The command that receives from a feed; its port and times come behind."""
        assert self.client is not None
        return script("clients", self.client)

    def speed_command(self) -> list[str]:
        """The command that talks to its own server; port, kind, size and count come behind."""
        assert self.speed is not None
        return script("speed", self.speed)


def script(directory: str, name: str) -> list[str]:
    """How a file in Python or JavaScript is run."""
    return ["node" if name.endswith(".mjs") else sys.executable, str(HERE / directory / name)]


# Each on the loop that is best for it; wsfast on asyncio's own.
PEERS = [
    Peer(
        "wsfast-event",
        "wsfast, listeners",
        "ours",
        ("wsfast_event.py",),
        "wsfast_event.py",
        "wsfast_event.py",
        needs=("wsfast", "httptools"),
    ),
    Peer(
        "wsfast-coroutine",
        "wsfast, coroutines",
        "ours",
        ("wsfast_coroutine.py",),
        "wsfast_coroutine.py",
        "wsfast_coroutine.py",
        needs=("wsfast", "httptools"),
    ),
    Peer(
        "wsfast-h11",
        "wsfast, listeners, h11",
        "ours",
        ("wsfast_event.py",),
        environment={"BENCH_HTTP_PARSER": "h11"},
        needs=("wsfast", "h11"),
    ),
    Peer(
        "wsfast-pure",
        "wsfast, pure Python, coroutines",
        "ours",
        ("wsfast_coroutine.py",),
        environment={"WSFAST_PURE": "1"},
        needs=("wsfast", "httptools"),
    ),
    Peer(
        "wsfast-ng",
        "wsfast, listeners, zlib-ng",
        "ours",
        ("wsfast_event.py",),
        environment={"BENCH_ZLIB": "zlib_ng"},
        needs=("wsfast", "httptools", "zlib-ng"),
    ),
    Peer("uwebsockets", "uWebSockets (C++)", server=("uwebsockets",), secure=False),
    Peer(
        "picows-core",
        "picows core (uvloop)",
        server=("picows_core.py", *UVLOOP),
        client="picows_core.py",
        needs=("picows", "aiofastnet", "uvloop"),
    ),
    Peer(
        "picows-websockets",
        "picows.websockets (uvloop)",
        server=("picows_websockets.py", *UVLOOP),
        client="picows_websockets.py",
        needs=("picows", "aiofastnet", "uvloop"),
    ),
    Peer(
        "websockets",
        "websockets (uvloop)",
        server=("websockets_server.py", *UVLOOP),
        client="websockets_client.py",
        speed="websockets_client.py",
        needs=("websockets", "uvloop"),
    ),
    Peer(
        "websockets-plain",
        "websockets without its C extension (uvloop)",
        server=("websockets_server.py", *UVLOOP),
        environment={"BENCH_NO_SPEEDUPS": "1"},
        needs=("websockets", "uvloop"),
    ),
    Peer(
        "aiohttp",
        "aiohttp (uvloop)",
        server=("aiohttp_server.py", *UVLOOP),
        needs=("aiohttp", "uvloop"),
    ),
    Peer(
        "uvicorn",
        "uvicorn, its default class (uvloop)",
        server=("uvicorn_server.py", *UVLOOP),
        needs=("uvicorn", "websockets", "httptools", "uvloop"),
        secure=False,
    ),
    Peer("node", "Node's ws", server=("node_ws.mjs",), speed="node_ws.mjs"),
    Peer("socketify", "socketify", server=("socketify_server.py",), needs=("socketify",)),
    Peer("bare-c", "bare C, no library", "floor", ("feed",), secure=False),
]


def find_peers(uwebsockets: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Look what is there: the versions of the peers that can run, and why the others cannot."""
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for peer in PEERS:
        try:
            if peer.key == "uwebsockets":
                versions[peer.key] = check_uwebsockets(uwebsockets)
            elif peer.key == "node":
                versions[peer.key] = install_node_peer()
            else:
                versions[peer.key] = ", ".join(version_of(name) for name in peer.needs)
                if peer.key == "socketify":
                    check_socketify()
        except LookupError as error:
            missing[peer.key] = str(error.args[0])
    return versions, missing


def version_of(package: str) -> str:
    """The package with its version, for instance "uvloop 0.22.1"."""
    if package == "wsfast":
        sys.path.insert(0, str(ROOT))
        import wsfast

        if wsfast.BACKEND != "compiled":
            raise LookupError("its compiled modules do not load; build them first (make build)")
        return f"wsfast {wsfast.__version__}"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        raise LookupError(f"the package {package} is not installed") from None


def check_uwebsockets(path: str | None) -> str:
    """The version is that of whoever built it."""
    if path is None:
        raise LookupError("no echo server given; build its example and pass --uwebsockets PATH")
    if not os.access(path, os.X_OK) or not Path(path).is_file():
        raise LookupError("--uwebsockets is not a program")
    return "uWebSockets as built"


def check_socketify() -> None:
    """It brings its library along, but not the libuv that this needs (Debian: libuv1)."""
    command = [sys.executable, "-c", "import socketify"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise LookupError(f"socketify does not load: {lines[-1]}")


def install_node_peer() -> str:
    """Let npm install what package.json names, unless that was done before."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise LookupError("node or npm is not installed")
    installed = NODE_MODULES / ".installed"
    package = HERE / "package.json"
    if not installed.exists() or installed.stat().st_mtime < package.stat().st_mtime:
        print("bench: installing Node's ws and bufferutil (npm)", flush=True)
        command = ["npm", "ci", "--loglevel=error"]
        result = subprocess.run(command, cwd=HERE, check=False, timeout=300)
        if result.returncode != 0:
            raise LookupError("npm could not install ws and bufferutil")
        installed.touch()
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    names = [f"Node {node.stdout.strip().removeprefix('v')}"]
    for name in ("ws", "bufferutil"):
        description = json.loads((NODE_MODULES / name / "package.json").read_text())
        names.append(f"{name} {description['version']}")
    return ", ".join(names)
