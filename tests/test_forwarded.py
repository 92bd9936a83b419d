"""Who is behind a reverse proxy: X-Forwarded-For and Forwarded, from trusted peers only."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import Accepted, client_of, exchange, pair, request

import wsfast
from wsfast import Forwarded, Headers, TrustedProxies
from wsfast.forwarded import find_client

PROXY = ("10.0.0.1", 4711)
TRUSTED = ["10.0.0.0/8", "2001:db8:1::/48"]
DIRECT = Forwarded(PROXY, "ws", "example.com")


def find(*headers, peer=PROXY, trusted=TRUSTED, secure=False, header="X-Forwarded-For"):
    """Who the client is, by headers that are pairs."""
    trusted = TrustedProxies(trusted, header=header)
    return find_client(trusted, peer, secure, Headers([("Host", "example.com"), *headers]))


def by_x(*values, **options):
    return find(*[("X-Forwarded-For", value) for value in values], **options)


def by_rfc(*values, **options):
    headers = [("Forwarded", value) for value in values]
    return find(*headers, header="Forwarded", **options)


# --- Addresses --------------------------------------------------------------------------------

ADDRESSES = [
    ("192.0.2.1", ("192.0.2.1", None)),
    ("192.0.2.1:80", ("192.0.2.1", 80)),
    ("[2001:db8::1]", ("2001:db8::1", None)),
    ("[2001:DB8::1]:65535", ("2001:db8::1", 65535)),
    ("192.0.2.1:_hidden", ("192.0.2.1", None)),
    ("[::ffff:192.0.2.1]", ("192.0.2.1", None)),
]


@pytest.mark.parametrize(("text", "address"), [*ADDRESSES, ("2001:db8::1", ("2001:db8::1", None))])
def test_an_address_may_have_brackets_and_a_port(text, address):
    """M14"""
    assert by_x(text) == Forwarded(address, "ws", "example.com")


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_forwarded_quotes_what_is_no_token(text, address):
    """M14: RFC 7239 section 4."""
    assert by_rfc(f'for="{text}"') == Forwarded(address, "ws", "example.com")


MALFORMED = [
    "",
    "x",
    "192.0.2",
    "192.0.2.1.",
    "192.0.2.01",
    "192.0.2.256",
    "192.0.2.1:65536",
    "192.0.2.1:",
    "192.0.2.1:-1",
    "[192.0.2.1",
    "[fe80::1%eth0]",
    "fe80::1%eth0",
    "1%92.0.2.1",
    "2001:db8::1]:80",
    "[]",
    "localhost",
    "192.0.2.1 192.0.2.2",
    "\xb2",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_the_malformed_leaves_the_peer_itself(text):
    """M14"""
    assert by_x(text) == DIRECT
    assert by_x(f"192.0.2.7, {text}") == DIRECT
    assert by_rfc(f'for="{text}"') == DIRECT


@pytest.mark.parametrize("text", ["unknown", "Unknown", "_hidden", "_a.b-c"])
def test_an_address_may_be_hidden(text):
    """M14: RFC 7239 section 6.3; then it is the nearest that is known."""
    assert by_x(text) == DIRECT
    assert by_rfc(f"for={text};proto=https") == DIRECT._replace(scheme="wss")
    assert by_rfc(f"for={text}, for=10.0.0.2").address == ("10.0.0.2", None)


# --- Trust ------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
@pytest.mark.parametrize("peer", [("192.0.2.9", 1), ("2001:db8:2::1", 1, 0, 0), "", b"", None])
def test_whoever_is_not_trusted_is_not_believed(header, peer):
    """M14"""
    found = find(
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=198.51.100.1;proto=https;host=evil.example"),
        peer=peer,
        header=header,
    )
    assert found == Forwarded(peer[:2] if isinstance(peer, tuple) else None, "ws", "example.com")


def test_a_peer_that_nobody_knows_is_not_on_a_unix_socket():
    """M14: as one that was gone before it was asked who it is."""
    assert by_x("192.0.2.1", peer=None, trusted=["unix", "::/0", "0.0.0.0/0"]).address is None


def test_without_trusted_proxies_the_client_is_the_peer():
    """M14"""
    headers = Headers([("X-Forwarded-For", "198.51.100.1"), ("Host", "a")])
    assert find_client(None, ("192.0.2.1", 5), True, headers) == (("192.0.2.1", 5), "wss", "a")
    assert find_client(None, ("::ffff:192.0.2.1", 5, 0, 0), False, headers)[0] == ("192.0.2.1", 5)
    assert find_client(None, ("fe80::1%eth0", 5, 0, 2), False, headers)[0] == ("fe80::1%eth0", 5)
    assert find_client(None, "", False, headers) == (None, "ws", "a")


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("10.255.0.1", 1), ["10.0.0.0/8"]),
        (("::ffff:10.0.0.1", 1, 0, 0), ["10.0.0.1"]),
        (("fe80::1%eth0", 1, 0, 2), ["fe80::/10"]),
        (("::1", 1, 0, 0), ["127.0.0.1", ipaddress.ip_address("::1")]),
        (("10.0.0.1", 1), [ipaddress.ip_network("10.0.0.0/31")]),
        ("", ["unix"]),
        (b"", iter(["unix"])),
    ],
)
def test_trusted_are_addresses_networks_and_unix_sockets(peer, trusted):
    """M14"""
    assert by_x("192.0.2.1", peer=peer, trusted=trusted).address == ("192.0.2.1", None)


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (["198.51.100.1"], "198.51.100.1"),
        (["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        (["198.51.100.1", "10.0.0.3", "2001:db8:1::1"], "198.51.100.1"),
        # What stands in front of the first that is not trusted is what that one said.
        (["127.0.0.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        (["10.0.0.9", "198.51.100.1"], "198.51.100.1"),
        (["\xff", "198.51.100.1"], "198.51.100.1"),
        (["", "", "198.51.100.1"], "198.51.100.1"),
        # A client within the networks of the proxies.
        (["10.0.0.7", "10.0.0.2"], "10.0.0.7"),
    ],
)
def test_chains_are_walked_from_the_right(chain, client):
    """M14: a client that sends the header itself is not believed."""
    for values in [", ".join(chain)], [",".join(chain)], chain:
        assert by_x(*values).address == (client, None)
    if all(chain) and "\xff" not in chain:
        elements = [f'for="[{item}]"' if ":" in item else f"for={item}" for item in chain]
        for values in [", ".join(elements)], elements:
            assert by_rfc(*values).address == (client, None)


def test_what_a_client_breaks_does_not_break_the_header_of_the_proxy():
    """M14: each Forwarded header is read on its own."""
    assert by_rfc('for="', "for=192.0.2.1;proto=https") == (
        ("192.0.2.1", None),
        "wss",
        "example.com",
    )
    assert by_rfc("for=192.0.2.1", 'for="') == DIRECT


@pytest.mark.parametrize(
    "sent", ['for="', "for", "", ";", 'for="\\', "for=127.0.0.1,", 'a="x, for=1']
)
@pytest.mark.parametrize("node", ["192.0.2.1", '"[2001:db8::1]"', '"192.0.2.1:80"'])
def test_what_a_client_breaks_does_not_hide_what_the_proxy_puts_behind_it(sent, node):
    """M14: nor in the same header: a client must not pass for the proxy."""
    client = by_rfc(f"for={node};proto=https")
    assert client.address != PROXY
    assert by_rfc(f"{sent}, for={node};proto=https") == client
    assert by_rfc(f"{sent}, for={node};proto=https, for=10.0.0.2") == client
    assert by_rfc(f"{sent}, for=10.0.0.2") == DIRECT


@pytest.mark.parametrize(
    "quoted", ["a,for=192.0.2.1", 'a,for=192.0.2.1;x=\\"y', "a,for=192.0.2.1;x="]
)
def test_what_a_proxy_quotes_is_no_element_of_its_own(quoted):
    """M14: a client may have said it, for instance as the host."""
    assert by_rfc(f'host="{quoted}"') == DIRECT._replace(host=quoted.replace("\\", ""))
    assert by_rfc(f'", host="{quoted}"') == DIRECT


@pytest.mark.parametrize(
    "value",
    [
        "",
        "for",
        "for=",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;",
        "for=192.0.2.1,",
        "for=192.0.2.1 proto=https",
        "for = 192.0.2.1",
        "for=192.0.2.1:80",
        "for=[::1]",
        'for="192.0.2.1',
        'for="192.0.2.1"x',
        "=192.0.2.1",
        "for=192.0.2.1;proto=gopher",
        "for=192.0.2.1;proto=",
        ";",
    ],
)
def test_forwarded_is_read_strictly(value):
    """M14: RFC 7239 section 4; the malformed leaves the peer itself."""
    assert by_rfc(value) == DIRECT


def test_the_other_header_is_ignored():
    """M14: a proxy that does not know it lets it through as the client sent it."""
    headers = ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.2;proto=https")
    assert find(*headers) == (("192.0.2.1", None), "ws", "example.com")
    assert find(*headers, header="forwarded") == (("192.0.2.2", None), "wss", "example.com")


# --- Scheme and host --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scheme"), [("https", "wss"), ("WSS", "wss"), ("http", "ws"), ("ws", "ws")]
)
@pytest.mark.parametrize("secure", [True, False])
def test_the_scheme_is_what_the_proxy_says(text, scheme, secure):
    """M14"""
    headers = ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", text)
    assert find(*headers, secure=secure).scheme == scheme
    assert by_rfc(f"for=192.0.2.1;proto={text}", secure=secure).scheme == scheme
    assert find(headers[1], secure=secure) == (PROXY, scheme, "example.com")
    assert by_rfc(f"proto={text}", secure=secure) == (PROXY, scheme, "example.com")


def test_without_a_word_of_the_proxy_the_scheme_is_that_of_the_connection():
    """M14"""
    assert by_x("192.0.2.1", secure=True).scheme == "wss"
    assert by_rfc("for=192.0.2.1", secure=True).scheme == "wss"


def test_the_host_is_what_the_proxy_says():
    """M14"""
    headers = ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "public.example:8443")
    assert find(*headers).host == "public.example:8443"
    assert by_rfc('for=192.0.2.1;host="public.example:8443"').host == "public.example:8443"
    assert by_rfc('For=192.0.2.1 ; HOST="a\\"b";by=10.0.0.1;x=y').host == 'a"b'


def test_scheme_and_host_belong_to_the_hop_of_the_client():
    """M14"""
    chain = "203.0.113.1, 192.0.2.1, 10.0.0.2"
    for protos, scheme in (
        ("https", "wss"),
        ("http, https, http", "wss"),
        ("https, http, https", "ws"),
        ("https, http", "ws"),  # nobody knows whose they are
        ("https, https, https, https", "ws"),
    ):
        headers = ("X-Forwarded-For", chain), ("X-Forwarded-Proto", protos)
        assert find(*headers) == (("192.0.2.1", None), scheme, "example.com")
    found = by_rfc(
        "for=203.0.113.1;proto=http;host=c",
        "for=192.0.2.1;proto=https;host=b, for=10.0.0.2;proto=http;host=a",
    )
    assert found == (("192.0.2.1", None), "wss", "b")


# --- Robustness -------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(max_codepoint=255)).filter(str.isprintable), max_size=4))
def test_whatever_is_sent_nothing_is_raised(values):
    """M14"""
    for found in by_x(*values), by_rfc(*values):
        assert found.address is not None
        ipaddress.ip_address(found.address[0])
        assert found.scheme in ("ws", "wss")


@given(st.text(st.sampled_from('for=1.0,;"\\[:] _proto'), max_size=60))
def test_whatever_looks_like_it_nothing_is_raised(value):
    """M14"""
    for found in by_x(value), by_rfc(value):
        ipaddress.ip_address(found.address[0])


# --- Options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("10.0.0.1", TypeError, "trusted_proxies must be a list, not '10.0.0.1'"),
        (5, TypeError, "trusted_proxies must be a list, not 5"),
        ([5], TypeError, "one of trusted_proxies must be an address or a network, not 5"),
        ([b"\x01\x02\x03\x04"], TypeError, "one of trusted_proxies must be an address"),
        (["*"], ValueError, "one of trusted_proxies is not right: '\\*' does not appear to be"),
        (["proxy.example"], ValueError, "'proxy.example' does not appear to be an IPv4 or IPv6"),
        (["10.0.0.1/8"], ValueError, "10.0.0.1/8 has host bits set"),
    ],
)
def test_trusted_proxies_are_validated(value, kind, text):
    """M14"""
    with pytest.raises(kind, match=text):
        wsfast.WebSocketServer("localhost", 0, trusted_proxies=value)


@pytest.mark.parametrize("header", ["X-Real-IP", "", None, 5])
def test_the_header_is_one_of_two(header):
    """M14"""
    with pytest.raises(ValueError, match='header must be "X-Forwarded-For" or "Forwarded"'):
        TrustedProxies([], header=header)


def test_trusted_proxies_can_be_shown():
    """M14"""
    shown = repr(TrustedProxies(["10.0.0.1", "unix", "::/0"], header="FORWARDED"))
    assert shown == "TrustedProxies(['10.0.0.1/32', '::/0', 'unix'], header='Forwarded')"


# --- Connections ------------------------------------------------------------------------------


async def test_handlers_know_the_client_behind_the_proxy():
    """M14: the address of the socket stays what it is."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, trusted_proxies=["127.0.0.1"]) as server,
        client_of(
            server,
            x_forwarded_for="203.0.113.1, 192.0.2.1:1234",
            x_forwarded_proto="https",
            x_forwarded_host="public.example",
        ) as peer,
    ):
        ws = await handler.get()
        assert ws.client_address == ("192.0.2.1", 1234)
        assert ws.client_scheme == "wss"
        assert ws.forwarded == Forwarded(("192.0.2.1", 1234), "wss", "public.example")
        assert ws.remote_address[:2] == peer.writer.get_extra_info("sockname")[:2]


