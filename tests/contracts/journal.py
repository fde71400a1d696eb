"""The contract of every journal."""

import asyncio
import itertools
import json

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from core.delivery import Attempt, Delivery, State, Turn
from core.errors import InvalidRow, Unavailable
from core.event import Event, Service, SmsReceived
from journal.feed import Committed
from journal.reads import (
    CallbackOfEvent,
    Conditions,
    ConsumerByName,
    Consumers,
    Counters,
    Deliveries,
    DeliveriesBriefly,
    DeliveryById,
    DeliveryFilter,
    EventById,
    EventFilter,
    Events,
    FirstSinks,
    JournalStats,
    OldestPending,
    PendingBySink,
    QuarantinedById,
    QuarantinedCallbacks,
    Rejections,
    ReplayById,
    RunningReplays,
    SinkRecords,
    Subscriptions,
    TokenUses,
)
from journal.records import (
    Arrival,
    BriefDelivery,
    Duplicate,
    Owed,
    Planned,
    Quarantined,
    Recorded,
    Rejection,
    ReplayState,
    SealedSecret,
    Settled,
    SinkRecord,
    Stats,
    StoredCondition,
    StoredConsumer,
    StoredDelivery,
    StoredReplay,
    StoredSubscription,
    TokenUse,
)
from journal.writes import (
    AdvanceReplay,
    BringForward,
    CancelReplay,
    ChangeSubscription,
    CountRejections,
    CreateSubscription,
    DeleteSubscription,
    DismissQuarantined,
    DropConsumer,
    EndDeliveries,
    Hold,
    MoveConsumer,
    PauseSink,
    Probe,
    QuarantineCallback,
    Record,
    Reorder,
    ReplayEvent,
    ResumeSink,
    RetryDeliveries,
    RetryDelivery,
    SetCondition,
    Settle,
    StartReplay,
    Take,
)

#: Seconds since the epoch.
NOW = 1_600_000_000.0
GIVEN_UP = DeliveryFilter(state=(State.DEAD, State.EXPIRED))
#: Nothing here takes longer, unless it hangs.
SOON = 30

serial = itertools.count(1)


def arrival(**changed):
    plain = {
        "source": "tellabot",
        "channel": "callback",
        "token": "f00d",
        "peer": "198.51.100.7",
        "at": NOW,
        "headers": (("content-type", "application/json"),),
        "body": b'{"event":"incoming_message"}',
    }
    return Arrival(**{**plain, **changed})


def key(number, second=600_000_000):
    return second.to_bytes(4) + number.to_bytes(16)


def planned(*keys, owed=(), at=NOW, source="tellabot", subject=None, **data):
    """Return a new event with these numbers as its keys."""
    number = next(serial)
    event = Event(
        id=f"event-{number:06d}",
        source=source,
        type="sms.received",
        subject=subject or f"request/{number}",
        time="2020-09-13T12:26:40Z",
        recordedtime="2020-09-13T12:26:40.000000Z",
        dedupekey=f"{number}",
        data=SmsReceived(
            **{"provider": "tellabot", "channel": "callback", "labels": {}, "sample": False}
            | {"time_from": "provider"}
            | data
        ),
    )
    return Planned(
        event=event,
        at=at,
        body=msgspec.json.encode(event),
        keys=tuple(key(name) for name in keys or (10**9 + number,)),
        routes=("everything",),
        owed=tuple(owed),
    )


def spoiled(plan):
    """A plan that no row can hold: half a surrogate pair is not UTF-8."""
    return msgspec.structs.replace(plan, event=msgspec.structs.replace(plan.event, type="\ud800"))


def owed(sink="log", *, wait=0.0, ordering=None):
    return Owed(sink=sink, wait=wait, ordering=ordering)


def line(journal, ordering):
    """Return an `ordering` as the journal stores it."""
    return ordering if journal.sealer is None else journal.sealer.hash_line(ordering)


def subscription(id_):
    return StoredSubscription(
        id=id_,
        key="app",
        url="https://app.example.com/hook",
        filter='{"data.country":"US"}',
        format="json",
        secrets=(SealedSecret(sealed="a"),),
        created_at=NOW,
    )


def kept_delivery(plan, **said):
    """Return the stored delivery of a plan, changed by `said`."""
    plain = {"event_id": plan.event.id, "sink": "log", "replay": False, "accepted_at": plan.at}
    return StoredDelivery(**{**plain, "due_at": None, "attempts": (), **said})


def attempt(outcome="failed", *, at=NOW, status=500, error="status", took_ms=1.5, answer=None):
    return Attempt(
        at=at, outcome=outcome, status=status, error=error, took_ms=took_ms, answer=answer
    )


def record(journal, *plans, came=None, replaces=None, then=lambda _outcome: None):
    came = came or arrival(source=plans[0].event.source)
    return journal.submit(Record(came, tuple(plans), replaces=replaces), then=then)


def replay(**changed):
    """A replay that has just started."""
    plain = {"key": "admin", "state": ReplayState.RUNNING, "until": NOW + 9, "types": ()}
    plain |= {"since": NOW, "sources": ("tellabot", "herosms"), "sinks": ("log",)}
    numbers = {"last": 3, "place": 0, "matched": 3, "replayed": 0, "created": 0}
    ends = {"created_at": NOW, "ended_at": None}
    return StoredReplay(**{"id": "r"} | plain | numbers | ends | changed)


async def handed(journal, *plans):
    """Record the plans; return the deliveries that the commit hands to workers."""
    found, its = [], set(ids(plans))
    with journal.listen(
        lambda committed: found.extend(itertools.chain(*committed.deliveries.values()))
    ):
        await record(journal, *plans)
    return [one for one in found if one.event_id in its]


async def take(journal, sink, *, limit, now, known=()):
    """Take due deliveries, fresh ones first, without the `known` ones."""
    known_ids, taken = tuple(one.id for one in known), []
    for turn in Turn:
        if more := limit - len(taken):
            taking = Take(sink, turn, limit=more, now=now, known=known_ids)
            taken += await journal.submit(taking)
    return tuple(sorted(taken, key=lambda one: one.id))


async def next_due_of(journal, sink, turn, *, known=()):
    """Return when the next delivery of a turn is due, as a Take without a result announces it."""
    news = []
    with journal.listen(news.append):
        assert not await journal.submit(Take(sink, turn, limit=1, now=0.0, known=known))
    return min((one.due[sink, turn] for one in news if (sink, turn) in one.due), default=None)


async def next_due(journal, sink, *, known=()):
    its = tuple(one.id for one in known)
    each = [await next_due_of(journal, sink, turn, known=its) for turn in Turn]
    return min((due_at for due_at in each if due_at is not None), default=None)


def ids(plans):
    return tuple(plan.event.id for plan in plans)


async def listed(journal, *, desc=False, after=None, limit=1000, **wanted):
    """Return the ids of all pages, from the place `after` on."""
    found = []
    while True:
        page = await journal.ask(
            Events(filter=EventFilter(**wanted), after=after, limit=limit, desc=desc)
        )
        found += [msgspec.json.decode(body)["id"] for _, body in page.items]
        if not page.has_more:
            return found
        after = page.next_seq


def keep(journal, body, *, new_id, fingerprint=None, **changed):
    return journal.submit(
        QuarantineCallback(
            arrival(body=body, **changed),
            id=new_id,
            fingerprint=fingerprint or body.ljust(16, b"."),
            reason="malformed",
            detail="not JSON",
        )
    )


def stats(*, events=0, duplicates=0, quarantine=0, **deliveries):
    return Stats(
        events=events,
        duplicates=duplicates,
        quarantine=quarantine,
        deliveries={state.value: deliveries.get(state.value, 0) for state in State},
    )


