"""Redirects: where they lead, what is taken along, and what is not followed.

The rows are those of the table of ws's features: C10, C11 and RD1 to RD5.
"""

import asyncio
import base64
import socket
import ssl

import pytest
from hosts import Record, connect, host, redirection
from peers import PATIENCE, Accepted, raw_server, uri_of
from test_events import Unhandled

import wsfast
from wsfast.protocol.headers import Headers
from wsfast.redirects import Target, next_target, resolve
from wsfast.tls import server_context
from wsfast.uri import parse_uri

BASIC = "Basic " + base64.b64encode(b"user:secret").decode()
OTHER_BASIC = "Basic " + base64.b64encode(b"other:word").decode()
CREDENTIALS = {"Authorization": "Bearer of-the-user", "Cookie": "a=b"}


async def visit(uri, **options):
    """Connect, and close; returns the WebSocket."""
    ws = await connect(uri, **options)
    await ws.close()
    return ws


# --- Where it leads ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "to", "result"),
    [
        ("ws://a.example/x/y?q", "z", "ws://a.example/x/z"),
        ("ws://a.example/x/y?q", "./z", "ws://a.example/x/z"),
        ("ws://a.example/x/y?q", "../z?r=1", "ws://a.example/z?r=1"),
        ("ws://a.example/x/y?q", "/z", "ws://a.example/z"),
        ("ws://a.example/x/y?q", "?r=1", "ws://a.example/x/y?r=1"),
        ("wss://a.example/x", "//b.example:8443/z", "wss://b.example:8443/z"),
        ("ws://a.example/x", "//b.example", "ws://b.example/"),
        ("ws://a.example/x", "wss://b.example/z", "wss://b.example/z"),
        ("ws://a.example/x", "HTTP://B.example/z", "ws://b.example/z"),
        ("ws://a.example/x", "https://b.example:443/z", "wss://b.example/z"),
        ("ws://a.example:8080/x", "/z", "ws://a.example:8080/z"),
        ("ws://a.example:80/x", "/z", "ws://a.example/z"),
        ("ws://[::1]:8080/x", "/z", "ws://[::1]:8080/z"),
        ("ws://[::1]:8080/x", "ws://[::2]/z", "ws://[::2]/z"),
        ("ws://a.example/x", "/z%20?q=%C3%A9", "ws://a.example/z%20?q=%C3%A9"),
        ("ws://a.example/x", "ws+unix:/run/s.sock:/z", "ws+unix:/run/s.sock:/z"),
        ("ws+unix:/run/s.sock:/x/y?q", "z", "ws+unix:/run/s.sock:/x/z"),
        ("ws+unix:/run/s.sock:/x/y?q", "/z?r", "ws+unix:/run/s.sock:/z?r"),
        ("ws+unix:/run/s.sock:/x/y?q", "?r", "ws+unix:/run/s.sock:/x/y?r"),
        ("ws+unix:/run/a%20b:/x", "/z", "ws+unix:/run/a%20b:/z"),
        ("ws+unix:/run/s.sock:/x", "ws://a.example/z", "ws://a.example/z"),
    ],
)
def test_a_location_is_resolved_against_the_address(base, to, result):
    """RD1: the Location is relative to the address that was redirected (RFC 9110 10.2.2)."""
    assert str(resolve(parse_uri(base), to)) == result


@pytest.mark.parametrize("base", ["ws://a.example/x", "ws+unix:/run/s.sock:/x"])
@pytest.mark.parametrize(
    "to",
    [
        "",
        " ",
        "/a b",
        "/a\tb",
        "/a\x00b",
        "/a\x7fb",
        "\\\\b.example\\x",
        "/\\b.example",
        "ws://b.example/#fragment",
        "/x#fragment",
        "#fragment",
        "ftp://b.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ws:",
        "ws://",
        "ws:///x",
        "ws://b.example:0/",
        "ws://b.example:65536/",
        "ws://b.example:x/",
        "ws://[::1/",
        "ws+unix:",
        "ws+unix:relative:/x",
        "ws://b example/",
        " ws://b.example/",
    ],
)
def test_a_location_that_is_no_address_of_a_websocket_is_refused(base, to):
    """C2: on a redirect, too, an address must be one."""
    with pytest.raises(wsfast.InvalidURI):
        resolve(parse_uri(base), to)


