"""Reads times as providers write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from core.clock import format_second

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
#: The zone of TellABot ("server's time zone is America/New_York") and of SMSPins ("all dates are in
#: Eastern Standard Time (EST or EDT)").
NEW_YORK = ZoneInfo("America/New_York")
FIRST_SECOND = int(FIRST.timestamp())
#: Seconds that a provider's clock may be ahead of ours.
AHEAD = timedelta(days=2).total_seconds()

#: Years that cannot overflow in any zone; those before 2000 are implausible anyway.
_SECOND = re.compile(r"(1999|2[0-9]{3})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})")
_REST = re.compile(r"(\.[0-9]{1,12})?(?: ?(?:([A-Za-z]{1,3})|([+-])([0-9]{2}):?([0-5][0-9])))?")
_TO_THE_SECOND = len("2020-09-14T18:42:36")
_LONGEST_FRACTION = len(".123456789012")
#: Hours from UTC. EST and EDT distinguish the two equal hours in autumn.
_NAMED = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}
#: The largest offset in use is 14 hours.
_LARGEST_OFFSET = 15 * 3600
_LONGEST_EPOCH = 11
_PLUS_LOST = re.compile(r"([0-9-]{10}[T ][0-9:]{8}(?:\.[0-9]{1,9})?) ([0-9]{2}:[0-9]{2})")
_MILLISECONDS = re.compile(r"([0-9]{9,11})([0-9]{3})")
#: Such as `2026-11-21 07:05:09pm`.
_TWELVE_HOURS = re.compile(r"(.{10} )([0-9]{2})(:[0-9]{2}:[0-9]{2}) ?([ap])m", re.IGNORECASE)
_NOON = 12


class ProviderTime(msgspec.Struct, frozen=True):
    """A time as a provider wrote it."""

    #: The written time in seconds since 1970, as if it were UTC; in UTC if `zoned`.
    clock: int
    #: Whether it had an offset, or was an epoch.
    zoned: bool
    #: The fraction of a second as sent, with its point.
    fraction: str = ""

    def second(self, zone: tzinfo) -> int:
        """Return the whole seconds since 1970. `zone` applies to a time without an offset."""
        return self.clock if self.zoned else _second_in(zone, self.clock)

    def instant(self, zone: tzinfo) -> datetime:
        """Return the instant in UTC, to the second. `zone` applies as in `second`."""
        return datetime.fromtimestamp(self.second(zone), UTC)

    def rfc3339(self, zone: tzinfo) -> str:
        """Format it as `2026-09-08T10:15:30.000000Z`, with the fraction as sent."""
        return f"{format_second(self.second(zone))}{self.fraction}Z"

    def as_written(self) -> str:
        """Format the written time as `2023-01-01 12:00:00`."""
        return format_second(self.clock).replace("T", " ")

    def is_plausible(self, zone: tzinfo, received: datetime) -> bool:
        """Whether it is after 1999 and at most two days after `received`."""
        return FIRST_SECOND <= self.second(zone) <= received.timestamp() + AHEAD


# Many callbacks have the same seconds, so both directions are cached.


@lru_cache(maxsize=256)
def _second_in(zone: tzinfo, clock: int) -> int:
    """Return the second at which a clock in this zone showed this time."""
    return int(datetime.fromtimestamp(clock, UTC).replace(tzinfo=zone).timestamp())


@lru_cache(maxsize=256)
def _read_second(text: str) -> int | None:
    """Read `2020-09-14 14:42:36` as if it were UTC."""
    match = _SECOND.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        clock = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(clock.timestamp())


def time_from(time: ProviderTime | None) -> str:
    """Return the `time_from` of an event with this time."""
    if time is None:
        return "received"
    return "provider" if time.zoned else "timezone"


def epoch(text: str) -> ProviderTime | None:
    """Read seconds since 1970: `1600108956`, `1600108956.25`. None for any other text."""
    whole, point, decimals = text.partition(".")
    if not (whole.isdecimal() and text.isascii() and len(whole) <= _LONGEST_EPOCH):
        return None
    fraction = point + decimals
    if fraction and not _is_fraction(fraction):
        return None
    return ProviderTime(int(whole), zoned=True, fraction=fraction)


def read_time(text: str) -> ProviderTime | None:
    """Read `2020-09-14 14:42:36 EDT`, `2023-01-01 12:00:00` or `2026-02-16T12:36:59+03:00`."""
    clock = _read_second(text[:_TO_THE_SECOND])
    if clock is None:
        return None
    rest = text[_TO_THE_SECOND:]
    fraction = rest.removesuffix("Z")
    if _is_fraction(fraction):  # nearly all
        return ProviderTime(clock, zoned=fraction != rest, fraction=fraction)
    match = _REST.fullmatch(rest)
    if match is None:
        return None
    fraction, name, sign, hours, minutes = match.groups(default="")
    if name:
        if name.upper() not in _NAMED:
            return None
        offset = _NAMED[name.upper()] * 3600
    else:
        offset = int(f"{sign}{hours}") * 3600 + int(f"{sign}{minutes}") * 60
    if abs(offset) > _LARGEST_OFFSET:
        return None
    return ProviderTime(clock - offset, zoned=True, fraction=fraction)


def _is_fraction(text: str) -> bool:
    """Whether it is empty, or a point and up to 12 digits."""
    if not text:
        return True
    digits = text[1:]
    is_number = digits.isdecimal() and digits.isascii()
    return text[0] == "." and is_number and len(text) <= _LONGEST_FRACTION


def read_any_time(text: str) -> ProviderTime | None:
    """Read as `read_time` and `epoch`, or milliseconds since 1970, or `2026-11-21 07:05:09pm`.

    Also `2026-11-21T07:05:09 03:00`, from a form whose `+` was not escaped.
    """
    if (time := read_time(text) or epoch(text)) is not None:
        return time
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
    return None


def has_lost_plus(text: str) -> bool:
    """Whether it is a time whose `+` became a blank, which the first versions did not read."""
    return _PLUS_LOST.fullmatch(text) is not None


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError with examples."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, unknown
        raise ValueError(
            f"{name!r} is not a time zone; write Europe/Moscow, America/New_York or UTC"
        ) from None
