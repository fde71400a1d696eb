"""Simulated providers retry as documented, to the second."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.providers import SIMULATED


@pytest.mark.parametrize(
    ("name", "waits", "timeout"),
    [
        ("tellabot", (600.0,) * 5, 30.0),
        ("sms_activate", (1020.0,) * 7, 30.0),
        ("smsbower", (60.0, 300.0), 30.0),
        ("sms_online", (), 30.0),
        ("daisysms", (), 30.0),
        ("grizzlysms", (), 30.0),
    ],
)
def test_provider_retries_as_documented(name, waits, timeout):
    """Mutant: four more attempts of TellABot, or the second wait of SMSBower four minutes."""
    documented = SIMULATED[name].schedule

    assert (waits, timeout) == (documented.draw(random.Random(1)), documented.timeout)


def test_sms_activate_has_eight_attempts_within_two_hours():
    assert len(SIMULATED["sms_activate"].schedule.waits) == 7
    assert sum(SIMULATED["sms_activate"].schedule.draw(random.Random(1))) <= 7200


@given(st.integers())
def test_herosms_retries_seven_times_over_three_minutes(seed):
    """Mutant: 20 as the least wait, which ends after two and a half."""
    waits = SIMULATED["herosms"].schedule.draw(random.Random(seed))

    assert len(waits) == 7
    assert all(20 <= wait <= 30 for wait in waits)
    assert sum(waits) >= 180
    assert SIMULATED["herosms"].schedule.timeout == 3.0


def test_speed_of_sixty_makes_a_minute_a_second():
    """Mutant: the speed multiplies."""
    assert SIMULATED["smsbower"].schedule.draw(random.Random(1), speed=60) == (1.0, 5.0)


def test_polled_provider_has_no_schedule():
    assert SIMULATED["smspins"].schedule is None