def test_a_host_without_a_scheme_is_refused_on_a_unix_socket():
    with pytest.raises(wsfast.InvalidURI):
        resolve(parse_uri("ws+unix:/run/s.sock:/x"), "//b.example/z")


def follow(first, to, *, headers=None, current=None, auth=None, **options):
    first = Target(parse_uri(first), Headers(headers or {}), auth)
    current = first if current is None else Target(parse_uri(current), first.headers, auth)
    options = {"keep": False, "allow_insecure": False, **options}
    return next_target(first, current, to, **options)


ALL = {
    "Authorization": "x",
    "Cookie": "a=b",
    "Proxy-Authorization": "y",
    "Host": "name.example",
    "X-Other": "z",
}


@pytest.mark.parametrize(
    ("first", "to", "left"),
    [
        # RD1: the same host takes all along.
        ("ws://a.example/", "/z", set(ALL)),
        ("ws://a.example/", "ws://a.example:80/z", set(ALL)),
        ("ws://a.example/", "ws://A.EXAMPLE/z", set(ALL)),
        ("ws://a.example/", "wss://a.example/z", set(ALL)),
        ("ws+unix:/run/a:/", "ws+unix:/run/a:/z", set(ALL)),
        # RD2: another host, port, subdomain or socket does not.
        ("ws://a.example/", "ws://b.example/z", {"X-Other"}),
        ("ws://a.example/", "ws://www.a.example/z", {"X-Other"}),
        ("ws://www.a.example/", "ws://a.example/z", {"X-Other"}),
        ("ws://a.example/", "ws://a.example:81/z", {"X-Other"}),
        ("ws://a.example:81/", "ws://a.example/z", {"X-Other"}),
        ("ws://a.example/", "//b.example/z", {"X-Other"}),
        ("ws://localhost/", "ws+unix:/run/a:/", {"X-Other"}),
        ("ws+unix:/run/a:/", "ws://localhost/", {"X-Other"}),
        ("ws+unix:/run/a:/", "ws+unix:/run/b:/", {"X-Other"}),
        ("ws://[::1]/", "ws://[::2]/", {"X-Other"}),
    ],
)
def test_credentials_stay_with_the_host_they_are_for(first, to, left):
    """RD1, RD2: what is compared are host and port, or the Unix socket."""
    target = follow(first, to, headers=ALL, auth=("user", "secret"))
    assert {name for name in ALL if name in target.headers} == left
    assert target.auth == (("user", "secret") if left == set(ALL) else None)


def test_without_tls_credentials_are_dropped_and_the_host_header_is_kept():
    """RD3: the same host, but from wss to ws."""
    to = "ws://a.example/z"
    target = follow("wss://a.example/", to, headers=ALL, auth="user:pw", allow_insecure=True)
    assert {name for name in ALL if name in target.headers} == {"Host", "X-Other"}
    assert target.auth is None


@pytest.mark.parametrize("keep", [False, True])
def test_from_tls_to_no_tls_is_refused_unless_it_is_allowed(keep):
    """A listener that only watches does not allow what follow_redirects does not."""
    with pytest.raises(wsfast.RedirectError, match="non-secure URI ws://a.example/z"):
        follow("wss://a.example/", "ws://a.example/z", keep=keep)


def test_a_detour_to_tls_is_not_left_again():
    """What a Location says for TLS is not said without it, wherever the way began."""
    options = {"current": "wss://a.example/", "headers": ALL}
    with pytest.raises(wsfast.RedirectError):
        follow("ws://a.example/", "ws://a.example/z", **options)
    target = follow("ws://a.example/", "ws://a.example/z", allow_insecure=True, **options)
    assert "Cookie" not in target.headers


