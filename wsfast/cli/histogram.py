"""Percentiles of any number of values, in memory that does not grow."""

from __future__ import annotations

import itertools
import math

__all__ = ["Histogram"]

# Values below 2**BITS have a counter each; above, every power of two has half as many counters.
BITS = 8
HALF = 1 << (BITS - 1)
LARGEST = 2**63 - 1


class Histogram:
    """Counts integers from 0 to 2**63 - 1 in buckets that are as wide as their values are large.

    A percentile is at most 1/256 (0.4 %) off; the minimum and the maximum are exact. This is the
    log-linear layout of HdrHistogram, in 58 KB.
    """

    __slots__ = ("_counts", "count", "maximum", "minimum")

    def __init__(self) -> None:
        self._counts = [0] * (bucket(LARGEST) + 1)
        self.count = 0
        self.minimum = LARGEST
        self.maximum = 0

    def record(self, value: int) -> None:
        """Count a value."""
        # The body of `bucket`, because this is called for every message.
        shift = value.bit_length() - BITS
        if shift > 0:
            self._counts[(shift << (BITS - 1)) + (value >> shift)] += 1
        else:
            self._counts[value] += 1
        self.count += 1
        if value > self.maximum:
            self.maximum = value
        if value < self.minimum:
            self.minimum = value

    def percentile(self, percent: float) -> float:
        """The smallest value that ``percent`` of all values do not exceed.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.count:
            raise ValueError("there is no percentile of nothing")
        rank = max(1, math.ceil(self.count * percent / 100))
        first = bucket(self.minimum)
        counts = itertools.islice(self._counts, first, bucket(self.maximum) + 1)
        below = enumerate(itertools.accumulate(counts), first)
        index = next(index for index, count in below if count >= rank)
        return min(max(middle(index), self.minimum), self.maximum)


def bucket(value: int) -> int:
    """The bucket that a value is counted in."""
    shift = max(0, value.bit_length() - BITS)
    return (shift << (BITS - 1)) + (value >> shift)


def middle(index: int) -> float:
    """The value in the middle of a bucket."""
    shift = max(0, index // HALF - 1)
    first = (index - shift * HALF) << shift
    return first + ((1 << shift) - 1) / 2
