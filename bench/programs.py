"""Builds the C programs and the certificate, and looks at the machine."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from pathlib import Path

from wsfast.cli.samples import make_messages

__all__ = ["BUILD", "build_programs", "describe_machine", "make_certificate", "message_file"]

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"

FLAGS = ["-O2", "-Wall", "-Wextra"]

# What the load generator can do where the libraries are there, and what it takes to link them.
FEATURES = {"tls": ("-DWITH_TLS", "-lssl", "-lcrypto"), "zlib": ("-DWITH_ZLIB", "-lz")}

# Bytes in a file of messages: none of them is in the window of 32 KiB any more when it comes again.
POOL_SIZE = 2**16


def compile_program(name: str, *arguments: str) -> bool:
    """Compile bench/NAME.c; whether it worked."""
    compiler = os.environ.get("CC", "cc")
    command = [compiler, *FLAGS, "-o", str(BUILD / name), str(HERE / f"{name}.c"), *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def build_programs() -> tuple[dict[str, str], set[str]]:
    """Compile the load generator and the bare server; their paths, and the features there are."""
    BUILD.mkdir(parents=True, exist_ok=True)
    if shutil.which(os.environ.get("CC", "cc")) is None:
        raise SystemExit("bench: there is no C compiler (Debian: apt-get install gcc libc6-dev)")
    features = {name for name, flags in FEATURES.items() if compile_program("load", *flags)}
    flags = [flag for name in sorted(features) for flag in FEATURES[name]]
    if not compile_program("load", *flags) or not compile_program("feed"):
        raise SystemExit("bench: the C programs do not compile")
    return {name: str(BUILD / name) for name in ("load", "feed")}, features


@functools.cache
def message_file(size: int) -> str:
    """The path of a file with messages of JSON, one after the other, which is made here."""
    path = BUILD / f"messages-{size}.json"
    path.write_bytes(b"".join(make_messages(size, max(16, -(-POOL_SIZE // size)))))
    return str(path)


def make_certificate() -> tuple[str, str] | None:
    """A certificate for a day, and its key; None without the openssl command."""
    paths = str(BUILD / "cert.pem"), str(BUILD / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-out", paths[0], "-keyout", paths[1]]
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except OSError:
        return None
    return paths if result.returncode == 0 else None


def describe_machine() -> dict[str, str]:
    """What the numbers depend on, and nothing that tells whose machine it is."""
    model, virtual = platform.machine(), False
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() == "flags":
            virtual = "hypervisor" in value.split()
    compiler = subprocess.run(
        [os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True, check=False
    )
    return {
        "processor": model + (", virtual machine" if virtual else ""),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": compiler.stdout.partition("\n")[0],
    }
