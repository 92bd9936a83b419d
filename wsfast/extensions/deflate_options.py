"""The options of permessage-deflate: their types, their defaults and their checks."""

from __future__ import annotations

import difflib
import functools
import importlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..options import check_flag, check_int

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CompressorOptions", "DeflateOptions", "InflaterOptions", "Settings", "read_options"]

DEFAULT_LEVEL = 6
DEFAULT_MEM_LEVEL = 5
# Of what this side sends. What it announces is another matter: a smaller window needs no consent.
DEFAULT_WINDOW_BITS = 12
# What a server asks of the clients that let it; 15 is not to ask. It is what inflating them costs.
DEFAULT_CLIENT_WINDOW_BITS = 12
DEFAULT_MAX_SIZE = 2**20
DEFAULT_CONCURRENCY_LIMIT = 10
# Without context takeover a small message only grows; with it, the one before it helps.
DEFAULT_THRESHOLD_WITHOUT_TAKEOVER = 1024
DEFAULT_THRESHOLD = 0


# What is used of a zlib module.
MODULE_NAMES = (
    *("compressobj", "decompressobj", "error"),
    *("DEFLATED", "Z_FULL_FLUSH", "Z_SYNC_FLUSH"),
)


class CompressorOptions(TypedDict, total=False):
    """What `DeflateOptions` has in ``deflate_options``."""

    level: int | None
    mem_level: int | None
    strategy: int | None
    dictionary: Buffer | None
    chunk_size: int | None


class InflaterOptions(TypedDict, total=False):
    """What `DeflateOptions` has in ``inflate_options``."""

    dictionary: Buffer | None
    chunk_size: int | None


