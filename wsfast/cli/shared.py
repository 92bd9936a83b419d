"""What the subcommands share: arguments, the request, and how errors are told."""

from __future__ import annotations

import argparse
import os
import ssl
from typing import TYPE_CHECKING, Any

from ..client import connect
from ..exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    printable,
)

if TYPE_CHECKING:
    from ..connection import WebSocket

__all__ = [
    "CONNECT_ERRORS",
    "Failure",
    "add_request_arguments",
    "check_file",
    "escape",
    "make_connector",
    "open_connection",
    "reason",
    "seconds",
    "why_not_connected",
]

# The control characters: C0, DEL and C1. A terminal would obey them.
CONTROLS = {i: repr(chr(i))[1:-1] for i in (*range(0x20), *range(0x7F, 0xA0))}

# What an attempt to connect raises; the last two are about the proxy of the environment, and a
# package that is not installed.
CONNECT_ERRORS = (OSError, InvalidHandshake, InvalidProxy, ImportError)


class Failure(Exception):
    """Something that the user must know, in one line."""


def escape(text: str) -> str:
    """Make text fit for one line of a terminal."""
    return text.translate(CONTROLS)


def add_request_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The address, and what the request has besides."""
    nargs = None if required else "?"
    parser.add_argument("uri", nargs=nargs, metavar="URI", help="such as wss://example.com/path")
    parser.add_argument(
        "--subprotocol",
        action="append",
        metavar="NAME",
        help="offer a subprotocol; repeat it to offer several",
    )
    parser.add_argument(
        "--header",
        action="append",
        type=header,
        metavar="'NAME: VALUE'",
        help="add a header to the request; repeat it for several",
    )
    parser.add_argument("--origin", help="the Origin header")
    parser.add_argument("--auth", type=credentials, metavar="USER:PASSWORD", help="Basic auth")
    parser.add_argument(
        "--insecure", action="store_true", help="do not verify the server's certificate"
    )
    parser.add_argument("--ca", metavar="FILE", help="trust the certificates in this PEM file too")
    parser.add_argument(
        "--proxy", metavar="URL", help="the proxy instead of that of the environment; or 'none'"
    )


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"it takes a number of seconds, not {text!r}")
    return number


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"a header is 'NAME: VALUE', not {text!r}")
    return name, value.strip()


def credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("it takes USER:PASSWORD")
    return user, password


def check_file(path: str | None) -> None:
    """Name the file that cannot be read, which the ssl module does not."""
    if path is not None:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise Failure(f"cannot read {path}: {error.strerror}") from None


def reason(error: BaseException) -> str:
    """Why something failed, in the system's words if it was the system."""
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        number = cause.errno
        if number is not None and number > 0:  # the resolver's are below
            return os.strerror(number)
    return str(error)


def make_connector(options: argparse.Namespace, **limits: Any) -> connect:
    """What connects as the arguments of `add_request_arguments` say."""
    check_file(options.ca)
    try:
        return connect(
            options.uri,
            subprotocols=options.subprotocol,
            origin=options.origin,
            additional_headers=options.header,
            auth=options.auth,
            ca=options.ca,
            verify=False if options.insecure else None,
            proxy={None: True, "none": None}.get(options.proxy, options.proxy),
            **limits,
        )
    except (InvalidURI, InvalidProxy) as error:
        raise Failure(str(error)) from None
    except (ValueError, TypeError) as error:
        raise Failure(f"cannot connect: {error}") from None


async def open_connection(connector: connect) -> WebSocket:
    try:
        return await connector
    except CONNECT_ERRORS as error:
        raise Failure(f"cannot connect: {why_not_connected(error)}") from None


def why_not_connected(error: Exception) -> str:
    """Why a connection was not opened, in one line."""
    if isinstance(error, InvalidStatus):
        body = error.response.body.decode(errors="replace").strip().partition("\n")[0]
        return f"{error}{f', {body:.200}' if body else ''}"
    if isinstance(error, InvalidProxyStatus):
        return f"{error} {printable(error.response.reason_phrase)}".rstrip()
    if isinstance(error, ProxyError) and error.__cause__ is not None:
        return f"{error}: {error.__cause__}"
    hint = ""
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        hint = "; --ca names a certificate to trust, --insecure trusts every server"
    return reason(error) + hint
