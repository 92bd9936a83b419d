"""Random scripts of input and calls, and their run on a backend: see test_differential.py.

A script is data, so that it can be run on each backend and be shown. Its run gives a trace, a list
of all that can be observed, in order. What depends on the clock is left out: when exactly held
bytes leave (their order counts, and that nothing is held when the stream ends).
"""

from __future__ import annotations

import asyncio
from itertools import count

from deflating import let_compress, make_parameters
from frames import BINARY, frame
from streams import CompressingStreamMaker, StreamMaker
from twins import FakeLoop, describe

from wsfast.data_types import BINARY_TYPES, TEXT_TYPES
from wsfast.exceptions import ProtocolError, WebSocketException
from wsfast.options import Options

LEVELS = ("reader", "protocol", "connection")

COUNTERS = (
    "messages_received",
    "messages_sent",
    "frames_received",
    "frames_sent",
    "fragments_received",
    "fragments_sent",
    "bytes_received",
    "bytes_sent",
    "wire_bytes_received",
    "wire_bytes_sent",
    "biggest_received",
    "biggest_sent",
    "pings_received",
    "pings_sent",
    "pongs_received",
    "pongs_sent",
)


# Scripts


def make_options(rng):
    return {
        "max_size": rng.choice([2**20] * 8 + [None, None, 1, 10, 126, 300]),
        "max_frame_size": rng.choice([None] * 9 + [5, 125, 126]),
        "max_fragments": rng.choice([131072] * 6 + [None, 1, 2, 3]),
        "skip_utf8_validation": rng.random() < 0.1,
    }


def make_types(rng):
    """Unusual types of messages, sometimes."""
    return {
        "auto_pong": rng.random() < 0.9,
        "binary_type": rng.choice(["bytes"] * 6 + [*BINARY_TYPES]),
        "text_type": rng.choice(["str"] * 6 + ["bytes"]),
    }


def make_more_options(rng):
    return {
        **make_options(rng),
        **make_types(rng),
        "fragment_size": rng.choice([None, None, 1, 7, 126]),
        "max_queue": rng.choice([16, 1, 2, 4, None]),
        "write_limit": 10,
        "max_write_buffer": rng.choice([100, None]),
    }


def make_script(level, rng):
    """A script for a level."""
    client = rng.random() < 0.5
    deflate = make_deflate(rng) if rng.random() < 0.4 else None
    if deflate is None:
        maker = StreamMaker(rng, client=client)
    else:
        takeover = deflate["peer_takeover"] or rng.random() < 0.1
        bits = max(deflate["peer_window_bits"], 9)
        maker = CompressingStreamMaker(rng, client=client, takeover=takeover, bits=bits)
    stream = maker.stream()
    if level == "connection" and rng.random() < 0.03:
        stream = maker.control() * rng.choice([255, 256, 600]) + stream
        stream = maker.message()[0][-1] * 0 + b"".join(maker.valid()[0] * 40) + stream
    chunks = maker.chunks(stream)
    if level == "reader":
        steps = [("feed", chunk, rng.randrange(3)) for chunk in chunks]
        for _ in range(rng.choice([0, 0, 1, 3])):
            name = rng.choice(["fragments", "fragments", "boundaries", "decode_text"])
            steps.insert(rng.randrange(len(steps) + 1), (name, rng.random() < 0.5))
        options = {**make_options(rng), "fragments": rng.random() < 0.3}
        # The bits that extensions in Python have.
        rsv = rng.choice([0, 0, 0, 0, 1, 6, 7]) if deflate is None else 0
        kind = {"client": client, "options": options, "deflate": deflate, "rsv": rsv}
        return {**kind, "steps": steps}
    reactions = [make_reaction(rng, level) for _ in range(rng.choice([0, 1, 3, 6]))]
    calls = make_call if level == "protocol" else make_connection_call
    if level == "protocol":
        steps = [("receive", chunk, rng.randrange(3)) for chunk in chunks]
    else:
        steps = [("received", chunk, rng.randrange(3), rng.random() < 0.1) for chunk in chunks]
    for _ in range(rng.choice([0, 1, 3, 10, 20])):
        step = make_rest(rng) if deflate and rng.random() < 0.1 else calls(rng)
        steps.insert(rng.randrange(len(steps) + 1), step)
    if level == "connection":
        begin = rng.choice(["listen", "consume", "consume", "iterate", "fragments", "pass"])
        steps.insert(0, (begin, True) if begin == "fragments" else (begin,))
        if begin == "fragments":
            steps.insert(1, ("consume fragments",))
        if rng.random() < 0.1:
            steps.insert(rng.randrange(1, len(steps) + 1), ("close", 1000, ""))
        if rng.random() < 0.1:
            place = rng.randrange(1, len(steps) + 1)
            steps[place:place] = [("lost", rng.random() < 0.5), ("live again",)]
        if rng.random() < 0.1:
            steps.insert(0, ("receive_soon", maker.control() + b"".join(maker.message()[0])))
    return {
        "client": client,
        "options": make_more_options(rng),
        "deflate": deflate,
        "reactions": reactions,
        "settles": [rng.random() < 0.7 for _ in range(rng.choice([0, 0, 3]))],
        "steps": steps,
    }


