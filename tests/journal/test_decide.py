"""The decisions on a batch, without a database."""

import hypothesis
import msgspec
import pytest
import writes
from contracts.journal import NOW, arrival, key, owed, planned
from contracts.orders import order, sms
from examples import examples
from hypothesis import given

from core.copies import Copy
from journal import decide as deciding
from journal.decide import decide, find_needs
from journal.records import Quarantined
from journal.rows import LookedUp
from journal.writes import (
    DismissQuarantined,
    QuarantineCallback,
    Record,
    RegisterOrder,
    ReplayEvent,
)


def empty():
    return LookedUp(last_event=0, last_callback=0, last_delivery=0)


def recorded(*plans, **came):
    return Record(arrival(**came), plans, None)


def test_second_of_two_equal_events_is_a_duplicate():
    first, second = planned(1), planned(1)

    changes, results = decide([recorded(first), recorded(second)], empty(), owner=1)

    assert [(result.ids, result.new) for result in results] == [
        ((first.event.id,), (True,)),
        ((first.event.id,), (False,)),
    ]
    assert [new.plan.event.id for new in changes.events] == [first.event.id]
    assert changes.counts == {"events": 1, "events/tellabot/sms.received": 1, "duplicates": 1}


def test_event_joins_an_order_of_its_batch():
    """Mutant: an order is found only if it was stored before."""
    mine = order(reference="r")
    plan = sms(of=mine)

    changes, _ = decide([RegisterOrder(mine, None), recorded(plan)], empty(), owner=1)

    [link] = changes.links.values()
    assert (link.id, link.order) == (plan.event.id, mine.id)
    assert changes.new_orders[mine.id].state == "received"


def test_order_takes_an_event_of_its_batch():
    plan, mine = sms(), order(reference="r")

    changes, [_, placed] = decide([recorded(plan), RegisterOrder(mine, None)], empty(), owner=1)

    [new] = changes.events
    row = changes.changed[new.seq]
    assert (row.order, row.reference, placed.order.received_at) == (mine.id, "r", NOW)


def test_copy_finds_an_event_of_its_batch_that_has_no_form():
    """Mutant: a batch compares only with events that it marked."""
    text = {"text": "Code 1234", "code": "1234"}
    first = planned(1, subject="request/1", **text)
    copy = Copy(form="getHistory", second=None, **text)
    second = msgspec.structs.replace(planned(2, subject="request/1", **text), copy=copy)

    changes, [_, result] = decide([recorded(first), recorded(second)], empty(), owner=1)

    assert result.ids == (first.event.id,)
    assert changes.copies == [(1, "getHistory", None)]


def test_only_the_first_of_an_ordering_is_due():
    plans = [planned(owed=[owed(ordering='"x"')]) for _ in range(2)]

    changes, _ = decide([recorded(plan) for plan in plans], empty(), owner=7)

    assert [(one.id, one.owner) for one in changes.due] == [(1, 7)]
    assert [(one.state, one.owner, one.due_at) for one in changes.deliveries] == [
        ("pending", 7, NOW),
        ("pending", None, None),
    ]


def test_replay_finds_an_event_of_its_batch():
    plan = planned()

    changes, [_, replayed] = decide(
        [recorded(plan), ReplayEvent(plan.event.id, (owed(),), NOW)], empty(), owner=1
    )

    assert replayed.ids == (1,)
    assert [(one.event, one.replay) for one in changes.deliveries] == [(1, True)]


def test_same_bytes_are_new_after_they_were_dismissed():
    """Mutant: a batch still finds a callback that it dismissed."""
    first, second = (
        QuarantineCallback(arrival(), name, b"x", "malformed", "not JSON") for name in ("q1", "q2")
    )

    changes, results = decide([first, DismissQuarantined("q1"), second], empty(), owner=1)

    assert results == [Quarantined(id="q1", new=True), True, Quarantined(id="q2", new=True)]
    assert (changes.quarantine, changes.counts["quarantine"]) == ({"q2": [second]}, 1)


def test_needs_of_a_plain_callback_are_its_keys():
    """Mutant: a look-up for each callback that only few need."""
    needs = find_needs([recorded(planned(1, 2, owed=[owed()]))])

    wanted = {name: value for name in needs.__struct_fields__ if (value := getattr(needs, name))}
    assert wanted == {"keys": {("tellabot", key(1)), ("tellabot", key(2))}}


@pytest.mark.uncounted
@given(writes.batches())
@hypothesis.settings(max_examples=examples(150))
def test_batch_equals_the_same_writes_one_by_one(batches):
    """Mutants: orders of the batch are not found by name; a polled copy is not marked; a form is
    not marked; `_join_all` looks at stored events only."""
    together, one_by_one = writes.Memory(), writes.Memory()

    for batch in batches:
        results = together.write(batch)
        assert results == [result for write in batch for result in one_by_one.write([write])]

    assert vars(together) == vars(one_by_one)


def test_peers_beyond_the_limit_are_counted_together(monkeypatch):
    monkeypatch.setattr(deciding, "REJECTIONS_KEPT", 1)
    at = {"count": 1, "first_at": NOW, "last_at": NOW}
    rejections = tuple(
        writes.Rejection(reason="token", source="", peer=peer, **at)
        for peer in ("1", "2", "1", "3")
    )

    changes, _ = decide([writes.CountRejections(rejections)], empty(), owner=1)

    assert [one.peer for one in changes.new_rejections] == ["1", "*"]
    assert [one.peer for one in changes.rejections] == ["1", "*"]
