"""A token bucket, stored as the time at which it is full."""

import math
from collections.abc import Callable

from .units import Rate

#: Seconds of tolerance, so that a caller that waited as long as `take` said is let in.
_ROUNDING = 1e-6


class Bucket:
    """Allows the rate on average, and as many at once as its count, at least one.

    `now` is a monotonic clock, in seconds.
    """

    __slots__ = ("_ahead", "_every", "_full_at", "_now")

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self._now = now
        self._every = rate.per / rate.count
        #: Seconds by which a burst may be ahead of the average.
        self._ahead = (max(1.0, rate.count) - 1) * self._every + _ROUNDING
        self._full_at = now()

    def wait(self) -> float:
        """Return the seconds until one more is allowed."""
        return max(0.0, self._full_at - self._ahead - self._now())

    def left(self) -> int:
        """Return the number that is allowed at once now."""
        now = self._now()
        behind = self._ahead - max(0.0, self._full_at - now)
        return math.floor(behind / self._every) + 1 if behind >= 0 else 0

    def take(self, count: int = 1) -> float:
        """Take some and return 0.0, or return the seconds until one more is allowed.

        If one is allowed, all are taken: what is too many now, later callers wait for.
        """
        now = self._now()
        early = self._full_at - self._ahead - now
        if early > 0:
            return early
        self._full_at = max(self._full_at, now) + count * self._every
        return 0.0
