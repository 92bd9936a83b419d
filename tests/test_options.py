"""The limits and timeouts are what was asked for, or an error that names the option."""

import pytest
from frames import BINARY, ZERO, frame
from twins import BACKENDS, make_connection

from wsfast.exceptions import PayloadTooBig
from wsfast.options import Options

SIZES = (
    *("max_size", "max_frame_size", "max_fragments", "fragment_size", "max_queue"),
    "max_write_buffer",
)
TIMES = (
    *("open_timeout", "close_timeout", "ping_interval", "ping_timeout", "idle_timeout"),
    "write_timeout",
)


def test_no_entry_is_unlimited_by_default():
    options = Options()
    assert options.max_size == 2**20
    assert options.max_fragments == 131072
    assert options.max_queue == 16
    assert options.write_limit == 65536
    assert options.max_write_buffer == 2**24
    assert (options.open_timeout, options.close_timeout) == (10, 10)
    assert (options.ping_interval, options.ping_timeout) == (20, 20)


@pytest.mark.parametrize("name", SIZES)
def test_1_1_sizes_are_taken_as_they_are_or_refused(name):
    limit = {"write_limit": 1} if name == "max_write_buffer" else {}
    for value in (1, 2**31, 2**32, 2**63 - 1, None):
        assert getattr(Options(**limit, **{name: value}), name) == value
    for value in (0, -1, 2**63, 2**64):
        with pytest.raises(ValueError, match=f"^{name} must be at least 1"):
            Options(**limit, **{name: value})
    for value in (True, False, 1.5, "1", b"1", [1]):
        with pytest.raises(TypeError, match=f"^{name} must be an int or None, not "):
            Options(**limit, **{name: value})


@pytest.mark.parametrize("name", TIMES)
def test_times_are_taken_as_they_are_or_refused(name):
    for value in (1, 0.001, 86400, None):
        assert getattr(Options(**{name: value}), name) == value
    for value in (0, -1, -0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"^{name} must be positive"):
            Options(**{name: value})
    for value in (True, "10", b"1", [1]):
        with pytest.raises(TypeError, match=f"^{name} must be a number of seconds or None, not "):
            Options(**{name: value})


def test_the_write_limit_is_a_number_and_not_above_max_write_buffer():
    assert Options(write_limit=10, max_write_buffer=10).write_limit == 10
    with pytest.raises(TypeError, match=r"^write_limit must be an int, not None"):
        Options(write_limit=None)
    with pytest.raises(ValueError, match=r"^max_write_buffer must be at least write_limit \(11\)"):
        Options(write_limit=11, max_write_buffer=10)


def test_options_are_taken_out_of_keyword_arguments():
    given = {"max_size": 5, "other": 1, "ping_interval": None}
    options = Options.take(given)
    assert (options.max_size, options.ping_interval) == (5, None)
    assert given == {"other": 1}


@pytest.mark.parametrize(
    ("options", "interval"),
    [
        ({}, 1.0),
        ({"ping_timeout": 1}, 0.1),
        ({"close_timeout": 0.01}, 0.005),
        (dict.fromkeys(TIMES), 1.0),
    ],
    ids=str,
)
def test_deadlines_are_looked_at_ten_times_in_the_shortest(options, interval):
    assert Options(**options).sweep_interval == interval


@pytest.mark.parametrize("backend", BACKENDS, ids=str)
@pytest.mark.parametrize("limit", [1, 2**31, 2**32, 2**63 - 1, None])
def test_1_1_a_limit_reaches_the_reader_as_it_is(backend, limit):
    for name in ("max_size", "max_frame_size"):
        connection = make_connection(backend, **{"max_size": None, name: limit})
        size = 2**63 - 1 if limit is None else limit
        connection.received(frame(BINARY, length=size, key=ZERO))
        assert connection.error is None
        if limit is not None and limit < 2**63 - 1:
            connection = make_connection(backend, **{"max_size": None, name: limit})
            connection.received(frame(BINARY, length=limit + 1, key=ZERO))
            assert type(connection.error) is PayloadTooBig
            assert connection.error.max_size == limit
