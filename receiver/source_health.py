"""How a source behaves: how its clock goes beside ours, and whether it has fallen silent."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from .callback import Callback, Happening

#: Seconds from one measurement to the next: reading a time costs as much as routing an event.
APART = 1.0
#: Measurements that are kept, and how many it takes until something is said of a zone.
KEPT, ENOUGH = 20, 5
#: Seconds that a callback may take from what happened to us, and that two clocks may differ.
_SLACK = 120.0
#: Seconds by which a clock may be corrected without a word.
_STEP = 2.0
#: Seconds: all zones that are in use differ by a multiple of it.
_QUARTER = 900


class WrongZone(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's times say against its `timezone`."""

    #: As it is configured.
    timezone: str
    #: Seconds by which its times lie behind ours, read so; negative: ahead.
    behind: int
    #: Where its clock would be right, such as `UTC+08:00`.
    clock: str

    def __str__(self) -> str:
        way = "behind" if self.behind > 0 else "ahead of"
        return (
            f"timezone: {self.timezone} cannot be right: its times are "
            f"{abs(self.behind) / 3600:g} h {way} their arrival; its clock shows {self.clock}"
        )


class _Measured(NamedTuple):
    offset: float
    #: It was read by the source's `timezone`.
    by_zone: bool


class Watch:
    """The watch of one source. It begins when it is made.

    `ticks` gives seconds that only go forward: a step of the wall clock is no silence.
    """

    def __init__(
        self,
        *,
        ticks: Callable[[], float],
        timezone: str | None,
        expect_every: float | None,
    ) -> None:
        self._ticks, self._timezone, self._expect_every = ticks, timezone, expect_every
        #: When the last callback came, by `ticks`, or when the watch began.
        self._heard = ticks()
        self._measured_last = float("-inf")
        #: Seconds from `ticks` to the wall clock, at the last measurement.
        self._ahead: float | None = None
        self._measured: deque[_Measured] = deque(maxlen=KEPT)

    def heard(self, callback: Callback, happenings: Sequence[Happening]) -> None:
        """Something new came from the provider itself."""
        if callback.sample:
            return
        at, ticks = callback.received.timestamp(), self._ticks()
        self._heard = ticks
        if ticks - self._measured_last < APART:
            return
        self._measured_last = ticks
        ahead, self._ahead = self._ahead, at - ticks
        if ahead is not None and abs(self._ahead - ahead) > _STEP:
            # Our clock was set: offsets measured by the clock of before say nothing of a zone.
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
        """Seconds from a provider's time to its arrival here; None: nothing was measured.

        The least of the last ones: retries are late for another reason.
        """
        return min((one.offset for one in self._measured), default=None)

    @property
    def measured(self) -> int:
        """How many it is the least of."""
        return len(self._measured)

    def wrong_zone(self, now: float) -> WrongZone | None:
        """What is wrong with `timezone`, once enough has come to say so.

        Late by whole quarters of an hour, each about as late as the next, is a zone; retries after
        an outage are late by all sorts of times.
        """
        offsets = [one.offset for one in self._measured if one.by_zone]
        if self._timezone is None or len(offsets) < ENOUGH:
            return None
        least, most = min(offsets), max(offsets)
        behind = round(least / _QUARTER) * _QUARTER
        alike = most - least <= 2 * _SLACK and abs(least - behind) <= _SLACK
        if behind == 0 or not alike:
            return None
        return WrongZone(
            timezone=self._timezone, behind=behind, clock=_clock(self._timezone, behind, now)
        )

    def silent_since(self, now: float, *, waiting_since: float | None = None) -> float | None:
        """Return since when no callback came although one was due; None: all is well.

        `waiting_since` is when the order was registered that should have been answered by now.
        All are seconds since the epoch, by the wall clock of now.
        """
        silence = self._ticks() - self._heard
        heard_at = now - silence
        if self._expect_every is not None and silence > self._expect_every:
            return heard_at
        if waiting_since is not None and heard_at < waiting_since:
            return waiting_since
        return None


def _clock(timezone: str, behind: int, now: float) -> str:
    configured = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(timezone)).utcoffset()
    minutes = round(((configured or timedelta()).total_seconds() - behind) / 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
