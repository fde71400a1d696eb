"""Pure: a clock is put forward by hand."""

import pytest

from sinks.recovery import FIRST, LONGEST, MORE, Recovery


class Hands:
    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def hands():
    return Hands()


def failed(recovery, delivery, *, first=True, began=None):
    began = recovery.begin() if began is None else began
    return recovery.failed(delivery, first=first, began=began)


def test_success_without_an_outage_brings_nothing_forward(hands):
    recovery = Recovery(hands)

    assert [recovery.succeeded(n) for n in range(3)] == [0, 0, 0]
    assert recovery.wait() is None


def test_success_ends_an_outage_and_brings_ten_forward(hands):
    """Mutants: all at once; not before the next success."""
    recovery = Recovery(hands)

    held = [failed(recovery, n)[0] for n in range(3)]
    down_since = recovery.down_since
    hands.at += 5
    count = recovery.succeeded(9)

    assert (held, down_since, count) == ([True] * 3, 1000.0, FIRST)
    assert recovery.down_since is None


def test_success_of_one_brought_forward_releases_two_more(hands):
    """Mutant: any success does, and a busy sink gets its whole backlog at once."""
    recovery = Recovery(hands)
    failed(recovery, 1)
    hands.at += 5
    recovery.brought_forward(recovery.succeeded(99), range(1, 11))

    counts = [recovery.succeeded(n) for n in (98, 1, 97, 2)]

    assert counts == [0, MORE, 0, MORE]


def test_next_ten_follow_later_and_later_while_others_succeed(hands):
    """Mutants: at once; though nothing succeeded since; never."""
    recovery = Recovery(hands)
    failed(recovery, 1)
    hands.at += 100
    recovery.brought_forward(recovery.succeeded(99), range(10))
    waits = []
    for n in range(1, 8):
        for id_ in range(10 * n - 10, 10 * n):
            assert failed(recovery, id_, first=False) == (False, (), 0)
        assert recovery.wait() is None
        assert recovery.succeeded(99) == 0
        waits.append(recovery.wait())
        assert recovery.next_ten() == 0
        hands.at += waits[-1]
        assert recovery.next_ten() == FIRST
        recovery.brought_forward(FIRST, range(10 * n, 10 * n + 10))

    assert waits == [2, 4, 8, 16, 32, LONGEST, LONGEST]


def test_recovery_ends_when_nothing_is_held_any_more(hands):
    recovery = Recovery(hands)
    failed(recovery, 1)
    hands.at += 5
    recovery.brought_forward(recovery.succeeded(99), [1])

    assert recovery.succeeded(1) == 0
    assert recovery.wait() is None


def test_what_a_working_sink_refuses_is_not_held(hands):
    """Mutant: each failure of one that is tried again is an outage."""
    recovery = Recovery(hands)

    assert failed(recovery, 1, first=False) == (False, (), 0)
    assert recovery.down_since is None
    assert recovery.succeeded(2) == 0


def test_outage_holds_what_failed_in_it_before_it_was_one(hands):
    """Retried ones failed, then a first attempt. Mutant: those before it are forgotten."""
    recovery = Recovery(hands)
    failed(recovery, 1, first=False)
    recovery.succeeded(2)
    failed(recovery, 3, first=False)
    failed(recovery, 4, first=False)

    assert failed(recovery, 5) == (True, [3, 4], 0)


def test_attempt_that_hung_in_an_outage_belongs_to_it(hands):
    """Mutant: what failed after the end waits for the next success."""
    recovery = Recovery(hands)
    failed(recovery, 1)
    hung = recovery.begin()
    hands.at += 5
    recovery.brought_forward(recovery.succeeded(2), [1])

    assert failed(recovery, 3, began=hung) == (True, (), 1)
    assert recovery.down_since is None


def test_short_outages_do_not_bring_the_same_forward_each_time(hands):
    """A refused event among others, again and again. Mutant: ten at the end of each."""
    recovery = Recovery(hands)
    counts = []
    for n in range(60):
        failed(recovery, n)
        hands.at += 0.5
        count = recovery.succeeded(-1)
        if count:
            counts.append(hands.at - 1000)
            recovery.brought_forward(count, range(100, 110))
            for id_ in range(100, 110):
                failed(recovery, id_, first=False)
        hands.at += 0.5

    assert len(counts) == 5  # 0, 2, 4, 8 and 16 seconds after the one before


@pytest.mark.parametrize("down", [True, False])
def test_what_an_earlier_start_left_is_brought_forward(hands, down):
    """Mutant: held ones of a recovery that a restart cut short wait for their schedule."""
    recovery = Recovery(hands, down=down, holds=True)

    assert recovery.succeeded(1) == FIRST


def test_journal_that_could_not_is_asked_again(hands):
    recovery = Recovery(hands)
    failed(recovery, 1)
    hands.at += 5
    recovery.could_not(recovery.succeeded(2), again=1.0)

    assert recovery.wait() == 1.0
    hands.at += 1
    assert recovery.next_ten() == FIRST
