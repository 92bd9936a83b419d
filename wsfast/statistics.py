"""What is counted: of one connection, of a server, and of a client that connects again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .exceptions import NetworkError, WebSocketException

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .connection import WebSocket

__all__ = ["ClientStatistics", "RoundTrips", "ServerStatistics", "Statistics", "Tally"]


class Statistics(NamedTuple):
    """What went over a connection so far, or over all connections of a server.

    Sizes are in bytes. Those of messages are as the application has them: before they are
    compressed, and after they are decompressed. Wire bytes are those of whole frames, without TLS
    and the opening handshake. Where a WebSocket connects again the numbers go on.
    """

    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    frames_received: int
    frames_sent: int
    fragments_received: int
    fragments_sent: int
    wire_bytes_received: int
    wire_bytes_sent: int
    messages_dropped: int
    biggest_received: int
    biggest_sent: int
    pings_received: int
    pings_sent: int
    pongs_received: int
    pongs_sent: int

    @property
    def wire_ratio_received(self) -> float | None:
        """Wire bytes for each byte of the messages that came; below 1 if compression pays.

        None if no message came.
        """
        return ratio(self.wire_bytes_received, self.bytes_received)

    @property
    def wire_ratio_sent(self) -> float | None:
        """Like `wire_ratio_received`, of the messages that were sent."""
        return ratio(self.wire_bytes_sent, self.bytes_sent)

    def as_dict(self) -> dict[str, Any]:
        """All of it by name, as `json.dumps` takes it."""
        return {
            **self._asdict(),
            "wire_ratio_received": self.wire_ratio_received,
            "wire_ratio_sent": self.wire_ratio_sent,
        }


# Of a connection, in the order of the fields; and what they are together for several.
counters = attrgetter(*Statistics._fields)
TOGETHER = [max if name.startswith("biggest_") else sum for name in Statistics._fields]


def total(rows: Iterable[tuple[int, ...]]) -> Statistics:
    """What went over several connections; there must be one."""
    columns = zip(*rows, strict=True)
    return Statistics(*[f(column) for f, column in zip(TOGETHER, columns, strict=True)])


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """How long pongs took to come, in seconds. All times are None while there are none."""

    count: int = 0
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    last: float | None = None


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a server has done since it was made.

    Args:
        connections_open: connections that are open, or closing.
        handshakes_started: accepted connections of the operating system: clients that were to send
            a request.
        handshakes_pending: of those, that have no answer.
        handshakes_accepted: that became WebSocket connections.
        handshakes_refused: how many by the status code of the answer.
        closes: how many connections ended, by `WebSocket.close_code`: the code that the client
            sent, 1005 if it sent none, 1006 if there was no close frame.
        errors: how many by the stable ``code`` of the exception: those that failed a connection,
            requests that were no valid handshake, hooks and handlers that raised an exception, and
            connections that could not be accepted. What has no ``code`` counts by its type's name.
        handlers_failed: handlers that raised an exception.
        traffic: the sums over all connections, and the biggest message of any.
        round_trips: of all pings.
    """

    connections_open: int
    handshakes_started: int
    handshakes_pending: int
    handshakes_accepted: int
    handshakes_refused: dict[int, int]
    closes: dict[int, int]
    errors: dict[str, int]
    handlers_failed: int
    traffic: Statistics
    round_trips: RoundTrips

    @property
    def handshakes_abandoned(self) -> int:
        """Those without an answer: clients that left, that took too long, or failed at TLS."""
        done = self.handshakes_accepted + sum(self.handshakes_refused.values())
        return self.handshakes_started - self.handshakes_pending - done

    def as_dict(self) -> dict[str, Any]:
        """All of it by name, as `json.dumps` takes it."""
        names = [name for name in self.__slots__ if name not in ("traffic", "round_trips")]
        return {
            **{name: getattr(self, name) for name in names},
            "handshakes_abandoned": self.handshakes_abandoned,
            "traffic": self.traffic.as_dict(),
            "round_trips": asdict(self.round_trips),
        }