class JournalContract:
    """Subclass it as `TestX`; write the fixture `store`.

    `await store.start(now=…)` opens the journal like the next start of the service. The journal
    that was open before is left open, as after kill -9.
    """

    @pytest.fixture
    async def journal(self, store):
        return await store.start(now=NOW)

    # --- one promise, one transaction -----------------------------------------------------

    async def test_condition_is_kept_with_its_event(self, journal):
        """An event that is stored already is not stored again. Mutants: two transactions; the id of
        the planned event is kept; conditions that ended long ago stay."""
        plan = planned(number := 77)
        raised = StoredCondition(
            name="sink_failing",
            subject="sink/crm",
            since=NOW,
            raised_at=NOW,
            severity="warning",
            event=plan.event.id,
            data="{}",
        )
        first = await journal.submit(SetCondition(raised, plan, forget=0.0))
        again = planned(number)
        other = msgspec.structs.replace(raised, event=again.event.id)
        second = await journal.submit(SetCondition(other, again, forget=0.0))

        assert (first.ids, first.new) == ((plan.event.id,), (True,))
        assert (second.ids, second.new) == ((plan.event.id,), (False,))
        assert await journal.ask(Conditions()) == [raised]

        ended = msgspec.structs.replace(raised, cleared_at=NOW + 60)
        assert (await journal.submit(SetCondition(ended, None, forget=0.0))).ids == ()
        assert await journal.ask(Conditions()) == [ended]
        more = msgspec.structs.replace(raised, subject="sink/log")
        await journal.submit(SetCondition(more, None, forget=NOW + 61))
        assert await journal.ask(Conditions()) == [more]

    async def test_recorded_event_is_stored_with_its_deliveries(self, journal):
        plan = planned(owed=[owed("log"), owed("crm", wait=5.0)])

        announced = []

        with journal.listen(announced.append):
            recorded = await record(journal, plan)

        kept = await journal.ask(EventById(plan.event.id))
        (committed,) = announced
        (log,) = committed.deliveries["log"]
        crm = kept.deliveries[1].id
        assert recorded == Recorded(ids=(plan.event.id,), new=(True,))
        assert log == Delivery(
            id=log.id,
            event_id=plan.event.id,
            body=plan.body,
            sink="log",
            owner=log.owner,
            attempts=0,
            accepted_at=NOW,
        )
        assert committed == Committed(
            events=[(kept.seq, plan.body)],
            deliveries={"log": [log]},
            due={("crm", Turn.FRESH): NOW + 5},
        )
        assert (kept.body, kept.routes, kept.duplicates) == (plan.body, ("everything",), ())
        assert kept.deliveries == (
            kept_delivery(plan, id=log.id, state=State.PENDING, owner=log.owner, due_at=NOW),
            kept_delivery(plan, id=crm, sink="crm", state=State.PENDING, due_at=NOW + 5),
        )
        assert await journal.ask(JournalStats()) == stats(events=1, pending=2)

    async def test_answer_has_new_and_known_ids_in_callback_order(self, journal):
        """Mutant: the answer has the new ids only."""
        known = planned(1)
        await record(journal, known)
        first, copy, last = planned(), planned(1, owed=[owed()]), planned()

        recorded = await record(journal, first, copy, last)

        assert recorded.ids == (first.event.id, known.event.id, last.event.id)
        assert recorded.new == (True, False, True)
        assert await journal.ask(JournalStats()) == stats(events=3, duplicates=1)

    async def test_acknowledged_event_survives_a_crash(self, store, journal):
        plans = [planned(owed=[owed()]) for _ in range(20)]
        await asyncio.gather(*(record(journal, plan) for plan in plans))

        journal = await store.start(now=NOW + 1)

        assert await listed(journal) == list(ids(plans))
        assert await journal.ask(JournalStats()) == stats(events=20, pending=20)

    async def test_events_of_a_callback_are_stored_all_or_not_at_all(self, journal):
        """Mutant: a bad row fails alone, not its whole callback."""
        good, invalid = planned(1, owed=[owed()]), planned(2)
        invalid = spoiled(invalid)

        with pytest.raises(InvalidRow):
            await record(journal, good, invalid)

        assert await listed(journal) == []
        assert await journal.ask(JournalStats()) == stats()
        assert (await record(journal, planned(1))).new == (True,)

    async def test_invalid_callback_fails_alone(self, journal):
        plans = [planned() for _ in range(20)]
        plans[7] = spoiled(plans[7])

        answers = await asyncio.gather(
            *(record(journal, plan) for plan in plans), return_exceptions=True
        )

        others = [plan for place, plan in enumerate(plans) if place != 7]
        assert isinstance(answers.pop(7), InvalidRow)
        assert [answer.ids for answer in answers] == [ids([plan]) for plan in others]
        assert await listed(journal) == list(ids(others))

    async def test_then_is_called_once_even_if_the_caller_is_cancelled(self, journal):
        """The commit is announced, too, even if no caller reads the answer."""
        outcomes, announced = [], []
        plan, last = planned(owed=[owed()]), planned()

        with journal.listen(announced.append):
            record(journal, plan, then=outcomes.append).cancel()
            answer = await record(journal, last, then=outcomes.append)

        assert [outcome.ids for outcome in outcomes] == [ids([plan]), answer.ids]
        (committed,) = announced
        assert [body for _, body in committed.events] == [plan.body, last.body]
        assert [one.event_id for one in committed.deliveries["log"]] == [plan.event.id]

    async def test_failing_or_removed_listener_does_not_affect_others(self, journal):
        """Mutants: its exception reaches the writer; a removed listener is still called."""
        announced, failures = [], []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: failures.append(type(context["exception"]))
        )

        with journal.listen(lambda _committed: 1 / 0), journal.listen(announced.append):
            await record(journal, planned())
        await record(journal, planned())

        assert (len(announced), failures) == (1, [ZeroDivisionError])

    async def test_listener_of_a_sink_gets_its_commits_only(self, journal):
        """Mutant: each of a thousand workers is called after each commit."""
        crm, log = [], []

        with journal.listen(crm.append, sink="crm"), journal.listen(log.append, sink="log"):
            await record(journal, planned())
            await record(journal, planned(owed=[owed("crm")]))
            await record(journal, planned(owed=[owed("log", wait=5.0)]))

        assert [list(committed.deliveries) for committed in crm] == [["crm"]]
        assert [list(committed.due) for committed in log] == [[("log", Turn.FRESH)]]

    async def test_commit_without_an_event_is_not_announced(self, journal):
        announced = []

        with journal.listen(announced.append):
            await keep(journal, b"?", new_id="q1")
            await journal.submit(Take("log", Turn.FRESH, limit=9, now=NOW))

        assert announced == []

    async def test_commit_announces_stored_events_that_changed(self, journal):
        """A new event that changes in its own batch is only new.

        Mutants: changes are not announced; those of new events are announced, too.
        """
        polled, announced = arrival(channel="poll"), []
        await record(journal, planned(1))

        with journal.listen(announced.append):
            await record(journal, planned(1, channel="poll", code="4711"), came=polled)
            await asyncio.gather(
                record(journal, planned(2)),
                record(journal, planned(2, channel="poll", code="4712"), came=polled),
            )

        [changed, new] = (await journal.ask(Events(filter=EventFilter(), limit=9))).items
        assert b"4711" in changed[1]
        assert [(list(one.events), list(one.changed)) for one in announced] == [
            ([], [changed]),
            ([new], []),
        ]

    async def test_commit_announces_when_changed_deliveries_are_due(self, journal):
        """Mutants: the next of an ordering is not announced; a retry counts as a first attempt."""
        first, second, late = (planned(owed=[owed(ordering=o)]) for o in ("1", "1", "2"))
        (delivery,) = await handed(journal, first)
        (other,) = await handed(journal, late)
        await record(journal, second)
        announced = []

        with journal.listen(announced.append):
            await journal.submit(Settle(delivery, attempt(), State.DELIVERED, due_at=None))
            await journal.submit(Settle(other, attempt(), State.PENDING, due_at=NOW + 60))
            await journal.submit(RetryDelivery(other.id, now=NOW + 9))

        assert [one.due for one in announced] == [
            {("log", Turn.FRESH): NOW},
            {("log", Turn.RETRIED): NOW + 60},
            {("log", Turn.RETRIED): NOW + 9},
        ]

    # --- once -----------------------------------------------------------------------------

    async def test_copy_is_a_duplicate_without_deliveries(self, journal):
        first = planned(1, owed=[owed()])
        await record(journal, first)

        recorded = await record(
            journal,
            planned(1, owed=[owed()]),
            came=arrival(at=NOW + 9, channel="poll", peer="203.0.113.9"),
        )

        kept = await journal.ask(EventById(first.event.id))
        assert recorded == Recorded(ids=(first.event.id,), new=(False,))
        assert kept.duplicates == (Duplicate(at=NOW + 9, channel="poll", peer="203.0.113.9"),)
        assert await journal.ask(JournalStats()) == stats(events=1, duplicates=1, pending=1)

    async def test_two_copies_in_one_batch_are_one_event(self, journal):
        """Mutant: a look-up of stored rows only."""
        first, copy = planned(1), planned(1)

        answers = await asyncio.gather(record(journal, first), record(journal, copy))

        assert [answer.ids for answer in answers] == [(first.event.id,)] * 2
        assert [answer.new for answer in answers] == [(True,), (False,)]

    async def test_two_copies_in_one_callback_are_one_event(self, journal):
        first, copy = planned(1), planned(1)

        recorded = await record(journal, first, copy)

        assert (recorded.ids, recorded.new) == ((first.event.id,) * 2, (True, False))

    async def test_fifty_simultaneous_copies_are_one_event(self, journal):
        """Mutant: look-up and insert in different transactions."""
        plans = [planned(1, owed=[owed()]) for _ in range(50)]

        answers = await asyncio.gather(*(record(journal, plan) for plan in plans))

        assert len({answer.ids for answer in answers}) == 1
        assert sorted(answer.new for answer in answers) == [(False,)] * 49 + [(True,)]
        assert await journal.ask(JournalStats()) == stats(events=1, duplicates=49, pending=1)

    async def test_copy_is_recognized_after_a_crash(self, store, journal):
        first = planned(1)
        await record(journal, first)

        journal = await store.start()

        assert (await record(journal, planned(1))).ids == (first.event.id,)

    async def test_one_key_in_two_sources_is_two_events(self, journal):
        """Mutant: a unique key that leaves out the source."""
        here, there = planned(1), planned(1, source="herosms")

        answers = [await record(journal, here), await record(journal, there)]

        assert [answer.new for answer in answers] == [(True,), (True,)]
        assert await listed(journal, source=("herosms",)) == [there.event.id]

    async def test_any_known_key_makes_a_duplicate(self, journal):
        first = planned(1, 2)
        await record(journal, first)

        answers = [await record(journal, planned(*keys)) for keys in ((1, 9), (8, 2), (7, 8), (9,))]

        assert {answer.ids for answer in answers} == {(first.event.id,)}

    @pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
    async def test_chain_of_copies_stays_one_event(self, journal, together):
        """Mutant: the keys of a duplicate are dropped, which splits a chain of retries in two."""
        plans = [planned(number, number + 1) for number in range(10)]

        if together:
            answers = await asyncio.gather(*(record(journal, plan) for plan in plans))
        else:
            answers = [await record(journal, plan) for plan in plans]

        assert [answer.ids for answer in answers] == [ids(plans[:1])] * 10
        assert (await record(journal, planned(10))).ids == ids(plans[:1])

    @pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
    async def test_key_stays_with_its_first_event(self, journal, together):
        """A copy with keys of two events belongs to the first; the second keeps its own key.

        Mutant: a batch remembers a key that the unique index did not accept.
        """
        first, second = planned(1), planned(2)
        for plan in (first, second):
            await record(journal, plan)
        copies = [planned(1, 2), planned(2)]

        if together:
            answers = await asyncio.gather(*(record(journal, plan) for plan in copies))
        else:
            answers = [await record(journal, plan) for plan in copies]

        assert [answer.ids for answer in answers] == [ids([first]), ids([second])]

    async def test_repeated_key_in_one_event_is_one_key(self, journal):
        recorded = await record(journal, planned(1, 1))

        assert recorded.new == (True,)

    async def test_all_copies_are_counted_and_a_hundred_are_listed(self, journal):
        first = planned(1)
        await record(journal, first)

        await asyncio.gather(
            *(
                record(journal, planned(1), came=arrival(at=NOW + number))
                for number in range(1, 131)
            )
        )

        kept = await journal.ask(EventById(first.event.id))
        assert [copy.at for copy in kept.duplicates] == [NOW + n for n in range(1, 101)]
        assert (await journal.ask(JournalStats())).duplicates == 130

    # --- quarantine -----------------------------------------------------------------------

    async def test_quarantine_keeps_the_exact_bytes(self, journal):
        body = bytes(range(256))
        came = {"at": NOW + 3, "token": "beef", "headers": (("a", "\x00é"), ("a", "2"))}

        kept = await keep(journal, body, new_id="q1", **came)

        one = await journal.ask(QuarantinedById("q1"))
        assert kept == Quarantined(id="q1", new=True)
        assert (one.body, one.headers, one.token) == (body, came["headers"], "beef")
        assert (one.source, one.reason, one.detail) == ("tellabot", "malformed", "not JSON")
        assert (one.at, one.last_at, one.count) == (NOW + 3, NOW + 3, 1)
        assert await journal.ask(QuarantinedById("q2")) is None

    async def test_repeated_bytes_are_counted_under_the_first_id(self, journal):
        await keep(journal, b"?", new_id="q1")

        again = await asyncio.gather(
            keep(journal, b"?", new_id="q2", at=NOW + 1),
            keep(journal, b"?", new_id="q3", at=NOW + 2),
        )

        one = await journal.ask(QuarantinedById("q1"))
        assert again == [Quarantined(id="q1", new=False)] * 2
        assert (one.count, one.at, one.last_at) == (3, NOW, NOW + 2)
        assert await journal.ask(JournalStats()) == stats(quarantine=1, duplicates=2)

    async def test_same_bytes_from_another_source_have_their_own_row(self, journal):
        await keep(journal, b"?", new_id="q1")

        other = await keep(journal, b"?", new_id="q2", source="herosms")

        assert other == Quarantined(id="q2", new=True)

    async def test_quarantine_is_listed_in_both_directions(self, journal):
        for name in ("q1", "q2", "q3"):
            await keep(journal, name.encode(), new_id=name)

        up = await journal.ask(QuarantinedCallbacks(limit=2))
        rest = await journal.ask(QuarantinedCallbacks(after=up[-1].seq, limit=2))
        down = await journal.ask(QuarantinedCallbacks(after=rest[0].seq, limit=9, desc=True))

        assert [one.id for one in up] == ["q1", "q2"]
        assert [one.id for one in rest] == ["q3"]
        assert [one.id for one in down] == ["q2", "q1"]

    async def test_second_dismissal_finds_nothing(self, journal):
        await keep(journal, b"?", new_id="q1")

        gone = [
            await journal.submit(DismissQuarantined("q1")),
            await journal.submit(DismissQuarantined("q1")),
        ]

        assert gone == [True, False]
        assert await journal.ask(QuarantinedById("q1")) is None
        assert await journal.ask(JournalStats()) == stats()

    async def test_replayed_callback_leaves_quarantine_with_its_event(self, journal):
        await keep(journal, b"?", new_id="q1")

        recorded = await record(journal, planned(1), replaces="q1")

        assert recorded.new == (True,)
        assert await journal.ask(QuarantinedById("q1")) is None
        assert await journal.ask(JournalStats()) == stats(events=1)

    async def test_callback_with_an_invalid_event_stays_in_quarantine(self, journal):
        """Mutant: the dismissal has its own transaction."""
        await keep(journal, b"?", new_id="q1")
        invalid = spoiled(planned())

        with pytest.raises(InvalidRow):
            await record(journal, invalid, replaces="q1")

        assert (await journal.ask(QuarantinedById("q1"))).id == "q1"
        assert await journal.ask(JournalStats()) == stats(quarantine=1)

    # --- deliveries -----------------------------------------------------------------------

    async def test_settled_delivery_has_its_attempts(self, journal):
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)
        failure = attempt(answer=b"not \xff now")
        success = attempt("delivered", at=NOW + 7, status=200, error=None)

        ours = [await journal.submit(Settle(delivery, failure, State.PENDING, due_at=NOW + 6))]
        (again,) = await take(journal, "log", limit=9, now=NOW + 6)
        ours += [await journal.submit(Settle(again, success, State.DELIVERED, due_at=None))]

        kept = await journal.ask(DeliveryById(delivery.id))
        (of_event,) = (await journal.ask(EventById(plan.event.id))).deliveries
        assert ours == [Settled(), Settled()]
        assert again == msgspec.structs.replace(delivery, attempts=1)
        assert kept == kept_delivery(
            plan, id=delivery.id, state=State.DELIVERED, attempts=(failure, success)
        )
        assert (of_event.id, len(of_event.attempts)) == (kept.id, 2)
        assert await journal.ask(JournalStats()) == stats(events=1, delivered=1)

    async def test_delivery_is_settled_once(self, journal):
        """Mutant: settling without a check of the owner."""
        (delivery,) = await handed(journal, planned(owed=[owed()]))
        await journal.submit(Settle(delivery, attempt(), State.DEAD, due_at=None))

        again = await journal.submit(Settle(delivery, attempt(), State.DELIVERED, due_at=None))

        assert again is None
        assert await journal.ask(JournalStats()) == stats(events=1, dead=1)

    async def test_simultaneous_deliveries_are_settled_one_by_one(self, journal):
        """There are more deliveries than one statement holds, half of them with an attempt.

        Mutant: all are settled with the number of attempts of the first one.
        """
        deliveries = [(await handed(journal, planned(owed=[owed()])))[0] for _ in range(70)]
        for delivery in deliveries[::2]:
            await journal.submit(Settle(delivery, attempt(), State.PENDING, due_at=NOW))
        again = await take(journal, "log", limit=70, now=NOW, known=deliveries[1::2])

        believed = await asyncio.gather(
            *(
                journal.submit(Settle(delivery, attempt(), State.DELIVERED, due_at=None))
                for delivery in [*deliveries[1::2], *again, deliveries[0]]
            )
        )

        assert believed == [*[Settled()] * 70, None]
        assert await journal.ask(JournalStats()) == stats(events=70, delivered=70)
        kept = [len((await journal.ask(DeliveryById(one.id))).attempts) for one in deliveries]
        assert kept == [2, 1] * 35

    @pytest.mark.parametrize("state", [State.DEAD, State.DELIVERED])
    async def test_outcome_of_an_earlier_take_is_ignored(self, journal, state):
        """Mutant: a fence that compares the start only."""
        (first,) = await handed(journal, planned(owed=[owed()]))
        await journal.submit(Settle(first, attempt(), State.PENDING, due_at=NOW))
        (second,) = await take(journal, "log", limit=1, now=NOW)

        late = await journal.submit(Settle(first, attempt(), state, due_at=None))

        assert late is None
        assert await journal.submit(Settle(second, attempt(), State.DELIVERED, due_at=None))

    async def test_delivery_expires_without_an_attempt(self, journal):
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)

        await journal.submit(Settle(delivery, None, State.EXPIRED, due_at=None))

        (kept,) = (await journal.ask(EventById(plan.event.id))).deliveries
        assert (kept.state, kept.attempts) == (State.EXPIRED, ())

    @pytest.mark.parametrize("state", [State.DEAD, State.DELIVERED])
    async def test_outcome_of_an_earlier_start_is_ignored(self, store, journal, state):
        """Mutant: a fence that compares the state only."""
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)
        later = await store.start(now=NOW + 1)
        (ours,) = await take(later, "log", limit=9, now=NOW + 1)

        late = await journal.submit(Settle(delivery, attempt(), state, due_at=None))

        assert late is None
        assert ours == msgspec.structs.replace(delivery, owner=ours.owner)
        assert ours.owner != delivery.owner
        assert await later.submit(Settle(ours, attempt(), State.DELIVERED, due_at=None))

    async def test_probe_is_the_oldest_failed_delivery_due_or_not(self, journal):
        """Mutants: the delivery that is due first, which changes with each failure; a delivery
        that was never tried, and waits for its route's delay."""
        await record(journal, planned(owed=[owed(wait=5.0)]))
        plans = [planned(owed=[owed()]) for _ in range(3)]
        taken = [(await handed(journal, plan))[0] for plan in plans]
        await journal.submit(Settle(taken[1], attempt(), State.PENDING, due_at=NOW + 90))
        await journal.submit(Settle(taken[2], attempt(), State.PENDING, due_at=NOW + 10))

        (probe,) = await journal.submit(Probe("log"))

        assert probe == msgspec.structs.replace(taken[1], attempts=1, due_at=NOW + 90)
        assert await journal.submit(Settle(probe, None, State.PENDING, due_at=probe.due_at))
        assert await journal.submit(Probe("crm")) == ()
        assert await journal.ask(JournalStats()) == stats(events=4, pending=4)

    async def test_held_deliveries_are_brought_forward_by_id_and_once(self, journal):
        """Mutants: also untried ones; also those with a time that the sink named; twice."""
        taken = [(await handed(journal, planned(owed=[owed()])))[0] for _ in range(5)]
        for delivery, said in zip(
            taken,
            ({}, {"held": True}, {"asked": True}, {"held": True}, {"held": True}),
            strict=True,
        ):
            await journal.submit(
                Settle(delivery, attempt(), State.PENDING, due_at=NOW + 3600, **said)
            )
        await record(journal, planned(owed=[owed(wait=60.0)]))

        moved = [await journal.submit(BringForward("log", limit=2, now=NOW + 1)) for _ in range(3)]

        assert moved == [(taken[1].id, taken[3].id), (taken[4].id,), ()]
        due = await take(journal, "log", limit=9, now=NOW + 1)
        assert [one.id for one in due] == [taken[n].id for n in (1, 3, 4)]
        assert {one.due_at for one in due} == {NOW + 3600}

    async def test_failed_delivery_can_be_held_later(self, journal):
        """Mutant: a delivery with a time that the sink named is held."""
        taken = [(await handed(journal, planned(owed=[owed()])))[0] for _ in range(3)]
        for delivery, asked in zip(taken[:2], (False, True), strict=True):
            await journal.submit(
                Settle(delivery, attempt(), State.PENDING, due_at=NOW + 60, asked=asked)
            )

        await journal.submit(Hold(tuple([one.id for one in taken])))

        assert await journal.submit(BringForward("log", limit=9, now=NOW)) == (taken[0].id,)

    async def test_probes_of_one_number_are_one_row(self, journal):
        """Mutants: a row for each probe; a probe that counts as an attempt of the schedule."""
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)
        await journal.submit(Settle(delivery, attempt(), State.PENDING, due_at=NOW + 60))
        for n in range(3):
            [probe] = await journal.submit(Probe("log"))
            tried = msgspec.structs.replace(attempt(at=NOW + n, status=503), probes=1)
            assert await journal.submit(
                Settle(probe, tried, State.PENDING, due_at=probe.due_at, held=True)
            )

        (kept,) = (await journal.ask(EventById(plan.event.id))).deliveries
        assert [(one.at, one.status, one.probes) for one in kept.attempts] == [
            (NOW, 500, 0),
            (NOW + 2, 503, 3),
        ]
        assert kept.due_at == NOW + 60
        [again] = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=NOW + 60))
        assert again.attempts == 1

    async def test_only_deliveries_accepted_by_a_time_are_taken(self, journal):
        """Mutant: all that are due are taken."""
        old, _ = [(await handed(journal, planned(owed=[owed()], at=NOW + n)))[0] for n in (0, 2)]
        for turn, taking in ((Turn.FRESH, [old.id]), (Turn.RETRIED, [])):
            take = Take("log", turn, limit=9, now=NOW + 60, accepted_by=NOW + 1)
            assert [one.id for one in await journal.submit(take)] == taking

    async def test_only_deliveries_under_way_are_listed_as_sending(self, journal):
        """Mutants: taken ones count as sending; those under way count as pending."""
        taken = [(await handed(journal, planned(owed=[owed()])))[0].id for _ in range(3)]
        waits = (await record(journal, planned(owed=[owed(wait=9.0)]))).ids

        async def shown(*states):
            wanted = DeliveryFilter(state=states, under_way=(taken[1],))
            page = await journal.ask(Deliveries(filter=wanted, limit=9))
            return [kept.id for _, kept in page.items]

        assert len(waits) == 1
        assert await shown(State.SENDING) == [taken[1]]
        assert await shown(State.PENDING) == [taken[0], taken[2], taken[2] + 1]
        assert await shown(State.SENDING, State.PENDING) == [*taken, taken[2] + 1]
        assert await shown(State.SENDING, State.DEAD) == [taken[1]]
        assert await shown(State.PENDING, State.DELIVERED) == [taken[0], taken[2], taken[2] + 1]

    async def test_delivery_taken_by_an_earlier_start_is_due_at_once(self, store, journal):
        """Mutant: it waits for the end of a lease."""
        failed, other = await handed(journal, planned(owed=[owed(), owed("crm")]))
        await journal.submit(Settle(failed, attempt(), State.PENDING, due_at=NOW + 60))
        (probe,) = await journal.submit(Probe("log"))
        await record(journal, planned(owed=[owed(wait=3600.0)]))

        journal = await store.start(now=NOW + 1)

        assert await next_due(journal, "log") <= NOW + 1
        assert [one.id for one in await take(journal, "log", limit=9, now=NOW + 1)] == [probe.id]
        assert [one.id for one in await take(journal, "crm", limit=9, now=NOW + 1)] == [other.id]
        assert await journal.ask(JournalStats()) == stats(events=2, pending=3)

    # --- order ----------------------------------------------------------------------------

    async def test_deliveries_of_one_value_are_taken_one_by_one_in_order(self, journal):
        """Mutants: no check for earlier ones; a check for those being sent only."""
        alike = [planned(owed=[owed(ordering='"a"')]) for _ in range(3)]
        other = planned(owed=[owed(ordering='"b"')])

        first = await handed(journal, alike[0])
        behind = [await handed(journal, plan) for plan in (*alike[1:], other)]
        known = [*first, *behind[2]]
        held = await take(journal, "log", limit=9, now=NOW, known=known)
        await journal.submit(Settle(first[0], attempt(), State.PENDING, due_at=NOW + 5))
        early = await take(journal, "log", limit=9, now=NOW + 4, known=known[1:])
        (again,) = await take(journal, "log", limit=9, now=NOW + 5, known=known[1:])
        await journal.submit(Settle(again, attempt("delivered"), State.DELIVERED, due_at=None))
        (second,) = await take(journal, "log", limit=9, now=NOW + 5, known=known[1:])

        assert [len(one) for one in behind] == [0, 0, 1]
        assert (held, early) == ((), ())
        assert [one.event_id for one in (again, second)] == [p.event.id for p in alike[:2]]
        assert await journal.ask(JournalStats()) == stats(events=4, pending=3, delivered=1)

    @pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.EXPIRED])
    async def test_ended_delivery_releases_the_next_of_its_value(self, journal, state):
        """In one batch, too. Mutant: rows are inserted at the end of the batch, and not found."""
        first, second = (planned(owed=[owed(ordering="")]) for _ in range(2))
        (delivery,) = await handed(journal, first)

        at_once, _ = await asyncio.gather(
            handed(journal, second),
            journal.submit(Settle(delivery, attempt(), state, due_at=None)),
        )

        taken = (*at_once, *await take(journal, "log", limit=9, now=NOW, known=at_once))
        assert [one.event_id for one in taken] == [second.event.id]

    async def test_ordered_delivery_can_be_taken_in_its_own_batch(self, journal):
        """Mutant: its event is inserted at the end, and the whole batch fails."""
        plan = planned(owed=[owed(ordering='""')])

        _, taken = await asyncio.gather(
            record(journal, plan), take(journal, "log", limit=9, now=NOW)
        )

        assert [one.body for one in taken] == [plan.body]

    async def test_first_wait_also_counts_in_line(self, journal):
        """Mutants: who waits in line is sent at once after; or after a reorder, or a retry."""
        to = {"to": "+11"}
        await journal.submit(Reorder("log", ordered_by="data.to"))
        first, dead = [owed(wait=wait, ordering=line(journal, '"+11"')) for wait in (5.0, 0.0)]
        (one,) = await handed(journal, planned(**to, owed=[dead]))
        await record(journal, planned(**to, owed=[first], at=NOW + 1))
        await journal.submit(Settle(one, attempt(), State.DEAD, due_at=None))

        async def due_at():
            turns = Turn.FRESH, Turn.RETRIED
            return [await next_due_of(journal, "log", turn) for turn in turns]

        found = [await due_at()]
        await journal.submit(RetryDelivery(one.id, NOW))
        (again,) = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=NOW))
        await journal.submit(Settle(again, attempt(), State.PENDING, due_at=NOW + 99))
        found.append(await due_at())
        for path in (None, "data.to", None):
            await journal.submit(Reorder("log", ordered_by=path))
            found.append(await due_at())

        assert found == [
            [NOW + 6, None],
            [None, NOW + 99],
            [NOW + 6, NOW + 99],
            [None, NOW + 99],
            [NOW + 6, NOW + 99],
        ]

    async def test_reorder_applies_to_pending_deliveries(self, store, journal):
        plans = [planned(to=to, owed=[owed()]) for to in ("+11", "+12", "+11", None)]
        for plan in plans:
            await record(journal, plan)
        journal = await store.start(now=NOW)

        for _ in range(2):
            await journal.submit(Reorder("log", ordered_by="data.to"))
        journal = await store.start(now=NOW)
        await journal.submit(Reorder("log", ordered_by="data.to"))
        heads = await take(journal, "log", limit=9, now=NOW)
        journal = await store.start(now=NOW)
        await journal.submit(Reorder("log", ordered_by=None))
        unordered = await take(journal, "log", limit=9, now=NOW)

        assert [one.event_id for one in heads] == [plans[i].event.id for i in (0, 1, 3)]
        lines = [line(journal, '"+11"'), line(journal, '"+12"'), None]
        assert [one.ordering for one in heads] == lines
        assert [one.event_id for one in unordered] == list(ids(plans))

    async def test_reorder_applies_to_deliveries_of_this_start(self, journal):
        """As at a reload, when their worker has stopped. Mutant: it leaves them out."""
        plans = [planned(to=to, owed=[owed()]) for to in ("+11", "+12", "+11")]
        for plan in plans:
            await record(journal, plan)
        first, *_ = await take(journal, "log", limit=9, now=NOW)

        await journal.submit(Reorder("log", ordered_by="data.to"))
        late = await journal.submit(Settle(first, attempt(), State.DELIVERED, due_at=None))
        heads = await take(journal, "log", limit=9, now=NOW)
        await journal.submit(Settle(heads[0], attempt(), State.DELIVERED, due_at=None))
        rest = await take(journal, "log", limit=9, now=NOW, known=[heads[1]])

        assert late is None
        assert [one.event_id for one in (*heads, *rest)] == list(ids(plans))

    @pytest.mark.parametrize("ends", ["ends", "dies", "dies, and the path is the former one"])
    async def test_reorder_goes_in_steps(self, store, journal, ends):
        """Events are stored in between. What a killed process began is begun again.

        Mutants: a line begins anew with each step; the path is stored with the first step.
        """
        plans = [planned(to=to, owed=[owed()]) for to in ("+11", "+12", "+11", "+12", "+11")]
        for plan in plans:
            await record(journal, plan)

        async def reorder(path, *, most=99):
            after = 0
            while after is not None and most:
                after = await journal.submit(Reorder("log", ordered_by=path, after=after, limit=1))
                most -= 1
            return after

        began = await reorder("data.to", most=2)
        plans.append(planned(to="+12", owed=[owed(ordering=line(journal, '"+12"'))]))
        await record(journal, plans[-1])
        if ends != "ends":
            journal = await store.start(now=NOW)
        ended = await reorder(None if "former" in ends else "data.to")
        heads = await take(journal, "log", limit=9, now=NOW)

        assert (began is None, ended) == (False, None)
        due = plans if "former" in ends else plans[:2]
        assert [one.event_id for one in heads] == list(ids(due))

    # --- sending again --------------------------------------------------------------------

    async def test_replay_makes_a_new_delivery_to_each_sink(self, journal):
        plan = planned(owed=[owed("log")])
        await handed(journal, plan)
        announced = []

        again = (owed("log"), owed("crm", wait=1.0))
        with journal.listen(announced.append):
            replayed = await journal.submit(ReplayEvent(plan.event.id, again, at=NOW + 9))
            nothing = await journal.submit(ReplayEvent("no-such-event", again, at=NOW))

        first, *made = (await journal.ask(EventById(plan.event.id))).deliveries
        assert [one.replay for one in (first, *made)] == [False, True, True]
        assert replayed.ids == tuple(one.id for one in made)
        # Their bodies do not pass through memory.
        (committed,) = announced
        assert (committed.deliveries, committed.due) == (
            {},
            {("log", Turn.REPLAYED): NOW + 9, ("crm", Turn.REPLAYED): NOW + 10},
        )
        assert nothing is None
        assert [one.replay for one in await take(journal, "crm", limit=9, now=NOW + 10)] == [True]

    async def test_replay_of_many_makes_each_delivery_once(self, journal):
        """A step that is sent twice, or late, makes nothing. Mutant: the place is not compared."""
        plans = [planned(owed=[owed("log"), owed("crm")]) for _ in range(3)]
        await record(journal, *plans)
        await journal.submit(StartReplay(replay()))
        (one, two, three) = [(seq, (owed("log"),)) for seq in (1, 2, 3)]

        steps = [AdvanceReplay("r", 0, 2, (one, two), NOW), AdvanceReplay("r", 2, 3, (three,), NOW)]
        answers = await asyncio.gather(*(journal.submit(step) for step in [*steps, *steps]))
        again = await journal.submit(steps[1])
        last = await journal.submit(AdvanceReplay("r", 3, 3, (), NOW + 1, ends=True))
        late = await journal.submit(AdvanceReplay("r", 3, 9, (one,), NOW + 2))

        assert [(kept.place, kept.replayed, kept.created) for kept in answers] == [
            (2, 2, 2),
            (3, 3, 3),
            (3, 3, 3),
            (3, 3, 3),
        ]
        assert again == answers[-1]
        assert (last.state, last.ended_at) == ("done", NOW + 1)
        assert late == last == await journal.ask(ReplayById("r"))
        assert (await journal.ask(JournalStats())).deliveries["pending"] == 9
        taken = await journal.submit(Take("log", Turn.REPLAYED, 9, NOW))
        assert [one.event_id for one in taken] == [plan.event.id for plan in plans]

    async def test_replay_keeps_the_order_of_its_sink(self, journal):
        plans = [planned(owed=[owed(ordering="x")]) for _ in range(2)]
        ((first,), _) = await handed(journal, plans[0]), await record(journal, plans[1])
        await journal.submit(StartReplay(replay()))
        again = tuple((seq, (owed(ordering="x"),)) for seq in (1, 2))
        await journal.submit(AdvanceReplay("r", 0, 2, again, NOW))

        order, due = [], [first]
        while due:
            order += [(one.event_id, one.replay) for one in due]
            for one in due:
                done = Settle(one, attempt("delivered"), State.DELIVERED, due_at=None)
                await journal.submit(done)
            due = await take(journal, "log", limit=9, now=NOW)

        ids_ = [plan.event.id for plan in plans]
        assert order == [(id_, again) for again in (False, True) for id_ in ids_]

    async def test_cancelled_replay_is_not_continued(self, journal):
        await record(journal, planned())
        one, other = replay(), replay(id="s", sinks=None, since=None)
        for each in (one, other):
            await journal.submit(StartReplay(each))

        before = await journal.ask(RunningReplays())
        cancelled = await journal.submit(CancelReplay("r", NOW + 1))
        step = await journal.submit(AdvanceReplay("r", 0, 1, ((1, (owed(),)),), NOW + 2))
        unknown = [
            await journal.submit(CancelReplay("none", NOW)),
            await journal.submit(AdvanceReplay("none", 0, 1, (), NOW)),
            await journal.ask(ReplayById("none")),
        ]

        assert before == [one, other]
        assert (cancelled.state, cancelled.ended_at) == ("cancelled", NOW + 1)
        assert step == cancelled == await journal.submit(CancelReplay("r", NOW + 9))
        assert await journal.ask(RunningReplays()) == [other]
        assert unknown == [None, None, None]
        assert (await journal.ask(JournalStats())).deliveries["pending"] == 0

    async def test_first_sinks_leave_replays_out(self, journal):
        plan = planned(owed=[owed("log"), owed("crm")])
        await record(journal, plan, planned())
        await journal.submit(ReplayEvent(plan.event.id, (owed("team"),), at=NOW))

        assert await journal.ask(FirstSinks((1, 2))) == {1: ["log", "crm"]}

    async def test_turns_are_taken_apart(self, journal):
        """Mutant: a replay is taken with fresh deliveries, which then wait for a million of it."""
        failed, plan = planned(owed=[owed()]), planned(owed=[owed()])
        (first,) = await handed(journal, failed)
        (fresh,) = await handed(journal, plan)
        await journal.submit(Settle(first, attempt(), State.PENDING, due_at=NOW))
        replayed = await journal.submit(ReplayEvent(failed.event.id, (owed(),), at=NOW))

        taken = {
            turn: [one.id for one in await journal.submit(Take("log", turn, limit=9, now=NOW))]
            for turn in Turn
        }

        assert taken == {
            Turn.FRESH: [fresh.id],
            Turn.RETRIED: [first.id],
            Turn.REPLAYED: list(replayed.ids),
        }

    @pytest.mark.parametrize("state", [State.DEAD, State.EXPIRED, State.PENDING])
    async def test_retried_delivery_restarts_its_schedule(self, journal, state):
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)
        due_at = NOW + 3600 if state is State.PENDING else None
        await journal.submit(Settle(delivery, attempt(), state, due_at=due_at))

        answer = await journal.submit(RetryDelivery(delivery.id, now=NOW + 60))
        (again,) = await take(journal, "log", limit=9, now=NOW + 60)

        assert (answer.state, answer.due_at, answer.accepted_at) == ("pending", NOW + 60, NOW + 60)
        assert (again.id, again.attempts, again.failures) == (delivery.id, 1, 0)
        assert again.accepted_at == NOW + 60
        await journal.submit(Settle(again, attempt("delivered"), State.DELIVERED, due_at=None))
        assert len((await journal.ask(DeliveryById(delivery.id))).attempts) == 2
        assert await journal.ask(JournalStats()) == stats(events=1, delivered=1)

    async def test_retry_keeps_the_owner_and_skips_delivered_ones(self, journal):
        """Mutants: a retry takes it from its owner; a retry sends a delivered one again."""
        (delivery,) = await handed(journal, planned(owed=[owed()]))

        answers = [await journal.submit(RetryDelivery(delivery.id, now=NOW + 5))]
        (again,) = await take(journal, "log", limit=9, now=NOW + 5)
        await journal.submit(Settle(delivery, attempt("delivered"), State.DELIVERED, due_at=None))
        answers += [
            await journal.submit(RetryDelivery(delivery.id, now=NOW)),
            await journal.submit(RetryDelivery(99, now=NOW)),
        ]

        assert again == msgspec.structs.replace(delivery, accepted_at=NOW + 5)
        assert [answer and (answer.state, answer.owner) for answer in answers] == [
            (State.PENDING, delivery.owner),
            (State.DELIVERED, None),
            None,
        ]
        assert await journal.ask(JournalStats()) == stats(events=1, delivered=1)

    async def test_retried_delivery_precedes_those_accepted_later(self, journal):
        """It still waits for the one being sent. Mutant: it is due, because it is the first."""
        await journal.submit(Reorder("log", ordered_by="data.to"))
        ordered = owed(ordering=line(journal, '"+11"'))
        first, second = (planned(to="+11", owed=[ordered]) for _ in range(2))
        (delivery,) = await handed(journal, first)
        await journal.submit(Settle(delivery, attempt(), State.DEAD, due_at=None))
        (sent,) = await handed(journal, second)

        for _ in range(2):
            await journal.submit(RetryDelivery(delivery.id, now=NOW))
        known_ids = await take(journal, "log", limit=9, now=NOW, known=[sent])
        await journal.submit(Settle(sent, attempt(), State.PENDING, due_at=NOW))
        await journal.submit(RetryDelivery(delivery.id, now=NOW))
        ahead = await take(journal, "log", limit=9, now=NOW)

        assert sent.event_id == second.event.id
        assert known_ids == ()
        assert [one.event_id for one in ahead] == [first.event.id]

    # --- sinks ----------------------------------------------------------------------------

    async def test_sink_record_is_updated_with_its_deliveries(self, store, journal):
        plans = [planned(owed=[owed()]) for _ in range(4)]
        one, two, three, four = [(await handed(journal, p))[0] for p in plans]

        def settle(delivery, outcome, at, error="status"):
            made = attempt(outcome, at=NOW + at, error=error, status=at)
            return journal.submit(Settle(delivery, made, State.DEAD, due_at=None))

        await settle(one, "failed", 1)
        await settle(two, "failed", 2, "tls")
        failing = await journal.ask(SinkRecords())
        await settle(three, "delivered", 3, None)
        await settle(four, "refused", 4, "gone")
        journal = await store.start(now=NOW)

        assert failing == {
            "log": SinkRecord(
                name="log",
                failing_since=NOW + 1,
                last_error_at=NOW + 2,
                last_error="tls",
                last_status=2,
            )
        }
        assert await journal.ask(SinkRecords()) == {
            "log": SinkRecord(
                name="log",
                last_success_at=NOW + 3,
                last_error_at=NOW + 4,
                last_error="gone",
                last_status=4,
            )
        }

    async def test_failing_since_begins_after_the_last_success_of_a_batch(self, journal):
        """Mutants: the first failure counts; a success in the batch hides later failures."""
        plans = [planned(owed=[owed()]) for _ in range(3)]
        taken = [(await handed(journal, p))[0] for p in plans]

        await asyncio.gather(
            *(
                journal.submit(Settle(one, attempt(outcome, at=NOW + at), State.DEAD, due_at=None))
                for at, (one, outcome) in enumerate(
                    zip(taken, ("failed", "delivered", "failed"), strict=True)
                )
            )
        )

        log = (await journal.ask(SinkRecords()))["log"]
        assert (log.failing_since, log.last_success_at) == (NOW + 2, NOW + 1)

    async def test_pause_and_resume_survive_a_restart(self, store, journal):
        await journal.submit(PauseSink("log", by="operator", at=NOW))
        await journal.submit(PauseSink("crm", by="failing", at=NOW))
        await journal.submit(ResumeSink("crm"))

        journal = await store.start(now=NOW + 1)

        sinks = await journal.ask(SinkRecords())
        assert (sinks["log"].paused, sinks["log"].paused_at) == ("operator", NOW)
        assert sinks["crm"] == SinkRecord(name="crm")

    # --- subscriptions --------------------------------------------------------------------

    async def test_subscriptions_survive_a_restart(self, store, journal):
        """Mutants: a change of a deleted one stores it; a place is given out again."""
        first, second, third = (subscription(f"s{number}") for number in range(3))
        places = [await journal.submit(CreateSubscription(one)) for one in (first, second)]
        await journal.submit(PauseSink("sub:s0", by="gone", at=NOW))
        changed = msgspec.structs.replace(
            first,
            filter=None,
            secrets=(SealedSecret(sealed="b"), SealedSecret(sealed="a", until=9)),
        )
        done = [
            await journal.submit(ChangeSubscription(changed)),
            await journal.submit(DeleteSubscription("s1", "sub:s1")),
            await journal.submit(DeleteSubscription("s1", "sub:s1")),
            await journal.submit(ChangeSubscription(second)),
        ]

        journal = await store.start(now=NOW + 1)
        last = await journal.submit(CreateSubscription(third))

        assert done == [True, True, False, False]
        assert places[0] < places[1] < last
        found = list(await journal.ask(Subscriptions()))
        assert found == [(places[0], changed), (last, third)]
        await journal.submit(DeleteSubscription("s0", "sub:s0"))
        assert "sub:s0" not in await journal.ask(SinkRecords())

    async def test_ended_deliveries_are_dead_with_a_word(self, journal):
        """Mutants: those of other sinks end; a taken one stays; a late outcome changes the end.

        Mutant: a retry of all does not find them (`give_up` leaves out `_GIVE_UP`).
        """
        plans = [planned(owed=[owed("crm"), owed("log")]) for _ in range(3)]
        taken = [(await handed(journal, plan))[0] for plan in plans]
        crm = [one for one in taken if one.sink == "crm"]
        await journal.submit(
            Settle(crm[0], attempt("failed"), State.PENDING, due_at=NOW + 99, held=True)
        )
        write = EndDeliveries("crm", "unsubscribed", at=NOW + 1, limit=2)

        ended = [await journal.submit(write) for _ in range(3)]
        late = await journal.submit(Settle(crm[1], attempt(), State.DELIVERED, due_at=None))

        assert (ended, late) == ([2, 1, 0], None)
        page = await journal.ask(Deliveries(filter=DeliveryFilter(sink=("crm",))))
        kept = [one for _, one in page.items]
        assert [(one.state, one.due_at, one.owner) for one in kept] == [
            (State.DEAD, None, None)
        ] * 3
        assert [[one.outcome for one in each.attempts] for each in kept] == [
            ["failed", "refused"],
            ["refused"],
            ["refused"],
        ]
        assert {each.attempts[-1].error for each in kept} == {"unsubscribed"}
        briefly = await journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=9))
        assert [one.id for one in briefly] == [one.id for one in kept]
        counts = (await journal.ask(JournalStats())).deliveries
        assert (counts["dead"], counts["pending"]) == (3, 3)
        by_sink = await journal.ask(Counters())
        assert (by_sink["dead/crm"], "pending/crm" in by_sink) == (3, False)

    async def test_counters_of_subscriptions_do_not_outlive_them(self, journal):
        """Mutants: ends are counted by subscription; the count of pending ones stays, at zero."""
        for sink in ("sub:a", "sub:b"):
            [taken] = await handed(journal, planned(owed=[owed(sink)]))
            await journal.submit(Settle(taken, attempt(), State.DELIVERED, due_at=None))
            await record(journal, planned(owed=[owed(sink)]))
        await journal.submit(EndDeliveries("sub:a", "unsubscribed", at=NOW + 1))

        counters = await journal.ask(Counters())
        assert {name: count for name, count in counters.items() if "sub:" in name} == {
            "delivered/sub:*": 2,
            "dead/sub:*": 1,
            "pending/sub:b": 1,
        }

    # --- consumers ------------------------------------------------------------------------

    async def test_consumer_goes_back_only_if_asked(self, journal):
        """Mutants: a commit goes back; a seek does not; another key's consumer is moved."""
        places = []
        for place, back in ((5, False), (3, False), (2, True), (4, False)):
            moved = await journal.submit(MoveConsumer("crm", "a", place, NOW + place, back=back))
            places.append(moved.place)
        await journal.submit(MoveConsumer("other", "a", 1, NOW))

        kept = await journal.ask(ConsumerByName("crm", "a"))
        assert places == [5, 5, 2, 4]
        assert kept == StoredConsumer(
            key="crm", name="a", place=4, created_at=NOW + 5, moved_at=NOW + 4
        )
        assert [one.place for one in await journal.ask(Consumers())] == [4, 1]
        assert await journal.ask(Consumers("crm")) == [kept]

    async def test_consumers_of_a_key_are_limited_and_dropped(self, journal):
        """Mutants: the consumers of all keys are counted; a known one counts as new."""
        moved = [
            await journal.submit(MoveConsumer(key, name, 1, NOW, most=2))
            for key, name in (("k", "a"), ("l", "a"), ("k", "b"), ("k", "c"), ("k", "b"))
        ]
        dropped = [await journal.submit(DropConsumer("k", "a")) for _ in range(2)]
        again = await journal.submit(MoveConsumer("k", "c", 1, NOW, most=2))

        assert [one is None for one in moved] == [False, False, False, True, False]
        assert (dropped, again.name) == ([True, False], "c")
        assert await journal.ask(ConsumerByName("k", "a")) is None

    # --- lists of deliveries --------------------------------------------------------------

    async def test_deliveries_are_found_by_state_sink_and_event(self, journal):
        plans = [planned(owed=[owed("log"), owed("crm")]) for _ in range(3)]
        first = (await handed(journal, plans[0]))[0]
        for plan in plans[1:]:
            await record(journal, plan)
        await journal.submit(Settle(first, attempt(), State.DEAD, due_at=None))

        async def found(**wanted):
            page = await journal.ask(Deliveries(filter=DeliveryFilter(**wanted), limit=9))
            return [(kept.sink, kept.event_id) for _, kept in page.items]

        everything = [(sink, plan.event.id) for plan in plans for sink in ("log", "crm")]
        assert await found() == everything
        assert await found(state=(State.DEAD,)) == everything[:1]
        assert await found(state=(State.DEAD, State.PENDING), sink=("log",)) == everything[::2]
        assert await found(sink=("crm",)) == everything[1::2]
        assert await found(event=(plans[1].event.id, "none")) == everything[2:4]

    async def test_failing_deliveries_are_found_beside_states(self, journal):
        """Mutants: pending ones without an attempt too; those of the states only."""
        plans = [planned(owed=[owed()]) for _ in range(4)]
        dead, tried, sent = [(await handed(journal, plan))[0] for plan in plans[:3]]
        await record(journal, plans[3])
        await journal.submit(Settle(dead, attempt(), State.DEAD, due_at=None))
        await journal.submit(Settle(tried, attempt(), State.PENDING, due_at=NOW + 9))

        async def found(*states, under_way=()):
            wanted = DeliveryFilter(state=states, failing=True, under_way=under_way)
            page = await journal.ask(Deliveries(filter=wanted, limit=9))
            return [kept.id for _, kept in page.items]

        last = sent.id + 1
        assert await found() == [tried.id]
        assert await found(State.DEAD) == [dead.id, tried.id]
        assert await found(State.DELIVERED) == [tried.id]
        assert await found(State.SENDING, under_way=(sent.id,)) == [tried.id, sent.id]
        assert await found(State.PENDING, under_way=(tried.id, sent.id)) == [tried.id, last]

    async def test_deliveries_are_found_by_source_and_time_of_their_event(self, journal):
        """Mutants: the time of the delivery; `until` is included; a replay is left out."""
        plans = [
            planned(owed=[owed()], at=NOW + 100 * n, source=source)
            for n, source in enumerate(("herosms", "tellabot", "herosms"))
        ]
        for plan in plans:
            await record(journal, plan)
        last = plans[2].event.id
        await journal.submit(ReplayEvent(last, (owed("crm"),), at=NOW + 300))

        async def found(**wanted):
            page = await journal.ask(Deliveries(filter=DeliveryFilter(**wanted), limit=9))
            return [
                (plans[[one.event.id for one in plans].index(kept.event_id)], kept.sink)
                for _, kept in page.items
            ]

        assert await found(source=("herosms",)) == [
            (plans[0], "log"),
            (plans[2], "log"),
            (plans[2], "crm"),
        ]
        assert await found(since=NOW + 100, until=NOW + 200) == [(plans[1], "log")]
        assert await found(since=NOW + 101) == [(plans[2], "log"), (plans[2], "crm")]
        assert await found(until=NOW + 1, state=(State.PENDING,)) == [(plans[0], "log")]

    async def test_oldest_pending_delivery_of_each_turn_is_found(self, journal):
        """Mutants: only first attempts; replays are left out; the newest."""
        found = {}
        first = planned(owed=[owed()], at=NOW)
        for plan in (first, planned(owed=[owed("crm")], at=NOW + 1)):
            await record(journal, plan)
        [tried] = await take(journal, "log", limit=1, now=NOW + 9)
        for at in (NOW + 2, NOW + 3):
            await record(journal, planned(owed=[owed(), owed("crm")], at=at))
        await journal.submit(ReplayEvent(first.event.id, (owed("old"),), at=NOW + 4))
        sinks = ("log", "crm", "old", "none")

        found["fresh"] = await journal.ask(OldestPending(sinks))
        await journal.submit(Settle(tried, attempt(), State.PENDING, due_at=NOW + 99))
        found["retried"] = await journal.ask(OldestPending(sinks))
        taken = await take(journal, "log", limit=9, now=NOW + 99)
        [again] = [one for one in taken if one.id == tried.id]
        await journal.submit(Settle(again, attempt("delivered"), State.DELIVERED, due_at=None))
        found["later"] = await journal.ask(OldestPending(sinks))

        assert {
            name: {sink: at for sink, (at, _) in one.items()} for name, one in found.items()
        } == {
            "fresh": {"log": NOW, "crm": NOW + 1, "old": NOW + 4},
            "retried": {"log": NOW, "crm": NOW + 1, "old": NOW + 4},
            "later": {"log": NOW + 2, "crm": NOW + 1, "old": NOW + 4},
        }
        assert found["retried"]["log"].id == tried.id

    async def test_many_deliveries_are_retried_in_one_write(self, journal):
        """Mutants: a delivered one is sent again; dead ones keep their state."""
        plans = [planned(owed=[owed()]) for _ in range(4)]
        dead, done, expired, taken = [(await handed(journal, plan))[0] for plan in plans]
        for delivery, state in ((dead, State.DEAD), (done, "delivered"), (expired, "expired")):
            said = attempt("delivered" if state == "delivered" else "failed")
            await journal.submit(Settle(delivery, said, State(state), due_at=None))

        few = await journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=1))
        brief = await journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=9))
        named = await journal.ask(DeliveriesBriefly(ids=(done.id, 99), limit=9))
        await journal.submit(ReplayEvent(plans[0].event.id, (owed("crm"),), at=NOW))
        without = DeliveryFilter(state=(State.DEAD, State.EXPIRED), without="crm")
        other = await journal.ask(DeliveriesBriefly(filter=without, limit=9))
        every = (dead.id, done.id, expired.id, taken.id, 99)
        retried = await journal.submit(RetryDeliveries(every, now=NOW + 60))
        known = [taken]
        due = await take(journal, "log", limit=9, now=NOW + 60, known=known)

        first = BriefDelivery(dead.id, plans[0].event.id, "log", State.DEAD, NOW)
        assert few == [first]
        assert [one.id for one in other] == [expired.id]
        assert brief == [first, BriefDelivery(expired.id, plans[2].event.id, "log", "expired", NOW)]
        assert [(one.id, one.state) for one in named] == [(done.id, "delivered")]
        assert [(one.id, one.state) for one in retried] == [
            (dead.id, "dead"),
            (expired.id, "expired"),
            (taken.id, "pending"),
        ]
        assert [one.id for one in due] == [dead.id, expired.id]
        assert await journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=9)) == []
        assert await journal.ask(JournalStats()) == stats(events=4, pending=4, delivered=1)

    async def test_unfinished_deliveries_are_found_briefly_by_their_events(self, journal):
        """Mutants: only those that are given up, or only the others; each kind for itself, in no
        order of all; those of any source, time, sink or id."""
        states = (State.EXPIRED, State.PENDING, State.DEAD, State.DELIVERED, State.EXPIRED)
        plans = [
            planned(owed=[owed(sink)], at=NOW + 100 * n, source=source)
            for n, (sink, source) in enumerate(
                (sink, source) for sink in ("log", "crm") for source in ("a", "a", "b", "a", "b")
            )
        ]
        ids = []
        for plan, state in zip(plans, states * 2, strict=True):
            [delivery] = await handed(journal, plan)
            due_at = NOW + 9_999 if state is State.PENDING else None
            said = attempt("delivered" if state is State.DELIVERED else "failed")
            await journal.submit(Settle(delivery, said, state, due_at=due_at))
            ids.append(delivery.id)

        async def found(*places, limit=99, **wanted):
            its = DeliveryFilter(**({"state": GIVEN_UP.state, "failing": True} | wanted))
            named = tuple(ids[place] for place in places) or None
            read = DeliveriesBriefly(filter=its, ids=named, limit=limit)
            return [ids.index(one.id) for one in await journal.ask(read)]

        assert await found() == [0, 1, 2, 4, 5, 6, 7, 9]
        assert await found(limit=3) == [0, 1, 2]
        assert await found(failing=False) == [0, 2, 4, 5, 7, 9]
        assert await found(state=(State.DEAD,)) == [1, 2, 6, 7]
        assert await found(state=()) == [1, 6]
        assert await found(source=("b",)) == [2, 4, 7, 9]
        assert await found(sink=("crm",), source=("a",)) == [5, 6]
        assert await found(since=NOW + 200, until=NOW + 700) == [2, 4, 5, 6]
        assert await found(3, 4, 6) == [4, 6]
        assert await found(event=(plans[7].event.id, plans[8].event.id)) == [7]

    async def test_deliveries_are_paged_in_both_directions_without_gaps(self, journal):
        for _ in range(5):
            await record(journal, planned(owed=[owed()]))

        async def walked(desc):
            places, after = [], None
            while True:
                page = await journal.ask(
                    Deliveries(filter=DeliveryFilter(), after=after, limit=2, desc=desc)
                )
                places += [place for place, _ in page.items]
                if not page.has_more:
                    return places
                after = page.next_seq

        up = await walked(desc=False)
        assert len(set(up)) == 5
        assert await walked(desc=True) == up[::-1]

    async def test_deliveries_due_longest_are_taken_first(self, journal):
        waits = [30.0, 10.0, 20.0, 5.0, 5.0, 99.0]
        plans = [planned(owed=[owed(wait=wait)]) for wait in waits]
        for plan in plans:
            await record(journal, plan)

        early = await take(journal, "log", limit=3, now=NOW + 30)
        late = await take(journal, "log", limit=3, now=NOW + 30, known=early)

        assert [one.event_id for one in early] == [plans[n].event.id for n in (1, 3, 4)]
        assert [one.event_id for one in late] == [plans[n].event.id for n in (0, 2)]
        assert await next_due(journal, "log", known=(*early, *late)) == NOW + 99

    async def test_take_announces_when_the_next_delivery_is_due(self, journal):
        """Mutants: nothing is announced; a delivery that is taken counts; so does a known one."""
        for wait in (0.0, 5.0, 50.0):
            await record(journal, planned(owed=[owed(wait=wait)]))

        taken, news = [], []
        with journal.listen(news.append):
            for now in (NOW, NOW + 5):
                known = tuple(one.id for one in taken)
                taking = Take("log", Turn.FRESH, limit=9, now=now, known=known)
                taken += await journal.submit(taking)

        announced = [one.due["log", Turn.FRESH] for one in news if one.due]
        assert (len(taken), announced) == (2, [NOW + 5, NOW + 50])

    async def test_take_leaves_out_known_deliveries_and_other_sinks(self, journal):
        await record(journal, planned(owed=[owed("log"), owed("crm")]))

        taken = await take(journal, "log", limit=9, now=NOW)
        again = await take(journal, "log", limit=9, now=NOW, known=taken)

        assert (len(taken), again) == (1, ())
        assert await next_due(journal, "log", known=taken) is None
        assert await next_due(journal, "crm") == NOW

    async def test_pending_deliveries_are_counted_by_sink(self, journal):
        await record(journal, planned(owed=[owed("log"), owed("gone")]))
        await record(journal, planned(owed=[owed("log"), owed("crm")]))
        (delivery,) = await handed(journal, planned(owed=[owed("done")]))
        await journal.submit(Settle(delivery, attempt(), State.DEAD, due_at=None))

        assert await journal.ask(PendingBySink()) == {"log": 2, "gone": 1, "crm": 1}

    # --- reading --------------------------------------------------------------------------

    async def test_events_are_paged_in_both_directions_without_gaps(self, journal):
        plans = [planned() for _ in range(7)]
        for plan in plans:
            await record(journal, plan)

        for limit in (1, 3, 7, 8):
            assert await listed(journal, limit=limit) == list(ids(plans))
            assert await listed(journal, limit=limit, desc=True) == list(ids(plans))[::-1]

    async def test_list_continues_from_its_end(self, journal):
        await record(journal, planned())
        end = await journal.ask(Events(filter=EventFilter(), limit=5))
        later = planned()
        await record(journal, later)

        page = await journal.ask(Events(filter=EventFilter(), after=end.next_seq, limit=5))

        assert not end.has_more
        assert [msgspec.json.decode(body)["id"] for _, body in page.items] == [later.event.id]

    async def test_list_of_an_empty_journal_can_be_continued(self, journal):
        end = await journal.ask(Events(filter=EventFilter(), limit=5))
        plan = planned()
        await record(journal, plan)

        assert (end.items, end.has_more) == ((), False)
        assert await listed(journal, after=end.next_seq) == [plan.event.id]
        assert await listed(journal, desc=True, after=1) == []

    @pytest.mark.parametrize(
        "wanted",
        [
            {"type": ("sms.received", "call.received"), "source": ("mine",)},
            {"subject": ("request/5", "rental/8")},
            {"service": ("go",)},
            {"service": ("Google,youtube",)},
            {"service": ("google",)},
            {"number": ("+18503814729",)},
            {"request_id": ("5",)},
            {"rental_id": ("9",)},
            {"request_id": ("5", "6"), "rental_id": ("8", "9")},
            {"activation_id": ("7",)},
            {"reference": ("order-1",)},
            {"code": True},
            {"since": NOW + 5, "until": NOW + 6},
        ],
        ids="+".join,
    )
    async def test_events_are_found_by_each_field(self, journal, wanted):
        """An SMS can name two ids. Mutant: only the subject is searched."""
        second = {"activation_id": "7"} if "activation_id" in wanted else {"rental_id": "9"}
        plan = planned(
            source="mine",
            subject="request/5",
            at=NOW + 5,
            request_id="5",
            **second,
            reference="order-1",
            to="+18503814729",
            code="123456",
            service=Service(id="go", name="Google,youtube", key="google"),
        )
        renewal_failed = planned(subject="rental/9")  # not the id of its rental
        for event in (planned(), plan, renewal_failed, planned(at=NOW + 6)):
            await record(journal, event)

        assert await listed(journal, **wanted) == [plan.event.id]
        assert await listed(journal, desc=True, limit=1, **wanted) == [plan.event.id]

    async def test_since_is_included_and_until_is_not(self, journal):
        plans = [planned(at=NOW + second) for second in range(4)]
        for plan in plans:
            await record(journal, plan)

        assert await listed(journal, since=NOW + 1, until=NOW + 3) == list(ids(plans[1:3]))
        assert await listed(journal, code=False, since=NOW + 3) == list(ids(plans[3:]))

    async def test_page_with_an_end_stays_before_later_events(self, journal):
        """`until` may be a duration ago: the same search finds them later.

        Mutants: the place of the newest event; the place of the first event after `until`.
        """
        plans = [planned(owed=[owed()], at=NOW + second) for second in range(4)]
        for plan in plans:
            await record(journal, plan)

        for wanted, filter_ in ((Events, EventFilter), (Deliveries, DeliveryFilter)):
            after = 0
            for end, count in ((0, 0), (2, 2), (2, 0), (4, 2)):
                asked = wanted(filter=filter_(until=NOW + end), after=after, limit=9)
                page = await journal.ask(asked)
                assert (len(page.items), page.has_more) == (count, False)
                after = page.next_seq

    async def test_callback_is_stored_unchanged(self, journal):
        came = arrival(body=bytes(range(256)), headers=(("x", "1"), ("x", "2")), at=NOW + 0.25)
        both = [planned(), planned()]
        await record(journal, *both, came=came)

        assert [await journal.ask(CallbackOfEvent(plan.event.id)) for plan in both] == [came, came]
        assert await journal.ask(CallbackOfEvent("nobody")) is None
        assert await journal.ask(EventById("nobody")) is None

    async def test_token_uses_are_counted(self, journal):
        await record(journal, planned(1), came=arrival(token="a", at=NOW + 2))
        await record(journal, planned(1), came=arrival(token="a", at=NOW + 1))
        await keep(journal, b"?", new_id="q1", token="b")
        await record(journal, planned(), came=arrival(token="z"), replaces="q1")

        uses = sorted(await journal.ask(TokenUses()), key=lambda use: use.token)

        assert uses == [
            TokenUse(source="tellabot", token="a", callbacks=2, last_at=NOW + 2),
            TokenUse(source="tellabot", token="b", callbacks=1, last_at=NOW),
        ]

    async def test_rejections_are_added_up(self, journal):
        one = Rejection(
            reason="token", source="", peer="192.0.2.1", count=3, first_at=NOW, last_at=NOW + 1
        )
        more = msgspec.structs.replace(one, count=4, first_at=NOW + 2, last_at=NOW + 5)
        other = msgspec.structs.replace(one, peer="192.0.2.2")

        await journal.submit(CountRejections((one,)))
        await journal.submit(CountRejections((more, other)))

        first, second = await journal.ask(Rejections(limit=9))
        assert first[1] == msgspec.structs.replace(one, count=7, last_at=NOW + 5)
        assert second[1] == other
        assert await journal.ask(Rejections(after=second[0], limit=9, desc=True)) == [first]

    async def test_flood_of_peers_has_a_bounded_list_and_a_true_count(self, journal):
        """Mutant: a row for each address of a botnet."""
        flood = [
            Rejection(reason="token", source="", peer=f"peer{n}", count=1, first_at=n, last_at=n)
            for n in range(10_050)
        ]

        await journal.submit(CountRejections(tuple(flood[:6000])))
        await journal.submit(CountRejections(tuple(flood[6000:])))
        await journal.submit(CountRejections(tuple(flood[-1:])))

        last = await journal.ask(Rejections(limit=1, desc=True))
        every = await journal.ask(Rejections(limit=20_000))
        assert (last[0][1].peer, last[0][1].count) == ("*", 51)
        assert len(every) == 10_001

    # --- as a whole -----------------------------------------------------------------------

    async def test_identity_is_random_and_survives_a_restart(self, store, journal):
        """A cursor is valid in its own journal only."""
        again = await store.start()

        assert (again.identity, again.generation) == (journal.identity, journal.generation)
        assert len(bytes.fromhex(again.generation)) == 16

    async def test_close_writes_queued_operations_and_refuses_later_ones(self, store, journal):
        """Mutant: an operation after the end waits for ever."""
        plan = planned(owed=[owed()])
        (delivery,) = await handed(journal, plan)
        settled = journal.submit(Settle(delivery, attempt(), State.DELIVERED, due_at=None))
        last = record(journal, planned())

        await journal.close()

        outcomes = []
        late = record(journal, planned(), then=outcomes.append)
        async with asyncio.timeout(SOON):
            with pytest.raises(Unavailable, match="closed"):
                await late
            with pytest.raises(Unavailable, match="closed"):
                await journal.ask(JournalStats())
        assert [type(outcome) for outcome in outcomes] == [Unavailable]
        assert (await settled, (await last).new) == (Settled(), (True,))
        assert await (await store.start()).ask(JournalStats()) == stats(events=2, delivered=1)

    async def test_waiting_counts_operations_not_yet_written(self, journal):
        futures = [record(journal, planned()) for _ in range(5)]

        waiting = journal.waiting
        await asyncio.gather(*futures)

        assert (waiting, journal.waiting, journal.failure is not None) == (5, 0, False)


