"""Large messages are compressed in a thread: order, cancellation, failures, how many at once."""

import asyncio
import contextlib
import zlib

import pytest
from compressing import RSV1, Gate, compression, deflating_client, large, noise, soon
from peers import (
    BINARY,
    CONT,
    PING,
    TEXT,
    Accepted,
    close_payload,
    until,
    uri_of,
)

import wsfast
from wsfast.offload import LARGE


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


async def test_other_messages_wait_for_a_large_one_and_pings_do_not(gate):
    """W12."""
    async with deflating_client(compression=compression(gate)) as (peer, reader, ws):
        first, second = large(), large()
        ws.send(b"before")
        sends = [ws.send(data) for data in (first, b"between", second, "text", b"")]
        await until(lambda: gate.running == 1)
        assert await reader.message() == b"before"
        ws.ping(b"now")
        ping = await peer.frame()
        assert (ping.opcode, ping.payload) == (PING, b"now")
        peer.send(PING, b"and you")
        assert (await peer.frame()).payload == b"and you"
        gate.open()
        for expected in first, b"between", second, b"text", b"":
            assert await soon(reader.message()) == expected
        for send in sends:
            await soon(send)
        assert ws.outbox is None
        assert ws.stats.messages_sent == 6


@pytest.mark.parametrize("data", ["text", "bytes", "bytearray", "memoryview", "not ASCII"])
async def test_a_large_message_of_any_type_is_sent_as_it_was_at_the_call(gate, data):
    raw = noise(LARGE // 2).hex()
    made = {
        "text": raw,
        "not ASCII": "€" + raw,
        "bytes": raw.encode(),
        "bytearray": bytearray(raw.encode()),
        "memoryview": memoryview(bytearray(raw.encode())),
    }[data]
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        expected = made.encode() if isinstance(made, str) else bytes(made)
        ws.send(made)
        if isinstance(made, (bytearray, memoryview)):
            made[:] = bytes(len(made))
        gate.open()
        assert await soon(reader.message()) == expected
        opcode = TEXT if isinstance(made, str) else BINARY
        assert [frame.opcode for frame in reader.frames] == [opcode | RSV1]


async def test_without_compression_a_large_message_takes_no_thread(gate):
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        data = large()
        ws.send(data, compress=False)
        assert ws.outbox is None
        assert await soon(reader.message()) == data
        assert reader.frames[0].opcode == BINARY


async def test_the_threshold_holds_for_large_messages_too(gate):
    options = {"compression": compression(gate, threshold=2 * LARGE)}
    async with deflating_client(**options) as (_, reader, ws):
        gate.open()
        for size in 2 * LARGE - 4, 2 * LARGE:
            data = large(size)
            ws.send(data)
            assert await soon(reader.message()) == data
        assert [frame.opcode for frame in reader.frames] == [BINARY, BINARY | RSV1]


async def test_fragments_wait_for_a_large_message_and_go_together(gate):
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        data = large()
        ws.send(data)
        ws.send("Hel", fin=False)
        ws.send("lo")
        await until(lambda: gate.running == 1)
        gate.open()
        assert await soon(reader.message()) == data
        assert await soon(reader.message()) == b"Hello"
        assert [frame.opcode for frame in reader.frames] == [BINARY | RSV1, TEXT | RSV1, CONT]
        ws.send("Hel", fin=False)
        ws.send("l" * LARGE, fin=False)  # in the middle of a message: at once
        ws.send("o")
        assert await soon(reader.message()) == b"Hel" + b"l" * LARGE + b"o"


async def test_text_that_is_none_is_refused_at_the_call(gate):
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        with pytest.raises(ValueError, match="valid UTF-8"):
            ws.send(b"\xff" * LARGE, binary=False)
        with pytest.raises(UnicodeEncodeError):
            ws.send("\ud800" * LARGE)
        assert ws.outbox is None
        ws.send("Hello")
        assert await soon(reader.message()) == b"Hello"


async def test_a_close_right_behind_a_large_message_delivers_it(gate):
    """W12, L15, L17: which is compressed in a thread."""
    async with deflating_client(compression=compression(gate)) as (peer, reader, ws):
        data = large()
        sent = ws.send(data)
        closed = ws.close(1000, "bye")
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.send("too late")
        await until(lambda: gate.running == 1)
        gate.open()
        assert await soon(reader.message()) == data
        await soon(sent)
        frame = await soon(reader.message())
        assert frame.payload == close_payload(1000, "bye")
        peer.close()
        assert await peer.rest() == b""
        peer.writer.close()
        await soon(closed)
        assert ws.was_clean


async def test_leaving_the_block_behind_a_large_message_delivers_it(gate):
    handler = Accepted()
    async with wsfast.serve(handler, "127.0.0.1", 0, compression=True, max_size=None) as server:
        data = large()
        async with wsfast.connect(uri_of(server), compression=compression(gate)) as ws:
            other = await handler.get()
            ws.send(data)
            gate.open()
        assert await soon(other.recv()) == data
        assert ws.was_clean


async def test_cancelling_the_wait_takes_no_message_back_wherever_it_is(gate):
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        expected = []
        for steps in range(12):
            gate.shut()
            data = large()
            task = asyncio.ensure_future(as_coroutine(ws.send(data)))
            for step in range(steps):
                if step == 4:
                    await until(lambda: gate.running == 1)
                if step == 6:
                    gate.open()
                if step == 8:
                    await until(lambda: ws.outbox is None)
                await asyncio.sleep(0)
            task.cancel()
            gate.open()
            marker = b"marker %d of " % steps + data[:50]
            await soon(ws.send(marker))
            await asyncio.gather(task, return_exceptions=True)
            expected += [data, marker]
            assert [await soon(reader.message()) for _ in range(2)] == expected[-2:]


async def as_coroutine(awaitable):
    return await awaitable


async def test_a_message_whose_task_is_cancelled_with_all_others_fails_the_connection(gate):
    """What is in the thread is lost then, and the next message might refer to it."""
    async with deflating_client(compression=compression(gate)) as (peer, reader, ws):
        await ws.send(b"before")
        sent = ws.send(large())
        behind = ws.send(b"behind")
        await until(lambda: gate.running == 1)
        current = asyncio.current_task()
        before = asyncio.all_tasks() - {current}
        (outbox,) = [task for task in before if "Outbox" in repr(task)]
        outbox.cancel()
        await until(outbox.done)
        for send in sent, behind, ws.send(b"after"):
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await soon(send)
            assert isinstance(caught.value.__cause__, wsfast.SendFailed)
        assert await reader.message() == b"before"
        assert (await reader.message()).payload == close_payload(1011, "cancelled while sending")
        gate.open()


async def test_a_failure_in_the_thread_is_raised_and_the_next_message_is_fine(gate):
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        await ws.send(b"Hello")
        gate.error = MemoryError("no room to compress")
        gate.open()
        with pytest.raises(MemoryError, match="no room"):
            await soon(ws.send(large()))
        await soon(ws.send(b"Hello"))
        data = large()
        await soon(ws.send(data))
        for expected in b"Hello", b"Hello", data:
            assert await soon(reader.message()) == expected


async def test_a_failure_that_nobody_awaits_is_told_as_an_event(gate):
    errors = []
    async with deflating_client(compression=compression(gate)) as (_, reader, ws):
        ws.on("error", errors.append)
        gate.error = MemoryError("no room to compress")
        gate.open()
        ws.send(large())
        ws.send(b"Hello")
        assert await soon(reader.message()) == b"Hello"
        await until(lambda: errors)
        assert [str(error) for error in errors] == ["no room to compress"]


@pytest.mark.parametrize("how", ["lost", "peer fails", "we fail", "terminate", "peer closes"])
async def test_the_connection_may_end_while_a_thread_is_at_work(gate, how):
    """W11, L17, L16: in any way, and whoever waits for a message is told."""
    async with deflating_client(compression=compression(gate)) as (peer, _, ws):
        sends = [ws.send(large()), ws.send(b"behind")]
        await until(lambda: gate.running == 1)
        if how == "lost":
            peer.reset()
        elif how == "peer fails":
            peer.send(TEXT, b"\xff")
        elif how == "we fail":
            ws.fail(wsfast.SendFailed("why not"))
        elif how == "terminate":
            ws.terminate()
        else:
            peer.close(1000, "bye")
        for send in sends:
            with pytest.raises(wsfast.ConnectionClosed):
                await soon(send)
        if how != "lost":
            rest = await peer.rest()
            assert len(rest) < 100  # nothing of the message
            peer.writer.close()
        await soon(ws.wait_closed())
        assert ws.outbox is None
        gate.open()
        await until(lambda: gate.running == 0)


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (0, 12)])
async def test_only_so_many_compress_at_once_in_the_process(gate, limit, most):
    handler = Accepted()
    options = {"compression": compression(gate, concurrency_limit=limit)}
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(wsfast.connect(uri_of(server), max_size=None))
            for _ in range(12)
        ]
        servers = [await handler.get() for _ in clients]
        data = large()
        for ws in servers:
            ws.send(data)
        await until(lambda: gate.running == most)
        small = servers[0].send(b"behind")  # the loop goes on
        gate.open()
        for ws in clients:
            assert await soon(ws.recv()) == data
        await soon(small)
        assert gate.most == most


