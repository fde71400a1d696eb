"""Reads times as providers write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
#: The most that a provider's clock may be ahead of ours.
AHEAD = timedelta(days=2)

#: Years that cannot overflow in any zone; those before 2000 are implausible anyway.
_WRITTEN = re.compile(
    r"(1999|2[0-9]{3})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,12})?"
    r"(?: ?(?:([A-Za-z]{1,3})|([+-])([0-9]{2}):?([0-5][0-9])))?"
)
#: Hours from UTC. EST and EDT distinguish the two equal hours in autumn.
_NAMED = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}
_EPOCH = re.compile(r"([0-9]{1,11})(\.[0-9]{1,12})?")
_PLUS_LOST = re.compile(r"([0-9-]{10}[T ][0-9:]{8}(?:\.[0-9]{1,9})?) ([0-9]{2}:[0-9]{2})")
_MILLISECONDS = re.compile(r"([0-9]{9,11})([0-9]{3})")
#: Such as `2026-11-21 07:05:09pm`.
_TWELVE_HOURS = re.compile(r"(.{10} )([0-9]{2})(:[0-9]{2}:[0-9]{2}) ?([ap])m", re.IGNORECASE)
_NOON = 12
_TO_THE_SECOND = len("2020-09-14T18:42:36")
#: The largest offset in use is 14 hours.
_LARGEST_OFFSET = timedelta(hours=15)


class ProviderTime(msgspec.Struct, frozen=True):
    """A time as a provider wrote it."""

    #: The written time, as if it were UTC; in UTC if `zoned`.
    clock: datetime
    #: Whether it had an offset, or was an epoch.
    zoned: bool
    #: The fraction of a second as sent, with its point.
    fraction: str = ""

    def instant(self, zone: tzinfo) -> datetime:
        """Return the instant in UTC. `zone` applies to a time without an offset."""
        return self.clock if self.zoned else self.clock.replace(tzinfo=zone).astimezone(UTC)

    def rfc3339(self, zone: tzinfo) -> str:
        """Format it as `2026-09-08T10:15:30.000000Z`, with the fraction as sent."""
        # Half the cost of `strftime`.
        return f"{self.instant(zone).isoformat()[:_TO_THE_SECOND]}{self.fraction}Z"

    def as_written(self) -> str:
        """Format the written time as `2023-01-01 12:00:00`."""
        return self.clock.isoformat(" ")[:_TO_THE_SECOND]

    def is_plausible(self, zone: tzinfo, received: datetime) -> bool:
        """Whether it is after 1999 and at most two days after `received`."""
        return FIRST <= self.instant(zone) <= received + AHEAD


def time_from(time: ProviderTime | None) -> str:
    """Return the `time_from` of an event with this time."""
    if time is None:
        return "received"
    return "provider" if time.zoned else "timezone"


def epoch(text: str) -> ProviderTime | None:
    """Read seconds since 1970: `1600108956`, `1600108956.25`. None for any other text."""
    match = _EPOCH.fullmatch(text)
    if match is None:
        return None
    clock = datetime.fromtimestamp(int(match[1]), UTC)
    return ProviderTime(clock, zoned=True, fraction=match[2] or "")


def read_time(text: str) -> ProviderTime | None:
    """Read `2020-09-14 14:42:36 EDT`, `2023-01-01 12:00:00` or `2026-02-16T12:36:59+03:00`."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    try:
        clock = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    fraction, name, sign = match[7] or "", match[8], match[9]
    if name is None and sign is None:
        return ProviderTime(clock, zoned=False, fraction=fraction)
    if name is not None and name.upper() not in _NAMED:
        return None
    if name:
        offset = timedelta(hours=_NAMED[name.upper()])
    else:
        offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
        offset = -offset if sign == "-" else offset
    if abs(offset) > _LARGEST_OFFSET:
        return None
    return ProviderTime(clock - offset, zoned=True, fraction=fraction)


def read_any_time(text: str) -> ProviderTime | None:
    """Read as `read_time` and `epoch`, or milliseconds since 1970, or `2026-11-21 07:05:09pm`.

    Also `2026-11-21T07:05:09 03:00`, from a form whose `+` was not escaped.
    """
    if (match := _MILLISECONDS.fullmatch(text)) is not None:
        return epoch(f"{match[1]}.{match[2]}")
    if (match := _TWELVE_HOURS.fullmatch(text)) is not None:
        hour, is_afternoon = int(match[2]), match[4].lower() == "p"
        if hour > _NOON:
            # Some clocks show 13pm for one o'clock.
            return read_time(f"{match[1]}{hour:02d}{match[3]}") if is_afternoon else None
        hour = hour % _NOON + (_NOON if is_afternoon else 0)
        return read_time(f"{match[1]}{hour:02d}{match[3]}")
    if (match := _PLUS_LOST.fullmatch(text)) is not None:
        return read_time(f"{match[1]}+{match[2]}")
    return read_time(text) or epoch(text)


def has_lost_plus(text: str) -> bool:
    """Whether it is a time whose `+` became a blank, which the first versions did not read."""
    return _PLUS_LOST.fullmatch(text) is not None


def zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError with examples."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, unknown
        raise ValueError(
            f"{name!r} is no time zone; write Europe/Moscow, America/New_York or UTC"
        ) from None
