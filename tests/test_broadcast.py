"""One message to many connections."""

import asyncio
import contextlib
import secrets

import pytest
from deflating import recording_zlib
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE,
    TEXT,
    Accepted,
    against_client,
    against_server,
    client_of,
    close_payload,
)

import wsfast
from wsfast.extensions import PerMessageDeflate
from wsfast.offload import LARGE


@contextlib.asynccontextmanager
async def audience(count, **options):
    """As many raw clients, and the server's ends of their connections."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        peers, connections = [], []
        for _ in range(count):
            peers.append(await stack.enter_async_context(client_of(server)))
            connections.append(await handler.get())
        yield peers, connections


async def block(peer, ws):
    """Let a peer be slow; returns how many messages it has not read."""
    peer.stop_reading()
    count = 0
    while not ws.is_blocked:
        ws.send(bytes(2**20))
        count += 1
    return count


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        ("é", "8102c3a9"),
        (b"\xff", "8201ff"),
        (bytearray(b"abc"), "8203616263"),
        (memoryview(b"abc")[1:], "82026263"),
        ("", "8100"),
    ],
)
async def test_every_connection_gets_the_message(data, wire):
    async with audience(3) as (peers, connections):
        assert wsfast.broadcast(connections, data) is not None
        for peer in peers:
            assert await peer.read(len(wire) // 2) == wire
        assert [ws.stats.messages_sent for ws in connections] == [1, 1, 1]
        assert connections[0].stats.wire_bytes_sent == len(wire) // 2


async def test_the_connections_of_a_server_can_be_given_as_they_are():
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0) as server, client_of(server) as peer:
        await handler.get()
        wsfast.broadcast(server.connections, "hello")
        wsfast.broadcast((ws for ws in server.connections), "again")
        assert [(await peer.frame()).payload for _ in range(2)] == [b"hello", b"again"]


async def test_messages_keep_their_order_among_other_sends():
    async with audience(1) as ([peer], [ws]):
        for number in range(20):
            ws.send(f"send {number}")
            wsfast.broadcast([ws], f"broadcast {number}")
        received = [(await peer.frame()).payload.decode() for _ in range(40)]
        assert received == [f"{kind} {n}" for n in range(20) for kind in ("send", "broadcast")]


async def test_a_client_masks_what_it_broadcasts():
    async with against_server() as (peer, ws):
        wsfast.broadcast([ws], "x")
        assert await peer.frame() == (TEXT, b"x", True, True)


async def test_connections_that_are_not_open_are_left_out():
    async with audience(2) as ([first, second], connections):
        connections[0].close()
        await wsfast.broadcast(connections, "x", slow="wait")
        assert (await first.frame()).opcode == CLOSE
        assert (await second.frame()).payload == b"x"
        first.close()
        assert await first.rest() == b""


async def test_nobody_is_an_audience_too():
    await wsfast.broadcast([], "x")


@pytest.mark.parametrize("data", [5, None, ["a"], {"a": 1}])
async def test_data_that_cannot_be_sent_raises_at_the_call(data):
    with pytest.raises(TypeError, match="data must be str or bytes-like, not "):
        wsfast.broadcast([], data)


async def test_text_that_is_not_unicode_raises_at_the_call():
    with pytest.raises(UnicodeEncodeError):
        wsfast.broadcast([], "\ud800")


@pytest.mark.parametrize("slow", ["skip", None, True, "DROP"])
async def test_what_to_do_for_the_slow_is_validated(slow):
    with pytest.raises(ValueError, match='slow must be "drop", "close" or "wait", not '):
        wsfast.broadcast([], "x", slow=slow)


# --- The slow ---------------------------------------------------------------------------------


async def test_the_slow_miss_the_message_by_default():
    async with audience(2, max_write_buffer=None) as ([slow, fast], connections):
        count = await block(slow, connections[0])
        wsfast.broadcast(connections, "first")
        assert (await fast.frame()).payload == b"first"
        assert [ws.stats.messages_dropped for ws in connections] == [1, 0]
        slow.go_on_reading()
        for _ in range(count):
            assert len((await slow.frame()).payload) == 2**20
        await connections[0].drain()
        wsfast.broadcast(connections, "second")
        assert (await slow.frame()).payload == b"second"


async def test_the_slow_can_be_closed_with_1013():
    async with audience(1, max_write_buffer=None) as ([slow], [ws]):
        count = await block(slow, ws)
        wsfast.broadcast([ws], "x", slow="close")
        slow.go_on_reading()
        for _ in range(count):
            await slow.frame()
        assert (await slow.frame()).payload == close_payload(1013, "too slow")
        slow.close()
        assert await slow.rest() == b""


async def test_the_slow_can_be_waited_for():
    async with audience(2, max_write_buffer=None) as ([slow, fast], connections):
        count = await block(slow, connections[0])
        waiting = asyncio.create_task(wsfast.broadcast(connections, "x", slow="wait"))
        assert (await fast.frame()).payload == b"x"
        await asyncio.sleep(0.01)
        assert not waiting.done()
        slow.go_on_reading()
        for _ in range(count):
            await slow.frame()
        assert (await slow.frame()).payload == b"x"
        async with asyncio.timeout(PATIENCE):
            await waiting


async def test_waiting_for_the_slow_ends_when_they_are_lost():
    async with audience(2, max_write_buffer=None) as ([slow, _], connections):
        await block(slow, connections[0])
        waiting = asyncio.create_task(wsfast.broadcast(connections, "x", slow="wait"))
        await asyncio.sleep(0)
        slow.reset()
        async with asyncio.timeout(PATIENCE):
            assert await waiting is None


async def test_waiting_for_the_slow_does_not_wait_for_those_that_get_nothing():
    async with audience(2, max_write_buffer=None) as (peers, connections):
        for peer, ws in zip(peers, connections, strict=True):
            await block(peer, ws)
        connections[0].close()
        connections[1].send("a", fin=False)
        async with asyncio.timeout(PATIENCE / 2):
            await wsfast.broadcast(connections, "x", slow="wait")
        for ws in connections:
            ws.terminate()


async def test_on_another_thread_it_acts_when_the_loop_awaits_it():
    loop = asyncio.get_running_loop()
    async with audience(2) as (peers, connections):

        def work():
            wsfast.broadcast(connections, "nobody awaits this")
            waiting = asyncio.run_coroutine_threadsafe(wsfast.broadcast(connections, "x"), loop)
            waiting.result(PATIENCE)

        await asyncio.to_thread(work)
        assert [(await peer.frame()).payload for peer in peers] == [b"x", b"x"]


# --- In the middle of a message ---------------------------------------------------------------


async def test_it_comes_behind_a_message_that_is_sent_in_parts():
    go = asyncio.Event()

    async def parts():
        yield "a"
        await go.wait()

    async with against_client() as (peer, ws):
        ws.send(parts())
        assert (await peer.frame()).payload == b"a"
        waiting = asyncio.create_task(wsfast.broadcast([ws], b"broadcast", slow="wait"))
        await asyncio.sleep(0)
        go.set()
        assert await peer.frame() == (CONT, b"", True, False)
        assert await peer.frame() == (BINARY, b"broadcast", True, False)
        await waiting


@pytest.mark.parametrize("data", ["x", b"x"])
async def test_it_never_becomes_a_fragment_of_a_message_that_is_sent_by_hand(data):
    errors = []
    async with against_client() as (peer, ws):
        ws.on("error", errors.append)
        await ws.send("a", fin=False)
        await wsfast.broadcast([ws], data)
        await ws.send("b")
        wsfast.broadcast([ws], data)
        assert [await peer.frame() for _ in range(2)] == [
            (TEXT, b"a", False, False),
            (CONT, b"b", True, False),
        ]
        assert (await peer.frame()).payload == b"x"
        assert ws.stats.messages_dropped == 1
    assert errors == []


async def test_it_is_split_by_fragment_size():
    async with against_client(fragment_size=3) as (peer, ws):
        wsfast.broadcast([ws], "abcd")
        assert await peer.frame() == (TEXT, b"abc", False, False)
        assert await peer.frame() == (CONT, b"d", True, False)


# Compressed

JSON = '[{"price": 1023, "symbol": "ABC"}, {"price": 1024, "symbol": "ABC"}]' * 4


@contextlib.asynccontextmanager
async def compressed_audience(clients, **options):
    """Clients with these options of permessage-deflate, and the server's ends of them."""
    handler = Accepted()
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, compression=PerMessageDeflate(**options)) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        peers, connections = [], []
        for client in clients:
            compression = None if client is None else PerMessageDeflate(**client)
            peers.append(
                await stack.enter_async_context(wsfast.connect(uri, compression=compression))
            )
            connections.append(await handler.get())
        yield peers, connections


