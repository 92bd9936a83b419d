"""What a connection, a server and a client count."""

import asyncio
import itertools
import json

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Accepted,
    against_client,
    client_of,
    close_payload,
    echo,
    exchange,
    pair,
    raw_client,
    raw_server,
    request,
    until,
    uri_of,
)

import wsfast
from wsfast.statistics import Tally, error_code


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def emptied(server):
    """Wait until no connection and no handshake is left."""
    await until(lambda: server.stats.connections_open == 0 and not server._handshakes)
    return server.stats


# --- Of a connection --------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "header"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
async def test_what_a_message_costs_on_the_wire(size, header):
    """M21: the header of its frame, and the masking key of a client."""
    async with pair(compression=None) as (client, server):
        for sender, receiver, key in (client, server, 4), (server, client, 0):
            before = sender.stats.wire_bytes_sent
            await sender.send(bytes(size))
            assert len(await receiver.recv()) == size
            assert sender.stats.wire_bytes_sent - before == header + key + size


async def test_messages_bytes_frames_fragments_and_wire_bytes_are_counted_by_direction():
    """M18: a connection's own counters."""
    async with against_client() as (peer, ws):
        peer.send(TEXT, "abc")
        peer.send(BINARY, b"12", fin=False)
        peer.send(CONT, b"345")
        peer.send(PING, b"?")
        peer.send(PONG)
        assert await ws.recv() == "abc"
        assert await ws.recv() == b"12345"
        await until(lambda: ws.stats.frames_received == 5)
        await ws.send("four")
        await ws.send([b"1", b"2", b"3"])
        assert ws.stats._asdict() == ws.stats._asdict() | {
            "messages_received": 2,
            "messages_sent": 2,
            "bytes_received": 8,
            "bytes_sent": 7,
            "frames_received": 5,
            "frames_sent": 5,
            "fragments_received": 2,
            "fragments_sent": 3,
            "wire_bytes_received": 5 * (2 + 4) + 8 + 1,
            "wire_bytes_sent": 5 * 2 + 7 + 1,
            "messages_dropped": 0,
            "biggest_received": 5,
            "biggest_sent": 4,
            "pings_received": 1,
            "pings_sent": 0,
            "pongs_received": 1,
            "pongs_sent": 1,
        }


async def test_the_ratio_of_wire_bytes_to_those_of_messages_tells_what_compression_does():
    """M18: wire bytes against raw bytes."""
    async with pair({"compression": "deflate"}) as (client, server):
        assert client.stats.wire_ratio_sent is None
        await client.send("a" * 1000)
        await server.recv()
        for ratio in client.stats.wire_ratio_sent, server.stats.wire_ratio_received:
            assert 0 < ratio < 0.05
        assert server.stats.wire_ratio_sent is None


async def test_without_compression_there_are_headers():
    async with against_client() as (peer, ws):
        await ws.send(b"x" * 100)
        assert ws.stats.wire_ratio_sent == 1.02


async def test_all_of_it_can_be_written_as_json():
    async with against_client() as (peer, ws):
        ws.send("x")
        written = json.loads(json.dumps(ws.stats.as_dict()))
        assert written["messages_sent"] == 1
        assert written["wire_ratio_sent"] == 3.0
        assert list(written) == [*ws.stats._fields, "wire_ratio_received", "wire_ratio_sent"]


async def test_the_counters_stay_when_the_connection_is_closed():
    async with against_client() as (peer, ws):
        peer.send(TEXT, "x")
        await ws.recv()
        peer.close()
        await peer.closed()
        await peer.wait_closed()
        await ws.wait_closed()
        assert ws.stats.messages_received == 1


# --- Of a server ------------------------------------------------------------------------------


async def test_a_server_that_was_never_used_has_zeros():
    stats = wsfast.WebSocketServer(port=0).stats
    assert stats.connections_open == stats.handshakes_started == stats.handlers_failed == 0
    assert stats.closes == stats.errors == stats.handshakes_refused == {}
    assert set(stats.traffic) == {0}
    assert stats.round_trips == wsfast.RoundTrips()
    assert stats.round_trips.mean is None


@pytest.mark.parametrize("client_tracking", [True, False])
async def test_a_server_adds_up_all_connections_that_are_open_and_that_were(client_tracking):
    """M18: counters of the server, with and without client_tracking."""
    async with serve(client_tracking=client_tracking) as server:
        for number in range(1, 4):
            async with wsfast.connect(uri_of(server)) as ws:
                for _ in range(number):
                    await ws.send(b"12345")
                    assert await ws.recv() == b"12345"
        async with wsfast.connect(uri_of(server)) as ws:
            await ws.send(b"1")
            await ws.recv()
            await until(lambda: server.stats.connections_open == 1)
            stats = server.stats
            assert stats.handshakes_accepted == stats.handshakes_started == 4
            assert stats.closes == {1000: 3}
            assert stats.traffic.messages_received == stats.traffic.messages_sent == 7
            assert stats.traffic.bytes_received == stats.traffic.bytes_sent == 31
            assert stats.traffic.biggest_received == stats.traffic.biggest_sent == 5
            # 7 messages and 3 close frames came with masks; each has 2 bytes of header.
            assert stats.traffic.wire_bytes_received == 7 * 6 + 31 + 3 * (6 + 2)
            assert stats.traffic.wire_bytes_sent == 7 * 2 + 31 + 3 * (2 + 2)
        stats = await emptied(server)
        assert stats.closes == {1000: 4}
        assert stats.traffic.messages_received == 7


