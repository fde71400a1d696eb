"""What a source's callbacks tell of its clock and of its silence."""

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
    one = SourceHealth(ticks=lambda: clock.ticks, timezone=timezone, expect_every=expect_every)
    one.clock = clock
    return one


def silent(one, after, **said):
    """Return since when it is silent, some seconds after the start."""
    one.clock.ticks = 100.0 + after
    return one.silent_since(one.clock.now, **said)


def hear(of, *offsets, time_from="timezone", sample=False, apart=60):
    """Record messages that arrive some seconds after their times."""
    for offset in offsets:
        of.clock.ticks += apart
        received = datetime.fromtimestamp(of.clock.now, UTC)
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
        said = None if time is None else f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
        callback = Callback(headers=(), body=b"", peer="", received=received, sample=sample)
        of.record(callback, [Happening(subject="activation/1", time=said, data=data, keys=())])


def said(of):
    wrong = of.wrong_zone(SINCE)
    return None if wrong is None else (wrong.behind, wrong.clock)


def test_offset_is_the_minimum_of_the_last():
    """Mutants: the mean, which retries make late; all that ever came, whatever the clock does."""
    one = watch()
    hear(one, 30, *[4] * (KEPT - 1), 2.5, 600)

    assert (one.offset, one.measured) == (2.5, KEPT)


def test_callback_without_a_time_counts_and_measures_nothing():
    one = watch(expect_every=100)
    hear(one, None, apart=90)

    assert (one.offset, one.measured) == (None, 0)
    assert silent(one, 180) is None


def test_samples_do_not_count():
    """Mutant: a sample ended the silence."""
    one = watch(expect_every=100)
    hear(one, 3, sample=True, apart=90)

    assert (one.offset, silent(one, 180)) == (None, SINCE)


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
    """Mutant: the sign of what its clock shows."""
    one = watch()
    hear(one, *(hours * 3600 + late for late in (1, 3, 2, 40, 5)))

    assert said(one) == expected
    assert ("behind" if hours > 0 else "ahead of") in str(one.wrong_zone(SINCE))


@pytest.mark.parametrize(
    "offsets",
    [
        [10_801] * (ENOUGH - 1),  # not enough to say so
        [2, 3, 1, 5, 4],  # right
        [-30] * 5,  # their clock is not ours
        [3601, 3605, 3, 3602, 3610],  # retries after an outage, and one that came at once
        [1800, 2400, 3000, 3600, 4200],  # nothing but retries
        [1300] * 5,  # late, and no zone
    ],
)
def test_other_delays_are_no_wrong_zone(offsets):
    """Mutants: said after the first; the spread not looked at."""
    one = watch()
    hear(one, *offsets)

    assert said(one) is None


def test_times_with_an_offset_do_not_judge_the_zone():
    one = watch()
    hear(one, *[10_800] * 9, time_from="provider")

    assert (one.offset, said(one)) == (10_800, None)


def test_source_without_a_zone_has_no_wrong_zone():
    one = watch(timezone=None)
    hear(one, *[10_800] * 9)

    assert said(one) is None


@given(st.floats(-14 * 3600, 14 * 3600), st.lists(st.floats(0, 60), min_size=ENOUGH, max_size=KEPT))
def test_wrong_zone_needs_equal_quarters(offset, late):
    one = watch()
    hear(one, *(offset + more for more in late))

    wrong = one.wrong_zone(SINCE)

    if wrong is not None:
        assert wrong.behind % 900 == 0
        assert wrong.behind != 0
        assert abs(one.offset - wrong.behind) <= 120


def test_storm_is_measured_once_a_second():
    one = watch()
    hear(one, *[5] * 100, apart=0.1)

    assert 10 <= one.measured <= 11


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
    """Mutant: an order that waits counted although something came after it was made."""
    one = watch(expect_every=100)

    assert silent(one, after, waiting_since=waiting) == since


def test_source_without_expect_every_is_never_silent():
    assert silent(watch(), 10**9) is None


def test_happening_of_another_type_counts():
    one = watch(expect_every=10)
    data = NumberAssigned(
        provider="tellabot",
        channel="callback",
        labels={},
        reference=None,
        sample=False,
        time_from="received",
        warnings=(),
    )
    one.clock.ticks += 9
    received = datetime.fromtimestamp(one.clock.now, UTC)
    one.record(
        Callback(headers=(), body=b"", peer="", received=received),
        [Happening(subject="request/1", time=None, data=data, keys=())],
    )

    assert silent(one, 15) is None


@pytest.mark.parametrize("by", [7200, -7200])
def test_clock_step_is_no_silence_and_no_wrong_zone(by):
    """Mutants: silence by the wall clock; offsets of before the step kept."""
    one = watch(expect_every=100)
    hear(one, *[by] * ENOUGH, apart=60)

    one.clock.ahead += by
    silence = one.silent_since(one.clock.now)
    hear(one, 3)

    assert (silence, one.offset, one.measured) == (None, 3, 1)
