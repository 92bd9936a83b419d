"""The lives of a WebSocket that connects again: what it keeps, and what each has for itself.

The rows are those of the table of ws's features: M3 and M16.
"""

import asyncio
import itertools
import os
import socket

import pytest
from hosts import (
    ALL,
    Record,
    accept_and_drop,
    answer,
    finish,
    hang_up,
    host,
    never,
    reconnecting,
    script,
    send_and_close,
    send_and_wait,
)
from peers import CLOSE, CONT, PATIENCE, TEXT, Accepted, frame, hold, uri_of

import wsfast

# --- What is kept -----------------------------------------------------------------------------


async def test_the_websocket_is_the_same():
    """M3: its listeners, attributes, id and counters; what is of one connection is new."""
    async with script(
        send_and_close(frame(TEXT, "one"), 1012),
        send_and_wait(frame(TEXT, "two")),
    ) as uri:
        ws = reconnecting(uri)
        ws.name = "mine"
        known = ws.id
        record = Record(ws, *ALL, "ping")
        await record.until("reconnecting")
        await record.until("message", 2)
        assert record.events[1] == ("message", "one", False)
        assert record.events[-1] == ("message", "two", False)
        assert record.names == ["open", "message", "reconnecting", "open", "message"]
        _, error = record.of("reconnecting")[0]
        assert error.rcvd.code == 1012
        assert ws.name == "mine"
        assert ws.id == known
        assert ws.close_code is None
        assert ws.close_sent is None
        assert ws.close_received is None
        assert ws.error is None
        assert ws.url == uri
        assert ws.stats.messages_received == 2  # of its whole life
        ws.terminate()
        await record.until("close")


async def test_with_eager_tasks_a_life_begins_behind_the_end_of_the_last():
    """M3: from Python 3.12 on."""
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    async with script(
        send_and_close(frame(TEXT, "one"), 1012),
        send_and_wait(frame(TEXT, "two")),
    ) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("message", 2)
        assert record.names == ["open", "message", "reconnecting", "open", "message"]
        ws.terminate()
        await record.until("close")


async def test_several_message_listeners_are_kept():
    """M3: and those that were removed stay away."""
    async with script(accept_and_drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        calls = []
        first = ws.on("message", lambda data, is_binary: calls.append(("first", data)))
        ws.on("message", lambda data, is_binary: calls.append(("second", data)))
        ws.on("message", lambda data, is_binary: calls.append(("third", data)))
        ws.off("message", first)
        record = Record(ws, *ALL)
        await record.until("message")
        assert calls == [("second", "two"), ("third", "two")]
        ws.terminate()
        await record.until("close")


async def test_a_message_listener_may_be_attached_in_the_delay():
    async with script(accept_and_drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "reconnecting", "close")
        got = asyncio.get_running_loop().create_future()
        await record.until("reconnecting")
        ws.on("message", lambda data, is_binary: got.set_result(data))
        async with asyncio.timeout(PATIENCE):
            assert await got == "two"
        ws.terminate()
        await record.until("close")


async def test_the_hooks_run_again():
    """M3: finish_request and create_connection, for every attempt, and "upgrade" for every 101."""
    calls = []

    def finish_request(request, ws):
        calls.append("finish_request")
        request.headers["Authorization"] = f"Bearer {calls.count('finish_request')}"

    async def create(name, port):
        calls.append("create_connection")
        return socket.create_connection((name, port))

    tokens = []

    async def play(peer):
        await peer.accept()
        tokens.append(peer.request.headers["authorization"])
        if len(tokens) == 2:
            await peer.rest()

    async with script(play) as uri:
        ws = reconnecting(uri, finish_request=finish_request, create_connection=create)
        ws.on("upgrade", lambda response: calls.append("upgrade"))
        record = Record(ws, *ALL)
        await record.until("open", 2)
        assert calls == ["create_connection", "finish_request", "upgrade"] * 2
        assert tokens == ["Bearer 1", "Bearer 2"]
        ws.terminate()
        await record.until("close")


async def test_redirects_are_followed_again_from_the_first_address():
    """M3, C10: where it led last time may be gone."""
    async with script(accept_and_drop, hold) as last, host({"/": last}) as first:
        ws = reconnecting(first("/"), follow_redirects=True)
        record = Record(ws, *ALL)
        await record.until("open", 2)
        assert first.paths == ["/", "/"]
        assert ws.url == last
        await finish(ws, record)


async def test_compression_works_after_it():
    """M3: with fresh contexts on both sides."""
    handler = Accepted()
    text = "the same text again and again " * 20
    options = {"compression": "deflate"}
    async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
        ws = reconnecting(uri_of(server))
        record = Record(ws, *ALL)
        for life in range(1, 4):
            end = await handler.get()
            await record.until("open", life)
            assert ws.extensions == ("permessage-deflate",)
            for _ in range(2):
                await ws.send(text)
                async with asyncio.timeout(PATIENCE):
                    assert await end.recv() == text
                await end.send(text)
            await record.until("message", 2 * life)
            end.terminate()
        await record.until("open", 4)
        assert {message for message, _ in record.of("message")} == {text}
        await finish(ws, record)


async def test_pings_of_the_life_before_are_given_up():
    """M3: their future raises, and the latency is new."""

    async def swallow(peer):
        await peer.accept()
        await peer.frame()

    async with script(swallow, hold) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("open")
        pong = await ws.ping(b"x")
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await pong
        await record.until("open", 2)
        await ws.ping(b"x")
        await finish(ws, record)


# --- recv -------------------------------------------------------------------------------------


async def test_recv_raises_for_a_connection_that_is_lost_and_then_waits_for_the_next():
    """M3: who reads gets to know that something may be missing."""
    async with script(
        send_and_close(frame(TEXT, "one"), 1012),
        send_and_wait(frame(TEXT, "two")),
    ) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "open", "close")
        async with asyncio.timeout(PATIENCE):
            assert await ws.recv() == "one"
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1012
            await record.until("open", 2)
            assert await ws.recv() == "two"
        ws.terminate()
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await record.until("close")


