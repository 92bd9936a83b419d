"""examples/server_stats.py: the page and what it is sent. The page in a browser: tests/interop."""

import json
import urllib.error
import urllib.request

import pytest
import websockets
from example_programs import program


async def test_the_page_and_the_numbers_are_served():
    with program("server_stats.py", 0) as server:
        address = f"127.0.0.1:{server.port()}"
        with urllib.request.urlopen(f"http://{address}/") as response:
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            assert b"<h1>Server stats</h1>" in response.read()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{address}/other")
        caught.value.close()
        assert caught.value.code == 404
        async with websockets.connect(f"ws://{address}/stats") as ws:
            first, second = json.loads(await ws.recv()), json.loads(await ws.recv())
            # Blocks are counted by Python's own allocator, which may be turned off.
            assert max(first["memory"].values()) > 0
            assert first["stats"]["connections_open"] == 1
            assert first["stats"]["handshakes_refused"] == {"200": 1, "404": 1}
            sent = [message["stats"]["traffic"]["messages_sent"] for message in (first, second)]
            assert sent == [0, 1]
            assert second["rates"]["messages_sent"] > 0
        assert "Traceback" not in server.stop()
