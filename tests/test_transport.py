"""The asyncio driver: back-pressure both ways, half-closing, transports of all kinds."""

import asyncio
import socket

import pytest
from peers import (
    BINARY,
    CONT,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Accepted,
    against_client,
    against_server,
    client_of,
    echo,
    frame,
    pair,
    raw_client,
    request,
    until,
    uri_of,
)

import wsfast
from wsfast import engine
from wsfast.transport import SHARED

LIMIT = 2**16
MEGABYTE = 2**20


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def take(peer, count):
    """Read as many messages, and drop them."""
    for _ in range(count):
        await peer.frame()


# --- Towards a peer that is slow --------------------------------------------------------------


async def test_send_does_not_wait_while_little_is_to_be_written():
    async with against_client() as (peer, ws):
        peer.stop_reading()
        for _ in range(100):
            sending = ws.send("x" * 100)
            with pytest.raises(StopIteration):
                sending.send(None)  # it is done: nothing is suspended
        peer.go_on_reading()
        await take(peer, 100)


@pytest.mark.parametrize("side", [against_client, against_server])
async def test_send_waits_for_a_slow_peer_until_a_quarter_of_the_limit(side):
    async with side(write_limit=LIMIT) as (peer, ws):
        peer.stop_reading()
        count = 0
        while not ws.is_blocked:
            ws.send(bytes(LIMIT))
            count += 1
        sending = asyncio.create_task(ws.send("last"))
        draining = asyncio.create_task(ws.drain())
        await asyncio.sleep(0.01)
        assert ws.buffered_amount > LIMIT
        assert not sending.done()
        peer.go_on_reading()
        waiting = []
        sending.add_done_callback(lambda task: waiting.append(ws.buffered_amount))
        await take(peer, count + 1)
        await soon(asyncio.gather(sending, draining))
        assert waiting[0] <= LIMIT // 4
        assert not ws.is_blocked


async def test_several_that_wait_for_the_peer_all_go_on():
    async with against_client() as (peer, ws):
        peer.stop_reading()
        count = 0
        while not ws.is_blocked:
            ws.send(bytes(MEGABYTE))
            count += 1
        tasks = [asyncio.create_task(ws.send(b"x")) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        peer.go_on_reading()
        await take(peer, count + 10)
        results = await soon(asyncio.gather(*tasks, return_exceptions=True))
        assert [type(result) for result in results].count(asyncio.CancelledError) == 1


async def test_those_who_wait_for_the_peer_are_told_when_it_is_lost():
    async with against_client() as (peer, ws):
        peer.stop_reading()
        while not ws.is_blocked:
            ws.send(bytes(MEGABYTE))
        tasks = [asyncio.create_task(ws.send(b"x")) for _ in range(3)]
        await asyncio.sleep(0)
        peer.reset()
        results = await soon(asyncio.gather(*tasks, return_exceptions=True))
        assert [type(result) for result in results] == [wsfast.ConnectionClosedError] * 3


async def test_a_peer_that_does_not_read_is_not_read_from():
    async with against_client() as (peer, ws):
        received = []
        ws.on("message", lambda data, is_binary: received.append(data))
        peer.stop_reading()
        count = 0
        while not ws.is_blocked:
            ws.send(bytes(MEGABYTE))
            count += 1
        assert not ws.is_reading
        peer.send(TEXT, "hello")
        await asyncio.sleep(0.01)
        assert received == []
        peer.go_on_reading()
        await take(peer, count)
        await until(lambda: received == ["hello"])


async def test_an_echo_to_a_peer_that_does_not_read_stays_small():
    """The reply to what is not read fills the buffers, and then nothing more is read."""
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0) as server, client_of(server) as peer:
        ws = await handler.get()
        ws.on("message", lambda data, is_binary: ws.send(data))
        peer.stop_reading()
        message = frame(BINARY, bytes(LIMIT), mask=bytes(4))
        sent = 0
        while not ws.is_blocked:
            peer.write(message)
            sent += 1
            await asyncio.sleep(0)
        for _ in range(50):
            peer.write(message)
            await asyncio.sleep(0)
        assert ws.buffered_amount < 2**22
        peer.go_on_reading()
        await take(peer, sent + 50)