class Model:
    """A model of the journal, in dicts."""

    def __init__(self):
        self.events = []
        self.to = {}
        self.keys = {}
        #: In the order of their ids, which count from 1.
        self.deliveries = []
        self.duplicates = 0
        self.quarantine = {}
        self.start = 0
        #: Ids of the deliveries that a commit handed to workers.
        self.handed = []

    def crash(self):
        """Deliveries of an earlier start are due, and keep their owner."""
        self.start += 1

    def record(self, plans):
        answers = [self._one(plan) for plan in plans]
        return tuple(id_ for id_, _ in answers), tuple(new for _, new in answers)

    def _one(self, plan):
        names = [(plan.event.source, name) for name in plan.keys]
        known = next((self.keys[name] for name in names if name in self.keys), None)
        for name in names:
            self.keys.setdefault(name, known or plan.event.id)
        if known is not None:
            self.duplicates += 1
            return known, False
        self.events.append(plan.event.id)
        self.to[plan.event.id] = plan.event.data.to
        self.plan_delivery(plan.event.id, plan.owed, plan.at)
        return plan.event.id, True

    def plan_delivery(self, event_id, owed, at, *, replay=False):
        """Add deliveries; hand those that are due to workers, without replays."""
        for one in owed:
            waits = bool(self._unfinished(one.sink, one.ordering))
            is_due = not waits and not one.wait
            self.deliveries.append(
                {
                    "event_id": event_id,
                    "sink": one.sink,
                    "ordering": one.ordering,
                    "state": State.PENDING,
                    "due_at": None if waits else at + one.wait,
                    "not_before": at + one.wait,
                    "accepted_at": at,
                    "attempts": 0,
                    "owner": self.start if is_due else None,
                    "replay": replay,
                }
            )
            if is_due and not replay:
                self.handed.append(len(self.deliveries))

    def _unfinished(self, sink, ordering):
        if ordering is None:
            return []
        return [
            kept
            for kept in self.deliveries
            if (kept["sink"], kept["ordering"]) == (sink, ordering)
            and kept["state"] is State.PENDING
        ]

    def _advance(self, sink, ordering):
        for first in self._unfinished(sink, ordering)[:1]:
            if first["due_at"] is None:
                first["due_at"] = first["accepted_at" if first["attempts"] else "not_before"]

    def take(self, sink, turn, limit, now, known):
        due = [
            kept
            for number, kept in enumerate(self.deliveries, start=1)
            if kept["sink"] == sink
            and number not in known
            and Turn.of(kept["attempts"], replay=kept["replay"]) is turn
            and kept["state"] is State.PENDING
            and kept["due_at"] is not None
            and kept["due_at"] <= now
        ]
        taken = sorted(due, key=lambda kept: kept["due_at"])[:limit]
        for kept in taken:
            kept.update(owner=self.start)
        return [self.deliveries.index(kept) + 1 for kept in due if kept in taken]

    def settle(self, delivery, start, state, due_at):
        kept = self.deliveries[delivery.id - 1]
        if not start == self.start == kept["owner"] or kept["attempts"] != delivery.attempts:
            return False
        kept.update(state=state, due_at=due_at, attempts=kept["attempts"] + 1, owner=None)
        if state is not State.PENDING:
            self._advance(kept["sink"], kept["ordering"])
        return True

    def retry(self, number, now):
        if number > len(self.deliveries):
            return None
        kept = self.deliveries[number - 1]
        if kept["state"] is State.DELIVERED:
            return kept["state"]
        kept.update(accepted_at=now, due_at=now, not_before=now)
        if kept["owner"] is not None:
            return State.PENDING
        kept.update(state=State.PENDING)
        members = self._unfinished(kept["sink"], kept["ordering"])
        free = [one for one in members if one["owner"] is None]
        busy = len(free) < len(members)
        for one in free if busy else free[1:]:
            one["due_at"] = None
        if not busy:
            self._advance(kept["sink"], kept["ordering"])
        return State.PENDING

    def lines(self):
        """Return the number of due deliveries, by sink and ordering."""
        lines = {}
        for kept in self.deliveries:
            name = (kept["sink"], kept["ordering"])
            if kept["ordering"] is not None and kept["state"] is State.PENDING:
                lines[name] = lines.get(name, 0) + (kept["due_at"] is not None)
        return lines

    def stats(self):
        states = [kept["state"].value for kept in self.deliveries]
        return stats(
            events=len(self.events),
            duplicates=self.duplicates,
            quarantine=len(self.quarantine),
            **{state: states.count(state) for state in states},
        )


