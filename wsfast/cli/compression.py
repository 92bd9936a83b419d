"""What permessage-deflate does to messages: their size, the time it takes, the memory it needs."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time_ns
from types import ModuleType
from typing import Any

from ..extensions.deflate_options import MODULES
from ..inflating import TAIL

__all__ = ["Cost", "Setting", "available", "measure", "memory"]

# How many connections memory is measured with.
CONTEXTS = 32


@dataclass(frozen=True, slots=True)
class Setting:
    """How messages are compressed.

    Args:
        zlib: "zlib", which is the standard library's, or "zlib_ng".
        level: 0 to 9.
        window_bits: 9 to 15: messages refer to at most 2**window_bits bytes before.
        mem_level: 1 to 9.
        takeover: whether a message refers to those before it (context takeover).
    """

    zlib: str
    level: int
    window_bits: int
    mem_level: int
    takeover: bool = True


@dataclass(frozen=True, slots=True)
class Cost:
    """What a setting does to messages.

    Args:
        setting: which.
        ratio: the compressed bytes, as a part of the bytes of the messages.
        deflate: processor time to compress a message, in seconds.
        inflate: the same to get it back.
        memory: what a connection keeps between two messages that it sends and receives, in bytes;
            None where this system does not tell. Without context takeover nothing is kept.
    """

    setting: Setting
    ratio: float
    deflate: float
    inflate: float
    memory: float | None


def available() -> list[str]:
    """The modules that are installed."""
    return [name for name in MODULES if find(name) is not None]


def find(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(MODULES[name])
    except ImportError:
        return None


def module_of(setting: Setting) -> Any:
    module = find(setting.zlib)
    if module is None:
        raise ValueError(f"{setting.zlib} is not installed")
    return module


def new_deflater(setting: Setting) -> Any:
    zlib = module_of(setting)
    return zlib.compressobj(setting.level, zlib.DEFLATED, -setting.window_bits, setting.mem_level)


def deflate_all(setting: Setting, messages: Sequence[bytes]) -> list[bytes]:
    """Compress messages with one compressor. TAIL is still there."""
    zlib = module_of(setting)
    flush = zlib.Z_SYNC_FLUSH if setting.takeover else zlib.Z_FULL_FLUSH
    deflater = new_deflater(setting)
    return [deflater.compress(message) + deflater.flush(flush) for message in messages]


def inflate_all(setting: Setting, compressed: Sequence[bytes], limit: int) -> list[bytes]:
    zlib = module_of(setting)
    bits = -setting.window_bits
    if not setting.takeover:
        return [zlib.decompressobj(bits).decompress(data, limit) for data in compressed]
    inflater = zlib.decompressobj(bits)
    return [inflater.decompress(data, limit) for data in compressed]


def measure(setting: Setting, messages: Sequence[bytes], seconds: float = 0.02) -> Cost:
    """Compress messages in their order, as one connection would, and get them back.

    Args:
        setting: how.
        messages: at least one.
        seconds: for how long each of the two is repeated; the fastest round counts.
    """
    limit = max(map(len, messages)) + 1
    compressed = deflate_all(setting, messages)
    assert inflate_all(setting, compressed, limit) == list(messages)
    return Cost(
        setting,
        sum(len(data) - len(TAIL) for data in compressed) / max(1, sum(map(len, messages))),
        fastest(lambda: deflate_all(setting, messages), seconds) / len(messages),
        fastest(lambda: inflate_all(setting, compressed, limit), seconds) / len(messages),
        memory(setting, messages) if setting.takeover else 0,
    )


def fastest(work: Callable[[], object], seconds: float) -> float:
    """The processor time of the fastest of many rounds, in seconds."""
    end = process_time_ns() + int(seconds * 1e9)
    best, begun = end, process_time_ns()
    while begun < end:
        work()
        now = process_time_ns()
        best, begun = min(best, now - begun), now
    return best / 1e9


def memory(
    setting: Setting, messages: Sequence[bytes], *, sends: bool = True, receives: bool = True
) -> float | None:
    """How much the memory of a process grows for each connection whose windows are full.

    With ``sends`` its compressor counts, with ``receives`` its decompressor. It is measured in a
    child that has given back what was freed before: it would be taken first.
    """
    if resident() is None or not hasattr(os, "fork"):
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            os.write(writer, str(grow(setting, messages, sends, receives)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return float(text) if text else None


def grow(  # pragma: no cover
    setting: Setting, messages: Sequence[bytes], sends: bool, receives: bool
) -> float:
    # Four windows, so that all that a context may need has been used.
    size = 4 << setting.window_bits
    text = b"\n".join(messages)[:size]
    text *= -(-size // max(1, len(text)))
    zlib = module_of(setting)
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    kept, before = [], None
    for _ in range(1 + CONTEXTS):
        deflater, inflater = new_deflater(setting), zlib.decompressobj(-setting.window_bits)
        inflater.decompress(deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))
        kept.append((deflater if sends else None, inflater if receives else None))
        before = resident() if before is None else before  # with all else that the first one needs
    after = resident()
    assert before is not None
    assert after is not None
    return (after - before) / CONTEXTS


def resident() -> int | None:
    """The resident memory of this process in bytes; None where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None
