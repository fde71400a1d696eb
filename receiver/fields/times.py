"""Times as providers write them become RFC 3339 in UTC, and the time in a dedupe key."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
#: How far a provider's clock may run ahead of ours.
AHEAD = timedelta(days=2)

#: Years that cannot overflow, whatever the zone; those before 2000 make no sense anyhow.
_WRITTEN = re.compile(
    r"(1999|2[0-9]{3})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,12})?"
    r"(?: ?(?:([A-Za-z]{1,3})|([+-])([0-9]{2}):?([0-5][0-9])))?"
)
#: Hours from UTC. EST and EDT are TellABot's; they tell autumn's doubled hour.
_NAMED = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}
_EPOCH = re.compile(r"([0-9]{1,11})(\.[0-9]{1,12})?")
_PLUS_LOST = re.compile(r"([0-9-]{10}[T ][0-9:]{8}(?:\.[0-9]{1,9})?) ([0-9]{2}:[0-9]{2})")
_MILLISECONDS = re.compile(r"([0-9]{9,11})([0-9]{3})")
#: SMSPool's `2026-11-21 07:05:09pm`.
_OF_TWELVE = re.compile(r"(.{10} )([0-9]{2})(:[0-9]{2}:[0-9]{2}) ?([ap])m", re.IGNORECASE)
_NOON = 12
_TO_THE_SECOND = len("2020-09-14T18:42:36")
#: The largest offset that is in use anywhere is 14 hours.
_LARGEST_OFFSET = timedelta(hours=15)


class Stated(msgspec.Struct, frozen=True):
    """A time as a provider wrote it."""

    #: What the clock showed, as if in UTC; it is in UTC where `zoned`.
    clock: datetime
    #: It said its offset, or was an epoch.
    zoned: bool
    #: The digits after the second as sent, with their point.
    fraction: str = ""

    def instant(self, zone: tzinfo) -> datetime:
        """In UTC; `zone` is where a clock that said no offset hangs."""
        return self.clock if self.zoned else self.clock.replace(tzinfo=zone).astimezone(UTC)

    def rfc3339(self, zone: tzinfo) -> str:
        """`2026-09-08T10:15:30.000000Z`: in UTC, fractions as sent."""
        # Half the cost of `strftime`.
        return f"{self.instant(zone).isoformat()[:_TO_THE_SECOND]}{self.fraction}Z"

    def shown(self) -> str:
        """`2023-01-01 12:00:00`: what the clock showed."""
        return self.clock.isoformat(" ")[:_TO_THE_SECOND]

    def makes_sense(self, zone: tzinfo, received: datetime) -> bool:
        return FIRST <= self.instant(zone) <= received + AHEAD


def time_from(stated: Stated | None) -> str:
    """Who says when it was, as events tell it."""
    if stated is None:
        return "received"
    return "provider" if stated.zoned else "timezone"


def epoch(text: str) -> Stated | None:
    """`1600108956`, `1600108956.25`: seconds since 1970; None for anything but ASCII digits."""
    match = _EPOCH.fullmatch(text)
    if match is None:
        return None
    clock = datetime.fromtimestamp(int(match[1]), UTC)
    return Stated(clock, zoned=True, fraction=match[2] or "")


def written(text: str) -> Stated | None:
    """`2020-09-14 14:42:36 EDT`, `2023-01-01 12:00:00`, `2026-02-16T12:36:59+03:00`."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    try:
        clock = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return _zoned(clock, match[7] or "", match)


def any_written(text: str) -> Stated | None:
    """As `written` and `epoch`, or milliseconds since 1970, or `2026-11-21 07:05:09pm`.

    Also `2026-11-21T07:05:09 03:00`: a form whose `+` was not escaped.
    """
    if (match := _MILLISECONDS.fullmatch(text)) is not None:
        return epoch(f"{match[1]}.{match[2]}")
    if (match := _OF_TWELVE.fullmatch(text)) is not None:
        hour = _hour_of_day(int(match[2]), match[4].lower())
        return None if hour is None else written(f"{match[1]}{hour:02d}{match[3]}")
    if (match := _PLUS_LOST.fullmatch(text)) is not None:
        return written(f"{match[1]}+{match[2]}")
    return written(text) or epoch(text)


def lost_its_plus(text: str) -> bool:
    """Whether it is a time that the first versions did not read: its `+` became a blank."""
    return _PLUS_LOST.fullmatch(text) is not None


def _hour_of_day(hour: int, half: str) -> int | None:
    """Of 12am to 11pm; 13pm, which some clocks show, is one o'clock, too."""
    if hour > _NOON:
        return hour if half == "p" else None
    return hour % _NOON + (_NOON if half == "p" else 0)


def _zoned(clock: datetime, fraction: str, match: re.Match[str]) -> Stated | None:
    name, sign = match[8], match[9]
    if name is None and sign is None:
        return Stated(clock, zoned=False, fraction=fraction)
    if name is not None and name.upper() not in _NAMED:
        return None
    offset = timedelta(hours=_NAMED[name.upper()]) if name else _offset(match)
    if abs(offset) > _LARGEST_OFFSET:
        return None
    return Stated(clock - offset, zoned=True, fraction=fraction)


def _offset(match: re.Match[str]) -> timedelta:
    offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
    return -offset if match[9] == "-" else offset


def zone(name: str) -> ZoneInfo:
    """Raises ValueError that says how a time zone is written."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, unknown
        raise ValueError(
            f"{name!r} is no time zone; write Europe/Moscow, America/New_York or UTC"
        ) from None
