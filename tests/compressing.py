"""Raw peers that compress, and a zlib module that the tests can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import weakref
import zlib

from deflating import TAIL, recording_zlib
from peers import CLOSE, PATIENCE, Accepted, client_of

import wsfast
from wsfast.extensions import PerMessageDeflate
from wsfast.offload import LARGE

OFFER = "permessage-deflate"
RSV1 = 0x40  # as `Peer.frame` has it, beside the opcode


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


class Reader:
    """Reads the messages of a peer, and inflates them."""

    def __init__(self, peer):
        self.peer = peer
        self.inflater = zlib.decompressobj(-15)
        self.controls = []
        self.frames = []

    async def message(self):
        data, first = b"", None
        while True:
            frame = await self.peer.frame()
            self.frames.append(frame)
            if frame.opcode & 0x0F >= CLOSE:
                self.controls.append(frame)
                if frame.opcode == CLOSE:
                    return frame
                continue
            first = frame if first is None else first
            data += frame.payload
            if frame.fin:
                break
        return self.inflater.decompress(data + TAIL) if first.opcode & RSV1 else data


@contextlib.asynccontextmanager
async def deflating_client(offer=OFFER, **options):
    """A raw client that has agreed on compression, a reader of it, and the server's end."""
    handler = Accepted()
    options = {"compression": True, "max_size": None, **options}
    async with (
        wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
        client_of(server, limit=2**22, Sec_WebSocket_Extensions=offer) as peer,
    ):
        yield peer, Reader(peer), await handler.get()


class Gate:
    """A zlib module whose compressors wait with large data until the gate is opened.

    Attributes:
        module: for `PerMessageDeflate`.
        running: how many threads are waiting now; ``most``: were at once.
        error: what the next of them raises.
        compressors: those that are alive.
    """

    def __init__(self):
        self.running = self.most = 0
        self.error = None
        self.compressors = weakref.WeakSet()
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self.module, _, _ = recording_zlib()
        self.module.compressobj = self._make

    def open(self):
        self._opened.set()

    def shut(self):
        self._opened.clear()

    def _make(self, *arguments):
        made = Compressor(self, zlib.compressobj(*arguments))
        self.compressors.add(made)
        return made

    def passes(self, data):
        if len(data) < LARGE or threading.current_thread() is threading.main_thread():
            return
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        opened = self._opened.wait(PATIENCE)
        with self._lock:
            self.running -= 1
        assert opened, "the gate was not opened"
        if self.error is not None:
            error, self.error = self.error, None
            raise error


class Compressor:
    def __init__(self, gate, compressor):
        self._gate = gate
        self._compressor = compressor
        self.flush = compressor.flush

    def compress(self, data):
        self._gate.passes(data)
        return self._compressor.compress(data)


def compression(gate, **options):
    return PerMessageDeflate(zlib=gate.module, max_window_bits=15, **options)


SEEDS = iter(range(10**6))


def large(size=LARGE):
    """A large message of its own; what refers to another shows when that was lost."""
    return noise(size // 4, next(SEEDS)) * 4
