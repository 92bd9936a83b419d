"""The coroutine style: sending, receiving, pings, attributes, threads."""

import array
import asyncio
import gc
import re
import threading
import uuid
import weakref

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
    pair,
    until,
    uri_of,
)

import wsfast


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


# --- Sending ----------------------------------------------------------------------------------

ARRAY = array.array("H", [0x6161, 0x6262])


@pytest.mark.parametrize(
    ("data", "options", "wire"),
    [
        ("héllo", {}, "810668c3a96c6c6f"),
        ("", {}, "8100"),
        (b"\x00\xff", {}, "820200ff"),
        (b"", {}, "8200"),
        (bytearray(b"abc"), {}, "8203616263"),
        (memoryview(b"abcd")[1:3], {}, "82026263"),
        (memoryview(b"abcdef")[::2], {}, "8203616365"),
        (ARRAY, {}, "820461616262"),
        (memoryview(ARRAY), {}, "820461616262"),
        ("abc", {"binary": True}, "8203616263"),
        (b"abc", {"binary": False}, "8103616263"),
        (b"abc", {"binary": True}, "8203616263"),
        (b"abc", {"compress": False}, "8203616263"),
        (["ab", "c"], {}, "01026162" "800163"),
        ([b"ab", bytearray(b"c"), memoryview(b"d")], {}, "02026162" "000163" "800164"),
        ((x for x in ("a", "b")), {}, "010161" "800162"),
        (["a"], {}, "810161"),
        (["a"], {"binary": True}, "820161"),
        ([b"a", b"b"], {"binary": False}, "010161" "800162"),
        (["a", ""], {}, "010161" "8000"),
        ([], {}, ""),
    ],
)  # fmt: skip
async def test_data_of_every_kind_goes_out(data, options, wire):
    """W7."""
    async with against_client() as (peer, ws):
        await ws.send(data, **options)
        ws.pong(b"end")
        assert await peer.read(len(wire) // 2 + 5) == wire + "8a03656e64"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "data must be str, bytes-like, an iterable or asynchronous iterable of them, or file-"),
        (None, "data must be str, bytes-like, .* not NoneType"),
        (True, "data must be str, bytes-like, .* not bool"),
        (1.5, "data must be str, bytes-like, .* not float"),
        ({"a": 1}, r"data cannot be a mapping; send json\.dumps\(data\) instead"),
        ([1, 2], "the fragments of a message must be str or bytes-like, not int"),
        (["a", b"b"], "the fragments of a message must be all str or all bytes-like"),
        (["a", None], "the fragments of a message must be str or bytes-like, not NoneType"),
        ([["a"]], "the fragments of a message must be str or bytes-like, not list"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_raises_at_the_call_and_sends_nothing(data, message):
    """W7: numbers and lists of them too, which ws sends."""
    async with against_client() as (peer, ws):
        with pytest.raises(TypeError, match=message):
            ws.send(data)
        await ws.send("after")
        assert (await peer.frame()) == (TEXT, b"after", True, False)


@pytest.mark.parametrize(
    ("data", "options", "kind"),
    [
        ("\ud800", {}, UnicodeEncodeError),
        (["a", "\ud800"], {}, UnicodeEncodeError),
        (b"\xff", {"binary": False}, ValueError),
        ([b"\xff"], {"binary": False}, ValueError),
    ],
)
async def test_text_that_is_not_unicode_raises_at_the_call_and_sends_nothing(data, options, kind):
    async with against_client() as (peer, ws):
        with pytest.raises(kind):
            ws.send(data, **options)
        await ws.send("after")
        assert (await peer.frame()) == (TEXT, b"after", True, False)


async def test_a_message_is_on_its_way_when_send_returns():
    async with against_client() as (peer, ws):
        ws.send("not awaited")
        assert (await peer.frame()).payload == b"not awaited"


async def test_what_is_sent_is_not_changed_and_may_be_changed_afterwards():
    """W16."""
    data = bytearray(b"abc")
    async with against_server() as (peer, ws):
        with ws.cork():
            ws.send(data)
            assert data == b"abc"
            data[:] = b"xyz"
        assert (await peer.frame()).payload == b"abc"


async def test_a_message_can_be_sent_in_fragments_by_hand():
    """W10."""
    async with against_client() as (peer, ws):
        await ws.send("a", fin=False)
        await ws.send("b", fin=False)
        ws.pong()
        await ws.send("c")
        assert await peer.read(3) == "010161"
        assert await peer.read(3) == "000162"
        assert await peer.read(2) == "8a00"
        assert await peer.read(3) == "800163"


async def test_a_character_may_be_split_between_fragments_sent_by_hand():
    async with against_client() as (peer, ws):
        await ws.send(b"\xc3", binary=False, fin=False)
        await ws.send(b"\xa9", binary=False)
        assert await peer.read(6) == "0101c3" "8001a9"  # fmt: skip


async def test_fragments_of_two_messages_cannot_be_mixed():
    async with against_client() as (peer, ws):
        await ws.send("a", fin=False)
        with pytest.raises(wsfast.ConcurrencyError, match="before the last fragment"):
            await ws.send(b"b", binary=True)
        with pytest.raises(wsfast.ConcurrencyError, match="between fragments"):
            await ws.send(["b"])
        await ws.send(b"c")  # without binary=True it continues what was begun
        assert [await peer.frame() for _ in range(2)] == [
            (TEXT, b"a", False, False),
            (CONT, b"c", True, False),
        ]
        await ws.send(b"a", fin=False)
        with pytest.raises(wsfast.ConcurrencyError, match="before the last fragment"):
            await ws.send("b")


async def test_large_messages_are_split_by_fragment_size():
    async with against_client(fragment_size=3) as (peer, ws):
        await ws.send("abcdefgh")
        await ws.send("abc")
        assert await peer.frame() == (TEXT, b"abc", False, False)
        assert await peer.frame() == (CONT, b"def", False, False)
        assert await peer.frame() == (CONT, b"gh", True, False)
        assert await peer.frame() == (TEXT, b"abc", True, False)


async def test_cork_holds_what_is_sent_until_its_end():
    async with against_client() as (peer, ws):
        with ws.cork():
            await ws.send("a")
            with ws.cork():
                ws.send("b")
            assert ws.buffered_amount == 6
            ws.ping(b"")
        assert ws.buffered_amount == 0
        assert await peer.read(8) == "810161" "810162" "8900"  # fmt: skip


async def test_cork_sends_also_when_its_block_raises():
    async with against_client() as (peer, ws):
        with pytest.raises(RuntimeError), ws.cork():
            ws.send("a")
            raise RuntimeError
        assert (await peer.frame()).payload == b"a"


# --- Receiving --------------------------------------------------------------------------------


async def test_text_is_str_and_binary_is_bytes():
    async with against_client() as (peer, ws):
        peer.write("818537fa213d7f9f4d5158")  # RFC 6455 section 5.7: "Hello"
        assert await soon(ws.recv()) == "Hello"
        peer.send(BINARY, b"Hello")
        assert await soon(ws.recv()) == b"Hello"


@pytest.mark.parametrize(("opcode", "payload"), [(TEXT, "é".encode()), (BINARY, "é".encode())])
async def test_recv_gives_str_or_bytes_as_asked_for(opcode, payload):
    async with against_client() as (peer, ws):
        for _ in range(2):
            peer.send(opcode, payload)
        assert await soon(ws.recv(decode=True)) == "é"
        assert await soon(ws.recv(decode=False)) == payload


async def test_binary_that_is_not_text_cannot_be_received_as_str():
    async with against_client() as (peer, ws):
        peer.send(BINARY, b"\xff")
        with pytest.raises(UnicodeDecodeError):
            await soon(ws.recv(decode=True))


async def test_fragments_are_put_together():
    async with against_client() as (peer, ws):
        peer.send(TEXT, b"h\xc3", fin=False)
        peer.send(PING, b"between")
        peer.send(CONT, b"", fin=False)
        peer.send(CONT, b"\xa9!")
        assert await soon(ws.recv()) == "hé!"
        assert await peer.frame() == (PONG, b"between", True, False)


async def test_iteration_ends_when_the_connection_is_closed_normally():
    async with against_client() as (peer, ws):
        for number in range(40):
            peer.send(TEXT, str(number))
        peer.close(1001)
        assert [message async for message in ws] == [str(number) for number in range(40)]


async def test_iteration_raises_when_the_connection_ends_otherwise():
    async with against_client() as (peer, ws):
        peer.send(TEXT, "one")
        peer.close(4000, "no")
        received = []
        with pytest.raises(wsfast.ConnectionClosedError, match=r"4000 \(private use\) no"):
            async for message in ws:
                received.append(message)  # noqa: PERF401
        assert received == ["one"]


async def test_two_recv_at_once_are_refused():
    async with against_client() as (peer, ws):
        first = asyncio.create_task(ws.recv())
        await asyncio.sleep(0)
        with pytest.raises(wsfast.ConcurrencyError, match="another coroutine is already running"):
            await ws.recv()
        peer.send(TEXT, "for the first")
        assert await soon(first) == "for the first"


async def test_recv_is_refused_while_a_message_listener_is_attached():
    async with against_client() as (_, ws):
        ws.on("message", lambda data, is_binary: None)
        with pytest.raises(wsfast.ConcurrencyError, match="while a message listener is attached"):
            await ws.recv()


async def test_a_cancelled_recv_loses_nothing():
    async with against_client() as (peer, ws):
        for number in range(20):
            receiving = asyncio.create_task(ws.recv())
            await asyncio.sleep(0)
            peer.send(TEXT, str(number))
            if number % 2:
                # In the same pass in which the message comes.
                ws.once("ping", lambda data, receiving=receiving: receiving.cancel())
                peer.send(PING, b"")
                assert (await peer.frame()).opcode == PONG
            receiving.cancel()
            try:
                message = await receiving
            except asyncio.CancelledError:
                message = await soon(ws.recv())
            assert message == str(number)


async def test_a_recv_that_times_out_loses_nothing():
    async with against_client() as (peer, ws):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ws.recv()
        peer.send(TEXT, "late")
        assert await asyncio.wait_for(ws.recv(), PATIENCE) == "late"


async def test_the_awaitables_are_accepted_wherever_coroutines_are():
    async with pair() as (ws, other):
        await asyncio.wait_for(ws.send("a"), PATIENCE)
        task = asyncio.create_task(other.recv())
        assert await task == "a"
        received, *_ = await asyncio.gather(other.recv(), ws.send("b"), ws.send("c"))
        assert received == "b"
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(other.recv())
            group.create_task(ws.send("d"))
            pinging = group.create_task(ws.ping())
        assert receiving.result() == "c"
        assert await asyncio.wait_for(pinging.result(), PATIENCE) > 0
        assert await soon(asyncio.shield(other.recv())) == "d"
        await asyncio.wait_for(ws.close(), PATIENCE)
        results = await asyncio.gather(
            ws.send("e"), ws.recv(), ws.ping(), ws.pong(), ws.drain(), return_exceptions=True
        )
        assert [type(result) for result in results[:4]] == [wsfast.ConnectionClosedOK] * 4
        await asyncio.gather(ws.close(), ws.wait_closed())


@pytest.mark.parametrize("decode", [None, True, False])
async def test_recv_streaming_gives_the_frames_of_a_message(decode):
    async with against_client() as (peer, ws):
        peer.send(TEXT, b"h\xc3", fin=False)
        peer.send(CONT, b"\xa9!", fin=False)
        peer.send(PING, b"")
        peer.send(CONT, b"")
        peer.send(TEXT, "next")
        parts = [part async for part in ws.recv_streaming(decode)]
        if decode is False:
            assert b"".join(parts) == "hé!".encode()
        else:
            assert "".join(parts) == "hé!"
        assert await soon(ws.recv()) == "next"


async def test_recv_streaming_gives_each_frame_when_it_comes():
    async with against_client() as (peer, ws):
        stream = ws.recv_streaming()
        for opcode, payload in (BINARY, b"a"), (CONT, b"b"):
            peer.send(opcode, payload, fin=False)
            assert await soon(anext(stream)) == payload
        peer.send(CONT, b"c")
        assert [part async for part in stream] == [b"c"]
        peer.send(BINARY, b"whole")
        assert [part async for part in ws.recv_streaming()] == [b"whole"]


async def test_what_recv_streaming_gave_up_is_dropped():
    async with against_client() as (peer, ws):
        peer.send(TEXT, "a", fin=False)
        stream = ws.recv_streaming()
        assert await soon(anext(stream)) == "a"
        await stream.aclose()
        peer.send(CONT, "b", fin=False)
        peer.send(CONT, "c")
        peer.send(TEXT, "next")
        assert await soon(ws.recv()) == "next"


async def test_the_end_of_a_recv_streaming_that_was_left_does_not_concern_the_next():
    """Python ends the generator of a loop that was left in a task of its own, later."""
    async with against_client() as (peer, ws):
        peer.send(TEXT, "a", fin=False)
        async for part in ws.recv_streaming():
            assert part == "a"
            break
        peer.send(CONT, "b")
        stream = ws.recv_streaming()
        for opcode, payload in (BINARY, b"c"), (CONT, b"d"):
            peer.send(opcode, payload, fin=False)
            assert await soon(anext(stream)) == payload
        peer.send(CONT, b"e")
        assert [part async for part in stream] == [b"e"]
        assert not ws.fragments


async def test_a_second_recv_streaming_fails_and_the_first_goes_on():
    async with against_client() as (peer, ws):
        stream = ws.recv_streaming()
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(wsfast.ConcurrencyError):
            await anext(ws.recv_streaming())
        peer.send(TEXT, "a", fin=False)
        assert await soon(first) == "a"
        peer.send(CONT, "b")
        assert [part async for part in stream] == ["b"]


async def test_recv_streaming_takes_messages_of_more_fragments_than_the_queue_holds():
    async with against_client(max_queue=2) as (peer, ws):
        peer.send(TEXT, "x", fin=False)
        for _ in range(100):
            peer.send(CONT, "x", fin=False)
        peer.send(CONT, "x")
        assert "".join([part async for part in ws.recv_streaming()]) == "x" * 102


async def test_recv_streaming_ends_with_the_connection():
    async with against_client() as (peer, ws):
        peer.send(TEXT, "a", fin=False)
        peer.close(1001)
        with pytest.raises(wsfast.ConnectionClosedOK):
            async for part in ws.recv_streaming():
                assert part == "a"


async def test_discard_drops_what_waits_and_what_comes():
    async with against_client(max_queue=2) as (peer, ws):
        for _ in range(10):
            peer.send(TEXT, "x")
        await until(lambda: not ws.is_reading)
        ws.discard()
        peer.send(PING, b"seen")
        assert (await peer.frame()).payload == b"seen"
        peer.close()
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(ws.recv())


async def test_pause_stops_reading_until_resume():
    """W4."""
    async with against_client() as (peer, ws):
        ws.pause()
        assert ws.is_paused
        peer.send(PING, b"")
        await asyncio.sleep(0.05)
        assert ws.stats.frames_received == 0
        ws.resume()
        assert not ws.is_paused
        assert (await peer.frame()).opcode == PONG


# --- Pings ------------------------------------------------------------------------------------


async def test_a_ping_is_answered_before_its_event_and_with_its_data():
    """EV3, C7: the listener has the data."""
    async with against_client() as (peer, ws):
        events = []
        ws.on("ping", lambda data: (events.append(data), ws.send("seen")))
        peer.send(PING, b"data")
        assert await peer.frame() == (PONG, b"data", True, False)
        assert (await peer.frame()).payload == b"seen"
        assert events == [b"data"]


async def test_awaiting_a_ping_gives_a_future_with_the_latency():
    async with against_client() as (peer, ws):
        waiting = await ws.ping()
        came = await peer.frame()
        assert came.opcode == PING
        assert len(came.payload) == 4
        peer.send(PONG, came.payload)
        latency = await soon(waiting)
        assert latency > 0
        assert ws.latency == latency


async def test_a_pong_answers_the_pings_before_its_own():
    async with against_client() as (peer, ws):
        first, second, third = [await ws.ping(data) for data in ("1", b"2", bytearray(b"3"))]
        peer.send(PONG, b"2")
        await soon(second)
        assert first.done()
        assert not third.done()


async def test_pongs_that_nobody_asked_for_are_taken():
    """EV3: and told."""
    async with against_client() as (peer, ws):
        waiting = await ws.ping(b"mine")
        events = []
        ws.on("pong", events.append)
        peer.send(PONG, b"other")
        peer.send(PONG, b"")
        peer.send(PONG, b"mine")
        await soon(waiting)
        assert events == [b"other", b"", b"mine"]


async def test_a_ping_that_is_never_answered_fails_with_the_connection():
    async with against_client() as (peer, ws):
        waiting = await ws.ping()
        assert (await peer.frame()).opcode == PING
        peer.close(1001)
        assert await peer.closed() == (1001, "")
        await peer.wait_closed()
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(waiting)


async def test_pings_are_refused_that_could_not_be_told_apart_or_do_not_fit():
    """W13."""
    async with against_client() as (_, ws):
        ws.ping(b"same")
        with pytest.raises(wsfast.ConcurrencyError, match="already waiting for a pong"):
            ws.ping("same")
        for send in ws.ping, ws.pong:
            with pytest.raises(ValueError, match="must not be greater than 125 bytes"):
                send("x" * 126)
            with pytest.raises(TypeError, match="data must be str or bytes-like, not int"):
                send(5)
        ws.ping(b"x" * 125)


async def test_the_pings_that_wait_for_their_pongs_are_bounded():
    async with against_client(max_write_buffer=None) as (_, ws):
        with pytest.raises(wsfast.ConcurrencyError, match="1024 pings wait"):
            for _ in range(2000):
                ws.ping()


# --- Attributes -------------------------------------------------------------------------------


async def test_attributes_tell_about_both_ends():
    """K1, W3, W5, W6: other than in ws, `extensions` is a tuple, and no subprotocol is None."""
    async with pair() as (ws, other):
        assert ws.url.startswith("ws://127.0.0.1:")
        assert (ws.path, other.path) == ("/", "/")
        assert ws.local_address == other.remote_address
        assert ws.remote_address == other.local_address
        assert ws.request.headers == other.request.headers
        assert ws.response.headers == other.response.headers
        assert other.response.status_code == 101
        assert ws.subprotocol is None
        assert ws.extensions == ()
        assert isinstance(ws.id, uuid.UUID)
        assert ws.id == ws.id != other.id
        assert ws.state is wsfast.State.OPEN
        assert ws.latency == 0
        assert (ws.close_code, ws.close_reason, ws.close_sent) == (None, None, None)
        assert (ws.close_received, ws.was_clean, ws.is_paused) == (None, False, False)
        assert ws.buffered_amount == 0
        assert re.fullmatch(r"<WebSocket client OPEN \('127\.0\.0\.1', \d+\)>", repr(ws))
        assert re.fullmatch(r"<WebSocket server OPEN \('127\.0\.0\.1', \d+\)>", repr(other))
        remote = ws.remote_address
    assert ws.remote_address == remote
    assert repr(ws).startswith("<WebSocket client CLOSED")


async def test_users_may_set_attributes_and_make_weak_references():
    async with pair() as (ws, _):
        ws.user = "me"
        assert ws.user == "me"
        assert weakref.ref(ws)() is ws
        assert {ws: 1}[ws] == 1


async def test_a_closed_connection_is_let_go_without_the_garbage_collector():
    handler = Accepted()
    gc.disable()
    try:
        async with wsfast.serve(handler, "127.0.0.1", 0) as server:
            async with wsfast.connect(uri_of(server)) as ws:
                await ws.send("x")
                other = await handler.get()
                references = weakref.ref(ws), weakref.ref(other)
            await other.wait_closed()
            del ws, other
            await until(lambda: [reference() for reference in references] == [None, None])
    finally:
        gc.enable()


async def test_statistics_count_messages_frames_and_bytes():
    async with pair() as (ws, other):
        await ws.send("abc")
        await ws.send([b"ab", b"cd", b"e"])
        ws.ping(b"")
        for _ in range(2):
            await soon(other.recv())
        await until(lambda: ws.stats.frames_received == 1)
        sent, received = ws.stats, other.stats
        assert sent.messages_sent == received.messages_received == 2
        assert sent.bytes_sent == received.bytes_received == 8
        assert sent.frames_sent == received.frames_received == 5
        assert sent.fragments_sent == received.fragments_received == 3
        wire = 9 + (8 + 8 + 7) + 6
        assert sent.wire_bytes_sent == received.wire_bytes_received == wire
        assert (received.frames_sent, received.wire_bytes_sent) == (1, 2)
        assert (sent.messages_received, sent.messages_dropped) == (0, 0)


# --- Threads ----------------------------------------------------------------------------------


async def in_thread(function):
    return await soon(asyncio.get_running_loop().run_in_executor(None, function))


async def test_other_threads_use_run_coroutine_threadsafe():
    loop = asyncio.get_running_loop()
    async with pair() as (ws, other):

        def work():
            def run(awaitable):
                return asyncio.run_coroutine_threadsafe(awaitable, loop).result(PATIENCE)

            run(ws.send("from a thread"))
            run(ws.send(["a", "b"]))
            assert run(other.recv()) == "from a thread"
            assert run(other.recv(decode=False)) == b"ab"
            assert run(run_twice(ws.ping)) > 0
            run(ws.pong(b"x"))
            run(ws.close(4000, "bye"))

        async def run_twice(function):
            return await (await function())

        await in_thread(work)
        assert other.close_code == 4000


async def test_a_call_on_another_thread_does_nothing_until_the_loop_awaits_it():
    async with against_client() as (peer, ws):
        sending = await in_thread(lambda: ws.send("second"))
        await ws.send("first")
        await sending
        assert [(await peer.frame()).payload for _ in range(2)] == [b"first", b"second"]


async def test_what_another_thread_calls_wrongly_raises_when_awaited():
    async with pair() as (ws, _):
        for call, kind in [
            (lambda: ws.send(5), TypeError),
            (lambda: ws.ping("x" * 126), ValueError),
            (lambda: ws.close(1), ValueError),
        ]:
            awaitable = await in_thread(call)
            with pytest.raises(kind):
                await awaitable


async def test_many_threads_send_whole_messages():
    loop = asyncio.get_running_loop()
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, wsfast.connect(uri_of(server)) as ws:

        def work(name):
            for number in range(50):
                future = asyncio.run_coroutine_threadsafe(ws.send(f"{name} {number}"), loop)
                future.result(PATIENCE)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        received = [await soon(ws.recv()) for _ in range(200)]
        for thread in threads:
            thread.join()
        for name in "abcd":
            own = [message for message in received if message.startswith(name)]
            assert own == [f"{name} {number}" for number in range(50)]


async def test_an_event_loop_in_debug_mode_has_nothing_to_say(caplog):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = PATIENCE
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        async with wsfast.connect(uri_of(server)) as ws:
            await asyncio.gather(ws.send("a"), ws.recv())
            receiving = asyncio.create_task(ws.recv())
            await asyncio.sleep(0)
            assert "recv" in repr(receiving).lower() or "Receive" in repr(receiving)
            receiving.cancel()
        async with client_of(server) as peer:
            peer.reset()


async def test_two_ends_in_the_middle_of_sending_do_not_wait_for_each_other():
    """What is on its way both ways is more than the system's buffers and ours hold."""
    count, message = 1000, bytes(30_000)
    async with (
        wsfast.serve(echo, "127.0.0.1", 0) as server,
        wsfast.connect(uri_of(server), compression=None) as ws,
        asyncio.timeout(PATIENCE),
        asyncio.TaskGroup() as tasks,
    ):

        async def receive():
            for _ in range(count):
                assert await ws.recv() == message

        tasks.create_task(receive())
        for _ in range(count):
            await ws.send(message)
