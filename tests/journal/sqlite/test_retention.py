"""Pruning and erasing in SQLite: what goes, what stays, and what the files still hold."""

import contextlib
import sqlite3

import msgspec
import pytest
from contracts.journal import (
    GIVEN_UP,
    NOW,
    arrival,
    attempt,
    handed,
    keep,
    listed,
    owed,
    planned,
    record,
    replay,
    take,
)
from period_keys import MemoryKeys
from sealing import OpenedReads

from core.copies import Copy
from core.delivery import State
from core.order import Order, OrderState
from journal.reads import (
    CallbackOfEvent,
    DeliveriesBriefly,
    DeliveryById,
    EventById,
    EventsNaming,
    JournalStats,
    KnownOrders,
    PrunableCount,
    QuarantinedById,
)
from journal.records import Retained, Settled
from journal.sqlite.journal import SQLiteJournal
from journal.writes import (
    EraseContent,
    EraseNumber,
    ForgetPruned,
    Prune,
    PruneKeys,
    Record,
    RegisterOrder,
    Settle,
    StartReplay,
)

CODE, NUMBER = "ZQ7-918273", "+18505550142"
SMS = {"text": f"{CODE} is your code", "code": CODE, "to": NUMBER, "urls": (f"https://x/{CODE}",)}


@pytest.fixture(params=["clear", "sealed"])
async def journal(path, request):
    keys = MemoryKeys() if request.param == "sealed" else None
    opened = await SQLiteJournal.open(path, seal="s", now=NOW, version="0", keys=keys)
    yield OpenedReads(opened)
    await opened.close()


async def prune(journal, kind, before=NOW + 1, *, limit=50, spared=(), at=NOW + 1):
    """Prune a kind as the service does; return the number of rows and the expired deliveries."""
    count, expired, place = 0, (), None
    while True:
        step = Prune(kind, before=before, at=at, after=place, limit=limit, spared=spared)
        pruned = await journal.submit(step)
        count, expired, place = count + pruned.count, expired + pruned.expired, pruned.place
        if not pruned.more:
            return count, expired


async def counted(journal, kind, before=NOW + 1):
    found = await journal.ask(PrunableCount(kind, before=before, at=NOW + 1))
    return found.count


def rows(path, table):
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        return conn.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608 - words of ours


def in_files(path, *texts):
    """Return the files that hold one of the texts."""
    return [
        file.name
        for file in path.parent.iterdir()
        if any(text.encode() in file.read_bytes() for text in texts)
    ]


async def settled(journal, *plans, state=State.DELIVERED, answer=None):
    """Record events and settle their deliveries."""
    for delivery in await handed(journal, *plans):
        tried = msgspec.structs.replace(attempt(), answer=answer)
        await journal.submit(Settle(delivery, tried, state, due_at=None))


# --- events ----------------------------------------------------------------------------------


async def test_event_is_stored_until_its_time_and_gone_after_it(journal):
    """Mutant: `<=`, or an order by time that skips an event."""
    plans = [planned(at=NOW + n) for n in range(5)]
    for plan in plans:
        await record(journal, plan)

    first = await prune(journal, Retained.EVENTS, NOW + 2, limit=1)
    kept = await listed(journal)

    assert first == (2, ())
    assert kept == [plan.event.id for plan in plans[2:]]
    assert await counted(journal, Retained.EVENTS, NOW + 2) == 0


async def test_removed_event_leaves_its_keys_and_nothing_else(path, journal):
    """Mutant: a table is left out."""
    plan = planned(1, owed=[owed("log"), owed("crm")], **SMS)
    await settled(journal, plan, state=State.DEAD)
    await record(journal, planned(1))  # a copy
    filled = ("callbacks", "deliveries", "attempts", "given_up", "duplicates", "event_fields")
    assert all(rows(path, table) for table in filled)

    assert (await counted(journal, Retained.EVENTS), await prune(journal, Retained.EVENTS)) == (
        1,
        (1, ()),
    )

    emptied = (*filled, "events", "probes", "twins", "order_events", "order_copies", "visible")
    assert [table for table in emptied if rows(path, table)] == []
    assert (rows(path, "keys"), rows(path, "pruned_events")) == (1, 1)


