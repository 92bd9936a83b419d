"""Sends that take time: what comes in parts, and what queues behind it."""

import asyncio
import io
import os

import pytest
from peers import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    against_client,
    against_server,
    close_payload,
    pair,
    until,
)

import wsfast

BROKEN = close_payload(1011, "error in fragmented message")


class Source:
    """An asynchronous iterable that the test feeds, part by part."""

    def __init__(self):
        self.parts = asyncio.Queue()
        self.asked = asyncio.Event()
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.asked.set()
        part = await self.parts.get()
        if part is None:
            raise StopAsyncIteration
        if isinstance(part, Exception):
            raise part
        return part

    async def aclose(self):
        self.closed = True

    def put(self, *parts):
        for part in parts:
            self.parts.put_nowait(part)


async def parts_of(*parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def frames(peer, count):
    return [await peer.frame() for _ in range(count)]


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


# --- What it sends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "options", "wire"),
    [
        (["ab", "c"], {}, "01026162" "000163" "8000"),
        ([b"ab", bytearray(b"c"), memoryview(b"d")], {}, "02026162" "000163" "000164" "8000"),
        (["a"], {"binary": True}, "020161" "8000"),
        ([b"a", b"b"], {"binary": False}, "010161" "000162" "8000"),
        ([b"\xc3", b"\xa9"], {"binary": False}, "0101c3" "0001a9" "8000"),
        ([""], {}, "0100" "8000"),
        ([], {}, ""),
    ],
)  # fmt: skip
async def test_the_parts_of_an_async_iterable_are_fragments(parts, options, wire):
    async with against_client() as (peer, ws):
        assert await soon(ws.send(parts_of(*parts), **options)) is None
        await ws.send("end")
        assert await peer.read(len(wire) // 2 + 5) == wire + "8103656e64"


class AsyncFile(io.BytesIO):
    """As those of aiofiles."""

    async def read(self, size):
        await asyncio.sleep(0)
        return super().read(size)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.BytesIO(b"abc" * 50_000), b"abc" * 50_000),
        (io.StringIO("é" * 100_000), "é" * 100_000),
        (AsyncFile(b"abc" * 50_000), b"abc" * 50_000),
        (io.BytesIO(), b""),
        (io.StringIO(), ""),
    ],
    ids=["binary", "text", "asynchronous", "empty binary", "empty text"],
)
async def test_files_are_read_and_sent_in_fragments(file, message):
    """W7: instead of a Blob."""
    async with pair() as (ws, other):
        sending = asyncio.create_task(ws.send(file))
        assert await soon(other.recv()) == message
        await sending
        assert other.stats.fragments_received >= 2


async def test_a_real_file_is_sent(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(200_000))
    async with pair() as (ws, other):
        with open(path, "rb") as file:
            sending = asyncio.create_task(ws.send(file))
            assert await soon(other.recv()) == path.read_bytes()
            await sending


async def test_each_part_leaves_when_it_comes():
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        source.put("a")
        assert await peer.frame() == (TEXT, b"a", False, False)
        source.put("b")
        assert await peer.frame() == (CONT, b"b", False, False)
        source.put(None)
        assert await peer.frame() == (CONT, b"", True, False)
        await sending


async def test_a_client_masks_the_parts():
    async with against_server() as (peer, ws):
        await ws.send(parts_of(b"a", b"b"))
        assert await frames(peer, 3) == [
            (BINARY, b"a", False, True),
            (CONT, b"b", False, True),
            (CONT, b"", True, True),
        ]


# --- What queues behind it --------------------------------------------------------------------


async def test_messages_sent_meanwhile_come_behind_it_in_their_order():
    """W12."""
    source = Source()
    async with against_client() as (peer, ws):
        source.put("a")
        ws.send(source)
        assert await peer.frame() == (TEXT, b"a", False, False)
        sends = [
            ws.send("second"),
            ws.send(b"third"),
            ws.send(["fo", "urth"]),
            ws.send(parts_of("fifth")),
            ws.send(io.BytesIO(b"sixth")),
            ws.send("seventh"),
        ]
        source.put("b", None)
        await asyncio.gather(*sends)
        assert [(came.opcode, came.payload) for came in await frames(peer, 10)] == [
            (CONT, b"b"),
            (CONT, b""),
            (TEXT, b"second"),
            (BINARY, b"third"),
            (TEXT, b"fourth"),
            (TEXT, b"fifth"),
            (CONT, b""),
            (BINARY, b"sixth"),
            (CONT, b""),
            (TEXT, b"seventh"),
        ]


