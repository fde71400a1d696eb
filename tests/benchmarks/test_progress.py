"""How long a run still takes is told from what its cases took."""

import pytest

from benchmarks.case import Case, Measured
from benchmarks.cases import CASES
from benchmarks.progress import Progress, spell

SHORT = Case(name="short", what="", run=lambda _: Measured(), seconds=10)
LONG = Case(name="long", what="", run=lambda _: Measured(), seconds=100)


def test_before_anything_was_measured_cases_take_what_they_say():
    assert Progress([SHORT, LONG]).place == "[1/2, 110 s left]"


def test_a_case_takes_what_it_took_and_others_are_as_slow():
    """Mutant: a machine of half the speed, and an end that is promised too soon all the time."""
    progress = Progress([SHORT, SHORT, LONG])

    progress.took(20.0)

    assert progress.left() == pytest.approx(20 + 200)
    assert progress.place == "[2/3, 4 min left]"


def test_a_turn_that_once_took_long_is_not_expected_again():
    """The first on a large journal makes it."""
    progress = Progress([SHORT, SHORT, SHORT])

    progress.took(500.0)
    progress.took(12.0)

    assert progress.left() == pytest.approx(12)


def test_at_the_end_nothing_is_left():
    progress = Progress([SHORT])

    progress.took(1.0)

    assert progress.left() == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (150, "2 min")])
def test_long_spells_are_in_minutes(seconds, text):
    assert spell(seconds) == text


def test_a_whole_run_takes_thirty_five_minutes_at_the_most():
    """Five repetitions, by what cases say that they take, the large journals being there."""
    whole = sum(case.seconds * (1 if case.once else 5) for case in CASES)

    assert whole <= 35 * 60
