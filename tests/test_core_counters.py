"""What a connection counts, besides messages, frames and bytes: the biggest, pings and pongs."""

import pytest
from deflating import let_compress
from frames import BINARY, CONT, PING, PONG, TEXT, ZERO, frame, pieces
from peers import pair
from twins import BACKENDS, make_connection, make_protocol

from wsfast.protocol import ClientProtocol, ServerProtocol


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def sizes(connection):
    return connection.biggest_received, connection.biggest_sent


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_biggest_message_is_told_in_bytes(backend, size):
    connection = make_connection(backend)
    connection.message_listener = lambda *message: None
    assert sizes(connection) == (0, 0)
    for data, biggest in (
        (frame(TEXT, "ééé", key=ZERO), 6),
        (frame(BINARY, b"1234", key=ZERO), 6),
        (frame(TEXT, "", key=ZERO) + frame(PING, bytes(125), key=ZERO), 6),
        (frame(TEXT, "é", fin=False, key=ZERO) + frame(CONT, "éé€", key=ZERO), 9),
        (frame(BINARY, bytes(300), key=ZERO), 300),
    ):
        for piece in pieces(data, size):
            connection.received(piece)
        assert connection.biggest_received == biggest


def test_the_biggest_message_sent_is_told_in_bytes(backend):
    connection = make_connection(backend, fragment_size=5)
    for data, biggest in (("ééé", 6), (b"1234", 6), ("", 6), (bytearray(12), 12)):
        connection.send(data)
        assert connection.biggest_sent == biggest
    connection.send(bytes(7), fin=False)
    assert connection.biggest_sent == 12
    connection.send(bytes(7))
    assert connection.biggest_sent == 14
    connection.send(bytes(13))
    connection.ping(bytes(125))
    assert connection.biggest_sent == 14


def test_a_message_that_is_not_complete_is_not_counted(backend):
    connection = make_connection(backend)
    connection.received(frame(TEXT, "abc", fin=False, key=ZERO))
    connection.received(frame(CONT, b"\xff", key=ZERO))
    assert connection.biggest_received == 0


@pytest.mark.parametrize("fragments", [False, True])
@pytest.mark.parametrize("fragment_size", [None, 4])
def test_compressed_messages_count_as_what_they_are(backend, fragments, fragment_size):
    sender = make_protocol(backend, client=True, fragment_size=fragment_size)
    let_compress(backend, sender, threshold=0)
    sender.message("text " * 100)
    sender.message("more", fin=False)
    sender.message("of it")
    assert sender.biggest_sent == 500
    receiver = make_protocol(backend)
    receiver.fragments = fragments
    let_compress(backend, receiver)
    receiver.receive(sender.sent)
    assert receiver.biggest_received == 500


def test_pings_and_pongs_are_counted(backend):
    connection = make_connection(backend)
    connection.received(frame(PING, b"1", key=ZERO) * 3 + frame(PONG, b"2", key=ZERO) * 2)
    connection.ping(b"1")
    connection.pong(b"2")
    assert (connection.pings_received, connection.pongs_received) == (3, 2)
    assert (connection.pings_sent, connection.pongs_sent) == (1, 4)


def test_pings_that_are_not_answered_are_counted(backend):
    connection = make_connection(backend, auto_pong=False)
    connection.received(frame(PING, b"1", key=ZERO))
    assert (connection.pings_received, connection.pongs_sent) == (1, 0)


def test_pongs_that_are_left_out_are_not_counted(backend):
    connection = make_connection(backend, write_limit=10)
    connection.driver.waiting = 11
    connection.received(frame(PING, b"1", key=ZERO) * 3)
    connection.driver.waiting = 0
    connection.writable()
    connection.loop.run_until_idle()
    sent = [item.opcode for item in connection.driver.frames]
    assert connection.pongs_sent == sent.count(PONG)
    assert connection.pings_received == 3


def test_broadcasts_are_counted(backend):
    connection = make_connection(backend)
    data = bytes(50)
    backend.broadcast.send_to_all((connection,), frame(BINARY, data), len(data), False)
    connection.loop.run_until_idle()
    assert connection.biggest_sent == 50
    assert connection.messages_sent == 1


async def test_the_statistics_of_a_websocket_have_them():
    async with pair() as (client, server):
        await client.send("five!")
        assert await server.recv() == "five!"
        await (await client.ping())
        stats = client.stats
        assert (stats.biggest_sent, stats.biggest_received) == (5, 0)
        assert (stats.pings_sent, stats.pongs_received) == (1, 1)
        stats = server.stats
        assert (stats.biggest_sent, stats.biggest_received) == (0, 5)
        assert (stats.pings_received, stats.pongs_sent) == (1, 1)


