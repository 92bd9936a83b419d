"""The addresses of proxies, and which one the environment says to use for a server."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .exceptions import InvalidProxy, InvalidURI
from .options import check_str
from .uri import split_authority, split_uri

if TYPE_CHECKING:
    from .uri import WebSocketURI

__all__ = ["Proxy", "check_proxy", "check_proxy_ssl", "find_proxy", "get_proxy", "parse_proxy"]

_DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}

SYSTEM_HAS_SETTINGS = sys.platform in ("darwin", "win32")

# The variables in the order in which they are looked for, without their "_proxy". Those for
# WebSockets come first, as the most special; then RFC 6455 section 4.1 prefers SOCKS to a proxy
# for HTTPS, which can tunnel anything, and that to a proxy for HTTP, which may be a cache only.
_VARIABLES = {
    True: ("wss", "socks", "all", "https"),
    False: ("ws", "socks", "all", "https", "http"),
}

_SEPARATORS = re.compile(r"[\s,]+")
_ENTRY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class Proxy:
    """The parts of a proxy's address.

    Args:
        scheme: how to speak to it: "http" or "https" (the request CONNECT, over TCP or TLS),
            "socks4", "socks4a", "socks5" or "socks5h". With "socks4a" and "socks5h" the proxy
            resolves the server's name.
        host: the host's name in ASCII, or its IP address without brackets.
        port: the port, with the scheme's default filled in: 80, 443, or 1080 for SOCKS.
        username: the user name, decoded.
        password: the password, decoded; present if and only if there is a user name.
    """

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def user_info(self) -> tuple[str, str] | None:
        """User name and password."""
        if self.username is None:
            return None
        return self.username, self.password or ""

    def __str__(self) -> str:
        """The address in its normal form, without the user name and the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_proxy(proxy: str) -> Proxy:
    """Split the address of a proxy into its parts.

    Args:
        proxy: ``scheme://user:password@host:port``, with the schemes of `Proxy`. User name and
            password, which are percent-decoded, may be absent, and so may the port.

    Raises:
        InvalidProxy: it is not valid.
    """
    try:
        scheme, authority, path, query, fragment = split_uri(proxy)
        if scheme not in _DEFAULT_PORTS:
            raise InvalidProxy(proxy, f"scheme {scheme} isn't supported")
        if not authority:
            raise InvalidProxy(proxy, "hostname isn't provided")
        host, port, username, password = split_authority(proxy, authority)
    except InvalidURI as error:
        raise InvalidProxy(proxy, error.msg) from None
    for name, part in (("path", path.strip("/")), ("query", query), ("fragment", fragment)):
        if part:
            raise InvalidProxy(proxy, f"{name} is meaningless")
    without_password = username is not None and ":" not in authority.rpartition("@")[0]
    # SOCKS4 has no passwords; the others have no user names without one.
    if without_password and not scheme.startswith("socks4"):
        raise InvalidProxy(proxy, "username provided without password")
    return Proxy(scheme, host, port or _DEFAULT_PORTS[scheme], username, password)


def check_proxy(proxy: object, proxy_ssl: object) -> None:
    """Refuse what the options ``proxy`` and ``proxy_ssl`` cannot be.

    Raises:
        TypeError: ``proxy`` is not True, None or a str, or ``proxy_ssl`` is no context.
        InvalidProxy: ``proxy`` is not the address of a proxy.
        ValueError: ``proxy_ssl`` is given for a proxy without TLS, or without a proxy.
    """
    if proxy_ssl is not None and not isinstance(proxy_ssl, ssl.SSLContext):
        raise TypeError(f"proxy_ssl must be an SSLContext, not {proxy_ssl!r}")
    if proxy is True:
        return
    if proxy is None:
        if proxy_ssl is not None:
            raise ValueError("proxy_ssl is of no use without a proxy")
        return
    check_str("proxy", proxy)
    assert isinstance(proxy, str)
    check_proxy_ssl(parse_proxy(proxy), proxy_ssl)