@dataclass(slots=True)
class ClientStatistics:
    """What `connect` has done: with reconnection, over all its connections.

    Args:
        attempts: connections that were begun.
        connections: of those, that were opened.
        failures: of those, that failed.
        errors: how many failures by the stable ``code`` of the exception.
        last_error: the exception of the last failure.
        delay: how many seconds the next attempt is put off; 0 while none is.
    """

    attempts: int = 0
    connections: int = 0
    failures: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    last_error: BaseException | None = None
    delay: float = 0.0

    @property
    def reconnects(self) -> int:
        """How many connections were opened after the first."""
        return max(self.connections - 1, 0)

    def failed(self, error: BaseException) -> None:
        """Count an attempt that failed."""
        self.failures += 1
        self.last_error = error
        count(self.errors, error_code(error))


class Tally:
    """What a server counts.

    Nothing is done here for a message: open connections have counters of their own, which are
    asked when somebody asks the server. Those of a closed one are kept in a row, and many rows are
    added up at once, which costs a connection less than adding up its own.
    """

    __slots__ = (
        "_latencies",
        "_past",
        "_rows",
        "closes",
        "errors",
        "handlers_failed",
        "handshakes_refused",
        "handshakes_started",
    )

    ROWS = 64

    def __init__(self) -> None:
        self.handshakes_started = 0
        self.handlers_failed = 0
        self.handshakes_refused: dict[int, int] = {}
        self.closes: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self._past = Statistics(*[0] * len(Statistics._fields))
        self._rows: list[tuple[int, ...]] = []
        self._latencies = RoundTrips()

    def refused(self, status_code: int) -> None:
        """A client got an answer that is not 101."""
        count(self.handshakes_refused, int(status_code))

    def failed(self, error: BaseException) -> None:
        """Something went wrong."""
        count(self.errors, error_code(error))

    def handler_failed(self, error: BaseException) -> None:
        """A handler raised an exception."""
        self.handlers_failed += 1
        self.failed(error)

    def pong_came(self, latency: float) -> None:
        """A ping was answered."""
        known = self._latencies
        if known.minimum is None or known.maximum is None or known.mean is None:
            self._latencies = RoundTrips(1, latency, latency, latency, latency)
            return
        number = known.count + 1
        self._latencies = RoundTrips(
            number,
            min(known.minimum, latency),
            known.mean + (latency - known.mean) / number,
            max(known.maximum, latency),
            latency,
        )

    def connection_closed(self, websocket: WebSocket) -> None:
        """A connection ended."""
        rows = self._rows
        rows.append(counters(websocket))
        if len(rows) >= self.ROWS:
            self._past = total([self._past, *rows])
            rows.clear()
        code = websocket.close_code
        assert code is not None
        self.closes[code] = self.closes.get(code, 0) + 1
        if websocket.error is not None:
            self.failed(websocket.error)

    def statistics(self, connections: Iterable[WebSocket], pending: int) -> ServerStatistics:
        """What was counted up to now.

        Args:
            connections: those whose end was not told.
            pending: how many handshakes have no answer.
        """
        rows = [counters(websocket) for websocket in connections]
        return ServerStatistics(
            connections_open=len(rows),
            handshakes_started=self.handshakes_started,
            handshakes_pending=pending,
            handshakes_accepted=len(rows) + sum(self.closes.values()),
            handshakes_refused=dict(self.handshakes_refused),
            closes=dict(self.closes),
            errors=dict(self.errors),
            handlers_failed=self.handlers_failed,
            traffic=total([self._past, *self._rows, *rows]),
            round_trips=self._latencies,
        )


def count(numbers: dict[Any, int], key: Any) -> None:
    numbers[key] = numbers.get(key, 0) + 1


def error_code(error: BaseException) -> str:
    """The stable code of an exception, the name of its type if it has none: one of few."""
    if isinstance(error, WebSocketException):
        return error.code
    if isinstance(error, OSError) and error.errno:
        return NetworkError.wrap(error).code
    return type(error).__name__