async def test_listeners_for_pings_are_called_whenever_they_are_there():
    """A connection that nobody listens to for pings calls nobody; that must not be seen."""
    told = []
    async with pair() as (client, server):

        async def ping(data):
            await (await client.ping(data))

        await ping(b"1")
        server.on("message", lambda *message: None)
        await ping(b"2")
        server.on("ping", told.append)
        server.once("ping", told.append)
        await ping(b"3")
        await ping(b"4")
        server.off("ping", told.append)
        await ping(b"5")
        server.once("ping", told.append)
        await ping(b"6")
        await ping(b"7")
        assert told == [b"3", b"3", b"4", b"6"]
        assert server.stats.pings_received == 7


async def test_a_listener_may_answer_the_pings_itself():
    async with pair({"auto_pong": False}) as (client, server):
        server.on("ping", lambda data: server.pong(data))
        await (await client.ping(b"data"))
        assert server.stats.pongs_sent == 1


async def test_types_may_be_set_on_a_websocket():
    """W1."""
    async with pair({"binary_type": "fragments", "text_type": "bytes"}) as (client, server):
        await client.send([b"a", b"b"])
        assert await server.recv() == [b"a", b"b"]
        await client.send(["é", "!"])
        assert await server.recv() == "é!".encode()
        await client.send(["é", "!"])
        assert [part async for part in server.recv_streaming()] == ["é".encode(), b"!"]
        server.binary_type = "bytearray"
        server.text_type = "str"
        await client.send([b"a", b"b"])
        got = await server.recv()
        assert (type(got), got) == (bytearray, b"ab")
        await client.send(["é", "!"])
        assert [part async for part in server.recv_streaming()] == ["é", "!"]


async def test_all_listeners_get_the_same_types():
    async with pair({"binary_type": "fragments"}) as (client, server):
        got = []
        server.on("message", lambda *message: got.append(message))
        server.on("message", lambda *message: got.append(message))
        await client.send([b"a", b"b"])
        await (await client.ping())
        assert got == [([b"a", b"b"], True)] * 2


async def test_streaming_of_text_that_is_not_valid_goes_on():
    async with pair({"skip_utf8_validation": True}) as (client, server):
        client.send(b"a\xff", binary=False, fin=False)
        client.send(b"\xc3")
        assert [part async for part in server.recv_streaming()] == ["a\ufffd", "\ufffd"]


# Without I/O


def joined(**options):
    """Both sides of a connection without I/O, of which the server has the options."""
    client, server = ClientProtocol("ws://localhost/"), ServerProtocol(**options)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    [request] = server.events_received()
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    return client, server


def events(client, server):
    server.receive_data(b"".join(client.data_to_send()))
    return server.events_received()


def test_a_protocol_without_io_has_the_types():
    """W1."""
    client, server = joined(binary_type="fragments", text_type="bytes")
    client.send_binary(b"a", fin=False)
    client.send_binary(b"b")
    client.send_text("é", fin=False)
    client.send_text("!")
    client.send_text("whole")
    got = [(event.data, event.opcode, event.fin) for event in events(client, server)]
    assert got == [
        ([b"a", b"b"], BINARY, True),
        ("é!".encode(), TEXT, True),
        (b"whole", TEXT, True),
    ]
    server.binary_type = "memoryview"
    client.send_binary(b"ab")
    [event] = events(client, server)
    assert type(event.data) is memoryview


def test_fragment_mode_of_a_protocol_without_io_is_what_it_was():
    client, server = joined(binary_type="fragments")
    server.fragments = True
    client.send_binary(b"a", fin=False)
    client.send_binary(b"b")
    got = [(event.data, event.opcode, event.fin) for event in events(client, server)]
    assert got == [(b"a", BINARY, False), (b"b", CONT, True)]


def test_a_protocol_without_io_need_not_answer_or_validate():
    client, server = joined(auto_pong=False, skip_utf8_validation=True)
    client.ping(b"p")
    client.message(b"a\xff", binary=False, fin=False)
    client.message(b"\xfe")
    ping, message = events(client, server)
    assert ping.data == b"p"
    assert message.data == "a\ufffd\ufffd"
    assert server.data_to_send() == []