async def test_whoever_waited_can_send_at_once():
    async with against_client() as (peer, ws):
        for number in range(5):
            await ws.send(parts_of("a"))
            await ws.send(str(number))
            assert [came.payload for came in await frames(peer, 3)] == [
                b"a",
                b"",
                str(number).encode(),
            ]


async def test_pings_and_pongs_go_between_its_fragments():
    """W10."""
    source = Source()
    async with against_client() as (peer, ws):
        ws.send(source)
        source.put("a")
        await peer.frame()
        ws.ping(b"ours")
        peer.send(PING, b"theirs")
        assert await frames(peer, 2) == [
            (PING, b"ours", True, False),
            (PONG, b"theirs", True, False),
        ]
        source.put(None)
        assert (await peer.frame()).fin


async def test_messages_are_received_meanwhile():
    source = Source()
    async with against_client() as (peer, ws):
        ws.send(source)
        peer.send(TEXT, "hello")
        assert await soon(ws.recv()) == "hello"
        source.put(None)


async def test_a_queued_message_is_sent_as_it_was():
    source = Source()
    data = bytearray(b"abc")
    async with against_client() as (peer, ws):
        ws.send(source)
        ws.send(data)
        ws.send(memoryview(data))
        wsfast.broadcast([ws], data)
        data[:] = b"xyz"
        source.put(None)
        assert [came.payload for came in await frames(peer, 3)] == [b"abc"] * 3


@pytest.mark.parametrize(
    ("data", "options", "kind"),
    [
        ("\ud800", {}, UnicodeEncodeError),
        (b"\xff", {"binary": False}, ValueError),
        (5, {}, TypeError),
        ([1], {}, TypeError),
    ],
)
async def test_bad_data_raises_at_the_call_even_if_it_would_be_queued(data, options, kind):
    source = Source()
    async with against_client() as (peer, ws):
        ws.send(source)
        with pytest.raises(kind):
            ws.send(data, **options)
        source.put("a", None)
        assert [came.payload for came in await frames(peer, 2)] == [b"a", b""]


async def test_it_waits_for_a_peer_that_is_slow():
    async with against_client(write_limit=4096) as (peer, ws):
        source = Source()
        peer.stop_reading()
        sending = asyncio.create_task(ws.send(source))
        source.put(*[bytes(10_000)] * 2000)
        await until(lambda: ws.is_blocked)
        left = source.parts.qsize()
        assert left > 0
        await asyncio.sleep(0.01)
        assert source.parts.qsize() == left
        peer.go_on_reading()
        source.put(None)
        assert sum(len(came.payload) for came in await frames(peer, 2001)) == 20_000_000
        await soon(sending)


async def test_cancelling_the_wait_for_a_queued_message_does_not_unsend_it():
    source = Source()
    async with against_client() as (peer, ws):
        ws.send(source)
        queued = asyncio.create_task(ws.send("queued"))
        await source.asked.wait()
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        source.put(None)
        assert (await peer.frame()).payload == b"queued"


# --- What goes wrong --------------------------------------------------------------------------


async def test_an_iterator_that_raises_before_its_first_part_harms_nobody():
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        behind = ws.send("behind")
        source.put(RuntimeError("no data"))
        with pytest.raises(RuntimeError, match="no data"):
            await sending
        await soon(behind)
        assert (await peer.frame()).payload == b"behind"
        assert source.closed


async def test_an_iterator_that_raises_midway_fails_the_connection_with_1011():
    """W17."""
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        behind = ws.send("behind")
        source.put("a", RuntimeError("no more data"))
        with pytest.raises(RuntimeError, match="no more data"):
            await soon(sending)
        with pytest.raises(wsfast.ConnectionClosedError, match="1011") as caught:
            await soon(behind)
        assert isinstance(caught.value.__cause__, wsfast.SendFailed)
        assert isinstance(caught.value.__cause__.__cause__, RuntimeError)
        assert await frames(peer, 2) == [(TEXT, b"a", False, False), (CLOSE, BROKEN, True, False)]
        assert source.closed


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        (["a", b"b"], TypeError, "must be all str or all bytes-like"),
        (["a", 5], TypeError, "must be all str or all bytes-like"),
        ([b"a", 5], TypeError, "must be str or bytes-like, not int"),
        (["a", "\ud800"], UnicodeEncodeError, "surrogates not allowed"),
    ],
)
async def test_a_bad_part_fails_the_connection_with_1011(parts, kind, message):
    async with against_client() as (peer, ws):
        with pytest.raises(kind, match=message):
            await soon(ws.send(parts_of(*parts)))
        assert (await frames(peer, 2))[1] == (CLOSE, BROKEN, True, False)


