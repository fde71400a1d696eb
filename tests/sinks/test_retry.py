import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.units import Duration, from_written
from sinks.retry import Retry


def never_longer():
    return 0.0


def waits(retry, chance=never_longer):
    """Return all waits until the retries end."""
    found = []
    while (wait := retry.wait(len(found), chance)) is not None:
        found.append(wait)
    return found


def read(written):
    return msgspec.convert(written, Retry, dec_hook=from_written)


def test_default_schedule_has_fifteen_attempts():
    """Mutant: fourteen attempts, or a first wait of a second."""
    expected = [0, 1, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 10800, 28800, 86400]

    assert waits(Retry()) == expected


def test_fifteenth_failure_gives_up():
    assert Retry().wait(14, never_longer) == 86400
    assert Retry().wait(15, never_longer) is None


@given(
    chance=st.floats(0, 1, exclude_max=True),
    failures=st.integers(0, 14),
    retry=st.sampled_from([Retry(), Retry(attempts=15)]),
)
def test_each_wait_is_longer_by_up_to_a_fifth(chance, failures, retry):
    scheduled = retry.wait(failures, never_longer)

    wait = retry.wait(failures, lambda: chance)

    assert wait == pytest.approx(scheduled * (1 + 0.2 * chance))
    assert scheduled <= wait <= scheduled * 1.2


def test_schedule_lists_all_waits():
    assert waits(read({"schedule": ["0s", "5s", "200ms"]})) == [0, 5, 0.2]


def test_schedule_may_begin_with_a_wait():
    assert waits(read({"schedule": ["10s"]})) == [10]


def test_doubling_begins_at_once_and_stops_at_the_longest():
    retry = read({"attempts": 6, "first_wait": "5s", "max_wait": "30s"})

    assert waits(retry) == [0, 5, 10, 20, 30, 30]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"attempts": 4}, [0, 1, 2, 4]),
        ({"attempts": 1}, [0]),
        ({"attempts": 3, "max_wait": "500ms"}, [0, 0.5, 0.5]),
        ({"attempts": 3, "first_wait": "2d"}, [0, 172800, 172800]),
    ],
)
def test_doubling_has_defaults(written, expected):
    assert waits(read(written)) == expected


def test_thousands_of_doublings_do_not_overflow():
    assert Retry(attempts=5000).wait(4999, never_longer) == 86400


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"schedule": []}, "schedule must list one wait or more"),
        ({"schedule": ["5"]}, "not a duration"),
        ({"schedule": ["9" * 400 + "d"]}, "schedule must list waits of 0s or longer, and finite"),
        ({"attempts": 0}, "attempts must be 1 or more"),
        ({"attempts": -1}, "attempts must be 1 or more"),
        ({"first_wait": "0s"}, "first_wait must be longer than 0s"),
        ({"max_wait": "0s"}, "max_wait must be longer than 0s"),
        ({"max_wait": "9" * 400 + "d"}, "max_wait must be longer than 0s, and finite"),
        ({"first_wait": "1m", "max_wait": "30s"}, "max_wait must not be shorter than first_wait"),
        ({"schedule": ["1s"], "attempts": 3}, "leave attempts, first_wait and max_wait out"),
        ({"schedule": ["1s"], "max_wait": "3s"}, "leave attempts, first_wait and max_wait out"),
        ({"atempts": 3}, "unknown field `atempts`"),
    ],
)
def test_wrong_option_is_named(written, complaint):
    with pytest.raises(msgspec.ValidationError) as error:
        read(written)

    assert complaint in str(error.value)


def test_negative_wait_is_refused_also_from_python():
    with pytest.raises(ValueError, match="schedule must list waits"):
        Retry(schedule=(Duration(-1),))


def due(failures, retry_after=None):
    return Retry().due(failures, ended=1000.0, chance=never_longer, retry_after=retry_after)


def test_wait_counts_from_the_end_of_the_last_attempt():
    assert due(3) == 1005


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        (2.0, 1005),
        (60.0, 1060),
        (86400.0, 1000 + 86400),
        (90000.0, 1000 + 86400),
        (math.inf, 1000 + 86400),
        (0.0, 1005),
        (-5.0, 1005),
        (math.nan, 1005),
    ],
)
def test_later_retry_after_counts_up_to_a_day(retry_after, expected):
    """Mutant: the earlier of both, or a Retry-After of a year obeyed."""
    assert due(3, retry_after) == expected


def test_retry_after_does_not_shorten_a_longer_wait():
    retry = Retry()

    late = retry.due(14, ended=0.0, chance=lambda: 0.5, retry_after=1e9)

    assert late == pytest.approx(86400 * 1.1)


def test_retry_after_gives_no_attempt_beyond_the_last():
    assert due(15, 5.0) is None
