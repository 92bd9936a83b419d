"""When to connect again: the delays, the limits, and what is not tried again (M3, M16)."""

import errno
import itertools
import ssl

import pytest

import wsfast
from wsfast import reconnection
from wsfast.exceptions import NetworkError, connection_closed
from wsfast.reconnection import Schedule

LOST = connection_closed(None, None, None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when the test says so, because nobody waits for minutes."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(reconnection, "monotonic", clock)
    return clock


def schedule(delays=(1.0, 2.0, 4.0, 8.0), *, decide=lambda error: None, **options):
    options = {"min_uptime": 5.0, "max_attempts": None, "max_elapsed": None, **options}
    return Schedule(decide, lambda: iter(delays), **options)


# --- Delays -----------------------------------------------------------------------------------


def test_delays_grow_exponentially_within_their_bounds():
    """M3: 0.5 s, twice as long each time, up to 60 s; less a random part of up to a half."""
    longest = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    for _ in range(200):
        delays = list(itertools.islice(wsfast.backoff(), len(longest)))
        assert all(top / 2 <= delay <= top for delay, top in zip(delays, longest, strict=True))


def test_delays_are_random():
    """M3: the clients of a server that comes back do not come together (RFC 6455 7.2.3)."""
    firsts = [next(wsfast.backoff()) for _ in range(500)]
    assert len(set(firsts)) > 400
    assert min(firsts) < 0.3
    assert max(firsts) > 0.45


def test_delays_can_be_chosen():
    delays = list(itertools.islice(wsfast.backoff(10, 3, 50), 4))
    assert [delay > top / 2 - 1e-9 for delay, top in zip(delays, [10, 30, 50, 50], strict=True)]
    assert max(delays) <= 50
    assert next(wsfast.backoff(100, 2, 5)) <= 5


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"first": -1}, ValueError, "first must be positive, not -1"),
        ({"first": 0}, ValueError, "first must be positive, not 0"),
        ({"first": "1"}, TypeError, "first must be a number of seconds, not '1'"),
        ({"factor": 0.5}, ValueError, "factor must be at least 1, not 0.5"),
        ({"factor": float("nan")}, ValueError, "factor must be at least 1, not nan"),
        ({"factor": None}, TypeError, "factor must be a number, not None"),
        ({"longest": 0}, ValueError, "longest must be positive, not 0"),
        ({"longest": None}, TypeError, "longest must be a number of seconds, not None"),
    ],
)
def test_delays_that_cannot_be_are_refused_at_the_call(arguments, kind, text):
    with pytest.raises(kind, match=text):
        wsfast.backoff(**arguments)


def test_delays_never_overflow():
    delays = list(itertools.islice(wsfast.backoff(), 5000))
    assert 30 <= delays[-1] <= 60


# --- The schedule -----------------------------------------------------------------------------


def test_a_server_that_is_down_is_met_ever_later():
    plan = schedule()
    assert [plan.next_delay(LOST) for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]


def test_a_connection_that_was_open_for_min_uptime_begins_the_delays_again(clock):
    """M3: at the limit, and right before it."""
    for uptime, following in (4.999, 4.0), (5.0, 1.0), (500.0, 1.0):
        plan = schedule()
        assert [plan.next_delay(LOST), plan.next_delay(LOST)] == [1.0, 2.0]
        plan.opened()
        assert plan.is_open
        clock.now += uptime
        assert plan.next_delay(LOST) == following
        assert not plan.is_open


def test_the_time_of_an_earlier_connection_does_not_count(clock):
    """What failed since was not open."""
    plan = schedule()
    plan.opened()
    clock.now += 10
    assert plan.next_delay(LOST) == 1.0
    clock.now += 10
    assert plan.next_delay(LOST) == 2.0


def test_when_there_are_no_more_delays_the_error_is_what_is_left():
    plan = schedule([1.0])
    assert plan.next_delay(LOST) == 1.0
    assert not plan.is_exhausted
    assert plan.next_delay(LOST) is LOST
    assert plan.is_exhausted


def test_max_attempts_are_attempts_in_a_row(clock):
    """M3: 0 means none."""
    assert schedule(max_attempts=0).next_delay(LOST) is LOST
    plan = schedule(max_attempts=2)
    assert [plan.next_delay(LOST) for _ in range(2)] == [1.0, 2.0]
    assert plan.next_delay(LOST) is LOST
    plan = schedule(max_attempts=2)
    for _ in range(5):
        plan.opened()
        clock.now += 5
        assert plan.next_delay(LOST) == 1.0


