"""When to try again, and when to give up. Pure: chance and time are arguments.

Rules that live here (docs/concepts.md#retries): the default schedule and `retry`, the 20 % spread,
`dead` after the last attempt, and Retry-After against the schedule, at most 24 hours.
"""

import math
from collections.abc import Callable

import msgspec

from core.units import Duration

#: Seconds: short while a person may be waiting for the code, then as long as an outage may last.
_DEFAULT = (0, 1, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 10800, 28800, 86400)
#: The random part of a wait: deliveries that failed together must not come back together.
_SPREAD = 0.2
#: The most waits to add up.
_ADDED = 1000
#: The longest Retry-After that smshook obeys, in seconds.
LONGEST_RETRY_AFTER = 86400.0


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wait before each attempt, counted from the end of the one before.

    Unset: at once, then 1s, 3s, 5s, 10s, 20s, 30s, 60s, 2m, 5m, 15m, 1h, 3h, 8h and 24h.
    """

    #: The wait before each attempt, also before the first: `[0s, 5s, 1m]` is three attempts.
    schedule: tuple[Duration, ...] | None = None
    #: Instead of a schedule, waits that double: the number of attempts. The first is made at once.
    #: Unset: 15.
    attempts: int | None = None
    #: With waits that double: the wait before the second attempt. Each later wait is twice the one
    #: before. Unset: 1s.
    first_wait: Duration | None = None
    #: With waits that double: the longest wait. Unset: 24h.
    max_wait: Duration | None = None

    def __post_init__(self) -> None:
        if self.schedule is not None:
            if self._doubles:
                raise ValueError(
                    "schedule lists every wait itself; leave attempts, first_wait and max_wait out"
                )
            if not self.schedule:
                raise ValueError("schedule must list one wait or more, such as [0s, 5s, 1m]")
            if not all(0 <= wait < math.inf for wait in self.schedule):
                raise ValueError("schedule must list waits of 0s or longer, and finite")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("attempts must be 1 or more")
        for name, value in (("first_wait", self.first_wait), ("max_wait", self.max_wait)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be longer than 0s, and finite")
        if self._first_wait > self._max_wait:
            raise ValueError("max_wait must not be shorter than first_wait")

    def wait(self, failures: int, chance: Callable[[], float]) -> float | None:
        """Return the seconds from the end of the last attempt to the next; None: give up.

        `failures` counts the failed attempts, 0 before the first; `chance` returns a number of [0,
        1).
        """
        if failures == 0 and self.schedule is None:
            return 0.0  # at once
        attempts = len(_DEFAULT) if self.attempts is None else self.attempts
        waits = _DEFAULT if self.schedule is None else self.schedule
        if failures >= (attempts if self._doubles else len(waits)):
            return None
        if not self._doubles:
            scheduled = float(waits[failures])
        else:
            doublings = min(failures - 1, 64)  # 2.0**1024 overflows
            scheduled = min(self._max_wait, self._first_wait * 2.0**doublings)
        return scheduled * (1 + _SPREAD * chance())

    @property
    def longest(self) -> float:
        """The longest wait of all, in seconds, with its spread."""
        waits = _DEFAULT if self.schedule is None else self.schedule
        return float(self._max_wait if self._doubles else max(waits)) * (1 + _SPREAD)

    @property
    def lasts(self) -> float:
        """The longest time from the first attempt to the last, in seconds; all waits are added."""
        waits = [self.wait(failures, lambda: 1.0) for failures in range(1, _ADDED)]
        return sum(wait for wait in waits if wait is not None)

    def due(
        self,
        failures: int,
        *,
        ended: float,
        chance: Callable[[], float],
        retry_after: float | None = None,
    ) -> float | None:
        """Return when the next attempt is due, on the clock of `ended`; None: give up.

        That is the later of the schedule and the sink's Retry-After (RFC 9110, 10.2.3). Retry-After
        is in seconds from `ended` and counts up to 24 hours.
        """
        wait = self.wait(failures, chance)
        if wait is None:
            return None
        return ended + max(wait, min(retry_after or 0.0, LONGEST_RETRY_AFTER))

    @property
    def _doubles(self) -> bool:
        return (self.attempts, self.first_wait, self.max_wait) != (None, None, None)

    @property
    def _first_wait(self) -> float:
        return min(1.0, self._max_wait) if self.first_wait is None else self.first_wait

    @property
    def _max_wait(self) -> float:
        if self.max_wait is not None:
            return self.max_wait
        return max(86400.0, self.first_wait or 0.0)
