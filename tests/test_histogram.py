"""The histogram against sorted lists."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfast.cli.histogram import LARGEST, Histogram, bucket, middle

PERCENTS = (0, 1, 50, 90, 99, 99.9, 99.99, 100)


def histogram_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values, percent):
    """The nearest-rank percentile."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def within_the_bound(found, value):
    return abs(found - value) <= value / 256


@given(st.lists(st.integers(0, LARGEST), min_size=1), st.floats(0, 100))
def test_a_percentile_is_at_most_a_256th_off(values, percent):
    found = histogram_of(values).percentile(percent)
    assert within_the_bound(found, exact(values, percent))


@pytest.mark.parametrize("percent", PERCENTS)
def test_percentiles_of_a_long_tail(percent):
    # As latencies are: most near 100 us, some a thousand times as long.
    values = [100_000 + 7 * i for i in range(9_900)] + [10_000 * i for i in range(1, 101)]
    found = histogram_of(values).percentile(percent)
    assert within_the_bound(found, exact(values, percent))


@given(st.integers(0, LARGEST))
def test_a_value_is_near_the_middle_of_its_bucket(value):
    assert within_the_bound(middle(bucket(value)), value)


def test_buckets_follow_each_other_without_a_gap():
    edges = {0, 1, 255, 256, 257, 258, 511, 512, 513, 515, 516, 1023, 1024, LARGEST - 1, LARGEST}
    edges |= {(1 << n) + d for n in range(8, 63) for d in (-1, 0)}
    for value in sorted(edges - {LARGEST}):
        assert 0 <= bucket(value + 1) - bucket(value) <= 1, value


@pytest.mark.parametrize("value", [0, 1, 255, 256, 12_345_678, LARGEST])
def test_one_value_is_every_percentile(value):
    histogram = histogram_of([value])
    assert [histogram.percentile(percent) for percent in PERCENTS] == [value] * len(PERCENTS)


@given(st.lists(st.integers(0, LARGEST), min_size=1))
def test_count_minimum_and_maximum_are_exact(values):
    histogram = histogram_of(values)
    assert histogram.count == len(values)
    assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
    assert histogram.percentile(0) >= histogram.minimum
    assert histogram.percentile(100) <= histogram.maximum


def test_memory_does_not_grow():
    histogram = Histogram()
    size = len(histogram._counts)
    for value in range(0, 10**6, 97):
        histogram.record(value)
    histogram.record(LARGEST)
    assert len(histogram._counts) == size < 8000


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        Histogram().percentile(50)
