"""When a condition is reported."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.conditions import Condition, ConditionChange, Severity, Timing, Window

#: The default of a sink that fails, and the default `quiet`.
SINK = Timing(after=60, clear=60, quiet=900)
HOUR = 3600


def told(holds, *, seconds, timing=SINK, every=2):
    """The changes of one condition that is looked at each two seconds, with their times."""
    condition = Condition()
    found = [(now, condition.look(holds(now), now, timing)) for now in range(0, seconds, every)]
    return [(now, change) for now, change in found if change is not None]


def on_and_off(seconds):
    return lambda now: now // seconds % 2 == 0


@pytest.mark.parametrize(
    ("holds", "seconds", "expected"),
    [
        (lambda now: 100 <= now < 700, 2 * HOUR, [(160, "raised"), (760, "cleared")]),
        (lambda now: now < 3 * HOUR, 4 * HOUR, [(60, "raised"), (10860, "cleared")]),
        (on_and_off(20), 6 * HOUR, []),
    ],
    ids=["ten minutes", "three hours", "20 s and 20 s"],
)
def test_outage_is_reported_at_its_begin_and_its_end(holds, seconds, expected):
    """Mutants: told as long as it lasts; `after` ignored; `clear` ignored."""
    assert told(holds, seconds=seconds) == expected


def test_flapping_condition_is_raised_once_in_the_quiet_time():
    """90 seconds down and 90 up for six hours: 120 outages. Mutant: `quiet` ignored."""
    changes = told(on_and_off(90), seconds=6 * HOUR)

    raised = [now for now, change in changes if change is ConditionChange.RAISED]
    assert len(changes) == 48
    assert len(raised) == 24
    assert all(b - a >= 900 for a, b in itertools.pairwise(raised))
    loud = told(on_and_off(90), seconds=6 * HOUR, timing=Timing(after=60, clear=60))
    assert len(loud) == 240


def test_raised_and_cleared_alternate_in_any_history():
    """Mutants: cleared without raised; raised twice."""
    chance = random.Random(11)
    for _ in range(2000):
        ends, now = [], 0
        while now < 6_000:
            now += chance.choice((1, 5, 30, 61, 200, 1000, 3000))
            ends.append(now)
        states = iter(ends)
        timing = Timing(after=chance.choice((0, 60)), clear=chance.choice((0, 60)), quiet=900)
        condition, down, end, changes = Condition(), False, next(states), []
        for now in range(0, ends[-1] + 1000, 30):
            while end is not None and now >= end:
                down, end = not down, next(states, None)
            holds = chance.choice((down, None)) if now < ends[-1] else False
            changes.append(condition.look(holds, now, timing))

        words = [change for change in changes if change is not None]
        assert words == [ConditionChange.RAISED, ConditionChange.CLEARED] * (len(words) // 2)


def test_condition_that_is_unknown_keeps_its_state():
    """After a restart nobody knows it yet. Mutant: unknown means that it does not hold."""
    condition, timing = Condition(), Timing()

    assert condition.look(None, 0, timing) is None
    assert condition.look(True, 1, timing) is ConditionChange.RAISED
    assert condition.look(None, 2, timing) is None
    assert condition.is_raised
    assert condition.look(False, 3, timing) is ConditionChange.CLEARED


def test_short_recovery_does_not_end_the_incident():
    condition = Condition()
    assert condition.look(True, 0, SINK) is None
    assert condition.look(True, 60, SINK) is ConditionChange.RAISED
    assert condition.look(False, 100, SINK) is None
    assert condition.look(True, 130, SINK) is None
    assert (condition.since, condition.ended) == (0, None)
    assert condition.look(False, 200, SINK) is None
    assert condition.look(False, 260, SINK) is ConditionChange.CLEARED


def test_begin_that_is_known_counts():
    """A sink failed before the service was started again. Mutant: counted from the first look."""
    condition = Condition()

    assert condition.look(True, 1000, SINK, since=930) is ConditionChange.RAISED
    assert condition.since == 930
    late = Condition()
    assert late.look(True, 1000, Timing(), since=2000) is ConditionChange.RAISED
    assert late.since == 1000


def test_condition_that_becomes_critical_is_reported_once_more():
    """Mutants: a rise is not reported; a fall is reported, and the next rise again."""
    condition, timing = Condition(), Timing()
    looks = [
        (True, Severity.WARNING),
        (True, Severity.CRITICAL),
        (True, Severity.WARNING),
        (True, Severity.CRITICAL),
        (False, Severity.WARNING),
    ]

    changes = [
        condition.look(holds, now, timing, severity=severity)
        for now, (holds, severity) in enumerate(looks)
    ]

    assert changes == [
        ConditionChange.RAISED,
        ConditionChange.WORSE,
        None,
        None,
        ConditionChange.CLEARED,
    ]


def test_restored_condition_goes_on():
    """Mutants: raised again after a restart; not cleared; the quiet time is forgotten."""
    raised = Condition.restored(
        raised_at=900, since=800, severity=Severity.WARNING, cleared_at=None
    )
    assert raised.look(True, 1000, SINK) is None
    assert raised.look(True, 1001, SINK, severity=Severity.CRITICAL) is ConditionChange.WORSE
    assert raised.look(False, 1002, SINK) is None
    assert raised.look(False, 1062, SINK) is ConditionChange.CLEARED

    cleared = Condition.restored(
        raised_at=900, since=800, severity=Severity.WARNING, cleared_at=950
    )
    assert cleared.look(True, 1000, Timing(quiet=900)) is None
    assert cleared.look(True, 1800, Timing(quiet=900)) is ConditionChange.RAISED
    assert cleared.since == 1000


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 9)), max_size=50))
def test_window_counts_to_a_tenth_of_its_time(steps):
    """Mutants: old counts stay; the window is a slot too short."""
    window, now, added = Window(100), 0, []
    for passed, count in steps:
        now += passed
        window.add(count, now)
        added.append((now, count))

        surely = sum(count for at, count in added if at > now - 100)
        maybe = sum(count for at, count in added if at > now - 110)
        assert surely <= window.count(now) <= maybe
    assert window.count(now + 111) == 0