async def test_a_flood_of_pings_from_a_peer_that_does_not_read_does_not_pile_up():
    async with against_client() as (peer, ws):
        peer.stop_reading()
        flood = frame(PING, bytes(125), mask=bytes(4)) * 1000
        while not ws.is_blocked:
            peer.write(flood)
            await asyncio.sleep(0)
        frames = ws.stats.frames_received
        for _ in range(20):
            peer.write(flood)
            await asyncio.sleep(0)
        assert ws.stats.frames_received == frames
        assert ws.buffered_amount < 2 * LIMIT + 2**18
        peer.go_on_reading()
        for _ in range(1000):
            assert await peer.frame() == (PONG, bytes(125), True, False)
        peer.reset()


# --- From a peer that is fast -----------------------------------------------------------------


async def test_a_slow_consumer_stops_the_peer():
    async with against_client(max_queue=4) as (peer, ws):
        for number in range(100):
            peer.send(TEXT, str(number))
        await until(lambda: not ws.is_reading)
        received = ws.stats.wire_bytes_received
        data = bytes(MEGABYTE)
        peer.send(BINARY, data)
        await asyncio.sleep(0.01)
        assert ws.stats.wire_bytes_received == received
        assert [await ws.recv() for _ in range(100)] == [str(number) for number in range(100)]
        assert await soon(ws.recv()) == data


async def test_messages_that_wait_are_bounded_by_max_queue_and_one_read():
    async with against_client(max_queue=4) as (peer, ws):
        for _ in range(200):
            peer.send(BINARY, bytes(10_000))
        await until(lambda: not ws.is_reading)
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert ws.stats.wire_bytes_received <= 2 * 256 * 1024
        for _ in range(200):
            assert len(await soon(ws.recv())) == 10_000


async def test_without_max_queue_all_is_read():
    async with against_client(max_queue=None) as (peer, ws):
        for _ in range(200):
            peer.send(BINARY, bytes(10_000))
        await until(lambda: ws.stats.messages_received == 200)
        assert ws.is_reading


async def test_one_busy_connection_does_not_keep_the_others_waiting():
    """What comes in one read may be thousands of messages: others get their turn between."""
    order = []
    server = wsfast.WebSocketServer("127.0.0.1", 0)

    @server.on("connection")
    def connection(ws, request):
        ws.on("message", lambda data, is_binary: order.append(request.path))

    async with server, client_of(server, "/busy") as busy, client_of(server, "/quiet") as quiet:
        busy.write(frame(TEXT, "", mask=bytes(4)) * 20_000)
        quiet.send(TEXT, "")
        await until(lambda: "/quiet" in order)
        assert order.count("/busy") < 20_000
        await until(lambda: order.count("/busy") == 20_000)


# --- The end of the stream --------------------------------------------------------------------


async def test_what_came_before_the_end_of_the_stream_is_delivered():
    async with against_client(max_queue=2) as (peer, ws):
        for number in range(50):
            peer.send(TEXT, str(number))
        peer.write_eof()
        received = []
        with pytest.raises(wsfast.ConnectionClosedError, match="no close frame received or sent"):
            async for message in ws:
                received.append(message)  # noqa: PERF401
        assert received == [str(number) for number in range(50)]


