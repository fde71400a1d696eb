"""Times become RFC 3339 in UTC, with the fractions that were sent."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.callback import Key
from receiver.fields import times
from receiver.fields.dedupe import SentTime, make_keys, make_windows, read_sent_time
from receiver.fields.times import epoch, read_time, time_from, zone

NEW_YORK, MOSCOW = ZoneInfo("America/New_York"), ZoneInfo("Europe/Moscow")
RECEIVED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "expected", "source"),
    [
        ("2020-09-14 14:42:36 EDT", NEW_YORK, "2020-09-14T18:42:36Z", "provider"),
        ("2020-11-01 01:30:00 EDT", NEW_YORK, "2020-11-01T05:30:00Z", "provider"),
        ("2020-11-01 01:30:00 EST", NEW_YORK, "2020-11-01T06:30:00Z", "provider"),
        ("2020-11-01 01:30:00", NEW_YORK, "2020-11-01T05:30:00Z", "timezone"),
        ("2020-01-14 14:42:36", NEW_YORK, "2020-01-14T19:42:36Z", "timezone"),
        ("2023-01-01 12:00:00", MOSCOW, "2023-01-01T09:00:00Z", "timezone"),
        ("2023-01-01T12:00:00.5", MOSCOW, "2023-01-01T09:00:00.5Z", "timezone"),
        ("2026-02-16T12:36:59+03:00", NEW_YORK, "2026-02-16T09:36:59Z", "provider"),
        ("2026-02-16T12:36:59-0330", NEW_YORK, "2026-02-16T16:06:59Z", "provider"),
        ("2026-09-08T10:15:30.000000Z", MOSCOW, "2026-09-08T10:15:30.000000Z", "provider"),
        ("2026-09-08t10:15:30z", MOSCOW, "2026-09-08T10:15:30Z", "provider"),
        ("2026-09-08 10:15:30 UTC", MOSCOW, "2026-09-08T10:15:30Z", "provider"),
        ("2100-12-31 23:59:59", NEW_YORK, "2101-01-01T04:59:59Z", "timezone"),
    ],
)
def test_written_time_is_converted_to_utc(text, zone, expected, source):
    """Mutants: fractions padded to six digits or dropped; the repeated hour in autumn is one."""
    read = read_time(text)

    assert (read.rfc3339(zone), time_from(read)) == (expected, source)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2020-09-14",
        "2020-09-14 14:42",
        "0000-00-00 00:00:00",
        "2023-02-30 12:00:00",
        "2023-01-01 24:00:00",
        "2023-01-01 12:00:00 XYZ",
        "2023-01-01 12:00:00+99:00",
        "2023-01-01 12:00:00+03:60",
        "2023-01-01 12:00:00.",
        " 2023-01-01 12:00:00",
        "2023-01-01 12:00:00\n",
        "9999-12-31 23:59:59",
        "\u0662023-01-01 12:00:00",
    ],
)
def test_invalid_time_is_none(text):
    assert read_time(text) is None


def test_epoch_is_seconds_in_ascii_digits():
    read = epoch("1600108956")

    assert (read.rfc3339(MOSCOW), time_from(read)) == ("2020-09-14T18:42:36Z", "provider")


@pytest.mark.parametrize(
    "text", ["", "-1", "1e9", "1600108956.", " 1600108956", "٤", "9" * 20, "9" * 5000]
)
def test_invalid_epoch_is_none(text):
    """Mutant: `int` alone, which reads digits of any script, blanks and underscores."""
    assert epoch(text) is None


@given(st.text() | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}.*\Z"))
def test_any_text_is_a_time_or_none(text):
    for read in (epoch(text), read_time(text)):
        if read is not None:
            assert read.rfc3339(NEW_YORK).endswith("Z")


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2900, 1, 1)),  # noqa: DTZ001 - clocks without a zone
    st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"]),
)
def test_written_time_is_the_right_instant(clock, name):
    clock = clock.replace(microsecond=0)
    meant = clock.replace(tzinfo=ZoneInfo(name))

    naive, offset = read_time(clock.isoformat(" ")), read_time(meant.isoformat())

    assert naive.instant(ZoneInfo(name)) == meant.astimezone(UTC)
    assert offset.instant(MOSCOW) == meant.astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "plausible"),
    [
        ("1999-12-31T23:59:59Z", False),
        ("2000-01-01T00:00:00Z", True),
        ("1999-12-31T19:00:00-05:00", True),
        ("2026-11-23T12:00:00Z", True),
        ("2026-11-23T12:00:01Z", False),
        ("2026-11-23 15:00:00", True),
        ("2026-11-23 15:00:01", False),
    ],
)
def test_time_is_plausible_from_2000_to_two_days_ahead(text, plausible):
    assert read_time(text).is_plausible(MOSCOW, RECEIVED) is plausible


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "America", "../../etc/passwd", "/etc", "UTC\0"]
)
def test_invalid_zone_error_shows_examples(name):
    with pytest.raises(ValueError, match="is not a time zone; write Europe/Moscow"):
        zone(name)


# -- in keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2000-01-01T00:00:01Z", SentTime(second=1, text="946684801")),
        ("2026-02-16T12:36:59+03:00", SentTime(second=824549819, text="1771234619")),
        ("2026-02-16T09:36:59.000Z", SentTime(second=824549819, text="1771234619")),
        ("2023-01-01 12:00:00", SentTime(second=725889600, text="2023-01-01 12:00:00")),
        ("2023-01-01T12:00:00", SentTime(second=725889600, text="2023-01-01 12:00:00")),
        ("2136-02-07T06:28:15Z", SentTime(second=2**32 - 1, text="5241652095")),
        ("2136-02-07T06:28:16Z", SentTime(second=None, text="2136-02-07T06:28:16Z")),
        ("1999-12-31 12:00:00", SentTime(second=None, text="1999-12-31 12:00:00")),
        ("yesterday", SentTime(second=None, text="yesterday")),
        ("", SentTime(second=None, text="")),
    ],
)
def test_key_has_the_time_as_sent(text, expected):
    """Mutant: the zone is applied, and a corrected `timezone` makes a retry a new event."""
    assert read_sent_time(read_time(text), text) == expected


def test_message_with_a_time_has_one_key():
    made = make_keys(("act", "1"), 5, ("subject",), RECEIVED)

    assert made == (Key(second=5, parts=("act", "1")),)


def test_first_second_of_2000_is_a_time():
    """Mutant: 0 counts as no time."""
    made = make_keys(("act", "1"), 0, ("subject",), RECEIVED)

    assert made == (Key(second=0, parts=("act", "1")),)


def test_message_without_a_time_has_two_windows():
    made = make_keys(("act", "1"), None, ("subject",), RECEIVED)

    assert made == (
        Key(parts=("act", "1", "subject", "w0:249342")),
        Key(parts=("act", "1", "subject", "w1:249342")),
    )


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - made aware below
    st.floats(0, 3600),
)
def test_retries_within_an_hour_share_a_window(at, later):
    """Mutant: one window, which splits retries at its end."""
    first = at.replace(tzinfo=UTC)

    shared = set(make_windows(("a",), first)) & set(
        make_windows(("a",), first + timedelta(seconds=later))
    )

    assert shared


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001 - made aware below
def test_same_words_three_hours_later_are_another_event(at):
    first = at.replace(tzinfo=UTC)

    shared = set(make_windows(("a",), first)) & set(
        make_windows(("a",), first + timedelta(hours=3))
    )

    assert not shared


def test_two_windows_of_one_instant_differ():
    """Mutant: without `w0` and `w1`, two windows of different hours may have one key."""
    first, second = make_windows(("a",), RECEIVED)

    assert first != second


def test_time_with_a_blank_for_plus_keeps_its_offset():
    """A form with an unescaped `+`. Mutant: the time is not read."""
    spaced, plus = "2026-11-29T12:00:00.5 03:00", "2026-11-29T12:00:00.5+03:00"

    assert times.read_any_time(spaced) == times.read_any_time(plus)
    assert times.read_time(spaced) is None
