"""M14: `wsfast connect` and `wsfast bench` behind a proxy."""

import asyncio

from commands import failure, run
from peers import uri_of
from proxies import Tunnels, proxy_of, serve


async def connect(uri, *options):
    command = ["connect", "--wait", "0", *options, uri]
    return (await asyncio.to_thread(run, *command, stdin=b"hello\n"))[:2]


async def failed(*options, uri="ws://host"):
    return await asyncio.to_thread(failure, "connect", *options, uri)


async def test_the_proxy_is_given_or_that_of_the_environment(monkeypatch):
    tunnels = Tunnels(credentials=("user", "pass"))
    hello = (0, "hello\n")
    async with serve() as server, proxy_of(tunnels, user_info="user:pass") as proxy:
        assert await connect(uri_of(server), "--proxy", proxy) == hello
        monkeypatch.setenv("all_proxy", proxy)
        assert await connect(uri_of(server)) == hello
        assert len(tunnels.heads) == 2
        assert await connect(uri_of(server), "--proxy", "none") == hello
        assert len(tunnels.heads) == 2
        load = ["bench", "-c", "3", "-n", "30", "--rate", "1000", uri_of(server)]
        assert (await asyncio.to_thread(run, *load))[0] == 0
        assert len(tunnels.heads) == 5


async def test_what_is_wrong_with_the_proxy_is_told(monkeypatch):
    async with proxy_of(Tunnels(credentials=("user", "pass"))) as proxy:
        assert await failed("--proxy", proxy) == (
            "cannot connect: proxy rejected connection: HTTP 407 Proxy Authentication Required"
        )
    assert await failed("--proxy", "http://127.0.0.1:1") == "cannot connect: Connection refused"
    text = "ftp://proxy isn't a valid proxy: scheme ftp isn't supported"
    assert await failed("--proxy", "ftp://proxy") == text
    monkeypatch.setenv("all_proxy", "ftp://proxy")
    assert await failed() == f"cannot connect: {text}"


async def test_what_a_proxy_says_that_speaks_no_http_is_told():
    async def play(peer):
        await peer.head()
        peer.write(b"SSH-2.0-OpenSSH\r\n")

    async with proxy_of(play) as proxy:
        assert await failed("--proxy", proxy) == (
            "cannot connect: did not receive a valid HTTP response from proxy: "
            "did not receive a valid HTTP response"
        )
