"""The two backends by name, and what stands in for the socket and the event loop of a connection.

With ``--backend`` the tests run on one of the two, without it on both. Either is imported by its
name, so that a compiled module that is missing or shadowed cannot be taken for its twin.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections import deque
from typing import Any, NamedTuple

from frames import ZERO, pieces, read_frames

from wsfast.exceptions import ProtocolError
from wsfast.options import Options


class Backend(NamedTuple):
    """The modules of one backend."""

    name: str
    mask: Any
    frame: Any
    parser: Any
    deflate: Any
    protocol: Any
    queue: Any
    waiter: Any
    writing: Any
    core: Any
    broadcast: Any

    def __str__(self):
        return self.name


def load(name, prefix):
    modules = Backend._fields[1:]
    return Backend(name, *[importlib.import_module(f"wsfast.{prefix}{x}") for x in modules])


PURE = load("pure", "_pure.")
try:
    COMPILED = load("compiled", "_")
except ImportError:
    COMPILED = None

BOTH = [backend for backend in (COMPILED, PURE) if backend is not None]
# What `--backend` set; see conftest.py.
CHOSEN = os.environ.get("WSFAST_PURE")
BACKENDS = BOTH if CHOSEN is None else [PURE if CHOSEN == "1" else COMPILED]


class RecordingDriver:
    """Records what a connection asks of its driver.

    ``waiting`` is what `write` reports as not yet taken by the peer.
    """

    def __init__(self):
        self.calls = []
        self.writes = []
        self.waiting = 0

    @property
    def sent(self):
        """All bytes that were written."""
        return b"".join(self.writes)

    @property
    def frames(self):
        """All frames that were written."""
        return read_frames(self.sent)

    def names(self):
        """The calls without their arguments."""
        return [call if isinstance(call, str) else call[0] for call in self.calls]

    def forget(self):
        """Record from here."""
        self.calls.clear()
        self.writes.clear()

    def write(self, connection, buffers):
        data = b"".join(buffers)
        self.calls.append(("write", data))
        self.writes.append(data)
        return self.waiting

    def pause(self, connection):
        self.calls.append("pause")

    def resume(self, connection):
        self.calls.append("resume")

    def shutdown_write(self, connection):
        self.calls.append("shutdown_write")

    def abort(self, connection):
        self.calls.append("abort")

    def get_extra_info(self, connection, name, default=None):
        return self.waiting if name == "buffered" else default


class FakeLoop:
    """As much of an event loop as a connection and `asyncio.Task` need, one pass at a time."""

    def __init__(self):
        self.ready = deque()
        self.problems = []

    def get_debug(self):
        return False

    def is_closed(self):
        return False

    def call_soon(self, callback, *arguments, context=None):
        self.ready.append((callback, arguments, context))

    def call_exception_handler(self, context):
        self.problems.append(context)

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coroutine):
        return asyncio.Task(coroutine, loop=self)

    def run_pending(self):
        """One pass: what is ready now, not what it makes ready."""
        for _ in range(len(self.ready)):
            callback, arguments, context = self.ready.popleft()
            if context is None:
                callback(*arguments)
            else:
                context.run(callback, *arguments)

    def run_until_idle(self, passes=100):
        """As many passes as it takes; how many they were."""
        for count in range(passes):
            if not self.ready:
                return count
            self.run_pending()
        raise AssertionError(f"the loop is not idle after {passes} passes: {self.ready}")


class Hooks:
    """Records what the state machine tells its subclass."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.events = []

    def on_control(self, opcode, data):
        self.events.append((CONTROL[opcode], data))

    def on_closing(self):
        self.events.append("closing")

    def on_closed(self):
        self.events.append("closed")


class ProtocolHooks(Hooks):
    """Records what a Protocol does, too: ``writes`` are the calls of its write()."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.writes = []

    def on_message(self, opcode, data, fin):
        self.events.append((opcode, data, fin))

    def write(self, *buffers):
        self.writes.append(buffers)
        self.events += [("sent", *item[:2]) for item in read_frames(b"".join(buffers))]

    def write_eof(self):
        self.events.append("end")

    @property
    def sent(self):
        """All bytes that were written."""
        return b"".join(b"".join(buffers) for buffers in self.writes)


class ConnectionHooks(Hooks):
    """Records what a Connection reports."""

    def listener_failed(self, error):
        self.events.append(("listener failed", error))

    def send_failed(self, error):
        self.events.append(("send failed", error))


CONTROL = {8: "close", 9: "ping", 10: "pong"}


def make_protocol(backend, *, client=False, **options):
    """A Protocol that records what it does. Its masking keys are zero."""
    cls = type("RecordingProtocol", (ProtocolHooks, backend.protocol.Protocol), {})
    return cls(Options(**options), client=client, generate_mask=lambda: ZERO)


def make_connection(backend, *, client=False, loop=None, driver=None, key=ZERO, **options):
    """A Connection on a recording driver, and on a fake loop if there is no other.

    All its masking keys are ``key``.
    """
    cls = type("RecordingConnection", (ConnectionHooks, backend.core.Connection), {})
    return cls(
        Options(**options),
        RecordingDriver() if driver is None else driver,
        FakeLoop() if loop is None else loop,
        client=client,
        generate_mask=lambda: key,
    )


def describe(error):
    """What must be the same of an exception on both backends."""
    if error is None:
        return None
    names = ("code", "close_code", "reason", "size", "max_size", "max_fragments", "errno")
    return (
        type(error).__name__,
        str(error),
        {name: getattr(error, name) for name in names if hasattr(error, name)},
        describe(error.__cause__),
    )


def read(reader, data, size=None):
    """Feed ``data`` to a FrameReader, in pieces of ``size`` bytes; all that it hands out."""
    items = []
    for piece in pieces(data, size or max(len(data), 1)):
        reader.feed(piece)
        while (item := reader.next()) is not None:
            items.append(item)
    return items


def read_error(reader, data, size=None):
    """What a FrameReader hands out before it raises, and what it raises."""
    items = []
    try:
        for piece in pieces(data, size or max(len(data), 1)):
            reader.feed(piece)
            while (item := reader.next()) is not None:
                items.append(item)
    except ProtocolError as error:
        return items, error
    raise AssertionError(f"nothing was raised; the reader handed out {items}")
