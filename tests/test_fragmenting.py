"""Large messages in fragments: they leave as the peer takes them, and control frames go between."""

import asyncio
import random

import pytest
from deflating import let_compress, make_parameters
from frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, ZERO, close, frame
from peers import PATIENCE, against_client, against_server, until
from twins import COMPILED, PURE, RecordingDriver

import wsfast
from wsfast import BACKEND
from wsfast.exceptions import ConnectionClosedError
from wsfast.frames import State
from wsfast.options import Options

SIZE = 1000
# So that each fragment leaves by itself.
LIMIT = 1000
LARGE = bytes(range(256)) * 40  # 11 fragments

BACK = COMPILED if BACKEND == "compiled" else PURE


class SlowDriver(RecordingDriver):
    """A peer that takes a number of frames; then everything waits."""

    def __init__(self, takes):
        super().__init__()
        self.takes = takes

    def write(self, connection, buffers):
        super().write(connection, buffers)
        self.takes -= 1
        if self.takes > 0:
            return 0
        self.waiting = LIMIT + 1
        return self.waiting


def connection_of(takes, *, client=False, generate_mask=lambda: ZERO, **options):
    """A WebSocket to a peer that takes so many frames at once."""
    options = {"fragment_size": SIZE, "write_limit": LIMIT, **options}
    ws = wsfast.WebSocket(
        None,
        options=Options(**options),
        driver=SlowDriver(takes),
        loop=asyncio.get_running_loop(),
        client=client,
        request=b"",
        release=lambda ws: None,
        generate_mask=generate_mask,
    )
    ws.open()
    return ws


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def go_on(ws, takes):
    """The peer takes so many frames more."""
    ws.driver.takes = takes
    ws.driver.waiting = 0
    ws.writable()
    await settle()


def opcodes(ws):
    return [item.opcode for item in ws.driver.frames]


def message_of(frames):
    """The payload of a message, by its fragments; control frames may be in between."""
    data = [item for item in frames if item.opcode < CLOSE]
    assert [item.opcode for item in data[1:]] == [CONT] * (len(data) - 1)
    assert [item.fin for item in data] == [False] * (len(data) - 1) + [True]
    return data[0].opcode, b"".join([item.payload for item in data])


@pytest.mark.parametrize("client", [False, True])
async def test_fragments_leave_as_the_peer_takes_them(client):
    """M11."""
    ws = connection_of(3, client=client)
    sending = asyncio.create_task(ws.send(LARGE))
    await settle()
    assert len(ws.driver.frames) == 3
    assert ws.buffered_amount == LIMIT + 1 + len(LARGE) - 3 * SIZE
    await go_on(ws, 4)
    assert len(ws.driver.frames) == 7
    assert not sending.done()
    await go_on(ws, 100)
    assert sending.done()
    assert message_of(ws.driver.frames) == (BINARY, LARGE)
    assert {len(item.payload) for item in ws.driver.frames[:-1]} == {SIZE}
    assert ws.buffered_amount == 0
    assert (ws.stats.messages_sent, ws.stats.bytes_sent) == (1, len(LARGE))
    assert ws.stats.fragments_sent == ws.stats.frames_sent == 11
    ws.terminate()
    ws.lost(None)


async def test_control_frames_go_between_fragments():
    """M11, W10."""
    ws = connection_of(2)
    sending = asyncio.create_task(ws.send("é" * 5000))
    await settle()
    ws.ping(b"ours")
    ws.received(frame(PING, b"theirs", key=ZERO))
    await go_on(ws, 4)
    await go_on(ws, 100)
    await sending
    assert opcodes(ws) == [TEXT, CONT, PING, PONG, *[CONT] * 8]
    assert message_of(ws.driver.frames) == (TEXT, ("é" * 5000).encode())
    ws.terminate()
    ws.lost(None)


async def test_what_is_sent_behind_it_leaves_behind_it():
    """W12."""
    ws = connection_of(2)
    first = ws.send(LARGE)
    second = ws.send("behind")
    third = ws.send(memoryview(LARGE))
    await settle()
    assert len(ws.driver.frames) == 2
    while opcodes(ws).count(CONT) != 20:
        await go_on(ws, 3)
    await asyncio.gather(first, second, third)
    frames = ws.driver.frames
    assert message_of(frames[:11]) == (BINARY, LARGE)
    assert message_of(frames[11:12]) == (TEXT, b"behind")
    assert message_of(frames[12:]) == (BINARY, LARGE)
    ws.terminate()
    ws.lost(None)


