"""Messages of all sizes and kinds, for peers that compress; and the parameters they agree on."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import NamedTuple

# Above this a message is compressed in a thread.
LARGE = 2**17

# As many messages are on their way at once. Node's ws terminates a connection on which 60 pings
# wait, behind its own messages, to be answered.
WINDOW = 400

WORDS = [
    *("alpha", "beta", "gamma", "delta", "grün", "𝄞", "price", "volume", "timestamp", "user"),
    *("subscribe", "channel", '{"id": ', "null", "true", "1234567890", "\r\n", "the same again"),
]


class Setting(NamedTuple):
    """What is agreed on, in the words of RFC 7692, and the threshold of wsfast."""

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int
    threshold: int = 0

    @property
    def agreed(self):
        """All but the threshold, by name."""
        return {name: getattr(self, name) for name in AGREED}

    @property
    def options(self):
        """The options by which a wsfast server states them, or a client requires them."""
        return {name: value or None for name, value in self._asdict().items()} | {
            "threshold": self.threshold
        }


AGREED = Setting._fields[:4]


def agreed(header):
    """What a response agrees on, as `Setting.agreed`; what it does not mention is its default."""
    name, *parameters = header.split("; ")
    assert name == "permessage-deflate"
    found = dict(zip(AGREED, (False, False, 15, 15), strict=True))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        assert name in found
        found[name] = int(value) if value else True
    return found


# Each size of the window in both directions, with takeover on and off on each side. The thresholds
# lie below, in the middle of and above most messages.
SETTINGS = [
    Setting(*takeover, bits, 24 - bits, threshold)
    for (takeover, bits), threshold in zip(
        itertools.product(itertools.product([False, True], repeat=2), range(9, 16)),
        itertools.cycle([0, 300, 5000]),
    )
]

# For peers whose compressors take a window of 9 bits where 8 is agreed on, as those of wsfast do.
WINDOW_8 = [Setting(False, False, 8, 8), Setting(True, True, 8, 8)]


def messages(count, seed=1):
    """Return so many: text and bytes, empty to large, compressible and not, some that repeat.

    Half of the sizes are below 130; a few are so large that they are compressed in a thread.
    """
    rng = random.Random(seed)
    recent = [""]
    found = []
    for number in range(count):
        size = int(2 ** rng.uniform(0, 14)) - 1
        if number % 1000 == 999:
            size = LARGE + rng.randrange(1000)
        kind = rng.randrange(8)
        if kind == 0:
            data = rng.randbytes(size)
        elif kind == 1:
            data = bytes(size)
        elif kind == 2:
            # As far back as it was, more or less of it is in the window.
            data = rng.choice(recent)
        elif kind == 3:
            data = "".join(map(chr, rng.choices(range(0x20, 0x2FA0), k=size // 3)))
        else:
            words = rng.choices(WORDS, k=size // 6 + 1)
            data = " ".join(words)[:size]
            if kind == 4:
                data = data.encode()
        found.append(data)
        recent = [*recent[-20:], data]
    return found


def cut(data):
    """Cut a message in three, of which the middle may be empty."""
    third = len(data) // 3
    return [data[:third], data[third : 2 * third], data[2 * third :]]


async def pieces(data):
    for piece in cut(data):
        yield piece


async def send(ws, number, data):
    """Send a message by wsfast, in one of the ways that there are."""
    match number % 10:
        case 0:
            await ws.send(data, compress=False)
        case 1:
            await ws.send(cut(data))
        case 2:
            await ws.send(cut(data), compress=False)
        case 3:
            await ws.send(pieces(data))
        case 4:
            first, *_ = cut(data)
            await ws.send(first, fin=False)
            await ws.ping()
            await ws.send(data[len(first) :])
        case _:
            await ws.send(data)


async def echo(ws):
    """The handler of a wsfast server that sends everything back, in one way or another."""
    number = 0
    async for message in ws:
        await send(ws, number, message)
        number += 1


async def exchange(ws, sent, send=send):
    """Send all messages of a list, hundreds ahead, and see each come back as it was, in order."""
    window = asyncio.Semaphore(WINDOW)

    async def write():
        for number, data in enumerate(sent):
            await window.acquire()
            await send(ws, number, data)

    writing = asyncio.create_task(write())
    try:
        for number, data in enumerate(sent):
            received = await ws.recv()
            # Compared by hand: pytest would take minutes to explain what differs.
            same = type(received) is type(data) and received == data
            assert same, f"message {number}, {data[:100]!r}, came back as {received[:100]!r}"
            window.release()
        await writing
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