_SINKS = st.sampled_from(["log", "crm"])
_KEYS = st.lists(st.integers(0, 9), min_size=1, max_size=3)
_OWED = st.dictionaries(_SINKS, st.integers(0, 3), max_size=2)
_TO = st.sampled_from(["+11", "+12", None])
_HAPPENINGS = st.lists(st.tuples(_KEYS, _OWED, _TO), min_size=1, max_size=3)
_SOURCES = st.sampled_from(["tellabot", "herosms"])
_CALLBACKS = st.lists(st.tuples(_SOURCES, _HAPPENINGS), min_size=1, max_size=4)


class JournalHistory(RuleBasedStateMachine):
    """Any history of writes: the journal answers like the model.
    Subclass it, write `make_store` and `unmake_store`, and name `X.TestCase` as `TestX`.
    """

    taken = Bundle("taken")

    def make_store(self):
        raise NotImplementedError

    def unmake_store(self, store):
        raise NotImplementedError

    def run(self, awaitable_of):
        async def soon():
            async with asyncio.timeout(SOON):
                return await awaitable_of()

        return self.runner.run(soon())

    @initialize()
    def begin(self):
        self.runner, self.store, self.model, self.now = (
            asyncio.Runner(),
            self.make_store(),
            Model(),
            NOW,
        )
        self.handed = []
        self.start()
        # One sink is ordered, the other is not.
        self.run(self.order_one_sink)

    async def order_one_sink(self):
        await self.journal.submit(Reorder("crm", ordered_by="data.to"))

    def ordering(self, name, to):
        return json.dumps(to) if name == "crm" and to is not None else None

    def owed(self, wanted, to):
        return [
            owed(name, wait=float(wait), ordering=self.ordering(name, to))
            for name, wait in wanted.items()
        ]

    def start(self):
        self.journal = self.run(lambda: self.store.start(now=self.now))
        self.listening = self.journal.listen(self.on_commit)  # open until the end of the test
        self.listening.__enter__()
        self.model.crash()

    def on_commit(self, committed):
        self.handed += itertools.chain(*committed.deliveries.values())

    def just_handed(self):
        """Return the deliveries that were handed over since the last call, with this start."""
        assert sorted(one.id for one in self.handed) == self.model.handed
        handed, self.handed, self.model.handed = self.handed, [], []
        return multiple(*((one, self.model.start) for one in handed))

    def teardown(self):
        if not hasattr(self, "runner"):
            return
        for number, model in enumerate(self.model.deliveries, start=1):
            one = self.run(lambda number=number: self.journal.ask(DeliveryById(number)))
            assert (one.event_id, one.sink) == (model["event_id"], model["sink"])
            its = (one.state, one.due_at, one.owner)
            assert its == (model["state"], model["due_at"], model["owner"])
            assert len(one.attempts) == model["attempts"]
        briefly = self.run(lambda: self.journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=99)))
        assert [(one.id, one.state) for one in briefly] == [
            (number, model["state"])
            for number, model in enumerate(self.model.deliveries, start=1)
            if model["state"] in GIVEN_UP.state
        ]
        self.run(lambda: self.unmake_store(self.store))
        self.runner.close()

    @rule(target=taken, callbacks=_CALLBACKS)
    def callbacks_arrive_together(self, callbacks):
        planned_of = [
            [
                planned(
                    *keys,
                    source=source,
                    at=self.now,
                    to=to,
                    owed=self.owed(wanted, to),
                )
                for keys, wanted, to in happenings
            ]
            for source, happenings in callbacks
        ]

        async def all_at_once():
            return await asyncio.gather(*(record(self.journal, *plans) for plans in planned_of))

        answers = self.run(all_at_once)

        assert [(one.ids, one.new) for one in answers] == [
            self.model.record(plans) for plans in planned_of
        ]
        return self.just_handed()

    @rule(
        target=taken,
        sink=_SINKS,
        turn=st.sampled_from(Turn),
        limit=st.integers(1, 4),
        known=st.sets(st.integers(1, 12)),
    )
    def due_deliveries_are_taken(self, sink, turn, limit, known):
        taking = Take(sink, turn, limit=limit, now=self.now, known=tuple(known))

        async def taken():
            return await self.journal.submit(taking)

        deliveries = self.run(taken)

        assert [one.id for one in deliveries] == self.model.take(sink, turn, limit, self.now, known)
        return multiple(*((one, self.model.start) for one in deliveries))

    @rule(
        one=taken,
        state=st.sampled_from([state for state in State if state is not State.SENDING]),
        wait=st.integers(0, 5),
    )
    def a_delivery_is_settled(self, one, state, wait):
        delivery, start = one
        due_at = self.now + wait if state is State.PENDING else None
        journal = self.store.started[start - 1]

        async def settle():
            return await journal.submit(Settle(delivery, attempt(), state, due_at=due_at))

        believed = self.model.settle(delivery, start, state, due_at)

        assert (self.run(settle) == Settled()) is believed

    @rule(target=taken, number=st.integers(0, 9), wanted=_OWED)
    def an_event_is_replayed(self, number, wanted):
        event_id = (*self.model.events, "none")[min(number, len(self.model.events))]
        again = self.owed(wanted, self.model.to.get(event_id))

        async def replay():
            return await self.journal.submit(ReplayEvent(event_id, tuple(again), at=self.now))

        answer = self.run(replay)

        if event_id not in self.model.to:
            assert answer is None
            return multiple()
        before = len(self.model.deliveries)
        self.model.plan_delivery(event_id, again, self.now, replay=True)
        assert answer.ids == tuple(range(before + 1, len(self.model.deliveries) + 1))
        return self.just_handed()

    @rule(number=st.integers(1, 12))
    def a_delivery_is_retried(self, number):
        async def retry():
            return await self.journal.submit(RetryDelivery(number, now=self.now))

        then, expected = self.run(retry), self.model.retry(number, self.now)

        assert (then and then.state) is expected

    @rule(body=st.sampled_from([b"a", b"b", b"c"]))
    def bytes_are_quarantined(self, body):
        new_id = f"q{next(serial)}"

        async def kept():
            return await keep(self.journal, body, new_id=new_id)

        answer = self.run(kept)

        known = self.model.quarantine.get(body)
        self.model.duplicates += known is not None
        self.model.quarantine[body] = known or new_id
        assert answer == Quarantined(id=known or new_id, new=known is None)

    @rule(body=st.sampled_from([b"a", b"b", b"c"]), number=st.integers(0, 9))
    def quarantine_is_replayed(self, body, number):
        replaced, plan = self.model.quarantine.pop(body, "gone"), planned(number)

        async def replay():
            return await record(self.journal, plan, replaces=replaced)

        answer = self.run(replay)

        assert (answer.ids, answer.new) == self.model.record([plan])

    @rule(body=st.sampled_from([b"a", b"b", b"c"]))
    def quarantine_is_dismissed(self, body):
        known = self.model.quarantine.pop(body, None)

        async def dismiss():
            return await self.journal.submit(DismissQuarantined(known or "gone"))

        assert self.run(dismiss) is (known is not None)

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def service_is_killed_and_restarted(self):
        self.start()

    @invariant()
    def counters_equal_those_of_the_model(self):
        if hasattr(self, "journal"):
            assert self.run(lambda: self.journal.ask(JournalStats())) == self.model.stats()

    @invariant()
    def one_delivery_of_each_ordering_is_due(self):
        """With two, one could overtake the other. Without one, all would wait for ever."""
        if hasattr(self, "model"):
            assert set(self.model.lines().values()) <= {1}

    @invariant()
    def listed_events_equal_those_of_the_model(self):
        if hasattr(self, "journal"):
            assert self.run(lambda: listed(self.journal)) == self.model.events
