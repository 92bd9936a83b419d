"""Sec-WebSocket-Extensions: the header as names with parameters, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

from ..protocol.headers import build_quoted_string, is_token
from ..protocol.scanner import Scanner

__all__ = ["Parameters", "Value", "format_extensions", "parse_extensions"]

Value: TypeAlias = bool | int | float | str
"""The value of a parameter: True for one that has none, a number, or a str."""

Parameters: TypeAlias = Mapping[str, Value | Sequence[Value]]
"""The parameters of an extension by name; a list where one is repeated."""

# Up to 15 digits a number is the same in every language, and what reads it takes no time.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")


def parse_extensions(
    header: str, *, strict: bool = False
) -> list[tuple[str, dict[str, Value | list[Value]]]]:
    r"""Read a Sec-WebSocket-Extensions header (RFC 6455 section 9.1).

    The time that it takes is linear in the length of the header.

    Args:
        header: its value; those of several such headers joined by ", ".
        strict: refuse an empty header, and quoted values that are not tokens when the backslashes
            are gone, as the RFC demands. Otherwise quoted values may be any text but controls.

    Returns:
        The names in their order, repeated ones too, each with its parameters. A parameter without
        a value is True. What looks like a decimal number of at most 15 digits before and after the
        point is an int or a float, also when it was quoted; the rest is str. A repeated parameter
        has a list of its values.

    Raises:
        InvalidHeaderFormat: the header is malformed. The message says where.
    """
    if not header and not strict:
        return []
    scanner = Scanner("Sec-WebSocket-Extensions", header)
    extensions: list[tuple[str, dict[str, Value | list[Value]]]] = []
    separator = ","
    while separator:
        name = scanner.token()
        if separator == ",":
            parameters: dict[str, Value | list[Value]] = {}
            extensions.append((name, parameters))
        else:
            value = _typed(scanner.value(strict=strict)) if scanner.skip("=") else True
            if name not in parameters:
                parameters[name] = value
            elif isinstance(values := parameters[name], list):
                values.append(value)
            else:
                parameters[name] = [values, value]
        separator = scanner.separator(",;")
    return extensions


def _typed(text: str) -> Value:
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[1] else int(text)


def format_extensions(extensions: Iterable[tuple[str, Parameters]]) -> str:
    """Make the header that `parse_extensions` reads as ``extensions``.

    Args:
        extensions: pairs of a name and its parameters, which may be repeated.

    Returns:
        The header's value. Values are quoted where they are not tokens.

    Raises:
        TypeError: parameters are not a mapping, or a value is not True, a number or a str.
        ValueError: a name is not a token, a number is not finite, or a str has control characters
            or characters outside ISO-8859-1.
    """
    return ", ".join([_format(name, parameters) for name, parameters in extensions])


def _format(name: str, parameters: Parameters) -> str:
    if not isinstance(parameters, Mapping):
        raise TypeError(f"the parameters of {name} must be a mapping, not {parameters!r}")
    parts = [name]
    for key, values in parameters.items():
        parts += [
            key if value is True else f"{key}={_format_value(name, key, value)}"
            for value in (values if isinstance(values, (list, tuple)) else [values])
        ]
    for part in (name, *parameters):
        if not isinstance(part, str) or not is_token(part):
            raise ValueError(f"a name in Sec-WebSocket-Extensions must be a token, not {part!r}")
    return "; ".join(parts)


def _format_value(name: str, key: str, value: object) -> str:
    if isinstance(value, str):
        return value if is_token(value) else build_quoted_string(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {key} must be True, a number or a str, not {value!r}")
    if isinstance(value, int):
        return f"{value:d}"
    if not math.isfinite(value):
        raise ValueError(f"{name}: {key} must be finite, not {value!r}")
    return f"{Decimal(repr(float(value))):f}"  # without an exponent