async def test_callback_goes_with_its_last_event(path, journal):
    """Mutant: it goes with the first one."""
    together = (planned(owed=[owed()]), planned(), planned())
    await journal.submit(Record(arrival(), together))

    await prune(journal, Retained.EVENTS)
    kept = (rows(path, "events"), rows(path, "callbacks"))
    [pending] = await take(journal, "log", limit=9, now=NOW)
    await journal.submit(Settle(pending, attempt(), State.DELIVERED, due_at=None))
    await prune(journal, Retained.EVENTS)

    assert kept == (1, 1)
    assert (rows(path, "events"), rows(path, "callbacks")) == (0, 0)


async def test_pending_ordered_and_replayed_events_stay(journal):
    """Mutant: one of the conditions is missing."""
    pending, ordered, replayed, free = planned(owed=[owed()]), planned(), planned(), planned()
    order = Order(
        id="o1",
        source="tellabot",
        provider="tellabot",
        kind="request_id",
        name=ordered.event.subject.removeprefix("request/"),
        created_at=NOW,
        expires_at=NOW + 9,
    )
    ordered = msgspec.structs.replace(ordered, order="o1")
    await journal.submit(RegisterOrder(order, None))
    for plan in (pending, ordered, replayed, free):
        await record(journal, plan)
    seq = (await journal.ask(EventById(replayed.event.id))).seq
    await journal.submit(StartReplay(replay(place=seq - 1, last=seq)))

    pruned, _ = await prune(journal, Retained.EVENTS, at=NOW)
    kept = await listed(journal)

    assert (pruned, kept) == (1, [plan.event.id for plan in (pending, ordered, replayed)])
    # The order has received its SMS, and its time is up.
    assert (await prune(journal, Retained.EVENTS, at=NOW + 10))[0] == 1


async def test_counters_stay_equal_to_the_rows(path, journal):
    """Events are counted since the journal was made. Mutant: removed deliveries still count."""
    await settled(journal, planned(owed=[owed()]), planned(owed=[owed()]))
    await settled(journal, planned(owed=[owed()]), state=State.DEAD)
    await record(journal, planned(owed=[owed()], at=NOW + 5))

    await prune(journal, Retained.EVENTS)
    found = await journal.ask(JournalStats())

    assert (found.events, rows(path, "events")) == (4, 1)
    assert {name: n for name, n in found.deliveries.items() if n} == {"pending": 1}


# --- dedupe keys -----------------------------------------------------------------------------


async def test_copy_of_a_removed_event_is_a_duplicate(journal):
    """Mutant: keys refer to a missing row, and the batch fails or the event is stored again."""
    plan, other = planned(1, 2), planned(3)
    await record(journal, plan)
    await prune(journal, Retained.EVENTS)

    copies = await journal.submit(Record(arrival(), (planned(2), other)))

    assert copies.ids == (plan.event.id, other.event.id)
    assert copies.new == (False, True)
    assert (await journal.ask(JournalStats())).duplicates == 1


async def test_dedupe_keys_outlive_their_event_and_then_go(path, journal):
    """Mutants: keys go with the event; or never; or those of stored events go."""
    gone, kept = planned(1), planned(2, at=NOW + 50)
    await record(journal, gone)
    await record(journal, kept)
    await prune(journal, Retained.EVENTS)

    early = await journal.submit(PruneKeys(before=NOW))
    late = await journal.submit(PruneKeys(before=NOW + 1, limit=1))
    rest = await journal.submit(PruneKeys(before=NOW + 1, after=late.place, limit=9))
    forgotten = await journal.submit(ForgetPruned(before=NOW + 1))

    assert (early.count, late.count, rest.count, rest.place, forgotten) == (0, 1, 0, None, False)
    assert (rows(path, "keys"), rows(path, "pruned_events")) == (1, 0)
    again = await record(journal, planned(1))
    assert again.new == (True,)


# --- content ---------------------------------------------------------------------------------


