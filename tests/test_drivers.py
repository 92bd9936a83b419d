"""The drivers, over real sockets: the same bytes give the same, whoever moves them.

The streams are those of the differential test, with more and larger frames among them: such the
epoll driver reads to where they stay, and sends from where they are.
"""

import asyncio
import random
import ssl

import pytest
from frames import CLOSE, read_frames
from peers import PATIENCE, client_of
from streams import StreamMaker

import wsfast
from wsfast import engine

SEEDS = 40


class LargeStreams(StreamMaker):
    """Streams in which every fourth frame is large."""

    def size(self):
        if self.rng.random() < 0.25:
            return self.rng.choice([16384, 65535, 65536, 100_000, 300_000, 600_000])
        return super().size()

    def text(self):
        text = super().text()
        if len(text) > 200 and self.rng.random() < 0.3:
            place = self.rng.randrange(len(text))
            text = text[:place] + "é€😀" + text[place:]
        return text


@pytest.fixture(autouse=True)
def available():
    if not engine.choose(None):
        pytest.skip("there is one driver only")


class Recorder:
    """An echo server, in either style, and all that it was told of its only connection."""

    def __init__(self, style):
        self.events = []
        self.over = asyncio.Event()
        self.style = style

    def end(self, ws):
        error = ws.error
        what = None if error is None else (type(error).__name__, str(error))
        self.events.append(("closed", ws.close_code, ws.close_reason, ws.was_clean, what))
        self.over.set()

    async def handle(self, ws):
        try:
            async for data in ws:
                self.events.append(data)
                await ws.send(data)
        except wsfast.ConnectionClosed:
            pass
        await ws.wait_closed()
        self.end(ws)

    def serve(self, **options):
        if self.style == "coroutines":
            return wsfast.serve(self.handle, "127.0.0.1", 0, **options)
        server = wsfast.WebSocketServer("127.0.0.1", 0, **options)

        @server.on("connection")
        def connection(ws, request):
            @ws.on("message")
            def message(data, is_binary):
                self.events.append(data)
                ws.send(data)

            ws.on("close", lambda code, reason: self.end(ws))

        return server


async def play(driver, style, chunks, tls=None, **options):
    """What a stream gives: the events of the server, and what it sent."""
    recorder = Recorder(style)
    server_tls, client_tls = tls or (None, None)
    async with (
        asyncio.timeout(PATIENCE),
        recorder.serve(driver=driver, ssl=server_tls, **options) as server,
        # It reads ahead all: uvloop's TLS loses data if the end comes while it does not read.
        client_of(server, ssl=client_tls, limit=2**24) as peer,
    ):

        async def send():
            for chunk in chunks:
                peer.write(chunk)
                await peer.writer.drain()
            if tls is None:
                peer.write_eof()

        sending = asyncio.create_task(send())
        answer = await peer.rest()
        await sending
        peer.writer.close()
        await recorder.over.wait()
    if style == "listeners":
        return recorder.events, answer
    # What a task answers to a read comes behind the pongs for all of that read.
    frames = read_frames(answer)
    return (
        recorder.events,
        [x for x in frames if x.opcode < CLOSE],
        [x for x in frames if x.opcode >= CLOSE],
    )


@pytest.mark.parametrize("style", ["listeners", "coroutines"])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_they_agree_on_random_streams(style, seed):
    maker = LargeStreams(random.Random(seed), client=False)
    chunks = maker.chunks(maker.stream())
    options = {
        "max_size": maker.rng.choice([2**20, 2**20, 70_000]),
        "fragment_size": maker.rng.choice([None, None, 50_000]),
    }
    on_asyncio = await play("asyncio", style, chunks, **options)
    on_epoll = await play("epoll", style, chunks, **options)
    assert on_epoll == on_asyncio


@pytest.mark.parametrize("style", ["listeners", "coroutines"])
@pytest.mark.parametrize("seed", range(SEEDS // 4))
async def test_they_agree_on_random_valid_streams_over_tls(style, seed, authority):
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    maker = LargeStreams(random.Random(seed), client=False)
    chunks = maker.chunks(b"".join(maker.valid()[0]) + maker.close())
    results = [
        await play(driver, style, chunks, tls=(server_tls, client_tls))
        for driver in ("asyncio", "epoll")
    ]
    assert results[0] == results[1]
