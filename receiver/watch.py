"""How a source behaves: how its clock goes beside ours, and whether it has fallen silent."""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from .source import Callback, Happening

#: Seconds from one measurement to the next: reading a time costs as much as routing an event.
APART = 1.0
#: Measurements that are kept, and how many it takes until something is said of a zone.
KEPT, ENOUGH = 20, 5
#: Seconds that a callback may take from what happened to us, and that two clocks may differ.
_SLACK = 120.0
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
    """Of one source. Times are seconds since the epoch."""

    def __init__(self, *, since: float, timezone: str | None, expect_every: float | None) -> None:
        self._timezone, self._expect_every = timezone, expect_every
        #: When something came, or when we began to wait for it.
        self._heard_at = since
        self._measured_at = float("-inf")
        self._measured: deque[_Measured] = deque(maxlen=KEPT)

    def heard(self, callback: Callback, happenings: Sequence[Happening]) -> None:
        """Something new came from the provider itself."""
        if callback.sample:
            return
        at = callback.received.timestamp()
        self._heard_at = max(self._heard_at, at)
        if abs(at - self._measured_at) < APART:
            return
        self._measured_at = at
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
        """Since when nothing came, where something should have by now; else None.

        `waiting_since`: since when an order waits that should have been answered.
        """
        if self._expect_every is not None and now - self._heard_at > self._expect_every:
            return self._heard_at
        if waiting_since is not None and self._heard_at < waiting_since:
            return waiting_since
        return None


def _clock(timezone: str, behind: int, now: float) -> str:
    configured = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(timezone)).utcoffset()
    minutes = round(((configured or timedelta()).total_seconds() - behind) / 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