async def test_a_half_closed_peer_gets_all_the_replies():
    """It sends its requests, its close frame and its end of the stream at once, and then reads."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, client_of(server) as peer:
        for number in range(500):
            peer.send(TEXT, str(number))
        peer.close(1000, "done")
        peer.write_eof()
        received = [(await peer.frame()).payload for _ in range(500)]
        assert received == [str(number).encode() for number in range(500)]
        assert await peer.closed() == (1000, "done")


async def test_the_close_frame_arrives_though_the_peer_goes_on_sending():
    """A close() with unread input would reset the connection and lose the frame."""
    async with against_client() as (peer, ws):
        ws.discard()
        for _ in range(100):
            peer.send(BINARY, bytes(10_000))
        await until(lambda: ws.stats.messages_received)
        ws.close(4000, "enough")
        for _ in range(100):
            peer.send(BINARY, bytes(10_000))
        peer.close(4000)
        assert await peer.closed() == (4000, "enough")


async def test_what_was_sent_before_close_arrives_before_the_close_frame():
    async with against_client(max_write_buffer=None) as (peer, ws):
        for _ in range(20):
            ws.send(bytes(MEGABYTE))
        ws.close()
        await take(peer, 20)
        peer.close()
        assert await peer.closed() == (1000, "")


async def test_the_close_frame_arrives_though_the_peer_broke_the_protocol_and_goes_on():
    async with against_client() as (peer, _):
        peer.write("c18137fa213d00")
        peer.write(bytes(3 * MEGABYTE))
        assert await peer.closed() == (1002, "Invalid WebSocket frame: RSV1 must be clear")


async def test_a_corked_connection_that_the_peer_closes_still_answers():
    async with against_client() as (peer, ws):
        with ws.cork():
            ws.send("held")
            peer.close(1001)
            assert (await peer.frame()).payload == b"held"
            assert await peer.closed() == (1001, "")


# --- Transports of all kinds ------------------------------------------------------------------


async def test_given_sockets_have_no_delay_either():
    """asyncio sees to it only for sockets that it made itself."""
    handler = Accepted()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with wsfast.serve(handler, sock=listening) as server:
            sock = socket.socket()
            sock.connect(server.address())
            async with wsfast.connect(uri_of(server), sock=sock) as ws:
                for end in ws, await handler.get():
                    sock = end.get_extra_info("socket")
                    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.fixture
def asyncio_driver(monkeypatch):
    """For tests that play the transport."""
    monkeypatch.setattr(engine, "default", "asyncio")


async def test_transports_without_buffered_protocols_work(asyncio_driver):
    async with pair({"driver": "asyncio"}, driver="asyncio") as (ws, other):
        ws.driver.data_received(frame(TEXT, "hello"))
        assert await soon(ws.recv()) == "hello"
        other.driver.data_received(frame(TEXT, "hello", mask=b"abcd"))
        assert await soon(other.recv()) == "hello"


async def test_a_dispatch_inside_a_dispatch_does_not_spoil_the_shared_buffer(asyncio_driver):
    """A listener runs the loop that called it, as some frameworks do in tests."""
    received = []
    async with against_client(driver="asyncio") as (peer, ws):
        driver = ws.driver

        def listener(data, is_binary):
            received.append(data)
            if data == "outer":
                inner = frame(TEXT, "inner", mask=b"abcd")
                buffer = driver.get_buffer(-1)
                buffer[: len(inner)] = inner
                driver.buffer_updated(len(inner))

        ws.on("message", listener)
        peer.write(frame(TEXT, "outer", mask=b"abcd") + frame(TEXT, "behind", mask=b"abcd"))
        await until(lambda: len(received) == 3)
    assert received == ["outer", "behind", "inner"]


@pytest.mark.skipif(not SHARED, reason="each connection has a buffer of its own")
def test_connections_share_a_receive_buffer_with_those_of_their_loop(asyncio_driver):
    async def buffer():
        async with pair({"driver": "asyncio"}, driver="asyncio") as (ws, other):
            assert ws.driver.get_buffer(-1) is other.driver.get_buffer(-1)
            return ws.driver.get_buffer(-1)

    assert asyncio.run(buffer()) is not asyncio.run(buffer())


@pytest.mark.parametrize("size", [70_000, 200_000])
async def test_what_is_held_leaves_before_a_large_payload(size):
    async with against_server(driver="asyncio") as (peer, ws):
        with ws.cork():
            ws.send("small")
            ws.send(bytes(size))
        ws.send("behind")
        came = [await peer.frame() for _ in range(3)]
        assert [len(item.payload) for item in came] == [5, size, 6]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_frames_may_come_in_pieces_of_any_size(size):
    data = b"".join(
        [
            frame(TEXT, "é" * 300, mask=b"abcd"),
            frame(BINARY, bytes(range(256)), fin=False, mask=b"efgh"),
            frame(PING, b"p", mask=b"ijkl"),
            frame(CONT, b"", mask=b"mnop"),
        ]
    )
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, raw_client(server) as peer:
        whole = request() + data
        for start in range(0, len(whole), size):
            peer.write(whole[start : start + size])
            await asyncio.sleep(0)
        assert (await peer.head()).status == 101
        came = [await peer.frame() for _ in range(3)]
        assert [(item.opcode, item.payload) for item in sorted(came)] == [
            (TEXT, "é".encode() * 300),
            (BINARY, bytes(range(256))),
            (PONG, b"p"),
        ]
