"""examples/proxy.py: M14, a client behind a proxy that is given, or that the environment names."""

import asyncio

from example_programs import output
from peers import uri_of
from proxies import Tunnels, proxy_of, serve, server_address


async def run(*arguments):
    return await asyncio.to_thread(output, "proxy.py", *arguments)


async def test_the_proxy_is_given_or_named_by_the_environment(monkeypatch):
    """M14: with its credentials; or there is none."""
    tunnels = Tunnels(credentials=("user", "pass"))
    async with serve() as server, proxy_of(tunnels, user_info="user:pass") as proxy:
        uri = uri_of(server)
        direct, through = (
            f"connected to 127.0.0.1 {port}\nreceived: hello\n"
            for port in (server_address(uri)[1], proxy.rpartition(":")[2])
        )
        assert await run(uri) == direct
        assert await run(uri, proxy) == through
        monkeypatch.setenv("WS_PROXY", proxy)
        assert await run(uri) == through
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert await run(uri) == direct
        assert len(tunnels.heads) == 2


async def test_what_is_wrong_with_the_proxy_is_told():
    tunnels = Tunnels(credentials=("user", "pass"))
    async with proxy_of(tunnels, user_info="user:wrong") as proxy:
        assert await run("ws://host", proxy) == (
            "proxy rejected connection: HTTP 407 Proxy Authentication Required\n"
        )
    assert "Connect call failed" in await run("ws://host", "http://127.0.0.1:1")
