"""The first recipes of ws's README, each against another implementation."""

import array
import asyncio

import websockets
from example_programs import output, program
from peers import PATIENCE
from websockets.asyncio.server import serve


async def run(name, *arguments):
    """Run a client that ends by itself."""
    return await asyncio.to_thread(output, name, *arguments)


def record(messages):
    async def handler(ws):
        async for message in ws:
            messages.append(message)
            await ws.send(message)

    return handler


async def test_a_text_is_sent_and_received():
    messages = []
    async with serve(record(messages), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await run("send_text.py", f"ws://127.0.0.1:{port}") == "received: something\n"
    assert messages == ["something"]


async def test_an_array_is_sent_as_it_is_in_memory():
    messages = []
    async with serve(record(messages), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        printed = await run("send_binary.py", f"ws://127.0.0.1:{port}")
    assert messages == [array.array("f", [0, 0.5, 1, 1.5, 2]).tobytes()]
    assert printed == "received: 0.0 0.5 1.0 1.5 2.0\n"


async def test_a_client_that_cannot_connect_says_so():
    printed = await run("send_text.py", "ws://127.0.0.1:1")
    assert "Connect call failed" in printed


async def test_a_simple_server():
    with program("simple_server.py", 0) as server:
        async with websockets.connect(f"ws://127.0.0.1:{server.port()}") as ws:
            assert await ws.recv() == "something"
            await ws.send("hello")
            assert await asyncio.to_thread(server.line) == "received: hello"
        server.stop()


async def hear(clients):
    """What each client hears first."""
    async with asyncio.timeout(PATIENCE):
        return [await ws.recv() for ws in clients]


async def test_a_broadcast_to_all_keeps_the_type_of_a_message():
    with program("broadcast.py", 0) as server:
        url = f"ws://127.0.0.1:{server.port()}"
        async with websockets.connect(url) as a, websockets.connect(url) as b:
            await a.send("text")
            assert await hear([a, b]) == ["text", "text"]
            await b.send(b"\x00binary")
            assert await hear([a, b]) == [b"\x00binary", b"\x00binary"]
        server.stop()


async def test_a_broadcast_to_all_but_the_one_that_sent_it():
    with program("broadcast.py", 0, "others") as server:
        url = f"ws://127.0.0.1:{server.port()}"
        clients = websockets.connect(url), websockets.connect(url), websockets.connect(url)
        async with clients[0] as a, clients[1] as b, clients[2] as c:
            await a.send("from a")
            assert await hear([b, c]) == ["from a", "from a"]
            await b.send(b"from b")
            assert await hear([a, c]) == [b"from b", b"from b"]  # a has not heard itself
        server.stop()


async def test_compression_has_settings():
    with_it, without = (await run("compression_settings.py")).splitlines()
    name, size, *_, wire = with_it.split()
    assert name == "permessage-deflate"
    assert int(wire) < int(size) / 5
    assert int(without.split()[-1]) == int(size) + 4  # the header of a frame, 7e and two bytes


async def test_a_certificate_that_nobody_vouches_for(tmp_path):
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(cert, append=True)
    issued.private_key_pem.write_to_path(key)
    refused, trusted, unverified = (await run("self_signed_tls.py", cert, key)).splitlines()
    assert refused.startswith("refused: ")
    assert trusted == "trusted"
    assert unverified == "not verified"