async def test_a_bad_first_part_sends_nothing():
    async with against_client() as (peer, ws):
        with pytest.raises(TypeError, match="must be str or bytes-like, not int"):
            await soon(ws.send(parts_of(5)))
        await ws.send("after")
        assert (await peer.frame()).payload == b"after"


async def test_close_during_it_fails_the_connection_with_1011():
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        source.put("a")
        await peer.frame()
        closing = ws.close()
        came = await peer.frame()
        assert came.payload == close_payload(1011, "close during fragmented message")
        with pytest.raises(wsfast.ConnectionClosedError, match="close during fragmented message"):
            await soon(sending)
        peer.close()
        assert await peer.rest() == b""
        await peer.wait_closed()
        await soon(closing)
        assert ws.close_sent.code == 1011


async def test_close_before_it_began_does_not_leave_anybody_waiting():
    async with against_client() as (peer, ws):
        sending = ws.send(Source())
        behind = ws.send("behind")
        ws.close()
        for awaitable in sending, behind:
            with pytest.raises(wsfast.ConnectionClosedError):
                await soon(awaitable)
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.send("later")
        assert (await peer.frame()).opcode == CLOSE


@pytest.mark.parametrize("arguments", [(5,), (1006,), (1000, "x" * 124), ("1000",), (1000, 5)])
async def test_close_with_bad_arguments_changes_nothing(arguments):
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        with pytest.raises((TypeError, ValueError)):
            ws.close(*arguments)
        source.put("a", None)
        await soon(sending)
        assert [came.payload for came in await frames(peer, 2)] == [b"a", b""]


async def test_cancelling_it_fails_the_connection_with_1011():
    source = Source()
    async with against_client() as (peer, ws):
        sending = asyncio.create_task(ws.send(source))
        behind = asyncio.create_task(ws.send("behind"))
        source.put("a")
        await peer.frame()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(behind)
        came = await peer.frame()
        reason = "cancelled while sending a fragmented message"
        assert came.payload == close_payload(1011, reason)
        assert source.closed


async def test_a_timeout_of_it_fails_the_connection_with_1011():
    async with against_client() as (peer, ws):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.send(Source()), 0.01)
        assert (await peer.frame()).opcode == CLOSE


async def test_an_iterator_that_never_goes_on_ends_with_the_connection():
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        behind = ws.send("behind")
        await source.asked.wait()
        peer.close(1001)
        for awaitable in sending, behind:
            with pytest.raises(wsfast.ConnectionClosedOK):
                await soon(awaitable)
        assert await peer.closed() == (1001, "")
        assert source.closed


@pytest.mark.parametrize("how", ["reset", "terminate"])
async def test_a_lost_connection_ends_it(how):
    """W11."""
    source = Source()
    async with against_client() as (peer, ws):
        sending = ws.send(source)
        source.put("a")
        await peer.frame()
        if how == "reset":
            peer.reset()
        else:
            ws.terminate()
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(sending)
        assert source.closed


async def test_a_close_frame_inside_it_is_answered_normally():
    source = Source()
    async with against_client() as (peer, ws):
        ws.send(source)
        source.put("a")
        await peer.frame()
        peer.close(4000, "enough")
        assert await peer.closed() == (4000, "enough")


async def test_it_cannot_begin_between_fragments_sent_by_hand():
    async with against_client() as (peer, ws):
        await ws.send("a", fin=False)
        with pytest.raises(wsfast.ConcurrencyError, match="between fragments"):
            await ws.send(parts_of("x"))
        await ws.send("b")
        assert [came.payload for came in await frames(peer, 2)] == [b"a", b"b"]


async def test_a_failure_that_nobody_awaits_is_told_once():
    """EV10, W17."""
    errors = []
    source = Source()
    async with against_client() as (peer, ws):
        ws.on("error", errors.append)
        ws.send(source)
        for _ in range(3):
            ws.send("behind")
        source.put(RuntimeError("no data"))
        await until(lambda: errors)
        assert [str(error) for error in errors] == ["no data"]
        assert (await peer.frame()).payload == b"behind"


async def test_on_a_closed_connection_nothing_is_read_from_it():
    source = Source()
    async with pair() as (ws, _):
        await soon(ws.close())
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(ws.send(source))
        with pytest.raises(wsfast.ConnectionClosedOK):
            await soon(ws.send(io.BytesIO(b"x")))
        assert not source.asked.is_set()


async def test_a_source_is_closed_when_the_transport_is_lost():
    async with against_client() as (peer, ws):
        source = Source()
        source.put(b"one")
        send = ws.send(source)
        assert (await peer.frame()).payload == b"one"
        peer.reset()
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(send)
        assert source.closed
        assert ws.outbox is None