def make_deflate(rng):
    """What was agreed on compression, as changes of the parameters."""
    return {
        "takeover": rng.random() < 0.7,
        "peer_takeover": rng.random() < 0.7,
        "window_bits": rng.choice([9, 12, 15]),
        "peer_window_bits": rng.choice([8, 9, 12, 15, 15, 15]),
        "threshold": rng.choice([0, 0, 5, 130]),
        "dictionary": rng.choice([None, None, None, b"text and bytes"]),
        "deflate_chunk_size": rng.choice([None, None, 64]),
        "inflate_chunk_size": rng.choice([None, None, 64]),
    }


def make_rest(rng):
    """A call of the contexts."""
    return rng.choice([("rest", 100.0), ("rest", 200.0), ("rest", 1e9), ("forget",)])


DATA = [
    *("", "text", "é€😀" * 5, "x" * 126, "y" * 20_000, "\ud800"),
    *(b"", b"\x00\xff", b"b" * 130, b"z" * 20_000, b"\xc3\xa9", b"\xff"),
    *(bytearray(b"array"), memoryview(b"view" * 50)),
]


def make_data(rng):
    return rng.choice(DATA)


def make_send(rng):
    options = {}
    if rng.random() < 0.3:
        options["binary"] = rng.choice([True, False])
    if rng.random() < 0.3:
        options["fin"] = rng.choice([True, False, False])
    if rng.random() < 0.2:
        options["compress"] = rng.choice([True, False])
    return make_data(rng), options


def make_close(rng):
    code = rng.choice([1000, 1000, 1001, 3000, 4999, None, 1005, 1006, 999, "1000", True])
    return code, rng.choice(["", "", "bye", "€" * 41, "€" * 42, b"bytes"])


def make_call(rng):
    """A call of a Protocol."""
    kind = rng.randrange(8)
    if kind <= 2:
        return ("message", *make_send(rng))
    if kind == 3:
        return (rng.choice(["ping", "pong"]), rng.choice([b"", b"p", b"p" * 125, b"p" * 126, "p"]))
    if kind == 4:
        return ("close", *make_close(rng))
    if kind == 5:
        return ("fail", rng.choice(["oops", "€" * 50, ""]), rng.choice([1011, 1002, 1006, 4000]))
    if kind == 6:
        return rng.choice(
            [
                ("fragments", rng.random() < 0.5),
                ("text_type", rng.choice([*TEXT_TYPES, "bytearray"])),
                ("binary_type", rng.choice([*BINARY_TYPES, "blob"])),
                ("tells_pings", rng.random() < 0.7),
            ]
        )
    return rng.choice([("receive_eof",), ("receive", b"", 0)])


def make_connection_call(rng):
    """A call of a Connection, or of its driver or loop."""
    kind = rng.randrange(17)
    if kind <= 3:
        return ("send", *make_send(rng))
    if kind == 4:
        return make_call(rng)
    if kind <= 6:
        return ("pass",)
    if kind <= 8:
        return rng.choice([("pause",), ("resume",), ("resume",), ("discard",)])
    if kind <= 10:
        return rng.choice([("block",), ("writable",), ("writable",), ("overflow",)])
    if kind == 11:
        return (rng.choice(["consume", "iterate", "consume fragments", "cancel", "cancel"]),)
    if kind == 12:
        return rng.choice([("listen",), ("unlisten",), ("deliver_soon",)])
    if kind == 13:
        return rng.choice([("cork",), ("uncork",), ("uncork",)])
    if kind == 14:
        return rng.choice([("recv", None), ("recv", True), ("recv", False), ("drain",)])
    if kind == 15:
        return rng.choice([("broadcast", b"broadcast"), ("tick", 1e9), ("idle",), ("idle",)])
    return rng.choice([("eof",), ("lost", False), ("lost", True), ("abort",), ("live again",)])


