"""Figures that a process counts in memory, for its metrics."""

from bisect import bisect_left
from collections.abc import Sequence

#: Seconds from a callback to its answer, of an attempt at a sink, and of a commit.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the value below which a share of the values of a histogram lies; None: it has none.

    `counts` are those of Histogram. Within a bucket, values count as evenly spread. Values above
    the last bound count as that bound.
    """
    wanted, below = share * sum(counts), 0
    for low, high, count in zip((0.0, *bounds), bounds, counts, strict=False):
        if count and below + count >= wanted:
            return low + (high - low) * (wanted - below) / count
        below += count
    return bounds[-1] if counts and counts[-1] else None


class Histogram:
    """Counts of the values up to each of the ascending bounds, and the sum of the values."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds, self.sum = bounds, 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def counts(self) -> Sequence[int]:
        """The number of values up to each bound and above the one before, and of all others."""
        return tuple(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return (bound, number of values up to it), and infinity with all values at the end."""
        total, found = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found