async def test_what_more_connections_than_are_added_up_at_once_did_is_counted():
    async with serve() as server:
        for _ in range(Tally.ROWS + 3):
            async with client_of(server) as peer:
                peer.send(TEXT, "x")
                await peer.exactly(3)
        stats = await emptied(server)
        assert stats.traffic.messages_received == stats.traffic.messages_sent == Tally.ROWS + 3
        assert stats.closes == {1006: Tally.ROWS + 3}


async def test_ends_are_counted_by_close_code():
    """M18: closes by code."""
    async with serve() as server:
        for code in 1000, 1000, 4321, None:
            async with client_of(server) as peer:
                peer.close(code)
                await peer.closed()
        async with client_of(server) as peer:
            peer.reset()
            stats = await emptied(server)
        assert stats.closes == {1000: 2, 4321: 1, 1005: 1, 1006: 1}
        assert stats.errors == {"ECONNRESET": 1}


async def test_errors_are_counted_by_their_code():
    """M18, M20: errors by code."""
    async with serve(max_size=4) as server:
        for data in "c30100000000", "c30100000000", "8185000000006162636465":
            async with client_of(server) as peer:
                peer.write(data)
                await peer.frame()
        stats = await emptied(server)
        assert stats.errors == {
            "WS_ERR_UNEXPECTED_RSV_1": 2,
            "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH": 1,
        }


async def test_handlers_that_fail_are_counted():
    async def handler(ws):
        raise KeyError(await ws.recv())

    async with serve(handler) as server:
        async with client_of(server) as peer:
            peer.send(TEXT, "x")
            assert await peer.frame() == (CLOSE, close_payload(1011), True, False)
        stats = await emptied(server)
        assert stats.handlers_failed == 1
        assert stats.errors == {"KeyError": 1}


async def test_refused_handshakes_are_counted_by_status_code_and_by_error():
    """M20: what is wrong with requests can be seen in the counters."""

    def process_request(ws, request):
        if request.path == "/teapot":
            return wsfast.Response(418, "I'm a teapot", wsfast.Headers())
        if request.path == "/broken":
            raise ZeroDivisionError

    options = {"origins": ["https://a.example"], "process_request": process_request}
    async with serve(path="/ws", **options) as server:
        for data in (
            request("/teapot"),
            request("/broken"),
            request("/other"),
            request("/ws", origin="https://b.example"),
            request("/ws", without=["Sec-WebSocket-Key"]),
            b"nonsense\r\n\r\n",
        ):
            await exchange(server, data)
        stats = await emptied(server)
        assert stats.handshakes_started == 6
        assert stats.handshakes_accepted == stats.handshakes_abandoned == 0
        assert stats.handshakes_refused == {418: 1, 500: 1, 404: 1, 403: 1, 400: 2}
        assert stats.errors == {
            "ZeroDivisionError": 1,
            "WS_ERR_INVALID_PATH": 1,
            "WS_ERR_INVALID_ORIGIN": 1,
            "WS_ERR_INVALID_HEADER": 1,
            "WS_ERR_INVALID_HTTP": 1,
        }
        assert stats.closes == {}


async def test_clients_over_the_maximum_are_counted_as_refused():
    async with serve(max_connections=1) as server:
        async with client_of(server):
            await exchange(server, request())
            assert server.stats.handshakes_refused == {503: 1}
            assert server.stats.errors == {}


async def test_a_client_that_goes_without_a_request_was_there_all_the_same():
    async with serve() as server:
        async with raw_client(server, b"GET / HT"):
            await until(lambda: server.stats.handshakes_pending == 1)
            assert server.stats.handshakes_abandoned == 0
        stats = await emptied(server)
        assert (stats.handshakes_pending, stats.handshakes_abandoned) == (0, 1)


async def test_a_client_that_goes_while_a_hook_is_awaited_closes_nothing():
    """Its WebSocket was made, and never opened."""
    asked = asyncio.Event()

    async def process_request(ws, request):
        asked.set()
        await asyncio.Event().wait()

    async with serve(process_request=process_request, open_timeout=0.05) as server:
        async with raw_client(server, request()):
            await asked.wait()
        stats = await emptied(server)
        assert (stats.handshakes_abandoned, stats.handshakes_accepted) == (1, 0)
        assert stats.closes == {}


async def test_a_client_that_does_not_speak_tls_is_counted(identity, epoll):
    async with serve(**identity) as server:
        async with raw_client(server, request()) as peer:
            await peer.rest()
        stats = await emptied(server)
        assert stats.handshakes_abandoned == 1
        assert list(stats.errors) == ["HTTP_REQUEST"]