def make_reaction(rng, level):
    """What the user does when a message comes."""
    kind = rng.randrange(8)
    if kind <= 2:
        return ("echo",)
    if kind == 3:
        return ("close", *make_close(rng))
    if kind == 4:
        return rng.choice([("raise",), ("fail", "reaction", 1008), ("ping", b"reaction")])
    if kind == 5 and level == "connection":
        return rng.choice([("pause",), ("resume",), ("discard",), ("unlisten",), ("deliver_soon",)])
    return ("nothing",)


# Runs


class UserError(Exception):
    """Raised by a reaction."""


class Failure(WebSocketException):
    """What a script fails a connection with."""

    def __init__(self, words, close_code):
        super().__init__(words)
        self.close_code = close_code


def lent(data, kind):
    """The data as one of three kinds of buffer, and a function that spoils it afterwards."""
    if kind == 0:
        return data, lambda: None
    buffer = bytearray(data)

    def spoil():
        buffer[:] = b"\xaa" * len(buffer)

    return (memoryview(buffer) if kind == 1 else buffer), spoil


def keys():
    """Deterministic masking keys; every fourth is zero."""
    for number in count():
        yield bytes(4) if number % 4 == 3 else (number * 0x01234567 & 0xFFFFFFFF).to_bytes(4, "big")


def plain(value):
    """A value with its type, as str and bytes must not be mixed up."""
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, memoryview):
        return "memoryview", bytes(value), value.readonly
    return type(value).__name__, value


def call(function, *arguments, **options):
    """The result of a call, or what it raised."""
    try:
        return plain(function(*arguments, **options))
    except Exception as error:
        if isinstance(error, (WebSocketException, UserError, UnicodeError)):
            return describe(error)
        return type(error).__name__


def run(level, backend, script):
    """The trace of a script on a backend."""
    return RUNNERS[level](backend, script)


def run_reader(backend, script):
    trace = []
    reader = backend.parser.FrameReader(client=script["client"], **script["options"])
    if script["deflate"] is not None:
        reader.allow(4, backend.deflate.Deflate(make_parameters(**script["deflate"])))
    elif script["rsv"]:
        reader.allow(script["rsv"], None)
    for step in script["steps"]:
        if step[0] != "feed":
            setattr(reader, *step)
            continue
        data, spoil = lent(*step[1:])
        reader.feed(data)
        spoil()
        trace.append(reader.pending)
        while True:
            try:
                item = reader.next()
            except ProtocolError as error:
                trace.append(describe(error))
                item = None
            else:
                trace.append(plain(item))
                if script["rsv"] and item is not None and item[0] < 8:
                    trace.append(reader.message_rsv)
            trace.append((reader.state, reader.pending, bool(reader.fragments)))
            if item is None:
                break
        trace.append((reader.frames_read, reader.fragments_read, reader.bytes_read))
        trace.append(reader.biggest_read)
    return trace


class Run:
    """What the runs of Protocol and Connection have in common: it is mixed into either.

    ``trace`` is what is observed, ``reactions`` what the user does at the next messages.
    """

    def prepare(self, script):
        self.trace = []
        self.reactions = iter(script["reactions"])
        self.settles = iter(script["settles"])

    def on_control(self, opcode, data):
        self.trace.append(("control", opcode, plain(data)))

    def on_closing(self):
        self.trace.append(("closing", self.state.name, plain(self.close_sent)))

    def on_closed(self):
        self.trace.append(("closed", self.state.name))

    def react(self, data):
        """Do what the script has for this message."""
        name, *arguments = next(self.reactions, ("nothing",))
        if name == "raise":
            raise UserError("a bug of the user")
        if name == "echo":
            self.trace.append(call(self.message, data))
        elif name == "fail":
            self.fail(Failure(*arguments))
        elif name == "unlisten":
            self.message_listener = None
        elif name != "nothing":
            self.trace.append(call(getattr(self, name), *arguments))

    def note(self, *entry):
        """Add an entry, and all that can be seen of the connection."""
        self.trace.append(entry)
        self.trace.append(
            (
                self.state.name,
                self.close_code,
                self.close_reason,
                plain(self.close_sent),
                plain(self.close_received),
                describe(self.error),
                str(self.closed_error()),
                self.fragments,
                *(getattr(self, name) for name in COUNTERS),
            )
        )

    def step(self, name, *arguments):
        """Do a step that is the same for Protocol and Connection."""
        if name in ("message", "send"):
            return call(getattr(self, name), arguments[0], **arguments[1])
        if name == "fail":
            return call(self.fail, Failure(*arguments))
        if name in ("fragments", "text_type", "binary_type", "tells_pings"):
            return call(setattr, self, name, *arguments)
        if name in ("rest", "forget"):
            return call(getattr(self.deflate, name), *arguments)
        if name in ("receive", "received"):
            data, spoil = lent(*arguments[:2])
            try:
                return call(getattr(self, name), data)
            finally:
                spoil()
        return call(getattr(self, name), *arguments)