def check_proxy_ssl(proxy: Proxy, proxy_ssl: object) -> None:
    if proxy_ssl is not None and proxy.scheme != "https":
        # Whoever gives a context counts on TLS.
        article = "an" if proxy.scheme == "http" else "a"
        raise ValueError(
            f"proxy_ssl argument is incompatible with {article} {proxy.scheme}:// proxy"
        )


def find_proxy(proxy: str | Literal[True] | None, uri: WebSocketURI) -> Proxy | None:
    """The proxy to use, from the option ``proxy``; never one for a Unix socket.

    Args:
        proxy: True for what the environment says, see `get_proxy`; None for none; or an address.
        uri: where to connect to.

    Raises:
        InvalidProxy: the address of the proxy, given or found, is not valid.
    """
    if uri.unix_path is not None:
        return None
    address = get_proxy(uri) if proxy is True else proxy
    return None if address is None else parse_proxy(address)


def get_proxy(uri: WebSocketURI) -> str | None:
    """The address of the proxy that the environment says to use, or None.

    The variables, each in lower or in upper case, of which lower case wins, are in this order:
    ``ws_proxy`` (for wss: ``wss_proxy``), ``socks_proxy``, ``all_proxy``, ``https_proxy``, and for
    ws: only, ``http_proxy``. An address without a scheme is that of an HTTP proxy, or in
    ``socks_proxy`` of a SOCKS5 proxy, which then resolves names.
    In a CGI script, which has ``REQUEST_METHOD``, ``HTTP_PROXY`` is ignored, because there a client
    can set it. Where no variable is set, the settings of macOS and Windows are used.

    ``no_proxy`` has the servers to connect to directly, separated by commas or blanks: "*" for
    all; a host's name, which stands for its subdomains, too; an IP address or a network such as
    10.0.0.0/8. A port may follow: "example.com:8080", "[::1]:80".
    """
    names = _VARIABLES[uri.secure]
    proxies = {name: value for name in (*names, "no") if (value := _variable(name))}
    if not proxies and SYSTEM_HAS_SETTINGS:
        import urllib.request  # which takes long

        proxies = urllib.request.getproxies()
        if urllib.request.proxy_bypass(uri.host):
            return None
    if "no" in proxies and _is_excepted(uri.host, uri.port, proxies["no"]):
        return None
    for name in names:
        if name in proxies:
            return _with_scheme(proxies[name], "socks5h" if name == "socks" else "http")
    return None


def _variable(name: str) -> str:
    """A variable of the environment, empty if it is not set."""
    # Not by urllib, which goes through the whole environment for each connection.
    value = os.environ.get(f"{name}_proxy")
    if value is None:
        if name == "http" and "REQUEST_METHOD" in os.environ:
            return ""
        value = os.environ.get(f"{name}_proxy".upper(), "")
    return value.strip()


def _with_scheme(address: str, default: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    if not separator or scheme.lower() == "http":
        # macOS gives its SOCKS proxy as http:.
        return f"{default}://{rest}"
    # As GNOME sets it.
    return f"socks5h://{rest}" if scheme.lower() == "socks" else address


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether an entry of ``no_proxy`` is about this server."""
    name = host.lower().removesuffix(".")
    address = _ip_address(name)
    for entry in _SEPARATORS.split(no_proxy.lower().strip()):
        if entry == "*":
            return True
        network = _ip_network(entry)
        if network is None:
            match = _ENTRY.fullmatch(entry)
            if match is None or (match[2] and int(match[2]) != port):
                continue
            entry = match[1]
            network = _ip_network(entry.strip("[]"))
        if network is not None:
            if address is not None and address in network:
                return True
        elif address is None and _is_below(name, entry):
            return True
    return False


def _ip_address(host: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _ip_network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _is_below(name: str, domain: str) -> bool:
    """Whether a host's name is the domain or ends in it: ``a.b`` in ``b``, ``.b`` or ``*.b``."""
    domain = domain.removeprefix("*").removeprefix(".").removesuffix(".")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        return False
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))