async def test_erased_codes_are_in_no_file(path, journal):
    """Mutants: no `secure_delete`; the log is not emptied; answers or callbacks are left out."""
    answer = f"thanks for {CODE}".encode()
    body = f"reply={CODE}".encode()
    plan = planned(owed=[owed()], **SMS)
    [delivery] = await handed(journal, plan)
    tried = msgspec.structs.replace(attempt(), answer=answer)
    await journal.submit(Settle(delivery, tried, State.DELIVERED, due_at=None))
    raw = planned(**SMS)
    await journal.submit(Record(arrival(body=body), (raw,)))
    before = in_files(path, CODE)

    assert (await prune(journal, Retained.CODES))[0] == 2
    await journal.empty_log()

    kept = await journal.ask(EventById(plan.event.id))
    data = msgspec.json.decode(kept.body)["data"]
    # A sealed journal held none before.
    assert path.name in before or before == [f"{path.name}-wal"] * (journal.sealer is None)
    assert in_files(path, CODE) == []
    assert [data[name] for name in ("text", "code", "urls", "to")] == [None, None, None, NUMBER]
    assert [one.answer for one in kept.deliveries[0].attempts] == [None]
    assert await journal.ask(CallbackOfEvent(raw.event.id)) is None


async def test_erasing_continues_after_its_place(journal):
    """Mutant: each pass begins at the first event."""
    for n in range(5):
        await record(journal, planned(at=NOW + n, **SMS))

    first = await journal.submit(Prune(Retained.CODES, before=NOW + 3, at=NOW + 9, limit=4))
    second = await journal.submit(Prune(Retained.CODES, before=NOW + 9, at=NOW + 9, limit=4))

    assert (first.count, second.count) == (3, 2)
    assert await counted(journal, Retained.CODES, NOW + 9) == 0


async def test_delivery_that_needs_an_erased_code_expires(journal):
    """Mutants: the sinks that mask codes expire, too; the others are sent nulls."""
    plan = planned(owed=[owed("crm", ordering='"x"'), owed("log")], **SMS)
    next_in_line = planned(owed=[owed("crm", ordering='"x"')], at=NOW + 5)
    await record(journal, plan)
    await record(journal, next_in_line)

    _, expired = await prune(journal, Retained.CODES, spared=("log",))
    kept = (await journal.ask(EventById(plan.event.id))).deliveries
    following = (await journal.ask(EventById(next_in_line.event.id))).deliveries[0]

    assert [(one.sink, one.event_id) for one in expired] == [("crm", plan.event.id)]
    assert [one.state for one in kept] == [State.EXPIRED, State.PENDING]
    assert [one.error for one in kept[0].attempts] == ["erased"]
    assert following.due_at is not None  # the line goes on
    briefly = await journal.ask(DeliveriesBriefly(filter=GIVEN_UP, limit=9))
    assert [one.id for one in briefly] == [kept[0].id]
    stats = await journal.ask(JournalStats())
    assert (stats.deliveries["pending"], stats.deliveries["expired"]) == (2, 1)


async def test_late_copy_of_an_erased_event_fills_nothing(journal):
    """A poll brings the text again. Mutant: the event gets its code back, or is stored twice."""
    subject, time = "request/77", 1_600_000_000.0
    plan = planned(subject=subject, **SMS)
    await record(journal, plan)
    await prune(journal, Retained.CODES)

    polled = planned(subject=subject, channel="poll", **SMS)
    copy = Copy(form="getHistory", text=SMS["text"], code=CODE, second=time)
    polled = msgspec.structs.replace(polled, copy=copy)
    recorded = await journal.submit(Record(arrival(channel="poll"), (polled,)))

    kept = await journal.ask(EventById(plan.event.id))
    assert (recorded.ids, recorded.new) == ((plan.event.id,), (False,))
    assert msgspec.json.decode(kept.body)["data"]["code"] is None


async def test_people_are_erased_from_fields_subject_and_line(path, journal):
    plan = planned(owed=[owed("log", ordering=f'"{NUMBER}"')], subject=f"number/{NUMBER}", **SMS)
    await record(journal, plan)

    assert (await prune(journal, Retained.PEOPLE, spared=("log",)))[0] == 1
    await prune(journal, Retained.CODES, spared=("log",))
    await journal.empty_log()

    body = msgspec.json.decode((await journal.ask(EventById(plan.event.id))).body)
    assert (body["subject"], body["data"]["to"], body["data"]["from"]) == (None, None, None)
    assert in_files(path, NUMBER, NUMBER.lstrip("+")) == []
    [waiting] = await take(journal, "log", limit=9, now=NOW + 9)
    assert waiting.ordering is None