class ProtocolRun(Run):
    def on_message(self, opcode, data, fin):
        self.trace.append(("message", opcode, plain(data), fin))
        self.react(data)

    def write(self, *buffers):
        self.trace.append(("write", b"".join(buffers)))

    def write_eof(self):
        self.trace.append("end")

    def settle(self):
        settled = next(self.settles, True)
        self.trace.append(("settle", settled))
        return settled


def run_protocol(backend, script):
    cls = type("ProtocolRun", (ProtocolRun, backend.protocol.Protocol), {})
    made = keys()
    protocol = cls(
        Options(**script["options"]),
        client=script["client"],
        generate_mask=lambda: next(made),
    )
    protocol.prepare(script)
    if script["deflate"] is not None:
        let_compress(backend, protocol, **script["deflate"])
    for step in script["steps"]:
        protocol.note(step[0], protocol.step(*step))
    protocol.note("receive", protocol.step("receive", b"", 0))
    protocol.note("end", protocol.step("receive_eof"))
    return protocol.trace


class Driver:
    """Records into a trace. What is written counts when the stream ends, and at the end."""

    def __init__(self, trace):
        self.trace = trace
        self.sent = b""
        self.waiting = 0
        self.is_lost = False

    def write(self, connection, buffers):
        assert not self.is_lost
        self.sent += b"".join(buffers)
        return self.waiting

    def pause(self, connection):
        self.trace.append("pause")

    def resume(self, connection):
        self.trace.append("resume")

    def shutdown_write(self, connection):
        self.trace.append(("shutdown_write", self.sent))

    def abort(self, connection):
        self.trace.append(("abort", self.sent))

    def get_extra_info(self, connection, name, default=None):
        return 0