async def test_compressed_messages_leave_as_the_peer_takes_them():
    """M11, W10: RSV1 is on the first frame only."""
    ws = connection_of(2)
    let_compress(BACK, ws, threshold=0)
    data = random.Random(1).randbytes(10_000)
    sending = asyncio.create_task(ws.send(data))
    await settle()
    ws.ping(b"between")
    await go_on(ws, 100)
    await sending
    frames = ws.driver.frames
    assert [item.opcode for item in frames[:4]] == [BINARY, CONT, PING, CONT]
    assert [item.rsv for item in frames] == [4] + [0] * (len(frames) - 1)
    _, payload = message_of(frames)
    contexts = BACK.deflate.Deflate(make_parameters())
    assert contexts.decompress(payload, 2**20) == data
    ws.terminate()
    ws.lost(None)


@pytest.mark.parametrize("size", [SIZE + 1, 3 * SIZE, 3 * SIZE + 1, 20 * SIZE])
async def test_all_leaves_at_once_to_a_peer_that_takes_it(size):
    """M11: no task is needed for it."""
    ws = connection_of(100, write_limit=3 * SIZE)
    done = ws.send(bytes(size))
    assert ws.outbox is None
    await done
    ws.send("behind")
    await settle()
    assert message_of(ws.driver.frames[:-1]) == (BINARY, bytes(size))
    assert ws.driver.frames[-1].payload == b"behind"
    assert len(asyncio.all_tasks()) == 1
    ws.terminate()
    ws.lost(None)


async def test_a_large_answer_leaves_before_the_close_frame_of_the_same_read_is_answered():
    ws = connection_of(100)
    ws.on("message", lambda data, is_binary: ws.send(data))
    ws.received(frame(BINARY, LARGE, key=ZERO) + close(1000, key=ZERO))
    assert message_of(ws.driver.frames) == (BINARY, LARGE)
    assert opcodes(ws)[-1] == CLOSE
    ws.lost(None)


async def test_what_is_sent_while_a_key_is_made_comes_behind_it():
    """W12."""
    sent = []

    def generate_mask():
        if len(sent) < 3:
            sent.append(ws.send(f"message {len(sent)}"))
        return ZERO

    ws = connection_of(100, client=True, generate_mask=generate_mask)
    await ws.send(LARGE)
    await asyncio.gather(*sent)
    await settle()
    frames = ws.driver.frames
    assert message_of(frames[:11]) == (BINARY, LARGE)
    payloads = [item.payload for item in frames[11:]]
    assert payloads == [b"message 0", b"message 1", b"message 2"]
    assert ws.outbox is None
    assert ws.buffered_amount == 0
    ws.terminate()
    ws.lost(None)


@pytest.mark.parametrize("data", ["\ud800" * 5000, memoryview(LARGE)], ids=["surrogate", "bytes"])
async def test_what_cannot_be_sent_is_told_at_the_call_and_changes_nothing(data):
    ws = connection_of(100)
    with pytest.raises((UnicodeEncodeError, ValueError)):
        ws.send(data, binary=False)
    assert ws.outbox is None
    await ws.send("fine")
    assert opcodes(ws) == [TEXT]
    ws.terminate()
    ws.lost(None)


async def test_the_parts_of_an_iterable_are_split_and_leave_as_the_peer_takes_them():
    """M11."""
    ws = connection_of(2)

    async def parts():
        yield LARGE
        yield b"end"

    sending = asyncio.create_task(ws.send(parts()))
    await settle()
    assert len(ws.driver.frames) == 2
    ws.ping(b"between")
    await go_on(ws, 100)
    await sending
    assert opcodes(ws)[:4] == [BINARY, CONT, PING, CONT]
    assert message_of(ws.driver.frames) == (BINARY, LARGE + b"end")
    ws.terminate()
    ws.lost(None)


