"""Loads a server: opens connections, sends messages over them, and measures the answers."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING, Any

from ..exceptions import ConnectionClosed
from ..frames import Close, State
from .histogram import Histogram
from .samples import SMALLEST, make_messages
from .shared import CONNECT_ERRORS, reason, why_not_connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..client import connect
    from ..connection import WebSocket
    from ..typing import Data

__all__ = ["Load", "Plan"]

# More messages than will ever be sent.
ENDLESS = 2**63

# How many messages are sent before we look at what came.
BURST = 64

# Without answers: how many bytes may wait to be written, and for how long to wait if more do. The
# system's buffer lasts longer than that.
BACKLOG = 65536
PAUSE = 0.001

# How many messages are made to be compressed: with 80 bytes more than fit into a window.
SAMPLES = 512

# The longest header of a client's frame (RFC 6455 section 5.2).
HEADER_SIZE = 14


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to a server. Sizes are bytes, times are seconds, None is no limit.

    Args:
        connections: to open.
        opening: how many of them are opened at once.
        duration: for how long messages are sent.
        messages: how many are sent in all.
        size: of a message.
        text: what to send instead of ``size`` characters.
        binary: whether messages are binary.
        depth: how many messages of a connection are on their way at once.
        rate: messages a second in all, instead of ``depth``. Latency then counts from when a
            message was due: a server that hangs cannot hide it by keeping us from sending.
        echo: whether the server answers each message with one. If not, we only send, as fast as
            the server reads.
        verify: whether answers must equal the messages, which have numbers unless ``text`` is
            given.
        deflate: whether to offer permessage-deflate. Messages that are large enough are then JSON,
            each another, unless ``text`` is given.
        timeout: for opening a connection, for closing it, and without any answer.
    """

    connections: int = 10
    opening: int = 100
    duration: float | None = 10
    messages: int | None = None
    size: int = 32
    text: str | None = None
    binary: bool = False
    depth: int = 1
    rate: float | None = None
    echo: bool = True
    verify: bool = False
    deflate: bool = False
    timeout: float | None = 10

    @property
    def is_numbered(self) -> bool:
        """Whether each message is another."""
        return (self.verify or self.is_json) and self.text is None

    @property
    def is_json(self) -> bool:
        """Whether messages are made so that there is something to compress."""
        return self.deflate and self.text is None and self.size >= SMALLEST

    def message(self, number: int) -> Data:
        """The message with a number, which counts from 0."""
        if self.text is not None:
            text = self.text
        elif self.is_json:
            text = samples(self.size)[number % SAMPLES]
        elif self.verify:
            text = f"{number:0{self.size}d}"[-self.size :] if self.size else ""
        else:
            text = "x" * self.size
        return text.encode() if self.binary else text

    @property
    def message_size(self) -> int:
        """How long a message is."""
        return self.size if self.text is None else len(self.text.encode())

    def connect_options(self) -> dict[str, Any]:
        """The options of `connect` that it takes."""
        size = self.message_size
        max_write_buffer = max(2**24, 2 * self.depth * (size + HEADER_SIZE))
        return {
            "compression": "deflate" if self.deflate else None,
            "open_timeout": self.timeout,
            "close_timeout": self.timeout,
            "max_size": max(2**20, size),
            "max_write_buffer": max_write_buffer,
            # So that we always read: by default we would not while much waits to be written, and
            # a server that does the same would wait for us as we for it.
            "write_limit": max_write_buffer,
        }


@functools.cache
def samples(size: int) -> list[str]:
    return [message.decode() for message in make_messages(size, SAMPLES)]