class DeflateOptions(TypedDict, total=False):
    """The options of `PerMessageDeflate`, which says what each means. None is the default."""

    server_no_context_takeover: bool | None
    client_no_context_takeover: bool | None
    server_max_window_bits: int | Literal[False] | None
    client_max_window_bits: int | bool | None
    deflate_options: CompressorOptions | None
    inflate_options: InflaterOptions | None
    threshold: int | None
    concurrency_limit: int | None
    level: int | None
    mem_level: int | None
    strategy: int | None
    no_context_takeover: bool | None
    request_no_context_takeover: bool | None
    max_window_bits: int | None
    request_max_window_bits: int | None
    zlib: ModuleType | str | None
    max_size: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options after their checks. Those of both families stay apart, for they differ."""

    zlib: ModuleType
    server_no_context_takeover: bool | None = None
    client_no_context_takeover: bool | None = None
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    no_context_takeover: bool = False
    request_no_context_takeover: bool = False
    max_window_bits: int | None = None
    request_max_window_bits: int | None = None
    level: int = DEFAULT_LEVEL
    mem_level: int = DEFAULT_MEM_LEVEL
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    dictionary: bytes | None = None
    chunk_size: int | None = None
    peer_dictionary: bytes | None = None
    peer_chunk_size: int | None = None
    threshold: int | None = None
    concurrency_limit: int = DEFAULT_CONCURRENCY_LIMIT
    max_size: int = DEFAULT_MAX_SIZE


FLAGS = frozenset(
    {
        "server_no_context_takeover",
        "client_no_context_takeover",
        "no_context_takeover",
        "request_no_context_takeover",
    }
)

RANGES: dict[str, tuple[int, ...]] = {
    "server_max_window_bits": (8, 15),
    "client_max_window_bits": (8, 15),
    "max_window_bits": (8, 15),
    "request_max_window_bits": (8, 15),
    "level": (zlib.Z_DEFAULT_COMPRESSION, zlib.Z_BEST_COMPRESSION),
    "mem_level": (1, 9),
    "strategy": (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED),
    "chunk_size": (64,),
    "threshold": (0,),
    "concurrency_limit": (0,),
    "max_size": (1,),
}

# Besides numbers.
WORDS: dict[str, tuple[bool, ...]] = {
    "server_max_window_bits": (False,),
    "client_max_window_bits": (False, True),
}

NAMES = frozenset(DeflateOptions.__annotations__)
COMPRESSOR_NAMES = frozenset(CompressorOptions.__annotations__)
INFLATER_NAMES = frozenset(InflaterOptions.__annotations__)

# The pairs of options that are the same thing, and on which side.
PAIRS = [
    (f"{relative}{subject}", f"{absolute}{subject}", side)
    for subject in ("no_context_takeover", "max_window_bits")
    for relative, absolute, side in (
        ("", "server_", "a server"),
        ("request_", "client_", "a server"),
        ("", "client_", "a client"),
        ("request_", "server_", "a client"),
    )
]


def read_options(options: Mapping[str, Any]) -> Settings:
    """Check the options and bring them into one form.

    Raises:
        TypeError: there is no such option, or the value is of the wrong type.
        ValueError: a value is out of range, or two options contradict each other.
    """
    check_names(options, NAMES)
    given = {name: value for name, value in options.items() if value is not None}
    module = load_zlib(given.pop("zlib", None))
    compressor = read_mapping(given, "deflate_options", COMPRESSOR_NAMES)
    inflater = read_mapping(given, "inflate_options", INFLATER_NAMES)
    for name, value in given.items():
        check_value(name, name, value)
    for relative, absolute, side in PAIRS:
        check_pair(given, relative, absolute, side)
    for name in ("level", "mem_level", "strategy"):
        if name in compressor:
            value = compressor.pop(name)
            if given.setdefault(name, value) != value:
                raise ValueError(
                    f"{name}={given[name]!r} and deflate_options[{name!r}]={value!r} are two "
                    "values for one thing; give one of them"
                )
    inflater = {f"peer_{name}": value for name, value in inflater.items()}
    return Settings(module, **given, **compressor, **inflater)


def check_names(options: Mapping[str, Any], names: frozenset[str], where: str = "") -> None:
    """Refuse an option that does not exist, with the nearest one that does."""
    for name in options:
        if name in names:
            continue
        text = f"there is no option {name!r}{where}"
        if near := difflib.get_close_matches(str(name), sorted(names), n=1):
            text += f"; do you mean {near[0]!r}?"
        raise TypeError(text)


def check_value(text: str, name: str, value: object) -> None:
    """Refuse a value that is not one of the option ``name``, which the error calls ``text``."""
    if name in FLAGS:
        check_flag(text, value)
    elif name == "dictionary":
        try:
            memoryview(value).release()  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{text} must be bytes, not {value!r}") from None
    elif not any(value is word for word in WORDS.get(name, ())):
        check_int(text, value, *RANGES[name])


def check_pair(given: Mapping[str, Any], relative: str, absolute: str, side: str) -> None:
    """Refuse two values for one thing. Numbers are compared with numbers: ``True`` is not one."""
    if relative in given and absolute in given:
        first, second = given[relative], given[absolute]
        if first != second and (relative in FLAGS or not isinstance(second, bool)):
            raise ValueError(
                f"{relative}={first!r} and {absolute}={second!r} are two values for one thing "
                f"on {side}; give one of them"
            )


def read_mapping(given: dict[str, Any], name: str, names: frozenset[str]) -> dict[str, Any]:
    """Take one of the two mappings out of the options."""
    mapping = given.pop(name, {})
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{name} must be a mapping, not {mapping!r}")
    if "window_bits" in mapping:
        raise TypeError(
            f"{name} has no 'window_bits', for the window is negotiated: use max_window_bits and "
            "request_max_window_bits, or server_max_window_bits and client_max_window_bits"
        )
    check_names(mapping, names, f" in {name}")
    values = {key: value for key, value in mapping.items() if value is not None}
    for key, value in values.items():
        check_value(f"{name}[{key!r}]", key, value)
    if "dictionary" in values:
        values["dictionary"] = bytes(values["dictionary"]) or None
    return values


MODULES = {"zlib": "zlib", "zlib_ng": "zlib_ng.zlib_ng"}


def load_zlib(choice: object) -> ModuleType:
    """The zlib module for the option ``zlib``."""
    if choice is None:
        return default_zlib()
    if isinstance(choice, str):
        if choice not in MODULES:
            raise ValueError(f"zlib must be a module, 'zlib' or 'zlib_ng', not {choice!r}")
        return importlib.import_module(MODULES[choice])
    if not isinstance(choice, ModuleType):
        raise TypeError(f"zlib must be a module, 'zlib' or 'zlib_ng', not {choice!r}")
    for name in MODULE_NAMES:
        if not hasattr(choice, name):
            raise TypeError(f"zlib must be a module like zlib, but {choice!r} has no {name}")
    return choice


@functools.cache
def default_zlib() -> ModuleType:
    """The fastest zlib that is installed."""
    try:
        return importlib.import_module(MODULES["zlib_ng"])
    except ImportError:
        return zlib