async def test_all_that_a_server_counts_can_be_written_as_json():
    async with serve() as server:
        async with wsfast.connect(uri_of(server)) as ws:
            await ws.send("x")
            await ws.recv()
        await exchange(server, b"nonsense\r\n\r\n")
        stats = await emptied(server)
        written = json.loads(json.dumps(stats.as_dict()))
        assert written["closes"] == {"1000": 1}
        assert written["handshakes_refused"] == {"400": 1}
        assert written["handshakes_abandoned"] == 0
        assert written["traffic"]["messages_received"] == 1
        assert written["round_trips"]["count"] == 0


async def test_what_was_handed_out_does_not_change():
    async with serve() as server:
        before = server.stats
        async with client_of(server) as peer:
            peer.close()
            await peer.closed()
        await emptied(server)
        assert before.closes == {}
        assert before.handshakes_accepted == 0


# --- Of pings ---------------------------------------------------------------------------------


async def test_round_trips_of_a_servers_pings_are_counted():
    """M17, M18: latencies over all connections."""
    async with against_client(ping_interval=None) as (peer, ws):
        latencies = []
        for _ in range(3):
            waiting = await ws.ping()
            came = await peer.frame()
            assert came.opcode == PING
            peer.send(PONG, came.payload)
            latencies.append(await waiting)
            assert ws.latency == latencies[-1]
        trips = ws.server.stats.round_trips
        assert trips.count == 3
        assert (trips.minimum, trips.maximum) == (min(latencies), max(latencies))
        assert trips.mean == pytest.approx(sum(latencies) / 3)
        assert trips.last == latencies[-1]


# --- Of a client ------------------------------------------------------------------------------


def test_a_clients_counters_keep_the_last_error():
    stats = wsfast.ClientStatistics()
    assert (stats.attempts, stats.connections, stats.reconnects, stats.delay) == (0, 0, 0, 0.0)
    assert stats.last_error is None
    for error in ConnectionRefusedError(111, "refused"), TimeoutError("late"), TimeoutError():
        stats.failed(error)
    assert stats.failures == 3
    assert stats.errors == {"ECONNREFUSED": 1, "TimeoutError": 2}
    assert stats.last_error is error


async def test_a_client_counts_its_attempts_and_what_became_of_them():
    """M18: attempts, connections, reconnects, failures and the last error."""
    async with serve() as server:
        uri = uri_of(server)
    # Nobody is there.
    connecting = wsfast.connect(uri, reconnect_delays=lambda: iter([0.01, 0.01]))
    with pytest.raises(wsfast.NetworkError):
        async for _ in connecting:
            raise AssertionError
    stats = connecting.stats
    assert (stats.attempts, stats.connections, stats.failures) == (3, 0, 3)
    assert stats.errors == {"ECONNREFUSED": 3}
    assert isinstance(stats.last_error, wsfast.NetworkError)
    assert stats.reconnects == 0


async def test_a_client_counts_its_reconnects():
    """M18: reconnects."""

    async def play(peer):
        await peer.accept()
        peer.reset()

    async with raw_server(play) as uri:
        connecting = wsfast.connect(uri, reconnect_delays=lambda: iter([0.01] * 9))
        count = 0
        async for ws in connecting:
            with pytest.raises(wsfast.ConnectionClosedError):
                await ws.recv()
            assert connecting.stats.delay == 0
            count += 1
            if count == 3:
                break
        assert (connecting.stats.attempts, connecting.stats.failures) == (3, 0)
        assert (connecting.stats.connections, connecting.stats.reconnects) == (3, 2)
        assert connecting.stats.last_error is None


async def test_an_attempt_that_the_user_gives_up_is_no_failure():
    connecting = wsfast.connect("ws://127.0.0.1:9", create_connection=never)
    task = asyncio.create_task(waiting(connecting))
    await until(lambda: connecting.stats.attempts)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (connecting.stats.failures, connecting.stats.last_error) == (0, None)


async def never(host, port):
    await asyncio.Event().wait()


async def waiting(connecting):
    await connecting


def test_errors_have_few_codes_whatever_the_exceptions_are():
    """What a user's exception has as its code may be anything."""
    error = ValueError()
    error.code = "never the same"
    assert error_code(error) == "ValueError"
    assert error_code(SystemExit("bye")) == "SystemExit"
    assert error_code(wsfast.PayloadTooBig(2, 1)) == "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
    assert error_code(wsfast.NetworkError.wrap(BrokenPipeError(32, "broken"))) == "EPIPE"


async def test_a_connection_tells_what_its_client_counted():
    """M18: also one that connects again by itself."""
    handler = Accepted()
    async with serve(handler) as server:
        ws = wsfast.WebSocket(
            uri_of(server), reconnect=True, reconnect_delays=lambda: itertools.repeat(0)
        )
        for connections in 1, 2:
            other = await handler.get()
            assert other.client_stats is None
            await until(lambda: ws.state is wsfast.State.OPEN)
            assert ws.client_stats.connections == connections
            if connections == 1:
                other.terminate()
                await until(lambda: ws.state is not wsfast.State.OPEN)
        assert (ws.client_stats.attempts, ws.client_stats.reconnects) == (2, 1)
        await ws.close()