async def test_raw_attempts_and_quarantine_are_pruned_alone(journal):
    plan = planned(owed=[owed()], **SMS)
    await settled(journal, plan)
    await keep(journal, b"?" + CODE.encode(), new_id="q1")
    await keep(journal, b"later", new_id="q2", at=NOW + 5)

    pruned = [
        (await prune(journal, kind))[0]
        for kind in (Retained.RAW, Retained.ATTEMPTS, Retained.QUARANTINE)
    ]
    again = [
        (await prune(journal, kind))[0]
        for kind in (Retained.RAW, Retained.ATTEMPTS, Retained.QUARANTINE)
    ]

    kept = await journal.ask(EventById(plan.event.id))
    assert (pruned, again) == ([1, 1, 1], [0, 0, 0])
    assert msgspec.json.decode(kept.body)["data"]["code"] == CODE
    assert kept.deliveries[0].attempts == ()
    assert await journal.ask(CallbackOfEvent(plan.event.id)) is None
    assert await journal.ask(QuarantinedById("q1")) is None
    assert (await journal.ask(JournalStats())).quarantine == 1


async def test_numbers_of_ended_orders_go_and_then_the_orders(path, journal):
    """Mutant: an open order loses its number."""
    for name, end in (("1", NOW + 1), ("2", NOW + 9)):
        order = Order(
            id=f"o{name}",
            source="tellabot",
            provider="tellabot",
            kind="number" if name == "1" else "request_id",
            name=NUMBER,
            number=NUMBER,
            created_at=NOW - int(name),
            expires_at=end,
            state=OrderState.RECEIVED if name == "1" else OrderState.WAITING,
        )
        await journal.submit(RegisterOrder(order, None))

    numbers = (await prune(journal, Retained.ORDER_NUMBERS, NOW + 5, at=NOW + 5))[0]
    kept = [order.number for _, order in (await journal.ask(KnownOrders())).items]
    orders = (await prune(journal, Retained.ORDERS, NOW + 5, at=NOW + 5))[0]

    assert (numbers, kept, orders, rows(path, "orders")) == (1, [None, NUMBER], 1, 1)


# --- on request ------------------------------------------------------------------------------


async def test_erased_content_is_in_no_file(path, journal):
    """Rows that grew were moved between pages. Mutant: the log is not emptied."""
    plans = [planned(subject=f"request/{n}", **SMS) for n in range(60)]
    for plan in plans:
        await journal.submit(Record(arrival(body=SMS["text"].encode()), (plan,)))
    await journal.empty_log()

    ids = tuple(plan.event.id for plan in plans)
    erased = await journal.submit(EraseContent((*ids, "no such event"), at=NOW + 1))
    await journal.empty_log()

    assert erased.events == ids
    assert in_files(path, CODE, NUMBER) == []


async def test_events_and_rows_that_hold_a_number_are_found(journal):
    """Mutant: only the number that received it."""
    texts = f"call {NUMBER.lstrip('+')} now"
    plans = [
        planned(to=NUMBER),
        planned(from_=NUMBER),
        planned(text=texts),
        planned(subject=f"number/{NUMBER}"),
        planned(to="+18505550143", request_id=NUMBER.lstrip("+")),
    ]
    for plan in plans:
        await record(journal, plan)
    await keep(journal, texts.encode(), new_id="q1")
    await keep(journal, b"other", new_id="q2")

    found = await journal.ask(EventsNaming(NUMBER))
    erased = await journal.submit(EraseNumber(NUMBER))

    assert found.events == tuple(plan.event.id for plan in plans[:4])
    assert found.next_seq is None
    assert (erased.orders, erased.quarantine) == (0, 1)
    assert await journal.ask(QuarantinedById("q2")) is not None


async def test_removed_attempts_do_not_change_the_delivery(journal):
    [delivery] = await handed(journal, planned(owed=[owed()]))
    await journal.submit(Settle(delivery, attempt(), State.PENDING, due_at=NOW + 50))

    await prune(journal, Retained.ATTEMPTS)
    [again] = await take(journal, "log", limit=1, now=NOW + 60)
    stored = await journal.submit(Settle(again, attempt(), State.DELIVERED, due_at=None))

    kept = await journal.ask(DeliveryById(delivery.id))
    assert (stored, again.attempts, len(kept.attempts)) == (Settled(), 1, 1)