def test_max_elapsed_counts_from_the_loss_to_the_next_attempt(clock):
    """M3: an attempt at the limit is made, one after it is not."""
    plan = schedule(max_elapsed=10.0)
    plan.opened()
    clock.now += 100
    assert plan.next_delay(LOST) == 1.0
    clock.now += 8
    assert plan.next_delay(LOST) == 2.0
    clock.now += 0.001
    assert plan.next_delay(LOST) is LOST

    plan = schedule(max_elapsed=10.0)
    plan.next_delay(LOST)
    clock.now += 9
    plan.opened()
    clock.now += 6
    assert plan.next_delay(LOST) == 1.0  # it was up


def test_what_process_exception_returns_or_raises_is_the_end():
    error = ValueError()

    def fail(_):
        raise error

    assert schedule(decide=lambda _: error).next_delay(LOST) is error
    assert schedule(decide=fail).next_delay(LOST) is error
    assert schedule(decide=lambda given: given).next_delay(LOST) is LOST


@pytest.mark.parametrize("verdict", [True, 5.0, KeyboardInterrupt()])
def test_what_process_exception_must_not_return_is_the_end(verdict):
    """It would be taken for a delay."""
    error = schedule(decide=lambda _: verdict).next_delay(LOST)
    assert isinstance(error, TypeError)
    assert str(error).startswith("process_exception must return an exception or None, not ")


@pytest.mark.parametrize("given", [LOST, None])
@pytest.mark.parametrize("delay", ["1", -1, float("nan"), float("inf")])
def test_what_is_no_delay_is_the_end(given, delay):
    error = schedule([delay]).next_delay(given)
    assert isinstance(error, ValueError)
    assert str(error) == f"reconnect_delays must give numbers of seconds, not {delay!r}"


@pytest.mark.parametrize("given", [LOST, None])
def test_what_the_delays_raise_is_the_end(given):
    assert isinstance(schedule(1 / zero for zero in [0]).next_delay(given), ZeroDivisionError)


def test_what_the_user_asks_for_is_no_failure():
    """Another connection is made, whatever the limits; but not at once each time."""
    plan = schedule([1.0, 2.0], decide=lambda error: error, max_attempts=0)
    assert [plan.next_delay(None) for _ in range(3)] == [1.0, 2.0, 0.0]


# --- What is tried again ----------------------------------------------------------------------


def closed(rcvd, sent=None):
    return connection_closed(
        None if rcvd is None else wsfast.Close(rcvd, ""),
        None if sent is None else wsfast.Close(sent, ""),
        True,
    )


def status(code):
    return wsfast.InvalidStatus(wsfast.Response(code, "", wsfast.Headers()))


def network(error):
    return NetworkError.wrap(error)


def hung_up():
    error = wsfast.InvalidMessage("nothing came")
    error.__cause__ = EOFError()
    return error


def expired():
    error = ssl.SSLCertVerificationError(1, "expired")
    error.verify_code = 10
    return error


PASSING = [
    closed(None),
    closed(None, 1001),  # idle_timeout
    closed(None, 1011),  # ping_timeout
    *[closed(code, code) for code in (1001, 1005, 1011, 1012, 1013, 1014, 3000, 4000, 4999)],
    *[status(code) for code in (500, 502, 503, 504)],
    network(ConnectionRefusedError(errno.ECONNREFUSED, "x")),
    network(ConnectionResetError(errno.ECONNRESET, "x")),
    network(OSError(errno.ENETUNREACH, "x")),
    network(ssl.SSLEOFError(8, "x")),
    TimeoutError("in a hook"),
    wsfast.OpenTimeout("timed out during opening handshake"),
    OSError(errno.EHOSTUNREACH, "x"),
    hung_up(),
]

FINAL = [
    *[closed(code, code) for code in (1000, 1002, 1003, 1007, 1008, 1009, 1010, 1015)],
    *[closed(None, code) for code in (1000, 1002, 1003, 1007, 1008, 1009, 1010)],
    *[status(code) for code in (200, 302, 400, 401, 403, 404, 405, 426, 429, 501, 505)],
    network(expired()),
    wsfast.InvalidMessage("not HTTP"),
    wsfast.InvalidUpgrade("Upgrade", "x"),
    wsfast.RedirectError("too many"),
    wsfast.InvalidURI("x", "y"),
    wsfast.InvalidHandshake("x"),
    ValueError("in a hook"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error):
    """M3, M16."""
    assert wsfast.process_exception(error) is None


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_would_end_the_same_way_is_not(error):
    """M3: 4xx, certificates, and close codes that say that it is not accepted."""
    assert wsfast.process_exception(error) is error
