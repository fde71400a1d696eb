"""The health of a source: whether its time zone is wrong, and whether it is silent."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from .callback import Callback, Happening

#: Seconds between measurements: reading a time costs as much as routing an event.
INTERVAL = 1.0
#: The number of measurements kept, and the number needed to judge a zone.
KEPT, ENOUGH = 20, 5
#: Seconds that a callback may be on its way, and that two clocks may differ.
_SLACK = 120.0
#: Seconds by which a clock may be corrected without effect.
_STEP = 2.0
#: Seconds. All zones in use differ by a multiple of it.
_QUARTER = 900


class WrongZone(msgspec.Struct, frozen=True, kw_only=True):
    """A source's times contradict its `timezone`."""

    #: As configured.
    timezone: str
    #: Seconds by which its times, read in that zone, are behind ours; negative: ahead.
    behind: int
    #: The offset of its clock, such as `UTC+08:00`.
    clock: str

    def __str__(self) -> str:
        way = "behind" if self.behind > 0 else "ahead of"
        return (
            f"timezone: {self.timezone} cannot be right: its times are "
            f"{abs(self.behind) / 3600:g} h {way} their arrival; its clock shows {self.clock}"
        )


class _Measured(NamedTuple):
    offset: float
    #: Whether the time was read in the source's `timezone`.
    by_zone: bool


class SourceHealth:
    """Measures one source, from its construction on.

    `ticks` returns seconds that only go forward, so a step of the wall clock is no silence.
    """

    def __init__(
        self,
        *,
        ticks: Callable[[], float],
        timezone: str | None,
        expect_every: float | None,
    ) -> None:
        self._ticks, self._timezone, self._expect_every = ticks, timezone, expect_every
        #: When the last callback came, by `ticks`, or when this was made.
        self._last_at = ticks()
        #: Whether a callback came since then.
        self.was_heard = False
        self._measured_last = float("-inf")
        #: Seconds from `ticks` to the wall clock, at the last measurement.
        self._ahead: float | None = None
        self._measured: deque[_Measured] = deque(maxlen=KEPT)

    def change(self, *, timezone: str | None, expect_every: float | None) -> None:
        """Measure with other options of the source from now on."""
        if timezone != self._timezone:
            self._measured.clear()  # times were read in another zone
        self._timezone, self._expect_every = timezone, expect_every

    def record(self, callback: Callback, happenings: Sequence[Happening]) -> None:
        """Count a callback with new happenings from the provider itself."""
        if callback.sample:
            return
        self._last_at, self.was_heard = (ticks := self._ticks()), True
        if ticks - self._measured_last < INTERVAL:
            return
        self._measured_last, at = ticks, callback.received.timestamp()
        ahead, self._ahead = self._ahead, at - ticks
        if ahead is not None and abs(self._ahead - ahead) > _STEP:
            # Our clock was set: earlier offsets cannot show a wrong zone.
            self._measured.clear()
        self._measured += [
            _Measured(
                offset=at - datetime.fromisoformat(happening.time).timestamp(),
                by_zone=happening.data.time_from == "timezone",
            )
            for happening in happenings
            if happening.time is not None
        ]

    @property
    def offset(self) -> float | None:
        """The seconds from a provider's time to the arrival; None: nothing was measured.

        It is the minimum of the last measurements, because retries arrive late.
        """
        return min((one.offset for one in self._measured), default=None)

    @property
    def measured(self) -> int:
        """The number of measurements that `offset` is the minimum of."""
        return len(self._measured)

    def wrong_zone(self, now: float) -> WrongZone | None:
        """Return how `timezone` is wrong; None if it seems right or too few times are known.

        A wrong zone makes all times late by about the same number of quarters of an hour. Retries
        after an outage are late by many different times.
        """
        offsets = [one.offset for one in self._measured if one.by_zone]
        if self._timezone is None or len(offsets) < ENOUGH:
            return None
        least, most = min(offsets), max(offsets)
        behind = round(least / _QUARTER) * _QUARTER
        alike = most - least <= 2 * _SLACK and abs(least - behind) <= _SLACK
        if behind == 0 or not alike:
            return None
        configured = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(self._timezone))
        seconds = (configured.utcoffset() or timedelta()).total_seconds() - behind
        hours, minutes = divmod(round(abs(seconds) / 60), 60)
        clock = f"UTC{'-' if seconds < 0 else '+'}{hours:02d}:{minutes:02d}"
        return WrongZone(timezone=self._timezone, behind=behind, clock=clock)

    def last_at(self, now: float) -> float | None:
        """Return when the last callback came, in seconds since the epoch; None: not yet."""
        return now - (self._ticks() - self._last_at) if self.was_heard else None

    def silent_since(self, now: float, *, waiting_since: float | None = None) -> float | None:
        """Return since when callbacks are missing, or None.

        `waiting_since` is the time of an order that should have its callback by now. All times
        are seconds since the epoch, by the wall clock of now.
        """
        silence = self._ticks() - self._last_at
        last_at = now - silence
        if self._expect_every is not None and silence > self._expect_every:
            return last_at
        if waiting_since is not None and last_at < waiting_since:
            return waiting_since
        return None