async def test_messages_that_nobody_took_are_had_after_it():
    """M3: by recv, or by a listener that is attached late; in front of those that come then."""
    before = frame(TEXT, "one") + frame(TEXT, "two")
    for late_listener in False, True:
        async with script(send_and_close(before, 1012), send_and_wait(frame(TEXT, "three"))) as uri:
            ws = reconnecting(uri)
            record = Record(ws, "open", "close")
            await record.until("open", 2)
            if late_listener:
                messages = Record(ws, "message")
                await messages.until("message", 3)
                got = [data for data, _ in messages.of("message")]
            else:
                async with asyncio.timeout(PATIENCE):
                    got = [await ws.recv() for _ in range(3)]
            assert got == ["one", "two", "three"]
            ws.terminate()
            await record.until("close")


async def test_fragments_that_were_not_finished_are_not_part_of_the_next_message():
    """M3: nor those that were begun when the connection was lost."""
    begun = frame(TEXT, "one", fin=False) + frame(CONT, "two", fin=False)
    async with script(send_and_close(begun, 1012), send_and_wait(frame(TEXT, "three"))) as uri:
        ws = reconnecting(uri, binary_type="fragments")
        record = Record(ws, "open", "close")
        await record.until("open", 2)
        async with asyncio.timeout(PATIENCE):
            assert await ws.recv() == "three"
        ws.terminate()
        await record.until("close")


async def test_iteration_ends_with_a_connection_and_can_begin_again():
    """M3: an exception if it was not closed normally."""
    async with script(
        send_and_close(frame(TEXT, "one"), 1001),
        send_and_close(frame(TEXT, "two"), 1012),
        send_and_close(frame(TEXT, "three"), 1000),
    ) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "open", "close")
        async with asyncio.timeout(PATIENCE):
            assert [message async for message in ws] == ["one"]
            await record.until("open", 2)
            assert await anext(aiter(ws)) == "two"
            with pytest.raises(wsfast.ConnectionClosedError):
                await anext(aiter(ws))
            await record.until("open", 3)
            assert [message async for message in ws] == ["three"]
        await record.until("close")
        assert ws.is_over


async def test_recv_that_waits_for_a_connection_that_does_not_come_raises():
    async with script(accept_and_drop, answer(404)) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "reconnecting", "error", "close")
        await record.until("reconnecting")
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            async with asyncio.timeout(PATIENCE):
                await ws.recv()
        assert isinstance(caught.value.__cause__, wsfast.InvalidStatus)
        await record.until("close")


# --- What is sent meanwhile -------------------------------------------------------------------


async def frames_until_close(peer, into):
    await peer.accept()
    while (came := await peer.frame()).opcode != CLOSE:
        into.append((came.opcode, came.payload))
    peer.close()


