"""Random streams of frames, valid and broken, and random chunkings.

Everything is chosen by a `random.Random`, or by what hypothesis puts in its place, which then finds
the smallest stream that fails.
"""

from __future__ import annotations

import zlib

from frames import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, ZERO, close, frame

KEYS = [ZERO, KEY, b"\xff\xff\xff\xff", b"\x00\x00\x00\x01", b"\x80\x00\xff\x7f"]
CHARACTERS = [
    "a",
    "z",
    "\0",
    "\x7f",
    "é",
    "߿",
    "ࠀ",
    "€",
    "퟿",
    "\ue000",
    "\uffff",
    "😀",
    "\U0010ffff",
]
BAD_UTF8 = [
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
]
SIZES = [0, 0, 1, 2, 3, 5, 8, 13, 40, 124, 125, 126, 127, 128, 200]
LARGE_SIZES = [4096, 16384, 16385, 65535, 65536, 70000]
GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]


class StreamMaker:
    """Makes streams for one side.

    Args:
        rng: makes the choices.
        client: whether the streams go to a client, and so are not masked.
    """

    def __init__(self, rng, *, client):
        self.rng = rng
        self.client = client

    def key(self):
        return None if self.client else self.rng.choice(KEYS)

    def size(self):
        if self.rng.random() < 0.01:
            return self.rng.choice(LARGE_SIZES)
        return self.rng.choice(SIZES)

    def text(self):
        size = self.size()
        if size > 200 or self.rng.random() < 0.5:
            return "x" * size
        return "".join(self.rng.choice(CHARACTERS) for _ in range(size))

    def payload(self, opcode):
        if opcode == TEXT:
            return self.text().encode()
        size = self.size()
        return (bytes(range(256)) * (size // 256 + 1))[:size]

    def control(self):
        """A valid ping or pong."""
        opcode = self.rng.choice([PING, PONG])
        return frame(opcode, b"control "[: self.rng.randrange(9)], key=self.key())

    def message(self):
        """A valid message: its frames, its opcode, and what is handed out of it."""
        opcode = self.rng.choice([TEXT, BINARY])
        payload = self.payload(opcode)
        data = payload.decode() if opcode == TEXT else payload
        return self.frames(opcode, payload), opcode, data

    def frames(self, opcode, payload, rsv=0):
        """A message in one frame, or in some."""
        count = self.rng.choice([1, 1, 1, 2, 3, 5])
        cuts = sorted(self.rng.randrange(len(payload) + 1) for _ in range(count - 1))
        frames = []
        for i, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(payload)], strict=True)):
            if i and self.rng.random() < 0.2:
                frames.append(self.control())
            part = payload[start:end]
            opcode_of_part = CONT if i else opcode
            bits = 0 if i else rsv
            frames.append(frame(opcode_of_part, part, fin=i == count - 1, rsv=bits, key=self.key()))
        return frames

    def close(self):
        """A valid close frame."""
        if self.rng.random() < 0.2:
            return close(key=self.key())
        reason = "".join(self.rng.choice(CHARACTERS) for _ in range(self.rng.choice([0, 1, 9])))
        return close(self.rng.choice(GOOD_CODES), reason, key=self.key())

    def valid(self):
        """The frames of a valid stream, and the messages in it as (opcode, data)."""
        frames, messages = [], []
        for _ in range(self.rng.choice([0, 1, 1, 2, 3, 6, 20])):
            if self.rng.random() < 0.2:
                frames.append(self.control())
            else:
                more, opcode, data = self.message()
                frames += more
                messages.append((opcode, data))
        if self.rng.random() < 0.3:
            frames.append(self.close())
        return frames, messages

    def broken_frame(self):
        """A frame that is wrong by itself, or may be where it comes."""
        rng = self.rng
        opcode = rng.choice([CONT, TEXT, BINARY, CLOSE, PING, PONG])
        payload = self.payload(opcode)[:100]
        key = self.key()
        kind = rng.randrange(10)
        if kind == 0:
            return frame(opcode, payload, rsv=rng.randrange(1, 8), key=key)
        if kind == 1:
            opcode = rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
            return frame(opcode, payload, fin=rng.random() < 0.5, key=key)
        if kind == 2:
            return frame(opcode, payload, key=ZERO if key is None else None)
        if kind == 3:
            return frame(opcode, payload, key=key, width=rng.choice([16, 64]))
        if kind == 4:
            length = rng.choice([2**63, 2**64 - 1, 2**63 - 1, 2**31, 2**32 + 5, 70000])
            return frame(opcode, payload, key=key, length=length)
        if kind == 5:
            opcode = rng.choice([CLOSE, PING, PONG])
            if rng.random() < 0.5:
                return frame(opcode, payload, fin=False, key=key)
            return frame(opcode, bytes(rng.choice([126, 200])), key=key)
        if kind == 6:
            return close(rng.choice(BAD_CODES), key=key)
        if kind == 7:
            return close(1000, rng.choice(BAD_UTF8), key=key)
        if kind == 8:
            return frame(CLOSE, b"\x03", key=key)
        bad = payload[: rng.randrange(20)] + rng.choice(BAD_UTF8)
        if rng.random() < 0.5:
            bad += payload[: rng.randrange(20)]
        return frame(rng.choice([TEXT, CONT]), bad, fin=rng.random() < 0.7, key=key)

    def broken(self):
        """A stream that is probably not valid: frames out of place, wrong frames, wrong bytes."""
        rng = self.rng
        frames, _ = self.valid()
        for _ in range(rng.choice([0, 1, 1, 2])):
            frames.insert(rng.randrange(len(frames) + 1), self.broken_frame())
        if frames and rng.random() < 0.3:
            other = rng.randrange(len(frames))
            frames[other], frames[-1] = frames[-1], frames[other]
        if frames and rng.random() < 0.2:
            del frames[rng.randrange(len(frames))]
        stream = bytearray(b"".join(frames))
        if stream and rng.random() < 0.4:
            for _ in range(rng.choice([1, 1, 2, 5])):
                # Most of the interesting bytes are those of the first headers.
                place = rng.randrange(len(stream)) if rng.random() < 0.5 else rng.randrange(14)
                if place < len(stream):
                    stream[place] ^= 1 << rng.randrange(8)
        if stream and rng.random() < 0.1:
            place = rng.randrange(len(stream))
            del stream[place : place + rng.choice([1, 2, 5])]
        return bytes(stream)

    def stream(self):
        """A stream, valid or not."""
        if self.rng.random() < 0.4:
            return b"".join(self.valid()[0])
        return self.broken()

    def chunks(self, stream):
        """The stream cut at random places, down to one byte."""
        rng = self.rng
        largest = rng.choice([1, 3, 10, 100, 4096, len(stream) + 1])
        if len(stream) > 100 * largest:
            largest = 4096
        chunks = []
        position = 0
        while position < len(stream):
            size = largest if largest == 1 else rng.randrange(1, largest + 1)
            chunks.append(stream[position : position + size])
            position += size
        return chunks


