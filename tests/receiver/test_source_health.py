"""A source's callbacks show a wrong time zone and silence."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.event import NumberAssigned, SmsReceived
from receiver.callback import Callback, Happening
from receiver.source_health import ENOUGH, KEPT, SourceHealth

BEGIN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = BEGIN.timestamp()


class Clock:
    """Seconds that only go forward; the wall clock is `ahead` of them."""

    def __init__(self):
        self.ticks, self.ahead = 100.0, SINCE - 100

    @property
    def now(self):
        return self.ticks + self.ahead


def watch(*, timezone="Europe/Moscow", expect_every=None):
    clock = Clock()
    health = SourceHealth(ticks=lambda: clock.ticks, timezone=timezone, expect_every=expect_every)
    health.clock = clock
    return health


def silent(health, after, **waiting):
    """Return since when it is silent, `after` seconds from the start."""
    health.clock.ticks = 100.0 + after
    return health.silent_since(health.clock.now, **waiting)


def record(health, *offsets, time_from="timezone", sample=False, apart=60):
    """Record messages that arrive `offsets` seconds after their times."""
    for offset in offsets:
        health.clock.ticks += apart
        received = datetime.fromtimestamp(health.clock.now, UTC)
        data = SmsReceived(
            provider="herosms",
            channel="callback",
            labels={},
            reference=None,
            sample=sample,
            time_from=time_from,
            warnings=(),
        )
        time = None if offset is None else received - timedelta(seconds=offset)
        written = None if time is None else f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
        callback = Callback(headers=(), body=b"", peer="", received=received, sample=sample)
        health.record(
            callback, [Happening(subject="activation/1", time=written, data=data, keys=())]
        )


def zone_of(health):
    wrong = health.wrong_zone(SINCE)
    return None if wrong is None else (wrong.behind, wrong.clock)


def test_offset_is_the_minimum_of_the_last():
    """Mutants: the mean, which retries make late; the minimum of all measurements."""
    health = watch()
    record(health, 30, *[4] * (KEPT - 1), 2.5, 600)

    assert (health.offset, health.measured) == (2.5, KEPT)


def test_callback_without_a_time_counts_and_measures_nothing():
    health = watch(expect_every=100)
    record(health, None, apart=90)

    assert (health.offset, health.measured) == (None, 0)
    assert silent(health, 180) is None


def test_samples_do_not_count():
    """Mutant: a sample ends the silence."""
    health = watch(expect_every=100)
    record(health, 3, sample=True, apart=90)

    assert (health.offset, silent(health, 180)) == (None, SINCE)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (3, (10_800, "UTC+00:00")),
        (-5, (-18_000, "UTC+08:00")),
        (7, (25_200, "UTC-04:00")),
        (-2.5, (-9_000, "UTC+05:30")),
    ],
)
def test_whole_quarters_of_an_hour_are_a_wrong_zone(hours, expected):
    """Mutant: the sign of the clock's offset."""
    health = watch()
    record(health, *(hours * 3600 + late for late in (1, 3, 2, 40, 5)))

    assert zone_of(health) == expected
    assert ("behind" if hours > 0 else "ahead of") in str(health.wrong_zone(SINCE))


@pytest.mark.parametrize(
    "offsets",
    [
        [10_801] * (ENOUGH - 1),  # too few
        [2, 3, 1, 5, 4],  # right
        [-30] * 5,  # two clocks differ
        [3601, 3605, 3, 3602, 3610],  # retries after an outage, and one first attempt
        [1800, 2400, 3000, 3600, 4200],  # only retries
        [1300] * 5,  # late by no whole quarter
    ],
)
def test_other_delays_are_no_wrong_zone(offsets):
    """Mutants: reported after the first; the spread is ignored."""
    health = watch()
    record(health, *offsets)

    assert zone_of(health) is None


def test_times_with_an_offset_do_not_judge_the_zone():
    health = watch()
    record(health, *[10_800] * 9, time_from="provider")

    assert (health.offset, zone_of(health)) == (10_800, None)


def test_source_without_a_zone_has_no_wrong_zone():
    health = watch(timezone=None)
    record(health, *[10_800] * 9)

    assert zone_of(health) is None


@given(st.floats(-14 * 3600, 14 * 3600), st.lists(st.floats(0, 60), min_size=ENOUGH, max_size=KEPT))
def test_wrong_zone_needs_equal_quarters(offset, late):
    health = watch()
    record(health, *(offset + more for more in late))

    wrong = health.wrong_zone(SINCE)

    if wrong is not None:
        assert wrong.behind % 900 == 0
        assert wrong.behind != 0
        assert abs(health.offset - wrong.behind) <= 120


def test_storm_is_measured_once_a_second():
    health = watch()
    record(health, *[5] * 100, apart=0.1)

    assert 10 <= health.measured <= 11


@pytest.mark.parametrize(
    ("after", "waiting", "since"),
    [
        (100, None, None),
        (101, None, SINCE),
        (10, SINCE + 5, SINCE + 5),
        (10, SINCE - 5, None),
    ],
)
def test_silence_is_over_the_limit_or_a_waiting_order(after, waiting, since):
    """Mutant: a waiting order counts although a callback came after it."""
    health = watch(expect_every=100)

    assert silent(health, after, waiting_since=waiting) == since


def test_source_without_expect_every_is_never_silent():
    assert silent(watch(), 10**9) is None


def test_happening_of_another_type_counts():
    health = watch(expect_every=10)
    data = NumberAssigned(
        provider="tellabot",
        channel="callback",
        labels={},
        reference=None,
        sample=False,
        time_from="received",
        warnings=(),
    )
    health.clock.ticks += 9
    received = datetime.fromtimestamp(health.clock.now, UTC)
    health.record(
        Callback(headers=(), body=b"", peer="", received=received),
        [Happening(subject="request/1", time=None, data=data, keys=())],
    )

    assert silent(health, 15) is None


@pytest.mark.parametrize("by", [7200, -7200])
def test_clock_step_is_no_silence_and_no_wrong_zone(by):
    """Mutants: silence is measured by the wall clock; offsets from before the step stay."""
    health = watch(expect_every=100)
    record(health, *[by] * ENOUGH, apart=60)

    health.clock.ahead += by
    silence = health.silent_since(health.clock.now)
    record(health, 3)

    assert (silence, health.offset, health.measured) == (None, 3, 1)
