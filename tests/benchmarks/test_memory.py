"""Memory that grows is seen to grow, and what the first half filled is not called growth."""

import time

import pytest

from benchmarks import memory
from benchmarks.memory import Memory


def test_the_slope_of_known_points():
    assert memory.slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    assert memory.slope([(0.0, 1.0), (1.0, 2.0), (2.0, 1.0)]) == pytest.approx(0.0)


def test_growth_is_told_in_kilobytes_a_minute():
    """A megabyte in a hundred seconds is 600 KB a minute."""
    grows = Memory(tuple((float(second), 80 + second / 100) for second in range(60)))

    assert grows.slope == pytest.approx(600)
    assert grows.most == pytest.approx(80.59)


def test_what_the_first_half_fills_is_no_growth():
    """Mutant: over all points, a cache that fills once looked like a leak."""
    filled = Memory(tuple((float(second), min(50.0 + second, 70.0)) for second in range(60)))

    assert filled.slope == pytest.approx(0)


def test_it_is_looked_at_while_the_work_lasts(monkeypatch):
    monkeypatch.setattr(memory, "_EVERY", 0.02)

    seen = memory.watched(lambda: 42.0, lambda: time.sleep(0.2))

    assert len(seen.points) > 5
    assert seen.points[0] == (0.0, 42.0)
    assert seen.points[-1][0] >= 0.2
    assert seen.most == 42.0


def test_work_that_fails_is_no_measurement():
    def fails():
        raise OSError("no such server")

    with pytest.raises(OSError, match="no such server"):
        memory.watched(lambda: 42.0, fails)