class CompressingStreamMaker(StreamMaker):
    """Makes streams of which most messages are compressed (RFC 7692).

    Args:
        takeover: whether messages refer to those before.
        bits: of the window.
    """

    def __init__(self, rng, *, client, takeover=True, bits=15):
        super().__init__(rng, client=client)
        self.takeover = takeover
        self.bits = bits
        self.compressor = None

    def payload(self, opcode):
        if self.rng.random() < 0.05:
            return b"\0" * 100_000  # hardly anything on the wire
        return super().payload(opcode)

    def message(self):
        rng = self.rng
        if rng.random() < 0.2:
            return super().message()
        opcode = rng.choice([TEXT, BINARY])
        payload = self.payload(opcode)
        data = payload.decode() if opcode == TEXT else payload
        return self.frames(opcode, self.compress(payload), rsv=4), opcode, data

    def compress(self, payload):
        """A message as a compressor makes it, or as one may."""
        rng = self.rng
        if self.compressor is None:
            self.compressor = zlib.compressobj(rng.choice([0, 1, 6, 9]), wbits=-self.bits)
        compressor = self.compressor
        cut = rng.randrange(len(payload) + 1)
        out = compressor.compress(payload[:cut])
        if rng.random() < 0.2:
            out += compressor.flush(rng.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
        out += compressor.compress(payload[cut:])
        final = rng.random() < 0.2
        if final or not self.takeover:
            self.compressor = None
        if final:
            return out + compressor.flush(zlib.Z_FINISH) + rng.choice([b"\0", b"\0", b""])
        return (out + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def broken_frame(self):
        rng = self.rng
        if rng.random() < 0.5:
            return super().broken_frame()
        payload = bytearray(self.compress(self.payload(BINARY)))
        kind = rng.randrange(4)
        if kind == 0:
            payload = payload[: rng.randrange(len(payload) + 1)]
        elif kind == 1 and payload:
            payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            payload += rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\xff\xff", b"\3\0", b"\1"])
        else:
            payload = self.compress(rng.choice(BAD_UTF8))
        opcode = rng.choice([TEXT, BINARY, CONT])
        bits = rng.choice([4, 4, 4, 0, 5])
        return frame(opcode, payload, fin=rng.random() < 0.8, rsv=bits, key=self.key())