CLIENTS = [
    {},
    {"request_max_window_bits": 9},
    {"request_no_context_takeover": True},
    {"no_context_takeover": True},
    None,
    {},
]


@pytest.mark.parametrize("takeover", [True, False])
async def test_it_is_compressed_for_those_who_agreed_to_it(takeover):
    async with compressed_audience(CLIENTS, no_context_takeover=not takeover, threshold=0) as (
        peers,
        connections,
    ):
        for data in (JSON, JSON.encode(), "x", "", JSON):
            wsfast.broadcast(connections, data)
            assert [await peer.recv() for peer in peers] == [data] * len(peers)
        plain = [ws.stats.wire_bytes_sent for ws in connections][4]
        for ws in connections:
            assert ws.stats.messages_sent == 5
            assert ws.stats.bytes_sent == 3 * len(JSON) + 1
            assert (ws.stats.wire_bytes_sent < plain / 3) == bool(ws.extensions)


async def test_own_messages_between_broadcasts_are_understood():
    async with compressed_audience(CLIENTS, threshold=0) as (peers, connections):
        expected = []
        for number in range(20):
            for ws in connections:
                ws.send(f"{JSON} own {number}")
            wsfast.broadcast(connections, f"{JSON} for all {number}")
            if number % 3 == 0:
                wsfast.broadcast(connections, f"{JSON} twice {number}")
                for ws in connections:
                    ws.send(f"{JSON} uncompressed {number}", compress=False)
            expected += [f"{JSON} own {number}", f"{JSON} for all {number}"]
            if number % 3 == 0:
                expected += [f"{JSON} twice {number}", f"{JSON} uncompressed {number}"]
        for peer in peers:
            assert [await peer.recv() for _ in expected] == expected