async def test_the_end_of_the_connection_is_told():
    """W11."""
    ws = connection_of(2)
    first = asyncio.create_task(ws.send(LARGE))
    second = asyncio.create_task(ws.send("behind"))
    await settle()
    ws.terminate()
    ws.lost(None)
    for sending in (first, second):
        with pytest.raises(ConnectionClosedError):
            await sending
    assert ws.outbox is None


async def test_a_close_frame_of_the_peer_ends_it():
    """What is left of the message cannot be sent behind our close frame."""
    ws = connection_of(2)
    sending = asyncio.create_task(ws.send(LARGE))
    await settle()
    ws.received(close(1001, key=ZERO))  # which is read when the peer reads
    await go_on(ws, 2)
    with pytest.raises(wsfast.ConnectionClosed):
        await sending
    assert opcodes(ws)[-1] == CLOSE
    assert len(ws.driver.frames) < 11
    ws.lost(None)


async def test_closing_waits_for_it():
    """L1, L15: the close frame leaves behind what was sent before."""
    ws = connection_of(2)
    sending = asyncio.create_task(ws.send(LARGE))
    await settle()
    ws.close(1000, "done")
    assert CLOSE not in opcodes(ws)
    await go_on(ws, 100)
    await sending
    assert opcodes(ws) == [BINARY, *[CONT] * 10, CLOSE]
    ws.lost(None)


async def test_cancelling_who_waits_does_not_take_it_back():
    ws = connection_of(2)
    sending = asyncio.create_task(ws.send(LARGE))
    await settle()
    sending.cancel()
    await settle()
    await go_on(ws, 100)
    assert message_of(ws.driver.frames) == (BINARY, LARGE)
    ws.terminate()
    ws.lost(None)


async def test_a_message_that_cannot_be_finished_fails_the_connection():
    keys = iter([ZERO] * 4)

    def generate_mask():
        for key in keys:
            return key
        raise OSError("no randomness")

    ws = connection_of(2, client=True, generate_mask=generate_mask)
    sending = asyncio.create_task(ws.send(LARGE))
    await settle()
    assert len(ws.driver.frames) == 2
    await go_on(ws, 100)
    with pytest.raises(OSError, match="no randomness"):
        await sending
    assert ws.state is not State.OPEN
    assert str(ws.error) == "error in fragmented message"
    ws.lost(None)


async def test_a_message_that_fails_at_the_call_fails_the_connection_if_it_was_begun():
    keys = iter([ZERO] * 4)
    ws = connection_of(100, client=True, generate_mask=lambda: next(keys))
    with pytest.raises(StopIteration):
        ws.send(LARGE)
    assert ws.state is not State.OPEN
    assert ws.outbox is None
    ws.lost(None)


@pytest.mark.parametrize("against", [against_client, against_server])
async def test_a_ping_overtakes_a_huge_message_to_a_peer_that_does_not_read(against):
    """M11."""
    data = random.Random(1).randbytes(2**24)
    async with against(fragment_size=2**14, max_size=None, compression=None) as (peer, ws):
        peer.stop_reading()
        sending = asyncio.create_task(ws.send(data))
        await until(lambda: ws.is_blocked)
        ws.ping(b"between")
        peer.go_on_reading()
        frames = []
        async with asyncio.timeout(PATIENCE):
            while not frames or not frames[-1].fin or frames[-1].opcode == PING:
                frames.append(await peer.frame())
        await sending
        place = [item.opcode for item in frames].index(PING)
        assert place < len(frames) - 2
        assert b"".join([item.payload for item in frames if item.opcode != PING]) == data


async def test_the_peer_puts_it_together():
    """M11, from one end to the other, compressed."""
    data = [random.Random(seed).randbytes(300_000) + bytes(300_000) for seed in range(3)]
    received = []

    async def handler(ws):
        received.extend([message async for message in ws])

    async with wsfast.serve(handler, "127.0.0.1", 0, compression="deflate") as server:
        port = server.sockets[0].getsockname()[1]
        uri = f"ws://127.0.0.1:{port}"
        async with wsfast.connect(uri, fragment_size=10_000, compression="deflate") as ws:
            for item in data:
                pong = await ws.ping()
                await ws.send(item)
                await pong
        async with asyncio.timeout(PATIENCE):
            while len(received) < len(data):
                await asyncio.sleep(0)
    assert received == data
