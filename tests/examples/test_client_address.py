"""Whose address a server prints, with and without proxies that it believes."""

import asyncio

import pytest
import websockets
from example_programs import program


@pytest.mark.parametrize(
    ("proxies", "sent", "client"),
    [
        ([], {}, "127.0.0.1 by ws"),
        (["127.0.0.1"], {}, "127.0.0.1 by ws"),
        (
            ["127.0.0.1"],
            {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"},
            "203.0.113.7 by wss",
        ),
        # What is on the left the client says of itself.
        (["127.0.0.1"], {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}, "203.0.113.7 by ws"),
        # Two proxies, one behind the other.
        (
            ["127.0.0.1", "198.51.100.0/24"],
            {"X-Forwarded-For": "203.0.113.7, 198.51.100.9"},
            "203.0.113.7 by ws",
        ),
        # Nobody is believed, or somebody else.
        ([], {"X-Forwarded-For": "203.0.113.7"}, "127.0.0.1 by ws"),
        (
            ["198.51.100.9"],
            {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"},
            "127.0.0.1 by ws",
        ),
    ],
)
async def test_the_address_of_a_client(proxies, sent, client):
    with program("client_address.py", 0, *proxies) as server:
        url = f"ws://127.0.0.1:{server.port()}"
        async with websockets.connect(url, additional_headers=sent):
            line = await asyncio.to_thread(server.line)
        assert line == f"connected from 127.0.0.1: a client at {client}"
        assert server.stop() == ""