async def test_what_is_sent_meanwhile_is_kept_in_order():
    """M3: the resend queue; awaiting a send waits until it has left."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(accept_and_drop, collect) as uri:
        ws = reconnecting(uri, resend_limit=100, compression=None)
        record = Record(ws, *ALL)
        first = ws.send("before open")
        await record.until("reconnecting")
        buffer = bytearray(b"\x01\x02")
        second = asyncio.create_task(ws.send(buffer))
        await asyncio.sleep(0)
        buffer[0] = 9  # too late
        ws.send("é", binary=True)
        third = ws.send(b"text", binary=False)
        await record.until("open", 2)
        ws.send("after open")
        async with asyncio.timeout(PATIENCE):
            await second
            await third
        await finish(ws, record)
    # The first was sent to the server that hung up, or it was kept as the others were.
    assert got[-4:] == [(2, b"\x01\x02"), (2, "é".encode()), (1, b"text"), (1, b"after open")]
    assert "error" not in record.names
    first.close()


async def test_nothing_is_kept_by_default():
    """M3: a send fails, and if nobody awaits it "error" tells."""
    async with script(accept_and_drop, hold) as uri:
        ws = reconnecting(uri, delays=lambda: itertools.repeat(0.01))
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.send("x")
        ws.send("y")
        await record.until("error")
        assert isinstance(record.of("error")[0][0], wsfast.ConnectionClosed)
        await record.until("open", 2)
        await finish(ws, record)


async def test_the_resend_queue_is_bounded():
    """M3: at the limit, and one byte above it."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(hang_up, collect) as uri:
        ws = reconnecting(uri, resend_limit=10, compression=None)
        record = Record(ws, *ALL)
        ws.send("12345")
        ws.send(b"6789")
        with pytest.raises(wsfast.WriteBufferFull) as caught:
            await ws.send("ab")
        assert "11" in str(caught.value)
        assert "10" in str(caught.value)
        ws.send("0")
        with pytest.raises(wsfast.WriteBufferFull):
            await ws.send("x")
        await ws.send("")
        await record.until("open")
        await finish(ws, record)
    assert got == [(1, b"12345"), (2, b"6789"), (1, b"0"), (1, b"")]


async def test_a_bad_argument_raises_at_the_call_meanwhile_too():
    async with script(hang_up, hold) as uri:
        ws = reconnecting(uri, resend_limit=10, delays=never)
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        with pytest.raises(TypeError):
            ws.send(5)
        with pytest.raises(ValueError, match="UTF-8"):
            ws.send(b"\xff", binary=False)
        with pytest.raises(UnicodeEncodeError):
            ws.send("\ud800")
        await finish(ws, record)


async def test_what_is_kept_fails_at_the_end():
    """M3: awaited, it raises; otherwise "error" tells, once, before "close"."""
    async with script(hang_up) as uri:
        for all_awaited in False, True:
            ws = reconnecting(uri, resend_limit=100, delays=never)
            record = Record(ws, *ALL)
            awaited = asyncio.create_task(ws.send("x"))
            await record.until("reconnecting")
            if not all_awaited:
                ws.send("y")
                ws.send("z")
            await finish(ws, record)
            with pytest.raises(wsfast.ConnectionClosed):
                await awaited
            told = [] if all_awaited else ["error"]
            assert record.names == ["reconnecting", *told, "close"]
            with pytest.raises(wsfast.ConnectionClosed):
                await ws.send("late")


