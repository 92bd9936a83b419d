"""M14: clients behind SOCKS proxies, which are played by hand, byte by byte."""

import asyncio
import sys

import pytest
from proxies import proxy_of, refused, within

import wsfast


async def test_m14_socks_without_python_socks_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_socks", None)
    error = await refused(ImportError, "ws://a", proxy="socks5://127.0.0.1:1")
    assert str(error) == (
        "connecting through a SOCKS proxy requires python-socks: pip install wsfast[socks]"
    )


class Socks:
    """Play a SOCKS proxy that is asked for a tunnel by these bytes, in hex."""

    def __init__(self, *conversation):
        self.conversation = conversation

    async def __call__(self, peer):
        for expected, answer in self.conversation:
            assert await peer.read(len(bytes.fromhex(expected))) == expected.replace(" ", "")
            peer.write(answer)
        await peer.rest()


# The port 80 is 0050.
CONVERSATIONS = {
    # RFC 1928: the methods; CONNECT, an IPv4 address or a name with its length; the reply.
    "socks5": [("05 01 00", "05 00"), ("05 01 00 01 7f000001 0050", "05 00 00 01 7f000001 0050")],
    "socks5h": [
        ("05 01 00", "05 00"),
        ("05 01 00 03 09 6c6f63616c686f7374 0050", "05 00 00 01 7f000001 0050"),
    ],
    # SOCKS4: CONNECT, the port, the address, no user; SOCKS4a: 0.0.0.1, and the name behind it.
    "socks4": [("04 01 0050 7f000001 00", "00 5a 0000 00000000")],
    "socks4a": [("04 01 0050 00000001 00 6c6f63616c686f7374 00", "00 5a 0000 00000000")],
}
REFUSALS = {"socks5": "05 02 00 01 00000000 0000", "socks4": "00 5b 0000 00000000"}
HTTP_503 = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("scheme", CONVERSATIONS)
async def test_m14_who_resolves_the_name_depends_on_the_socks(scheme):
    """And what comes right behind the reply is the server's."""
    *before, (request, reply) = CONVERSATIONS[scheme]
    play = Socks(*before, (request, reply + HTTP_503.hex()))
    async with proxy_of(play) as proxy:
        proxy = proxy.replace("http", scheme)
        error = await refused(wsfast.InvalidStatus, "ws://localhost", proxy=proxy)
    assert error.response.status_code == 503


@pytest.mark.parametrize("scheme", CONVERSATIONS)
async def test_m14_a_refusal_in_socks_is_an_error_of_the_proxy(scheme):
    *before, (request, _) = CONVERSATIONS[scheme]
    async with proxy_of(Socks(*before, (request, REFUSALS[scheme[:6]]))) as proxy:
        proxy = proxy.replace("http", scheme)
        error = await refused(wsfast.ProxyError, "ws://localhost", proxy=proxy)
    assert str(error) == "failed to connect to SOCKS proxy"
    assert error.code == "WS_ERR_PROXY"
    assert error.__cause__ is not None


async def test_m14_credentials_for_socks():
    """RFC 1929 for SOCKS5; SOCKS4 has a user name only."""
    methods, connect = CONVERSATIONS["socks5h"]
    socks5 = Socks(
        ("05 02 00 02", "05 02"),
        ("01 04 75736572 04 70617373", "01 00"),
        (connect[0], connect[1] + HTTP_503.hex()),
    )
    socks4 = Socks(("04 01 0050 7f000001 75736572 00", "00 5a 0000 00000000" + HTTP_503.hex()))
    for scheme, user_info, play in ("socks5h", "user:pass", socks5), ("socks4", "user", socks4):
        async with proxy_of(play, user_info=user_info) as proxy:
            proxy = proxy.replace("http", scheme)
            await refused(wsfast.InvalidStatus, "ws://localhost", proxy=proxy)


@pytest.mark.parametrize(
    "answer", ["", b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), "05 ff", "04 00"]
)
async def test_m14_an_answer_that_is_not_socks_is_an_error_of_the_proxy(answer):
    async def play(peer):
        await peer.exactly(3)
        peer.write(answer)

    async with proxy_of(play) as proxy:
        proxy = proxy.replace("http", "socks5h")
        error = await refused(wsfast.ProxyError, "ws://a", proxy=proxy)
    assert str(error) == "failed to connect to SOCKS proxy"


@pytest.mark.parametrize("scheme", CONVERSATIONS)
async def test_m14_a_socks_proxy_that_does_not_answer_is_left_after_open_timeout(scheme):
    left = asyncio.Event()

    async def play(peer):
        await peer.rest()
        left.set()

    async with proxy_of(play) as proxy:
        proxy = proxy.replace("http", scheme)
        await refused(wsfast.OpenTimeout, "ws://localhost", proxy=proxy, open_timeout=0.1)
        await within(left.wait())


@pytest.mark.parametrize(("answer", "again"), [("05 05 00", True), ("05 02 00", False)])
async def test_m14_it_is_tried_again_when_a_socks_proxy_does_not_reach_the_server(answer, again):
    """RFC 1928 section 6: connection refused, and not allowed by ruleset."""
    (methods, request) = CONVERSATIONS["socks5h"]
    async with proxy_of(Socks(methods, (request[0], answer))) as proxy:
        proxy = proxy.replace("http", "socks5h")
        error = await refused(wsfast.ProxyError, "ws://localhost", proxy=proxy)
    assert wsfast.process_exception(error) is (None if again else error)
