import pytest

from sinks.outages import FIRST, LONGEST, MORE, Outages


def failed(outages, delivery, *, first=True, began=None):
    began = outages.begin_attempt() if began is None else began
    return outages.record_failure(delivery, first=first, began=began)


def test_success_without_an_outage_brings_nothing_forward(hands):
    outages = Outages(hands)

    assert [outages.record_success(n).bring for n in range(3)] == [0, 0, 0]
    assert outages.wait() is None


def test_success_ends_an_outage_and_brings_ten_forward(hands):
    """Mutants: all are brought forward at once; or only at the next success."""
    outages = Outages(hands)

    held = [failed(outages, n)[0] for n in range(3)]
    down_since = outages.down_since
    hands.at += 5
    count = outages.record_success(9).bring

    assert (held, down_since, count) == ([True] * 3, 1000.0, FIRST)
    assert outages.down_since is None


def test_success_of_one_brought_forward_releases_two_more(hands):
    """Mutant: any success releases two, and a busy sink gets its whole backlog at once."""
    outages = Outages(hands)
    failed(outages, 1)
    hands.at += 5
    outages.record_forwarded(outages.record_success(99).bring, range(1, 11))

    counts = [outages.record_success(n).bring for n in (98, 1, 97, 2)]

    assert counts == [0, MORE, 0, MORE]


def test_waits_between_tens_double_while_others_succeed(hands):
    """Mutants: they follow at once; without a success in between; or not at all."""
    outages = Outages(hands)
    failed(outages, 1)
    hands.at += 100
    outages.record_forwarded(outages.record_success(99).bring, range(10))
    waits = []
    for n in range(1, 8):
        for id_ in range(10 * n - 10, 10 * n):
            assert failed(outages, id_, first=False) == (False, (), 0)
        assert outages.wait() is None
        assert outages.record_success(99).bring == 0
        waits.append(outages.wait())
        assert outages.next_ten() == 0
        hands.at += waits[-1]
        assert outages.next_ten() == FIRST
        outages.record_forwarded(FIRST, range(10 * n, 10 * n + 10))

    assert waits == [2, 4, 8, 16, 32, LONGEST, LONGEST]


def test_recovery_ends_when_nothing_is_held_any_more(hands):
    outages = Outages(hands)
    failed(outages, 1)
    hands.at += 5
    outages.record_forwarded(outages.record_success(99).bring, [1])

    assert outages.record_success(1).bring == 0
    assert outages.wait() is None


def test_refused_delivery_of_a_working_sink_is_not_held(hands):
    """Mutant: the failure of a retry begins an outage."""
    outages = Outages(hands)

    assert failed(outages, 1, first=False) == (False, (), 0)
    assert outages.down_since is None
    assert outages.record_success(2).bring == 0


def test_outage_holds_failures_before_its_first_attempt(hands):
    """Retries failed, then a first attempt. Mutant: the failed retries are not held."""
    outages = Outages(hands)
    failed(outages, 1, first=False)
    outages.record_success(2)
    failed(outages, 3, first=False)
    failed(outages, 4, first=False)

    assert failed(outages, 5) == (True, [3, 4], 0)


def test_attempt_that_hung_in_an_outage_belongs_to_it(hands):
    """Mutant: a delivery that fails after the outage waits for the next success."""
    outages = Outages(hands)
    failed(outages, 1)
    hung = outages.begin_attempt()
    hands.at += 5
    outages.record_forwarded(outages.record_success(2).bring, [1])

    assert failed(outages, 3, began=hung) == (True, (), 1)
    assert outages.down_since is None


def test_short_outages_do_not_bring_the_same_forward_each_time(hands):
    """One event is refused again and again. Mutant: each short outage brings ten forward."""
    outages = Outages(hands)
    counts = []
    for n in range(60):
        failed(outages, n)
        hands.at += 0.5
        count = outages.record_success(-1).bring
        if count:
            counts.append(hands.at - 1000)
            outages.record_forwarded(count, range(100, 110))
            for id_ in range(100, 110):
                failed(outages, id_, first=False)
        hands.at += 0.5

    assert len(counts) == 5  # 0, 2, 4, 8 and 16 seconds after the one before


@pytest.mark.parametrize("down", [True, False])
def test_held_deliveries_of_an_earlier_start_come_forward(hands, down):
    """Mutant: after a restart during a recovery, held deliveries wait for their schedule."""
    outages = Outages(hands, down=down, holds=True)

    assert outages.record_success(1).bring == FIRST


def test_unavailable_journal_is_asked_again(hands):
    outages = Outages(hands)
    failed(outages, 1)
    hands.at += 5
    outages.postpone(outages.record_success(2).bring, again=1.0)

    assert outages.wait() == 1.0
    hands.at += 1
    assert outages.next_ten() == FIRST