async def test_a_connection_that_is_lost_while_it_sends_what_was_kept_keeps_the_rest():
    """M3: in order, for the one after."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(hang_up, hold, collect) as uri:
        ws = reconnecting(uri, resend_limit=100, compression=None)
        record = Record(ws, *ALL)
        for number in range(4):
            ws.send(str(number))

        @ws.once("open")
        def lose():
            # What a driver says when the peer is gone, while the connection is told of.
            ws.abort(wsfast.NetworkError(104, "reset"))

        await record.until("open", 2)
        await finish(ws, record)
    assert got == [(1, str(number).encode()) for number in range(4)]


async def test_a_cork_that_outlives_a_connection_holds_nothing_for_ever():
    """M3: what was held is lost; what comes in the next life goes out at its end, or after."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async def drop_soon(peer):
        await peer.accept()
        await peer.frame()

    async with script(drop_soon, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.send("go")
        with ws.cork():
            ws.send("held")
            await record.until("open", 2)
            ws.send("next")
        ws.send("last")
        await finish(ws, record)
    assert got == [(1, b"next"), (1, b"last")]


async def test_a_kept_message_that_cannot_be_sent_fails_and_those_behind_it_are_sent():
    """M16: who made the masking key raises."""
    got = []
    numbers = itertools.count()

    def generate_mask():
        if next(numbers) == 1:
            raise ZeroDivisionError
        return bytes(4)

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(collect) as uri:
        ws = reconnecting(uri, resend_limit=100, compression=None, generate_mask=generate_mask)
        record = Record(ws, *ALL)
        kept = asyncio.gather(*map(ws.send, ["one", "two", "three"]), return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            first, second, third = await kept
        assert (first, third) == (None, None)
        assert isinstance(second, ZeroDivisionError)
        await finish(ws, record)
    assert got == [(1, b"one"), (1, b"three")]


async def test_a_life_that_is_cancelled_before_it_begins_is_the_end():
    """Who cancels all tasks of a loop cancels the one that is to begin it, too."""
    loop = asyncio.get_running_loop()
    known = asyncio.all_tasks()

    def cancel_others():
        for task in asyncio.all_tasks() - known:
            if task.get_coro().__name__ == "_run":
                task.cancel()

    def decide(error):
        loop.call_soon(cancel_others)  # in front of the task that there will be
        return None

    async with script(accept_and_drop) as uri:
        ws = reconnecting(uri, process_exception=decide)
        record = Record(ws, *ALL)
        await record.until("close")
        assert record.names == ["open", "close"]
        assert ws.is_over
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()


async def test_a_message_in_parts_that_is_cut_fails_and_the_next_life_is_clean():
    """M3: the awaiter is told, and the first frame of the next life is no continuation."""
    got = []
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def cut(peer):
        await peer.accept()
        assert (await peer.frame()) == (TEXT, b"part", False, True)
        peer.reset()

    async def collect(peer):
        await frames_until_close(peer, got)

    async def parts():
        try:
            yield "part"
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with script(cut, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await ws.send(parts())
        await ended.wait()
        await record.until("open", 2)
        assert ws.outbox is None
        await ws.send("whole")
        await finish(ws, record)
    assert got == [(1, b"whole")]


async def test_fragments_by_hand_that_are_cut_do_not_go_on_in_the_next_life():
    """M3."""
    got = []

    async def cut(peer):
        await peer.accept()
        await peer.frame()

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(cut, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.send("begun", fin=False)
        await record.until("open", 2)
        await ws.send("whole")
        await finish(ws, record)
    assert got == [(1, b"whole")]


async def test_a_large_message_that_is_cut_while_it_is_compressed_fails():
    """M3: it was compressed for the connection that is lost."""
    handler = Accepted()
    data = os.urandom(2**20).hex()
    async with wsfast.serve(
        handler, "127.0.0.1", 0, compression="deflate", max_size=2**22
    ) as server:
        ws = reconnecting(uri_of(server))
        record = Record(ws, *ALL)
        end = await handler.get()
        await record.until("open")
        sending = asyncio.create_task(ws.send(data))
        behind = asyncio.create_task(ws.send("behind"))
        await asyncio.sleep(0)
        end.terminate()
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(sending, behind, return_exceptions=True)
        assert all(isinstance(result, (type(None), wsfast.ConnectionClosed)) for result in results)
        end = await handler.get()
        await record.until("open", 2)
        await ws.send(data)
        async with asyncio.timeout(PATIENCE):
            assert await end.recv() == data
        await finish(ws, record)


async def test_who_waits_for_a_slow_peer_is_told_of_the_loss():
    """M3: and the next life is not blocked."""
    got = []

    async def stuck(peer):
        await peer.accept()
        peer.stop_reading()
        await lose.wait()
        peer.reset()

    async def collect(peer):
        await frames_until_close(peer, got)

    lose = asyncio.Event()
    async with script(stuck, collect) as uri:
        ws = reconnecting(uri, compression=None, max_write_buffer=None)
        record = Record(ws, *ALL)
        await record.until("open")

        async def fill():
            while True:
                await ws.send(bytes(2**20))

        task = asyncio.create_task(fill())
        async with asyncio.timeout(PATIENCE):
            while not ws.is_blocked:
                await asyncio.sleep(0)
        lose.set()
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await task
        await record.until("open", 2)
        assert not ws.is_blocked
        await ws.send("free")
        await finish(ws, record)
    assert got[-1] == (1, b"free")


async def test_reading_that_was_paused_goes_on_in_the_next_life():
    """M3, W4: pause() was for the connection that is lost."""

    async def drop(peer):
        await peer.accept()
        await peer.frame()

    async with script(drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.pause()
        assert ws.is_paused
        await ws.send("drop me")
        ws.resume()
        await record.until("message")
        assert not ws.is_paused
        ws.terminate()
        await record.until("close")