class Load:
    """The load on a server: `run` it once. What it found can be looked at meanwhile.

    Args:
        connector: what to await for a connection, made with the plan's ``connect_options``.
        plan: what to do.

    Attributes:
        phase: "opening", "sending", "waiting" or "closing".
        interrupted: whether it was cancelled.
        stalled: whether the server did not answer any more.
        opened: how many connections were opened.
        open: how many are open.
        lost: how many were closed before the end, and not by us.
        failures: why others could not be opened, with numbers.
        closes: the close frames that came, with numbers.
        errors: what else ended connections, with numbers.
        extra: messages that came when none was expected, but not before the first was sent.
        wrong: answers that were not what was sent.
        opening, latency, lateness: how long it took to open a connection, from a message to its
            answer, and from when a message was due to its sending at a ``rate``; in nanoseconds.
        elapsed: for how long messages were sent, in seconds.
        cpu: for which part of that time this process ran.
        cpu_wait: for which part it could have run, but others did.
        counted: how many messages were answered meanwhile, or read where no answers come.
        bytes_sent, bytes_received: meanwhile, in messages.
        wire_bytes_sent, wire_bytes_received: meanwhile, in frames, which may be compressed.
    """

    def __init__(self, connector: connect, plan: Plan) -> None:
        self.connector = connector
        self.plan = plan
        self.phase = "opening"
        self.interrupted = False
        self.stalled = False
        self.clients: list[Client] = []
        self.open = 0
        self.lost = 0
        self.failures: Counter[str] = Counter()
        self.closes: Counter[Close] = Counter()
        self.errors: Counter[str] = Counter()
        self.extra = 0
        self.wrong = 0
        self.opening = Histogram()
        self.latency = Histogram()
        self.lateness = Histogram()
        self.elapsed = 0.0
        self.cpu = 0.0
        self.cpu_wait = 0.0
        self.counted = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.wire_bytes_sent = 0
        self.wire_bytes_received = 0

        # How many messages are to be sent in all, and how many of them are not sent yet.
        self.planned = self.left = ENDLESS if plan.messages is None else plan.messages
        self.message = None if plan.is_numbered else plan.message(0)
        self.send_at_answer = plan.echo and plan.rate is None
        self._abandoned = 0
        self._began = self._cpu_began = self._wait_began = 0
        self._done = asyncio.Event()

    @property
    def opened(self) -> int:
        return len(self.clients)

    @property
    def extensions(self) -> str | None:
        """What the server agreed to; None if that is nothing."""
        response = self.clients[0].ws.response if self.clients else None
        return None if response is None else response.headers.get("Sec-WebSocket-Extensions")

    @property
    def failed(self) -> int:
        """How many connections could not be opened."""
        return self.failures.total()

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return sum(client.ws.messages_sent for client in self.clients)

    @property
    def answered(self) -> int:
        """How many messages were answered."""
        return self.latency.count

    @property
    def unanswered(self) -> int:
        """How many messages have no answer."""
        return sum(len(client.due) for client in self.clients)

    @property
    def in_flight(self) -> int:
        """How many answers may still come."""
        if not self.plan.echo:
            return 0
        return self.planned - self.left - self.answered - self._abandoned

    @property
    def time(self) -> float:
        """For how long messages have been sent, in seconds."""
        return self.elapsed or (perf_counter_ns() - self._began) / 1e9

    async def run(self) -> None:
        """Open the connections, send, and close them. Cancelling it leads to the last step.

        Raises:
            OSError, InvalidHandshake: the first connection cannot be opened.
        """
        try:
            try:
                await self._open_all()
                if self.open:
                    await self._send_all()
            except asyncio.CancelledError:
                current = asyncio.current_task()
                assert current is not None
                current.uncancel()  # Ctrl-C; a second one ends the program at once
                self.interrupted = True
            self.phase = "closing"
            for client in self.clients:
                client.ws.close()
            for client in self.clients:
                await client.ws.wait_closed()
        finally:
            for client in self.clients:
                client.ws.terminate()

    # Opening

    async def _open_all(self) -> None:
        # The first one alone: if it fails, the others would, each after its timeout.
        await self._open_one()
        others = iter(range(1, self.plan.connections))

        async def open_some() -> None:
            for _ in others:
                try:
                    await self._open_one()
                except CONNECT_ERRORS as error:
                    self.failures[why_not_connected(error)] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.plan.opening, self.plan.connections - 1)):
                group.create_task(open_some())

    async def _open_one(self) -> None:
        began = perf_counter_ns()
        ws = await self.connector
        self.opening.record(perf_counter_ns() - began)
        self.open += 1
        client = Client(self, ws)
        self.clients.append(client)
        if ws.state is State.CLOSED:  # before we could hear of it
            self.closed(client)

    def closed(self, client: Client) -> None:
        """A connection is closed."""
        ws = client.ws
        self.open -= 1
        self.closes[Close(ws.close_code or 1006, ws.close_reason or "")] += 1
        if ws.error is not None:
            self.errors[reason(ws.error)] += 1
        if self.phase != "closing":
            self.lost += 1
            self._abandoned += len(client.due)
            self.check_done()

    # Sending

    async def _send_all(self) -> None:
        self.phase = "sending"
        self._began = perf_counter_ns()
        self._cpu_began, self._wait_began = process_time_ns(), cpu_wait_ns()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._feed()), group.create_task(self._watch())]
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.plan.duration):
                        await self._done.wait()
                self._stop()
                if self.plan.echo:
                    self._measure()
                    await self._done.wait()
                else:
                    await self._wait_until_read()
                for task in tasks:
                    task.cancel()
        finally:
            self._stop()
            if not self.elapsed:
                self._measure()

    def _stop(self) -> None:
        """Send nothing more."""
        self.phase = "waiting"
        self.planned -= self.left
        self.left = 0
        self.check_done()

    def check_done(self) -> None:
        """Go on if everything was sent and answered, or nobody is there to do it."""
        if self.phase != "opening" and (not self.open or not (self.left or self.in_flight)):
            self._done.set()

    def _measure(self) -> None:
        """Take down what was done until now."""
        elapsed = perf_counter_ns() - self._began
        self.elapsed = elapsed / 1e9
        self.cpu = (process_time_ns() - self._cpu_began) / elapsed
        self.cpu_wait = (cpu_wait_ns() - self._wait_began) / elapsed
        self.counted = self.answered if self.plan.echo else self.sent
        for name in ("bytes_sent", "bytes_received", "wire_bytes_sent", "wire_bytes_received"):
            setattr(self, name, sum(getattr(client.ws, name) for client in self.clients))

    async def _feed(self) -> None:
        """Send what is not sent because an answer came."""
        if self.plan.rate is not None:
            await self._pace(self.plan.rate)
        elif self.plan.echo:
            await self._fill()
        else:
            async with asyncio.TaskGroup() as group:
                for client in self.clients:
                    group.create_task(client.flood())
        self.check_done()

    async def _fill(self) -> None:
        """Send the first messages of each connection."""
        for client in self.clients:
            if client.ws.state is not State.OPEN:
                continue
            for _ in range(self.plan.depth):
                client.send(perf_counter_ns())
            await asyncio.sleep(0)

    async def _pace(self, rate: float) -> None:
        """Send messages at a steady rate, over one connection after the other."""
        began = due = now = perf_counter_ns()
        for number, client in enumerate(self._turns(), 1):
            self.lateness.record(now - due)
            client.send(due)
            if not self.left:
                return
            due = began + int(number * 1e9 / rate)
            if number % BURST == 0:
                await asyncio.sleep(0)
            now = perf_counter_ns()
            while now < due:  # timers may be early
                await asyncio.sleep((due - now) / 1e9)
                now = perf_counter_ns()

    def _turns(self) -> Iterator[Client]:
        """The open connections, one after the other, without an end as long as one is open."""
        clients = deque(self.clients)
        while clients:
            client = clients.popleft()
            if client.ws.state is State.OPEN:
                clients.append(client)
                yield client

    async def _wait_until_read(self) -> None:
        """Wait until the server has read everything: its pong follows what was sent before."""
        pings = [client.ws.ping() for client in self.clients]
        try:
            async with asyncio.timeout(self.plan.timeout):
                for ping in pings:
                    with suppress(ConnectionClosed):
                        await (await ping)
        except TimeoutError:
            self.stalled = True
        self._measure()

    async def _watch(self) -> None:
        """Go on if the server does not answer any more."""
        timeout = self.plan.timeout
        if timeout is None:
            return
        loop = asyncio.get_running_loop()
        seen, since = 0, loop.time()
        while True:
            await asyncio.sleep(timeout / 10)
            if self.answered != seen or not self.in_flight:
                seen, since = self.answered, loop.time()
            elif loop.time() - since >= timeout:
                self.stalled = True
                self._done.set()
                return


