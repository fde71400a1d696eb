import pytest

from benchmarks.stalls import Stalls, stalls, watched


def test_what_takes_about_as_long_as_the_rest_is_no_stall():
    assert stalls([1.0, 1.1, 4.9, 1.0, 0.9]) == Stalls(share=0.0, longest=0.0)


def test_counts_that_are_held_up_one_after_the_other_are_one_stall():
    """Mutant: the longest single count is told, 30 s."""
    seen = stalls([1.0, 20.0, 30.0, 1.0, 6.0, *[1.0] * 10])

    assert seen.longest == pytest.approx(50_000)


def test_the_share_is_what_was_lost_not_what_was_counted_meanwhile():
    """Mutant: the whole of a slow count is called lost."""
    seen = stalls([1.0, 1.0, 1.0, 11.0])

    assert seen.share == pytest.approx(10 / 14)


def test_a_machine_that_stands_still_is_seen():
    times = iter([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 42.0, 42.0, 43.0, 43.0, 44.0, 99.0])

    seen = watched(50.0, clock=lambda: next(times))

    assert seen.longest == pytest.approx(40_000)
