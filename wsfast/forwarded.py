"""Whose connection it is, behind reverse proxies: Forwarded (RFC 7239) and X-Forwarded-For.

Anybody can send these headers. Each proxy adds at the right end where its own connection came from,
so they are read from there, and only as far as those who wrote them are trusted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from .exceptions import InvalidHeader
from .protocol.headers import Headers
from .protocol.scanner import Scanner

__all__ = ["Forwarded", "TrustedProxies", "check_trusted_proxies", "find_client"]

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
ClientAddress: TypeAlias = "tuple[str, int | None]"

HEADERS = {"x-forwarded-for": "X-Forwarded-For", "forwarded": "Forwarded"}

SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}

# An address, in brackets if it is IPv6, and a port, which may be hidden (RFC 7239 section 6).
NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?")
HIDDEN = re.compile(r"unknown|_[A-Za-z0-9._-]+", re.IGNORECASE)


class Forwarded(NamedTuple):
    """Where a connection came from, as far as it can be known.

    Args:
        address: the client's host and port; the port is None where a proxy does not tell it, and
            the address is None if the client is on a Unix socket.
        scheme: "wss" if the client used TLS, else "ws".
        host: what the client took for the server's name and port, as it came in the request.
    """

    address: ClientAddress | None
    scheme: str
    host: str | None


class Hop(NamedTuple):
    """What one proxy said about its client."""

    node: str | None
    scheme: str | None
    host: str | None


class TrustedProxies:
    """The reverse proxies whose word counts: for the option ``trusted_proxies``.

    Args:
        addresses: addresses and networks, such as ``"10.0.0.0/8"`` and ``"::1"``, and ``"unix"``
            for whoever connects to a Unix socket.
        header: which header they write, "X-Forwarded-For" (and with it X-Forwarded-Proto and
            X-Forwarded-Host) or "Forwarded". The other is ignored: a proxy that does not know it
            lets through whatever the client sent. So the proxies must set, or remove, those of the
            three that they do not add to.

    Raises:
        TypeError, ValueError: one of them is not an address or a network.
    """

    __slots__ = ("_header", "_networks", "_unix")

    def __init__(
        self, addresses: Iterable[str | Address | Network], header: str = "X-Forwarded-For"
    ) -> None:
        if isinstance(addresses, (str, bytes)) or not isinstance(addresses, Iterable):
            raise TypeError(f"trusted_proxies must be a list, not {addresses!r}")
        self._networks: list[Network] = []
        self._unix = False
        for item in addresses:
            if item == "unix":
                self._unix = True
            else:
                self._networks.append(as_network(item))
        if not isinstance(header, str) or header.lower() not in HEADERS:
            raise ValueError(f'header must be "X-Forwarded-For" or "Forwarded", not {header!r}')
        self._header = HEADERS[header.lower()]

    def __repr__(self) -> str:
        names = [str(network) for network in self._networks] + ["unix"] * self._unix
        return f"TrustedProxies({names!r}, header={self._header!r})"

    def trusts(self, peername: Any) -> bool:
        """Whether the peer at an address, as the socket has it, is one of them."""
        if isinstance(peername, tuple):
            return self._trusts(as_address(peername[0]))
        # That of a Unix socket is a path, mostly an empty one; None is nobody knows who.
        return self._unix and isinstance(peername, (str, bytes))

    def find(self, direct: Forwarded, headers: Headers) -> Forwarded:
        """Who is behind a connection whose peer is trusted.

        Args:
            direct: what the connection itself tells. It is the answer if what the proxies say
                cannot be understood.
            headers: those of the request.
        """
        found = direct
        try:
            for hop in self._hops(headers):
                node = as_node(hop.node)
                found = Forwarded(
                    found.address if node is None else (str(node[0]), node[1]),
                    direct.scheme if hop.scheme is None else SCHEMES[hop.scheme.lower()],
                    direct.host if hop.host is None else hop.host,
                )
                if node is None or not self._trusts(node[0]):
                    break
        except (InvalidHeader, KeyError, ValueError):
            return direct
        return found

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, headers: Headers) -> Iterator[Hop]:
        """What the proxies said, the nearest first."""
        if self._header == "Forwarded":
            return forwarded_hops(headers.get_all("Forwarded"))
        return x_forwarded_hops(headers)


def check_trusted_proxies(value: Any) -> TrustedProxies | None:
    """The option ``trusted_proxies``: None, a list of addresses, or a `TrustedProxies`."""
    return value if value is None or isinstance(value, TrustedProxies) else TrustedProxies(value)


def find_client(
    trusted: TrustedProxies | None, peername: Any, secure: bool, headers: Headers
) -> Forwarded:
    """Where a connection came from.

    Args:
        trusted: the proxies whose word counts; None for none.
        peername: the address of the other end, as the socket has it.
        secure: whether the connection itself has TLS.
        headers: those of the request.
    """
    address: ClientAddress | None = None
    if isinstance(peername, tuple):
        host, port = peername[:2]
        address = (host.removeprefix("::ffff:") if "." in host else host, port)
    direct = Forwarded(address, "wss" if secure else "ws", headers.get_only("Host"))
    if trusted is None or not trusted.trusts(peername):
        return direct
    return trusted.find(direct, headers)


def as_network(item: Any) -> Network:
    if not isinstance(
        item,
        (
            str,
            ipaddress.IPv4Address,
            ipaddress.IPv6Address,
            ipaddress.IPv4Network,
            ipaddress.IPv6Network,
        ),
    ):
        raise TypeError(f"one of trusted_proxies must be an address or a network, not {item!r}")
    try:
        return ipaddress.ip_network(item)
    except ValueError as error:
        raise ValueError(f"one of trusted_proxies is not right: {error}") from None


def as_address(host: str) -> Address:
    """An address, without its zone; IPv4 where it is IPv4 inside of IPv6.

    Raises:
        ValueError: it is not one.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def as_node(text: str | None) -> tuple[Address, int | None] | None:
    """The address and the port of a node (RFC 7239 section 6); None if it is hidden.

    Raises:
        ValueError: it is something else.
    """
    if text is None or HIDDEN.fullmatch(text):
        return None
    match = NODE.fullmatch(text)
    if match is None:
        # IPv6 without brackets, as X-Forwarded-For has it.
        if "%" in text:
            raise ValueError("the zone of an address means nothing on another machine")
        return as_address(text), None
    port = None if match[3] is None else int(match[3])
    if port is not None and port > 65535:
        raise ValueError("there is no such port")
    return as_address(match[1] or match[2]), port