class Client:
    """One connection of a load."""

    __slots__ = ("_expected", "_load", "due", "ws")

    def __init__(self, load: Load, ws: WebSocket) -> None:
        self._load = load
        self.ws = ws
        # When the messages without an answer were due, and what their answers must be.
        self.due: deque[int] = deque()
        self._expected: deque[Data] | None = deque() if load.plan.verify else None
        ws.on("message", self._received)
        ws.on("close", lambda code, reason: load.closed(self))

    def send(self, due: int) -> None:
        """Send a message that was due at ``due``, if one is left."""
        load = self._load
        if not load.left:
            return
        message = load.message
        if message is None:
            message = load.plan.message(load.planned - load.left)
        load.left -= 1
        if load.plan.echo:
            self.due.append(due)
            if self._expected is not None:
                self._expected.append(message)
        self.ws.send(message)

    def _received(self, data: Data, is_binary: bool) -> None:
        now = perf_counter_ns()
        load = self._load
        if not self.due:
            if load.phase != "opening":  # else it greets us
                load.extra += 1
            return
        load.latency.record(now - self.due.popleft())
        if self._expected is not None and self._expected.popleft() != data:
            load.wrong += 1
        if not load.left:
            load.check_done()
        elif load.send_at_answer:
            self.send(now)

    async def flood(self) -> None:
        """Send as fast as the server reads."""
        ws = self.ws
        while self._load.left and ws.state is State.OPEN:
            for _ in range(BURST):
                if ws.buffered_amount > BACKLOG:
                    await asyncio.sleep(PAUSE)
                    break
                self.send(0)
            await asyncio.sleep(0)


def cpu_wait_ns() -> int:
    """How long this process has been waiting for a CPU; 0 where the system does not tell."""
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0