async def test_without_the_option_nobody_is_believed():
    """M14"""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0) as server,
        client_of(server, x_forwarded_for="192.0.2.1", forwarded="for=192.0.2.1") as peer,
    ):
        ws = await handler.get()
        assert ws.client_address == peer.writer.get_extra_info("sockname")[:2]
        assert ws.forwarded == Forwarded(ws.remote_address, "ws", "localhost")


async def test_both_ends_agree_on_the_client(identity, ca):
    """M14"""
    async with pair(identity, ca=ca) as (ws, other):
        assert ws.client_address == other.client_address == ws.local_address
        assert ws.client_scheme == other.client_scheme == "wss"


async def test_a_proxy_on_a_unix_socket(tmp_path):
    """M14"""
    handler = Accepted()
    path = str(tmp_path / "socket")
    trusted = TrustedProxies(["unix"], header="Forwarded")
    async with (
        wsfast.serve(handler, unix_path=path, trusted_proxies=trusted) as server,
        client_of(server, forwarded='for="[2001:db8::1]:80";proto=https'),
    ):
        ws = await handler.get()
        assert ws.forwarded == Forwarded(("2001:db8::1", 80), "wss", "localhost")


async def test_a_client_on_a_unix_socket_has_no_address(tmp_path):
    """M14"""
    handler = Accepted()
    async with (
        wsfast.serve(handler, unix_path=str(tmp_path / "socket")) as server,
        client_of(server, x_forwarded_for="192.0.2.1"),
    ):
        assert (await handler.get()).client_address is None


@pytest.mark.parametrize(
    ("trusted", "headers", "secure"),
    [
        (["127.0.0.1"], {"x_forwarded_proto": "https"}, True),
        (["127.0.0.1"], {"x_forwarded_proto": "http"}, False),
        (["127.0.0.1"], {}, False),
        (["127.0.0.2"], {"x_forwarded_proto": "https"}, False),
        (None, {"x_forwarded_proto": "https"}, False),
    ],
)
async def test_verify_client_and_process_request_know_it_too(trusted, headers, secure):
    """M14: ``info.secure`` is what the client used, not the proxy."""
    seen = []

    def process_request(ws, request):
        seen.append(ws.client_scheme == "wss")

    def verify_client(info):
        seen.append(info.secure)
        return False

    async with wsfast.serve(
        Accepted(),
        "127.0.0.1",
        0,
        trusted_proxies=trusted,
        process_request=process_request,
        verify_client=verify_client,
    ) as server:
        head, _ = await exchange(server, request(**headers))
        assert head.status == 401
    assert seen == [secure, secure]