async def test_each_set_of_parameters_is_compressed_once():
    module, compressors, _ = recording_zlib()
    async with compressed_audience([{}] * 5, zlib=module, threshold=0) as (peers, connections):
        for _ in range(3):
            wsfast.broadcast(connections, JSON)
            assert [await peer.recv() for peer in peers] == [JSON] * 5
        assert len(compressors) == 1


async def test_what_clients_send_makes_no_difference_to_what_they_get():
    module, compressors, _ = recording_zlib()
    clients = [{"max_window_bits": bits, "no_context_takeover": bits % 2 == 0} for bits in (9, 10)]
    async with compressed_audience(clients, zlib=module, threshold=0) as (peers, connections):
        assert len({ws.deflate.parameters for ws in connections}) == 2
        wsfast.broadcast(connections, JSON)
        assert [await peer.recv() for peer in peers] == [JSON] * 2
        assert len(compressors) == 1


async def test_what_compression_makes_larger_is_sent_as_it_is():
    noise = secrets.token_bytes(50)
    async with compressed_audience([{}], threshold=0) as ([peer], [ws]):
        wsfast.broadcast([ws], noise)
        assert await peer.recv() == noise
        assert ws.stats.wire_bytes_sent == 52


async def test_a_threshold_holds_for_broadcasts():
    async with compressed_audience([{}], threshold=len(JSON)) as ([peer], [ws]):
        wsfast.broadcast([ws], JSON[1:])
        assert ws.stats.wire_bytes_sent == len(JSON) - 1 + 4
        wsfast.broadcast([ws], JSON)
        assert ws.stats.wire_bytes_sent < 1.5 * len(JSON)
        assert [await peer.recv() for _ in range(2)] == [JSON[1:], JSON]


async def test_a_broadcast_behind_a_large_message_waits_for_it():
    large = JSON * (LARGE // len(JSON) + 1)
    async with compressed_audience([{}, {}], threshold=0) as (peers, connections):
        connections[0].send(large)
        wsfast.broadcast(connections, JSON)
        assert await peers[1].recv() == JSON
        assert [await peers[0].recv() for _ in range(2)] == [large, JSON]
