"""A wall clock that reports its steps."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import overload

#: Seconds. A shorter step is followed without a report: clocks are corrected all the time.
SMALLEST_JUMP = 2.0
#: Seconds that a clock may be ahead at a start, and that are waited if it is further ahead.
LONGEST_STEP = 3600.0
#: The end of year 9999: the last time that `rfc3339` and people can write.
LAST_SECOND = 253_402_300_799.0
#: Cheaper than to format a number as `:06d`.
_THREE_DIGITS = tuple(f"{number:03d}" for number in range(1000))


def find_boot_ticks() -> Callable[[], float]:
    """Return a clock of seconds that only go forward, also while the machine is asleep.

    CLOCK_BOOTTIME (clock_gettime(2), Linux); where it is missing, the monotonic clock.
    """
    try:
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    except AttributeError:
        return time.monotonic


#: Found once: a callback reads it several times.
boot_ticks = find_boot_ticks()


class WallClock:
    """Counts seconds since the epoch, and steps only in `check`, which notifies listeners.

    Between two checks `now()` follows a clock that only goes forward. At a step, a listener can
    move its instants by the same amount, so a corrected clock makes nothing expire, fire or
    wait. The time that the machine sleeps is not a step.

    Do not move instants from outside, such as a date in Retry-After or an `expires`.

    `wall` returns the machine's seconds since the epoch, `ticks` seconds that only go forward.
    """

    def __init__(
        self, *, wall: Callable[[], float] = time.time, ticks: Callable[[], float] = boot_ticks
    ) -> None:
        #: Seconds that only go forward: for durations.
        self.ticks = ticks
        self._wall = wall
        self._listeners: list[Callable[[float], None]] = []
        self._ahead = wall() - ticks()
        self._jumped = 0.0

    def now(self) -> float:
        """Return seconds since the epoch. A step of the machine's clock shows after `check`."""
        return self._ahead + self.ticks()

    def jumped(self) -> float:
        """Return the sum of all jumps so far, in seconds.

        An instant that was made when this was `j` is now `instant + jumped() - j`.
        """
        return self._jumped

    def listen(self, shifted: Callable[[float], None]) -> None:
        """Call `shifted(by)` at each jump, after `now()` has stepped by `by` seconds.

        It is called on the event loop and must not block. Stored instants that were made by
        adding to `now()` move by `by`.
        """
        self._listeners.append(shifted)

    def check(self) -> float:
        """Follow the machine's clock; return the seconds by which it jumped, or 0.0."""
        by = self._wall() - self.now()
        self._ahead += by
        if abs(by) <= SMALLEST_JUMP:
            return 0.0
        self._jumped += by
        for shifted in self._listeners:
            shifted(by)
        return by


class AgeClock:
    """Counts seconds for the ages of stored data: a clock that is set makes nothing old early.

    Data is as old as the time that has passed since the clock showed its time, or as the wall clock
    says, if that is less. If the wall clock is more than an hour past `last` at the start, it may
    be wrong, or the service was stopped for long: `wait` is an hour then, in which time the clock
    can be corrected.

    `last` is the value of `now()` that was stored last; None: there is no such value.
    """

    def __init__(self, clock: WallClock, last: float | None) -> None:
        self._clock = clock
        self._begun = clock.ticks()
        #: When the clock jumped, in ticks, and how far it was ahead of the ticks from then on.
        self._shown = [(-math.inf, clock.now() - self._begun)]
        clock.listen(self._note_jump)
        self.is_ahead = last is not None and clock.now() - last > LONGEST_STEP

    def before(self, kept: float) -> float:
        """Return the time before which all data is at least `kept` seconds old.

        It is what the clock showed so long ago, in seconds since the epoch. If the clock was set
        back since then, it is no later than what the clock showed next.
        """
        at = self._clock.ticks() - kept
        then = max(since for since, _ in self._shown if since <= at)
        showed = (ahead + max(since, at) for since, ahead in self._shown if since >= then)
        return min(self._clock.now() - kept, *showed)

    def now(self) -> float:
        """Return seconds since the epoch. A clock that is set forward is believed after an hour."""
        return min(self._clock.now(), self.before(LONGEST_STEP) + LONGEST_STEP)

    def _note_jump(self, _by: float) -> None:
        ticks = self._clock.ticks()
        self._shown.append((ticks, self._clock.now() - ticks))

    @property
    def wait(self) -> float:
        """Seconds until ages may be computed."""
        passed = self._clock.ticks() - self._begun
        return max(0.0, LONGEST_STEP - passed) if self.is_ahead else 0.0


@overload
def utc(at: float) -> datetime: ...
@overload
def utc(at: float | None) -> datetime | None: ...
def utc(at: float | None) -> datetime | None:
    """Return seconds since the epoch as a datetime in UTC; None for None."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


@lru_cache(maxsize=256)
def format_second(at: int) -> str:
    """Format whole seconds since the epoch: `2026-09-08T10:15:30`."""
    return datetime.fromtimestamp(at, UTC).isoformat()[: len("2026-09-08T10:15:30")]


def rfc3339(at: float) -> str:
    """Format seconds since the epoch: `2026-09-08T10:15:30.000000Z`."""
    second, microsecond = divmod(round(at * 1_000_000), 1_000_000)
    millisecond, below = divmod(microsecond, 1000)
    return f"{format_second(second)}.{_THREE_DIGITS[millisecond]}{_THREE_DIGITS[below]}Z"