async def test_reading_stops_while_replies_wait_for_their_threads(gate):
    """Small messages that inflate to large ones must not fill the memory with their echo."""
    data = bytes(2**20)
    frames = 12
    compressor = zlib.compressobj(wbits=-15)
    stream = [
        (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        for _ in range(frames)
    ]
    async with deflating_client(compression=compression(gate)) as (peer, reader, ws):
        ws.on("message", lambda data, is_binary: ws.send(data))
        for payload in stream:
            peer.send(BINARY | RSV1, payload)
        await until(lambda: ws.buffered_amount == 2 * len(data))
        # One is compressed, and reading stops with the first that makes the others too many.
        assert not ws.is_reading
        assert ws.stats.messages_received == 3
        gate.open()
        for _ in range(frames):
            assert await soon(reader.message()) == data
        await until(lambda: ws.outbox is None)
        assert ws.is_reading
        assert ws.buffered_amount == 0


@pytest.mark.parametrize("count", [4, 5])
async def test_too_much_that_waits_fails_the_connection(gate, count):
    size = 2**20
    options = {"compression": compression(gate), "max_write_buffer": 3 * size}
    async with deflating_client(**options) as (_, reader, ws):
        sends = [ws.send(bytes(size)) for _ in range(count)]
        if count == 4:
            gate.open()
            for send in sends:
                assert await soon(reader.message()) == bytes(size)
                await soon(send)
        else:
            await soon(ws.wait_closed())
            assert isinstance(ws.error, wsfast.WriteBufferFull)
            assert (ws.error.size, ws.error.max_size) == (4 * size, 3 * size)
            gate.open()
            results = await soon(asyncio.gather(*sends, return_exceptions=True))
            assert {type(result) for result in results} == {wsfast.ConnectionClosedError}


async def test_closing_behind_large_messages_has_its_time(gate):
    """L1, L15: the time for closing begins at the call, though the close frame has to wait."""
    options = {"compression": compression(gate), "close_timeout": 0.2}
    async with deflating_client(**options) as (_, _, ws):
        ws.send(large())
        await until(lambda: gate.running == 1)
        await soon(ws.close())
        assert ws.close_code == 1006
        assert ws.error.code == "WS_ERR_CLOSE_TIMEOUT"
        gate.open()
