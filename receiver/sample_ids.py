"""Log lines that anybody on the internet can cause: some of them, and how many there were."""

from collections import Counter
from collections.abc import Callable

from core.bucket import Bucket
from core.units import Rate

#: Lines of one kind.
RATE = Rate(count=10, per=1)


class Sampled:
    """Lets ten lines a second of each kind through and counts the rest.

    `ticks` is a monotonic clock, in seconds. There must be few kinds.
    """

    def __init__(self, ticks: Callable[[], float], rate: Rate = RATE) -> None:
        self._ticks, self._rate = ticks, rate
        self._buckets: dict[str, Bucket] = {}
        self._left_out: Counter[str] = Counter()

    def take(self, kind: str) -> int | None:
        """Lines of this kind that were left out since the last one; None: leave this one out."""
        bucket = self._buckets.setdefault(kind, Bucket(self._rate, self._ticks))
        if bucket.take():
            self._left_out[kind] += 1
            return None
        return self._left_out.pop(kind, 0)

    def left_out(self) -> dict[str, int]:
        """What was left out, by kind, since its last line; asked again, only what is new."""
        left, self._left_out = dict(self._left_out), Counter()
        return left