def forwarded_hops(values: list[str]) -> Iterator[Hop]:
    """The elements of Forwarded, from the right.

    Each header is read on its own: one that a client broke does not break the proxy's behind it.
    Nor does what a client broke and a proxy went on with, behind a comma: otherwise a client could
    pass for the proxy.

    Raises:
        InvalidHeaderFormat: an element is not as RFC 7239 section 4 has it.
    """
    for value in reversed(values):
        try:
            yield from reversed(forwarded_elements(value))
        except InvalidHeader:
            # What is quoted may have commas; a piece of it is no element, as its quotes are odd.
            for piece in reversed(value.split(",")):
                yield from forwarded_elements(piece.strip(" \t"))


def forwarded_elements(value: str) -> list[Hop]:
    """The elements of a Forwarded header, from the left.

    Raises:
        InvalidHeaderFormat: it is not as RFC 7239 section 4 has it.
    """
    elements: list[dict[str, str]] = [{}]
    scanner = Scanner("Forwarded", value)
    separator = ";"
    while separator:
        if separator == ",":
            elements.append({})
        name = scanner.token().lower()
        if name in elements[-1] or not scanner.skip("="):
            raise scanner.invalid(f"{name} is repeated, or has no value")
        elements[-1][name] = scanner.value(strict=False)
        separator = scanner.separator(";,")
    return [Hop(known.get("for"), known.get("proto"), known.get("host")) for known in elements]


def x_forwarded_hops(headers: Headers) -> Iterator[Hop]:
    """What X-Forwarded-For has, from the right, with what the other two say of the same hop.

    Those are lists of the same length, or one value that is true of all.
    """
    nodes: list[str | None] = [*elements_of(headers, "X-Forwarded-For")] or [None]
    schemes = aligned(elements_of(headers, "X-Forwarded-Proto"), len(nodes))
    hosts = aligned(elements_of(headers, "X-Forwarded-Host"), len(nodes))
    for number in reversed(range(len(nodes))):
        yield Hop(nodes[number], schemes[number], hosts[number])


def elements_of(headers: Headers, name: str) -> list[str]:
    """The elements of all headers of this name."""
    values = headers.get_all(name)
    return [element.strip(" \t") for element in ",".join(values).split(",")] if values else []


def aligned(elements: list[str], count: int) -> list[str | None]:
    """One element for each hop, None where it is not known which."""
    if len(elements) == 1:
        return [*elements] * count
    return [*elements] if len(elements) == count else [None] * count
