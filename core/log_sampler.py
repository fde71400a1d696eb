"""Limits log lines that anybody on the internet can cause."""

from collections import Counter
from collections.abc import Callable

from .bucket import Bucket
from .units import Rate

_TEN_A_SECOND = Rate(count=10, per=1)


class LogSampler:
    """Lets `rate` lines of each kind through and counts the others.

    `ticks` is a monotonic clock, in seconds. Use few kinds.
    """

    def __init__(self, ticks: Callable[[], float], rate: Rate = _TEN_A_SECOND) -> None:
        self._ticks, self._rate = ticks, rate
        self._buckets: dict[str, Bucket] = {}
        self._omitted: Counter[str] = Counter()

    def take(self, kind: str) -> int | None:
        """Return how many lines of this kind were omitted since the last one.

        None: omit this one, too.
        """
        bucket = self._buckets.setdefault(kind, Bucket(self._rate, self._ticks))
        if bucket.take():
            self._omitted[kind] += 1
            return None
        return self._omitted.pop(kind, 0)

    def take_omitted(self) -> dict[str, int]:
        """Return the number of omitted lines of each kind, and start again at 0."""
        omitted, self._omitted = dict(self._omitted), Counter()
        return omitted