class ConnectionRun(Run):
    def prepare(self, script, trace):
        super().prepare(script)
        self.trace = trace
        self.task = None
        self.tasks = []
        self.corks = []
        self.has_eof = False

    def listener_failed(self, error):
        self.trace.append(("listener failed", describe(error)))

    def send_failed(self, error):
        self.trace.append(("send failed", describe(error)))

    def on_deadline(self, now):
        self.trace.append(("deadline", now))
        return now + 1

    def listener(self, data, is_binary):
        self.trace.append(("listener", plain(data), is_binary))
        self.react(data)

    async def consume(self, how):
        try:
            if how == "iterate":
                async for item in self:
                    await self.take(item, item)
                self.trace.append("no more messages")
            while how == "consume":
                item = await self.recv()
                await self.take(item, item)
            while how == "consume fragments":
                item = await self.recv_fragment()
                await self.take(item, item[1])
        except asyncio.CancelledError:
            self.trace.append("cancelled")
            raise
        except Exception as error:
            self.trace.append(("consumer ends", describe(error)))

    async def take(self, item, data):
        self.trace.append(("received", plain(item)))
        self.react(data)
        if len(data) % 3 == 1:
            await self.drain()

    async def await_it(self, awaitable):
        try:
            self.trace.append(("awaited", plain(await awaitable)))
        except Exception as error:
            self.trace.append(("awaited", describe(error)))

    def start(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.append(task)
        return task

    def perform(self, name, *arguments):
        """Do a step; what it gives."""
        loop, driver = self.loop, self.driver
        if name == "received":
            if self.has_eof or driver.is_lost:
                return None
            data, kind, in_task = arguments
            if not in_task:
                return self.step(name, data, kind)

            async def receive():
                self.trace.append(self.step(name, data, kind))

            self.start(receive())
            return loop.run_pending()
        if name == "pass":
            return loop.run_pending()
        if name == "idle":
            loop.run_until_idle()
            return None
        if name in ("block", "overflow"):
            self.block(name)
            return None
        if name == "writable":
            driver.waiting = 0
            return call(self.writable)
        if name in ("consume", "iterate", "consume fragments"):
            if self.task is None or self.task.done():
                self.task = self.start(self.consume(name))
            return None
        if name == "cancel":
            return self.task.cancel() if self.task is not None else None
        if name == "listen":
            self.message_listener = self.listener
            return None
        if name == "unlisten":
            self.message_listener = None
            return None
        if name == "cork":
            loop.run_until_idle()  # so that nothing is held already
            self.corks.append(self.cork())
            self.corks[-1].__enter__()
            return None
        if name == "uncork":
            if self.corks:
                self.corks.pop().__exit__(None, None, None)
            return None
        if name == "send":
            return self.send_and_await(*arguments)
        if name in ("recv", "drain"):
            awaitable = getattr(self, name)(*arguments)
            self.start(self.await_it(awaitable))
            return None
        if name == "broadcast":
            data = arguments[0]
            left_out = self.send_to_all((self,), data, len(data), False, self.compressed(data))
            return left_out == [self]
        if name == "receive_eof" or name == "receive":
            return None  # of Protocol
        if name == "live again":
            return self.live_again()
        if name == "eof":
            if self.has_eof or driver.is_lost:
                return None
            self.has_eof = True
            return call(self.eof)
        if name == "lost":
            loop.run_until_idle()  # what is held is lost, and when it was sent depends on the clock
            driver.is_lost = True
            return call(self.lost, OSError(104, "Connection reset") if arguments[0] else None)
        if name == "abort":
            loop.run_until_idle()
            return call(self.abort, Failure("abort", 1006))
        return self.step(name, *arguments)

    def live_again(self):
        """Begin another life, which is refused before the end of the one before."""
        sent = self.driver.sent
        result = call(self.begin)
        if result == plain(None):
            self.has_eof = False
            self.trace.append(("sent", sent))
        return result

    def block(self, name):
        """Let the driver report that the peer is slow, at a time that is the same on both."""
        limit = self.options.max_write_buffer
        self.loop.run_until_idle()
        if self.state.name != "OPEN" or self.corks or (name == "overflow" and limit is None):
            return
        self.driver.waiting = 11 if name == "block" else limit + 1
        self.ping(b"block")
        self.loop.run_pending()

    def send_and_await(self, data, options):
        """Send, and by the size of the data await the result now, later, or never."""
        try:
            awaitable = self.send(data, **options)
        except Exception as error:
            return describe(error)
        if len(data) % 2 == 0:
            self.start(self.await_it(awaitable))
        return None

    def observe(self, *entry):
        self.note(*entry)
        self.trace.append(
            (
                self.is_paused,
                self.is_reading,
                self.is_blocked,
                self.is_sending_fragments,
                self.messages_dropped,
            )
        )


def run_connection(backend, script):

    def compressed(data):
        alone = backend.deflate.compress_alone
        return lambda parameters: frame(BINARY, alone(parameters, data), rsv=4)

    attributes = {
        "send_to_all": staticmethod(backend.broadcast.send_to_all),
        "compressed": staticmethod(compressed),
    }
    cls = type("ConnectionRun", (ConnectionRun, backend.core.Connection), attributes)
    made = keys()
    loop = FakeLoop()
    trace = []

    def begin(connection):
        backend.core.Connection.__init__(
            connection,
            Options(**script["options"]),
            Driver(trace),
            loop,
            client=script["client"],
            generate_mask=lambda: next(made),
        )
        if script["deflate"] is not None:
            let_compress(backend, connection, **script["deflate"])
        connection.deadline = 1e8

    cls.begin = begin
    connection = cls.__new__(cls)
    begin(connection)
    connection.prepare(script, trace)
    for step in script["steps"]:
        connection.observe(step[0], connection.perform(*step))
    connection.observe("uncork", *[connection.perform("uncork") for _ in list(connection.corks)])
    connection.observe("writable", connection.perform("writable"))
    connection.observe("resume", connection.perform("resume"))
    loop.run_until_idle()
    connection.observe("idle")
    trace.append(connection.driver.sent)
    trace.append(connection.buffered_amount)
    connection.observe("lost", connection.perform("lost", False))
    loop.run_until_idle()
    connection.perform("cancel")
    loop.run_until_idle()
    connection.observe("idle")
    trace.append(connection.buffered_amount)
    trace.append([task.done() for task in connection.tasks])
    trace.append(len(loop.problems))
    # The tasks refer to the connection and the other way round.
    connection.tasks.clear()
    connection.task = None
    return trace


RUNNERS = {"reader": run_reader, "protocol": run_protocol, "connection": run_connection}
