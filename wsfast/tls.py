"""TLS contexts from the options ``ssl``, ``cert``, ``key``, ``ca`` and ``verify``."""

from __future__ import annotations

import functools
import os
import ssl
import tempfile
from typing import Any

from .options import check_flag

__all__ = ["client_context", "server_context"]


def server_context(
    context: ssl.SSLContext | None, cert: Any, key: Any, ca: Any, verify: bool | None
) -> ssl.SSLContext | None:
    """The context of a server; None for no TLS."""
    given = given_names(cert=cert, key=key, ca=ca)
    check_options(context, verify, given)
    if context is not None:
        return context
    if not given:
        if verify is not None:
            raise ValueError("verify needs ca, cert and key")
        return None
    if cert is None:
        raise ValueError(f"{given[0]} needs cert")
    context = restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    load_cert(context, cert, key)
    if ca is not None:
        load_ca(context, ca)
        context.verify_mode = ssl.CERT_OPTIONAL if verify is False else ssl.CERT_REQUIRED
    elif verify:
        raise ValueError("verify needs ca, the certificates that clients must be signed by")
    return context


def client_context(
    context: ssl.SSLContext | None, cert: Any, key: Any, ca: Any, verify: bool | None
) -> ssl.SSLContext:
    """The context of a client. Without options it is one for all connections."""
    given = given_names(cert=cert, key=key, ca=ca)
    check_options(context, verify, given)
    if context is not None:
        return context
    if not given and verify is not False:
        return default_context()
    context = restricted(ssl.create_default_context())
    if key is not None and cert is None:
        raise ValueError("key needs cert")
    if cert is not None:
        load_cert(context, cert, key)
    if ca is not None:
        load_ca(context, ca)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def default_context() -> ssl.SSLContext:
    """Verifies certificates by the system's authorities. Loading them takes long: do it once."""
    return restricted(ssl.create_default_context())


def restricted(context: ssl.SSLContext) -> ssl.SSLContext:
    """What holds for all contexts that are made here, of servers and clients."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # As browsers do: on HTTP/2 a WebSocket begins in another way (RFC 8441).
    context.set_alpn_protocols(["http/1.1"])
    return context


def given_names(**options: Any) -> list[str]:
    return [name for name, value in options.items() if value is not None]


def check_options(context: object, verify: object, given: list[str]) -> None:
    if verify is not None:
        check_flag("verify", verify)
        given = [*given, "verify"]
    if context is None:
        return
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl must be an SSLContext, not {context!r}")
    if given:
        raise ValueError(f"give either ssl or {given[0]}, not both")


def check_file(name: str, value: Any) -> None:
    """Refuse what is neither PEM bytes nor a file that can be read. The error names the file."""
    if isinstance(value, bytes):
        return
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path or PEM bytes, not {value!r}")
    with open(value, "rb"):
        pass


def load_cert(context: ssl.SSLContext, cert: Any, key: Any) -> None:
    """Load a certificate chain and its key, from files or from PEM bytes."""
    check_file("cert", cert)
    if key is not None:
        check_file("key", key)
    # The ssl module reads them only from files.
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Any] = []
        for name, value in (("cert", cert), ("key", key)):
            if isinstance(value, bytes):
                path = os.path.join(folder, name)
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(value)
                value = path
            paths.append(value)
        try:
            context.load_cert_chain(paths[0], paths[1], password=refuse_encrypted)
        except ssl.SSLError as error:
            names = "cert and key are" if key is not None else "cert is"
            raise ValueError(f"{names} not a PEM certificate and its key: {error}") from error


def refuse_encrypted() -> str:
    """Without this, OpenSSL would ask for the password on the terminal, and wait."""
    raise ValueError("the key is encrypted; load it into an SSLContext, and give that as ssl")


def load_ca(context: ssl.SSLContext, ca: Any) -> None:
    """Load the authorities to trust, from a file or from PEM bytes."""
    check_file("ca", ca)
    try:
        if isinstance(ca, bytes):
            context.load_verify_locations(cadata=ca.decode("ascii"))
        else:
            context.load_verify_locations(ca)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"ca has no certificates in PEM: {error}") from error