def test_what_the_user_gave_is_not_changed():
    """C28: the options are not mutated."""
    headers = Headers(ALL)
    first = Target(parse_uri("ws://a.example/"), headers, None)
    next_target(first, first, "ws://b.example/", keep=False, allow_insecure=False)
    assert dict(headers.raw_items()) == ALL


# --- Which answers are followed ---------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
async def test_every_status_from_300_to_399_with_a_location_is_followed(status):
    """C10: 300 to 399 with a Location."""
    async with host({"/": (status, "/next")}) as server:
        ws = await visit(server("/"))
        assert server.paths == ["/", "/next"]
        assert ws.url == server("/next")
        assert ws.path == "/next"
        assert ws.response.status_code == 101


@pytest.mark.parametrize(
    "answer", [b"200 OK\r\nLocation: /", b"300 Choices", b"400 No\r\nLocation: /"]
)
async def test_other_answers_are_not_followed(answer):
    async def play(peer):
        await peer.head()
        peer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidStatus):
            await connect(uri)


async def test_two_locations_lead_nowhere():
    async def play(peer):
        await peer.head()
        peer.write(b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n")

    async with raw_server(play) as uri:
        with pytest.raises(wsfast.InvalidStatus):
            await connect(uri)


async def test_connect_follows_by_default_and_not_when_told_not_to():
    """C10: `connect` follows."""
    async with host({"/": "/next"}) as server:
        await visit(server("/"))
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await connect(server("/"), follow_redirects=False)
        assert caught.value.response.headers["Location"] == "/next"


async def test_a_websocket_made_by_itself_does_not_follow_by_default():
    """C10: WebSocket(url) follows only when told to."""
    async with host({"/": "/next"}) as server:
        record = Record(wsfast.WebSocket(server("/")))
        await record.until("close")
        assert [str(error) for (error,) in record.of("error")] == [
            "Unexpected server response: 302"
        ]

        ws = wsfast.WebSocket(server("/"), follow_redirects=True)
        record = Record(ws)
        await record.until("open")
        await ws.close()
        assert record.names == ["open", "close"]
        assert server.paths == ["/", "/", "/next"]


@pytest.mark.parametrize(("limit", "requests"), [(0, 1), (1, 2), (10, 11)])
async def test_a_loop_ends_at_max_redirects(limit, requests):
    """C11: one more is an error."""
    async with host({"/": "/"}) as server:
        with pytest.raises(wsfast.RedirectError, match="^Maximum redirects exceeded$") as caught:
            await connect(server("/"), max_redirects=limit)
        assert caught.value.code == "WS_ERR_REDIRECT"
        assert len(server.heads) == requests


async def test_ten_redirects_are_followed_by_default():
    """C11: 10 is the default, and the last that is followed."""
    routes = {f"/{number}": f"/{number + 1}" for number in range(10)}
    async with host(routes) as server:
        await visit(server("/0"))
        assert server.paths == [f"/{number}" for number in range(11)]
        with pytest.raises(wsfast.RedirectError):
            server.routes["/10"] = "/11"
            await connect(server("/0"))


@pytest.mark.parametrize("to", ["ftp://localhost/", "/a#b", "ws://", "http://a b/"])
async def test_a_bad_location_raises(to):
    """C2: the errors of addresses are told as those of the opening."""
    async with host({"/": to}) as server:
        with pytest.raises(wsfast.InvalidURI):
            await connect(server("/"))
        record = Record(wsfast.WebSocket(server("/"), follow_redirects=True))
        await record.until("close")
        assert record.names == ["error", "close"]
        assert isinstance(record.events[0][1], wsfast.InvalidURI)


async def test_every_request_has_a_key_of_its_own():
    async with host({"/": "/next"}) as server:
        await visit(server("/"))
        first, second = (head.headers["sec-websocket-key"] for head in server.heads)
        assert first != second


async def test_subprotocols_origin_and_the_rest_are_sent_again():
    options = {
        "subprotocols": ["chat"],
        "origin": "https://site.example",
        "additional_headers": {"X-Other": "z"},
        "protocol_version": 8,
    }
    async with host() as last, host({"/": last.uri}) as first:
        await visit(first.uri, **options)
        (head,) = last.heads
        assert head.headers["sec-websocket-protocol"] == "chat"
        assert head.headers["sec-websocket-origin"] == "https://site.example"
        assert head.headers["sec-websocket-version"] == "8"
        assert head.headers["x-other"] == "z"
        assert head.headers["host"] == last.place


# --- What is taken along ----------------------------------------------------------------------


async def test_to_the_same_host_credentials_are_taken_along():
    """RD1: those of the first address."""
    async with host({"/": "/next"}) as server:
        await visit(server("/"), additional_headers={**CREDENTIALS, "Host": "name.example"})
        for head in server.heads:
            assert head.headers["authorization"] == CREDENTIALS["Authorization"]
            assert head.headers["cookie"] == CREDENTIALS["Cookie"]
            assert head.headers["host"] == "name.example"


@pytest.mark.parametrize("to", ["/next", "ws://other:word@{place}/next"])
async def test_the_first_user_name_is_kept(to):
    """RD1: the userinfo of the first address counts, whatever that of a Location."""
    async with host() as server:
        server.routes["/"] = to.format(place=server.place)
        await visit(server("/").replace("//", "//user:secret@"))
        assert [head.headers["authorization"] for head in server.heads] == [BASIC, BASIC]


async def test_several_headers_of_credentials_are_all_taken_along():
    """RD1: the one of the address, and one that finish_request adds."""

    def add(request, ws):
        if request.path == "/":
            request.headers["Authorization"] = "Bearer of-the-hook"

    async with host({"/": "/next"}) as server:
        ws = await visit(server("/").replace("//", "//user:secret@"), finish_request=add)
        assert server.paths == ["/", "/next"]
        assert ws.request.headers.get_all("Authorization") == [BASIC, "Bearer of-the-hook"]


async def test_the_user_name_of_the_option_auth_is_kept():
    """RD1."""
    async with host({"/": "/a", "/a": "/b"}) as server:
        await visit(server("/"), auth=("user", "secret"))
        assert [head.headers["authorization"] for head in server.heads] == [BASIC] * 3


async def test_a_user_name_in_a_location_is_used_if_there_is_no_other():
    async with host() as server:
        server.routes["/"] = f"ws://other:word@{server.place}/a"
        server.routes["/a"] = "/b"
        ws = await visit(server("/"))
        assert [head.headers.get("authorization") for head in server.heads] == [
            None,
            OTHER_BASIC,
            OTHER_BASIC,
        ]
        assert ws.url == server("/b")


@pytest.mark.parametrize("auth", ["option", "address", "header"])
async def test_to_another_host_nothing_is_taken_along(auth):
    """RD2: no Authorization, Cookie, Host and auth; and they do not come back on the way."""
    headers = {"Cookie": "a=b", "Host": "name.example", "Proxy-Authorization": "y", "X-Other": "z"}
    options = {"additional_headers": headers}
    async with host() as first, host() as other:
        first.routes = {"/": other("/there")}
        other.routes = {"/there": first("/back")}
        uri = first("/")
        if auth == "option":
            options["auth"] = ("user", "secret")
        elif auth == "address":
            uri = uri.replace("//", "//user:secret@")
        else:
            headers["Authorization"] = BASIC
        await visit(uri, **options)
        assert first.heads[0].headers["authorization"] == BASIC
        for head, server in ((other.heads[0], other), (first.heads[1], first)):
            assert not {"authorization", "cookie", "proxy-authorization"} & set(head.headers)
            assert head.headers["host"] == server.place
            assert head.headers["x-other"] == "z"


async def test_a_user_name_in_a_location_goes_to_its_host_only():
    """RD2: the credentials of the Location are those of the new host."""
    async with host() as first, host() as other:
        first.routes = {"/": f"ws://other:word@{other.place}/a"}
        other.routes = {"/a": first("/back")}
        await visit(first("/"), auth=("user", "secret"))
        assert [head.headers.get("authorization") for head in first.heads] == [BASIC, None]
        assert [head.headers.get("authorization") for head in other.heads] == [OTHER_BASIC]


async def test_what_finish_request_adds_stays_with_its_host():
    """C9, RD2: a header that is added late is a header like others."""

    def finish(request, ws):
        if request.path == "/":
            request.headers["Authorization"] = BASIC

    async with host() as first, host() as other:
        first.routes = {"/": "/a", "/a": other("/b")}
        await visit(first("/"), finish_request=finish)
        assert [head.headers.get("authorization") for head in first.heads] == [BASIC, BASIC]
        assert "authorization" not in other.heads[0].headers


@pytest.mark.parametrize("direction", ["tcp to ipc", "ipc to tcp", "ipc to ipc", "same ipc"])
async def test_unix_sockets_are_hosts(direction, tmp_path):
    """RD2: from TCP to a Unix socket and back, and from one Unix socket to another."""
    source, _, target = direction.partition(" to ")
    options = {"additional_headers": {**CREDENTIALS, "Host": "name.example"}}
    one = {} if source == "tcp" else {"unix_path": str(tmp_path / "a")}
    two = {} if target == "tcp" else {"unix_path": str(tmp_path / "b")}
    async with host(**one) as first, host(**two) as other:
        if direction == "same ipc":
            first.routes = {"/": first("/next")}
            await visit(first("/"), **options)
            assert [head.headers["cookie"] for head in first.heads] == ["a=b", "a=b"]
            return
        first.routes = {"/": other("/next")}
        ws = await visit(first("/"), **options)
        (head,) = other.heads
        assert not {"authorization", "cookie"} & set(head.headers)
        assert head.headers["host"] == ("localhost" if target == "ipc" else other.place)
        assert ws.url == other("/next")


async def test_a_relative_location_stays_on_the_unix_socket(tmp_path):
    """RD1, C3."""
    async with host({"/": "/next?q"}, unix_path=str(tmp_path / "a")) as server:
        ws = await visit(server("/"))
        assert server.paths == ["/", "/next?q"]
        assert ws.url == f"ws+unix:{tmp_path}/a:/next?q"


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def secure(identity):
    return {
        "scheme": "wss",
        "ssl": server_context(None, identity["cert"], identity["key"], None, None),
    }


async def test_from_tls_to_no_tls_is_not_followed(secure, ca):
    """RD3: nothing is sent without TLS that was meant to be sent with it."""
    async with host() as plain, host({"/": plain.uri}, **secure) as first:
        with pytest.raises(wsfast.RedirectError, match="non-secure"):
            await connect(first.uri, ca=ca)

        record = Record(
            wsfast.WebSocket(first.uri, ca=ca, follow_redirects=True), "redirect", "error", "close"
        )
        await record.until("close")
        assert record.names == ["error", "close"]
        assert isinstance(record.events[0][1], wsfast.RedirectError)
        assert plain.heads == []


async def test_from_tls_to_no_tls_is_followed_without_credentials_if_allowed(secure, ca):
    """RD3."""
    options = {"ca": ca, "follow_redirects": "insecure", "additional_headers": CREDENTIALS}
    async with host() as plain, host({"/": plain.uri}, **secure) as first:
        ws = await visit(first.uri, **options)
        assert first.heads[0].headers["cookie"] == "a=b"
        assert not {"authorization", "cookie"} & set(plain.heads[0].headers)
        assert ws.url == plain.uri


async def test_from_no_tls_to_tls_is_followed(secure, ca, monkeypatch):
    """The default context is used, which trusts the system's authorities only."""
    async with host(**secure) as last, host({"/": last.uri}) as first:
        with pytest.raises(wsfast.NetworkError) as caught:
            await connect(first.uri)
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        context = ssl.create_default_context(cadata=ca.decode())
        monkeypatch.setattr("wsfast.tls.default_context", lambda: context)
        await visit(first.uri)
        assert len(last.heads) == 1


async def test_server_hostname_is_for_the_first_host_only(secure, authority, ca):
    """C26: another host is asked for by its own name."""
    names = []

    def named(sock, name, context):
        names.append(name)

    issued = authority.issue_cert("name.example", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    context.sni_callback = named
    options = {"scheme": "wss", "ssl": context}
    async with host(**options) as last, host(**options) as first:
        elsewhere = last.uri.replace("127.0.0.1", "localhost")
        first.routes = {"/": "/same", "/same": elsewhere}
        ws = await visit(first.uri, ca=ca, server_hostname="name.example")
        assert names == ["name.example", "name.example", "localhost"]
        assert ws.url == elsewhere


async def test_the_client_certificate_is_for_the_first_host_only(authority, ca, client_identity):
    """Another host does not get to know who the client is."""
    handler, other_handler = Accepted(), Accepted()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    identity = {
        "cert": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
        "key": issued.private_key_pem.bytes(),
        "ca": ca,
        "verify": False,  # asked for, and not required
    }

    def redirect(ws, request):
        if request.path == "/":
            return wsfast.Response(302, "Found", wsfast.Headers(Location="/same"))
        if request.path == "/go":
            return wsfast.Response(302, "Found", wsfast.Headers(Location=uri_of(other)))
        return None

    options = {"ca": ca, **client_identity}
    async with (
        wsfast.serve(other_handler, "127.0.0.1", 0, **identity) as other,
        wsfast.serve(handler, "127.0.0.1", 0, process_request=redirect, **identity) as first,
    ):
        async with asyncio.timeout(PATIENCE), wsfast.connect(uri_of(first), **options) as ws:
            assert ws.path == "/same"
            server_end = await handler.get()
            peer = server_end.get_extra_info("ssl_object").getpeercert()
            assert peer["subjectAltName"] == (("email", "client@example.com"),)
        async with asyncio.timeout(PATIENCE), wsfast.connect(uri_of(first, "/go"), **options):
            server_end = await other_handler.get()
            assert not server_end.get_extra_info("ssl_object").getpeercert()


# --- The listener -----------------------------------------------------------------------------


async def test_a_redirect_listener_decides_what_is_taken_along():
    """EV7, RD4: it gets the address and the request, nothing is dropped, and it may drop."""
    seen = []

    def redirected(url, request):
        seen.append((url, request.path, request.headers["Authorization"]))
        del request.headers["Cookie"]
        request.headers["X-Late"] = "1"

    async with host() as last, host({"/": last("/b")}) as first:
        ws = wsfast.WebSocket(
            first("/"),
            follow_redirects=True,
            auth=("user", "secret"),
            additional_headers={"Cookie": "a=b", "Host": "name.example"},
        )
        ws.on("redirect", redirected)
        record = Record(ws)
        await record.until("open")
        await ws.close()
        assert seen == [(last("/b"), "/b", BASIC)]
        (head,) = last.heads
        assert head.headers["authorization"] == BASIC
        assert head.headers["host"] == "name.example"
        assert "cookie" not in head.headers
        assert head.headers["x-late"] == "1"


async def test_a_redirect_listener_hears_of_every_hop():
    """EV7."""
    async with host({"/": "/a", "/a": "/b"}) as server:
        ws = wsfast.WebSocket(server("/"), follow_redirects=True)
        record = Record(ws, "redirect", "open", "close")
        await record.until("open")
        await ws.close()
        assert record.names == ["redirect", "redirect", "open", "close"]
        assert [url for url, _ in record.of("redirect")] == [server("/a"), server("/b")]


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_a_redirect_listener_may_close(how):
    """RD5, L10: the request is not sent; "error" and "close" tell."""
    async with host() as last, host({"/": last.uri}) as first:
        ws = wsfast.WebSocket(first.uri, follow_redirects=True)
        record = Record(ws)
        ws.on("redirect", lambda url, request: getattr(ws, how)())
        code, reason = await record.until("close")
        assert (code, reason) == (1006, "")
        assert record.names == ["error", "close"]
        (error,) = record.events[0][1:]
        assert str(error) == "WebSocket was closed before the connection was established"
        assert last.heads == []


async def test_after_a_listener_closed_nothing_is_connected():
    """RD5: the transport that a function makes at once is not made, and nothing is sent."""
    opened = []
    async with host() as last, host({"/": last.uri}) as first:

        async def create(name, port):
            opened.append(port)
            sock = socket.create_connection((name, port))
            return sock

        ws = wsfast.WebSocket(first.uri, follow_redirects=True, create_connection=create)
        record = Record(ws)
        ws.on("redirect", lambda url, request: ws.close())
        await record.until("close")
        assert len(opened) == 1
        assert last.heads == []


async def test_what_a_redirect_listener_raises_is_told():
    """RD5, EV9: errors are not swallowed, and the redirect is followed."""
    async with host({"/": "/next"}) as server:
        with Unhandled() as contexts:
            ws = wsfast.WebSocket(server("/"), follow_redirects=True)
            ws.on("redirect", lambda url, request: 1 / 0)
            record = Record(ws)
            await record.until("open")
            await ws.close()
        (context,) = contexts
        assert isinstance(context["exception"], ZeroDivisionError)


# --- What cannot be followed ------------------------------------------------------------------


async def test_a_preexisting_socket_leads_nowhere_else():
    async with host({"/": "/next"}) as server:
        name, _, port = server.place.partition(":")
        sock = socket.create_connection((name, int(port)))
        with pytest.raises(wsfast.RedirectError, match="preexisting socket"):
            await connect(server("/"), sock=sock)
        assert server.paths == ["/"]


@pytest.mark.parametrize("given", ["host", "port"])
async def test_an_explicit_host_or_port_is_for_the_first_host_only(given):
    async with host() as other, host() as first:
        first.routes = {"/": "/same", "/same": "/go", "/go": other("/there")}
        name, _, port = first.place.partition(":")
        if given == "host":
            uri, options = f"ws://name.example:{port}/", {"host": name}
        else:
            uri, options = f"ws://{name}:9/", {"port": int(port)}
        with pytest.raises(wsfast.RedirectError, match="explicit host or port"):
            await connect(uri, **options)
        assert first.paths == ["/", "/same", "/go"]
        assert other.heads == []


async def test_create_connection_is_called_for_every_host():
    """C24."""
    calls = []

    async def create(name, port):
        calls.append((name, port))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, name, port)
        return transport

    async with host() as last, host({"/": last.uri}) as first:
        await visit(first.uri, create_connection=create)
        places = [f"{name}:{port}" for name, port in calls]
        assert places == [first.place, last.place]


async def test_open_timeout_is_one_deadline_for_all_hops():
    """C13: a server that redirects for ever, slowly, is given up."""

    async def play(peer):
        await peer.head()
        await asyncio.sleep(0.02)
        peer.write(redirection("/"))

    async with raw_server(play) as uri:
        with pytest.raises(TimeoutError, match="^timed out during opening handshake$"):
            await connect(uri, open_timeout=0.1, max_redirects=1000)


async def test_the_connection_that_was_redirected_is_closed():
    """Its server sees the end, although it said that it keeps it alive."""
    ended = asyncio.Event()

    async def play(peer):
        await peer.head()
        peer.write(redirection(last.uri))
        assert await peer.rest() == b""
        ended.set()

    async with host() as last, raw_server(play) as uri:
        ws = await connect(uri)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        await ws.close()
