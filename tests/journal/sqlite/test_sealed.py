"""Journals with sealed rows: the contract, what their files hold, and what a lost key erases."""

import asyncio
import json
import sqlite3
from contextlib import closing

import msgspec
import pytest
from canary import secrets_in
from contracts.journal import (
    NOW,
    JournalContract,
    arrival,
    attempt,
    handed,
    keep,
    owed,
    planned,
    record,
)
from contracts.orders import NUMBER, OrderContract, listed_order, of_number, order, sms, to_number
from contracts.visible import VisibleContract, visible
from sealing import SealedStore

from core.copies import Copy
from core.delivery import State, Turn
from core.event import NumberChanged
from core.order import OrderState
from journal.reads import (
    CallbackOfEvent,
    Deliveries,
    EventById,
    EventFilter,
    Events,
    KnownOrders,
    OpenOrders,
    OrderById,
    OrderFilter,
    QuarantinedById,
)
from journal.seal import Kind, Opening, Reason
from journal.sqlite import queries
from journal.writes import (
    IndexVisible,
    RegisterOrder,
    RenewOrders,
    Reorder,
    RetryDelivery,
    Settle,
    Take,
)

DAY = 86400.0
CODE, TEXT, LINK = "ZQ7-918273", "ZQ7-918273 is your code", "https://example.com/ZQ7-918273"
FROM = "+18505550177"
SECRETS = [CODE, "ZQ7-445566", NUMBER, FROM, "18505550155", "raw-918273-body"]


@pytest.fixture
async def store(path):
    store = SealedStore(path)
    yield store
    await store.end()


@pytest.fixture
async def journal(store):
    return await store.start(now=NOW)


class TestSealed(OrderContract, JournalContract):
    pass


class TestSealedFilters(VisibleContract):
    pass


def secret_sms(*keys, **said):
    given = {"to": NUMBER, "from_": FROM, "text": TEXT, "code": CODE, "urls": (LINK,)}
    return planned(*keys, **(given | said))


def by_number(*keys, **said):
    return secret_sms(*keys, subject=f"number/{NUMBER}", **said)


async def event(journal, plan, opening=None):
    kept = await journal.ask(EventById(plan.event.id, opening))
    return json.loads(kept.body)


async def found(journal, **wanted):
    page = await journal.ask(Events(filter=EventFilter(**wanted)))
    return [json.loads(body)["id"] for _, body in page.items]


def rows(path, sql):
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(sql).fetchall()


# --- files ---------------------------------------------------------------------------------------


async def test_files_hold_no_code_and_no_number(store, journal, path):
    """Mutants: a sealed column is also written in clear; one of the fields is left out; the
    answer, the callback, the order or the ordering is stored in clear."""
    came = arrival(body=b"raw-918273-body " + TEXT.encode(), headers=(("x", CODE),))
    plans = [
        secret_sms(owed=[owed(ordering=journal.sealer.hash_line(f'"{NUMBER}"'))]),
        by_number(),
        secret_sms(text="ZQ7-445566", code=None),
    ]
    await record(journal, *plans, came=came)
    await keep(
        journal, b"raw-918273-body", new_id="q1", fingerprint=b"f" * 16, headers=(("y", CODE),)
    )
    await journal.submit(RegisterOrder(of_number(), None))
    await journal.submit(RegisterOrder(order("7", number=NUMBER), None))
    changed = NumberChanged(
        provider="smspins",
        channel="poll",
        labels={},
        sample=False,
        time_from="received",
        to=NUMBER,
        previous_to="+18505550155",
    )
    other = msgspec.structs.replace(planned().event, type="number.changed", data=changed)
    await record(
        journal,
        msgspec.structs.replace(planned(), event=other, body=msgspec.json.encode(other)),
    )
    (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=1, now=NOW))
    answer = attempt(answer=TEXT.encode())
    await journal.submit(Settle(delivery, answer, State.PENDING, due_at=NOW))
    probe = attempt(answer=CODE.encode())
    (delivery,) = await journal.submit(Take("log", Turn.RETRIED, limit=1, now=NOW))
    probe = msgspec.structs.replace(probe, probes=1)
    await journal.submit(Settle(delivery, probe, State.PENDING, due_at=NOW))

    files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
    assert secrets_in(files, SECRETS) == []
    await journal.close()
    assert secrets_in(files, SECRETS) == []

    journal = await store.start(now=NOW)
    assert [(await event(journal, plan))["data"]["code"] for plan in plans] == [CODE, CODE, None]
    assert (await event(journal, plans[1]))["subject"] == f"number/{NUMBER}"
    kept = await journal.ask(CallbackOfEvent(plans[2].event.id))
    assert (kept.body, kept.headers) == (came.body, came.headers)
    (row,) = (await journal.ask(Deliveries())).items
    assert [one.answer for one in row[1].attempts] == [TEXT.encode(), CODE.encode()]


async def test_search_for_secrets_finds_each_spelling(tmp_path):
    """Mutant: base64 is searched for at one of its three places only."""
    for name, content in {
        "plain": b"..ZQ7-918273..",
        "hex": b"ZQ7-918273".hex().encode(),
        "url": b"a=%2B18503814729&",
        "b0": b"Wlo3LTkxODI3Mw==",
    }.items():
        (tmp_path / name).write_bytes(content)
    for shift in range(3):
        coded = __import__("base64").b64encode(b"x" * shift + CODE.encode() + b"yy")
        (tmp_path / f"at{shift}").write_bytes(coded)

    names = {name for _, name in secrets_in(sorted(tmp_path.iterdir()), [CODE, NUMBER])}

    assert names == {"plain", "hex", "url", "at0", "at1", "at2"}


# --- what is opened ------------------------------------------------------------------------------


async def test_reads_open_only_what_they_name(store, journal):
    """Mutants: a list opens codes for a reader that gets numbers only; answers are opened with
    events."""
    plan = secret_sms(owed=[owed()])
    (delivery,) = await handed(journal, plan)
    answer = attempt("delivered", answer=TEXT.encode())
    await journal.submit(Settle(delivery, answer, State.DELIVERED, due_at=None))
    opened = journal.opener.opened
    opened.clear()
    plain = store.started[-1]

    people = Opening((Kind.PEOPLE,), Reason.LIST)
    [(_, shown)] = (await plain.ask(Events(opening=people))).items
    [(_, masked)] = (await plain.ask(Events())).items
    kept = await plain.ask(EventById(plan.event.id))
    raw = await plain.ask(CallbackOfEvent(plan.event.id))

    data = json.loads(shown)["data"]
    assert (data["to"], data["code"], data["text"]) == (NUMBER, "***", "***")
    assert masked == kept.body
    assert json.loads(masked)["data"]["to"] == "***"
    assert [one.answer for one in kept.deliveries[0].attempts] == [b"***"]
    assert (raw.body, raw.headers, raw.peer) == (b"", (), arrival().peer)
    assert opened == {Reason.LIST: 1}


async def test_delivery_that_is_due_at_once_is_in_clear(journal):
    """Mutants: it is opened again; a delivery that is taken later is opened by the journal."""
    plan = secret_sms(owed=[owed(), owed("crm", wait=5.0)])
    opened = journal.opener.opened

    (now,) = await handed(journal, plan)
    (later,) = await journal.submit(Take("crm", Turn.FRESH, limit=1, now=NOW + 5))

    assert (now.body, now.is_masked) == (plan.body, False)
    assert later.is_masked
    assert CODE.encode() not in later.body
    assert opened == {}


# --- erased --------------------------------------------------------------------------------------


async def test_destroyed_keys_erase_what_they_sealed(store, journal):
    """Mutants: a mask is shown as a value; another kind is erased, too."""
    plan, waiting = secret_sms(owed=[owed()]), secret_sms(owed=[owed("crm", wait=5.0)])
    (delivery,) = await handed(journal, plan, waiting)
    answer = attempt(answer=TEXT.encode())
    await journal.submit(Settle(delivery, answer, State.PENDING, due_at=NOW))
    await keep(journal, b"?", new_id="q1")
    await journal.submit(RegisterOrder(of_number(), None))
    for kind in (Kind.CODES, Kind.RAW, Kind.QUARANTINE):
        store.keys.destroy(kind)

    shown = await event(journal, plan)
    kept = await journal.ask(EventById(plan.event.id))
    [quarantined] = [await journal.ask(QuarantinedById("q1"))]

    data = shown["data"]
    assert [data[name] for name in ("text", "code", "urls")] == [None, None, None]
    assert (data["to"], data["from"]) == (NUMBER, FROM)
    assert shown["erasedtime"] == plan.event.recordedtime
    assert [one.answer for one in kept.deliveries[0].attempts] == [None]
    assert await journal.ask(CallbackOfEvent(plan.event.id)) is None
    assert (quarantined.is_erased, quarantined.body) == (True, b"")

    store.keys.destroy(Kind.PEOPLE)
    [(_, kept_order)] = (await journal.ask(KnownOrders())).items
    assert (await event(journal, plan))["data"]["to"] is None
    assert (kept_order.number, kept_order.name) == (None, "***")
    assert await found(journal, number=(NUMBER,)) == []


async def test_answer_is_erased_with_its_event(store, journal):
    """Mutant: it is sealed under the key of the day of the attempt."""
    plan = secret_sms(owed=[owed(wait=5.0)])
    await record(journal, plan)
    later = NOW + 3 * DAY
    journal.sealer.seal_part(Kind.CODES, "", b"", later)
    (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=1, now=later))
    answer = attempt(answer=TEXT.encode(), at=later)
    await journal.submit(Settle(delivery, answer, State.PENDING, due_at=later))

    store.keys.destroy(Kind.CODES, before=later - DAY)

    kept = await journal.ask(EventById(plan.event.id))
    assert [one.answer for one in kept.deliveries[0].attempts] == [None]


@pytest.mark.parametrize("by", ["its key", "damage"])
async def test_erased_event_takes_nothing_from_copies_and_orders(store, journal, by):
    """Mutant: the fields of a copy bring back what was erased."""
    plan = secret_sms(1, subject="request/1", request_id="1")
    await record(journal, plan)
    if by == "damage":
        with closing(sqlite3.connect(store.path)) as conn, conn:
            conn.execute("update events set codes = substr(codes, 1, 30)")
            conn.execute("update events set people = substr(people, 1, 30)")
    else:
        store.keys.destroy(Kind.CODES)
        store.keys.destroy(Kind.PEOPLE)

    copy = secret_sms(1, channel="poll")
    await record(journal, copy, came=arrival(channel="poll"))
    later = order("1", number=NUMBER, reference="r", created_at=NOW + 2 * DAY)
    await journal.submit(RegisterOrder(later, None))

    [(_, body)] = (await journal.ask(Events())).items
    shown = json.loads(body)
    erased = [shown["data"][name] for name in ("to", "from", "text", "code", "urls")]
    assert (erased, shown["data"]["reference"]) == ([None] * 5, "r")
    assert shown["erasedtime"] == plan.event.recordedtime


# --- changed events ------------------------------------------------------------------------------


async def test_joined_event_keeps_its_period(store, journal, path):
    """Mutant: the new body is sealed under the key of today."""
    plan = sms("5", text=TEXT, code=CODE)
    await record(journal, plan)
    before = rows(path, "select substr(codes, 1, 5) from events")
    later = NOW + 3 * DAY
    for kind in (Kind.CODES, Kind.PEOPLE):
        journal.sealer.seal_part(kind, "", b"", NOW)
        journal.sealer.seal_part(kind, "", b"", later)

    registered = order("5", number=NUMBER, reference="r", created_at=later)
    await journal.submit(RegisterOrder(registered, None))

    data = (await event(journal, plan))["data"]
    assert (data["to"], data["code"], data["reference"]) == (NUMBER, CODE, "r")
    assert await found(journal, number=(NUMBER,)) == [plan.event.id]
    assert await found(journal, reference=("r",)) == [plan.event.id]
    assert rows(path, "select substr(codes, 1, 5) from events") == before
    store.keys.destroy(Kind.CODES, before=later - DAY)
    store.keys.destroy(Kind.PEOPLE, before=later - DAY)
    data = (await event(journal, plan))["data"]
    assert (data["to"], data["code"]) == (None, None)


async def test_event_that_gains_a_number_is_sealed(journal, path):
    """Mutant: it looks like one of an older version, and is changed in clear."""
    plan = sms("5")
    await record(journal, plan)
    journal.sealer.seal_part(Kind.PEOPLE, "", b"", NOW)

    await journal.submit(RegisterOrder(order("5", number=NUMBER), None))

    assert (await event(journal, plan))["data"]["to"] == NUMBER
    assert secrets_in([path, path.with_name(f"{path.name}-wal")], [NUMBER]) == []


async def test_copy_is_found_by_the_sealed_number(journal):
    """Mutants: the subject is looked for in clear; only the key of today is tried."""
    stored = by_number(channel="poll", at=NOW - DAY)
    stored = msgspec.structs.replace(stored, copy=Copy(form="a", text=TEXT, code=CODE, second=NOW))
    copy = msgspec.structs.replace(
        by_number(channel="poll"), copy=Copy(form="b", text=TEXT, code=CODE, second=NOW)
    )
    await record(journal, stored)

    recorded = await record(journal, copy)

    assert (recorded.ids, recorded.new) == ((stored.event.id,), (False,))


# --- numbers -------------------------------------------------------------------------------------


async def test_number_is_found_on_every_day(journal, monkeypatch):
    """Mutants: only the newest day; days are left out by `since` or at the edge of a part."""
    monkeypatch.setattr(queries, "PART", 4)
    mine, others = [], []
    for day in range(6):
        for _ in range(3):
            at = NOW + day * DAY
            mine.append(secret_sms(at=at))
            others.append(secret_sms(at=at, to="+18505550111"))
            await record(journal, mine[-1], others[-1])
    ids = [plan.event.id for plan in mine]

    assert await found(journal, number=(NUMBER,)) == ids
    assert await found(journal, number=(NUMBER,), since=NOW + 2 * DAY) == ids[6:]
    assert await found(journal, number=(NUMBER,), until=NOW + 2 * DAY) == ids[:6]
    assert await found(journal, number=(NUMBER,), type=("sms.received",)) == ids
    page = await journal.ask(Events(filter=EventFilter(number=(NUMBER,)), limit=2, desc=True))
    assert [json.loads(body)["id"] for _, body in page.items] == ids[:-3:-1]


async def test_number_subjects_are_found_by_their_number(journal):
    plan, other = by_number(), secret_sms(subject="number/+18505550111")
    await record(journal, plan, other)

    assert await found(journal, subject=(f"number/{NUMBER}",)) == [plan.event.id]


async def test_order_joins_events_of_its_sealed_number(journal):
    """Mutant: the number is looked for in the JSON of bodies only."""
    plan = to_number(text=TEXT)
    await record(journal, plan)

    registered = await journal.submit(RegisterOrder(of_number(reference="r"), None))

    assert registered.order.state is OrderState.RECEIVED
    assert (await event(journal, plan))["data"]["reference"] == "r"


async def test_order_of_a_number_is_found_on_the_next_day(journal):
    """Mutants: only the key of today is tried; a new order is made each day."""
    first = of_number(expires_at=NOW + 9 * DAY)
    await journal.submit(RegisterOrder(first, None))
    journal.sealer.seal_part(Kind.PEOPLE, "", b"", NOW + 2 * DAY)

    again = of_number(created_at=NOW + 2 * DAY, expires_at=NOW + 9 * DAY, reference="r")
    registered = await journal.submit(RegisterOrder(again, None))

    assert (registered.new, registered.order.id) == (False, first.id)
    wanted = OrderFilter(number=(NUMBER,))
    [(_, kept)] = (await journal.ask(KnownOrders(filter=wanted))).items
    assert (kept.number, kept.name, kept.reference) == (NUMBER, NUMBER, "r")


async def test_number_of_an_open_order_outlives_its_key(store, journal):
    """Mutants: open orders are not sealed again; ended ones are, too; a step repeats itself."""
    later = NOW + 5 * DAY
    kept = [of_number(expires_at=later + DAY), order("5", number=NUMBER, expires_at=later + DAY)]
    ended = of_number("+18505550111", expires_at=NOW + 60, state=OrderState.RECEIVED)
    for one in (*kept, ended):
        await journal.submit(RegisterOrder(one, None))
    journal.sealer.seal_part(Kind.PEOPLE, "", b"", later)

    left = [await journal.submit(RenewOrders(later, limit=1)) for _ in range(3)]
    store.keys.destroy(Kind.PEOPLE, before=later - DAY)

    assert left == [True, False, False]
    shown = [(await journal.ask(OrderById(one.id))).order for one in (*kept, ended)]
    assert [one.number for one in shown] == [NUMBER, NUMBER, None]
    assert [one.name for one in shown] == [NUMBER, "5", "***"]
    assert [one.id for one in await journal.ask(OpenOrders(since=later))] == [o.id for o in kept]


async def test_listed_order_keeps_its_sealed_number(journal):
    await journal.submit(RegisterOrder(listed_order("5", number=NUMBER), None))

    again = await journal.submit(RegisterOrder(listed_order("5", number=NUMBER), None))

    assert (again.new, again.order.number) == (False, NUMBER)


# --- deliveries in order -------------------------------------------------------------------------


async def test_ordering_is_a_hash_until_the_delivery_is_settled(journal, path):
    """Mutants: the value stands in the row; it stays there; a retry has another hash."""
    line = journal.sealer.hash_line(f'"{NUMBER}"')
    await journal.submit(Reorder("log", ordered_by="data.to"))
    plans = [secret_sms(owed=[owed(ordering=line)]) for _ in range(3)]
    (first,) = await handed(journal, *plans)
    sql = "select ordering, state from deliveries order by id"
    stored = rows(path, sql)

    await journal.submit(Settle(first, attempt("delivered"), State.DELIVERED, due_at=None))
    (second,) = await journal.submit(Take("log", Turn.FRESH, limit=9, now=NOW))
    await journal.submit(Settle(second, attempt("refused"), State.DEAD, due_at=None))
    settled = rows(path, sql)
    await journal.submit(RetryDelivery(second.id, now=NOW))

    assert stored == [(line, "pending")] * 3
    assert settled == [(None, "delivered"), (None, "dead"), (line, "pending")]
    assert rows(path, sql)[1] == (line, "pending")


async def test_other_order_is_computed_from_opened_events(store, path):
    """Mutant: the order is that of the masks: all wait for each other."""
    journal = await store.start(now=NOW)
    plans = [secret_sms(to=f"+1850555011{n}", owed=[owed(wait=9.0)]) for n in (1, 2, 1)]
    await record(journal, *plans)
    journal = await store.start(now=NOW)

    await journal.submit(Reorder("log", ordered_by="data.to"))

    values = [f'"+1850555011{n}"' for n in (1, 2, 1)]
    lines = [journal.sealer.hash_line(value) for value in values]
    assert rows(path, "select ordering, due_at is null from deliveries order by id") == [
        (lines[0], 0),
        (lines[1], 0),
        (lines[2], 1),
    ]


# --- mixed ---------------------------------------------------------------------------------------


async def test_older_rows_in_clear_go_on_working(store, path):
    """Mutants: a clear row is sealed by a join; its number is looked for by index only."""
    journal = await store.start(now=NOW, keys=False)
    clear = [sms("5", to=NUMBER, text=TEXT, code=CODE, owed=[owed(wait=9.0)]), by_number(at=NOW)]
    await record(journal, *clear)
    await keep(journal, b"?", new_id="q1")
    await journal.submit(RegisterOrder(of_number("+18505550111"), None))
    await journal.close()
    journal = await store.start(now=NOW + 60)
    sealed = [secret_sms(at=NOW + 60), by_number(at=NOW + 60)]
    await record(journal, *sealed)
    await journal.submit(RegisterOrder(order("5", reference="r"), None))

    ids = [plan.event.id for plan in (*clear, *sealed)]
    assert await found(journal, number=(NUMBER,)) == ids
    assert await found(journal, subject=(f"number/{NUMBER}",)) == [ids[1], ids[3]]
    assert [(await event(journal, plan))["data"]["code"] for plan in (*clear, *sealed)] == [
        CODE
    ] * 4
    assert (await event(journal, clear[0]))["data"]["reference"] == "r"
    assert rows(path, "select codes is null from events") == [(1,), (1,), (0,), (0,)]
    (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=9, now=NOW + 60))
    assert not delivery.is_masked
    assert (await journal.ask(QuarantinedById("q1"))).body == b"?"
    kept, _ = await journal.ask(OpenOrders(since=NOW))
    assert kept.number == "+18505550111"


async def test_journal_without_its_keys_shows_metadata(store, journal):
    plan = secret_sms()
    await record(journal, plan)
    await journal.close()

    journal = await store.start(now=NOW, keys=False)

    shown = await event(journal, plan)
    assert (shown["type"], shown["data"]["code"]) == ("sms.received", None)
    assert shown["erasedtime"] == plan.event.recordedtime
    assert await journal.ask(CallbackOfEvent(plan.event.id)) is None


async def test_fields_of_older_events_are_searched_beside_sealed_ones(store, path):
    """Mutant: a sealed event is missing until all older ones have their searched fields."""
    journal = await store.start(now=NOW, keys=False)
    old = secret_sms()
    await record(journal, old)
    await journal.close()
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("delete from event_fields")
        conn.execute("insert into meta select 'event_fields_missing', max(seq) from events")
    journal = await store.start(now=NOW)
    new = secret_sms()
    await record(journal, new)

    ids = [old.event.id, new.event.id]
    assert await found(journal, number=(NUMBER,)) == ids
    while await journal.submit(IndexVisible()):
        pass
    assert await found(journal, number=(NUMBER,)) == ids


# --- filters of keys -----------------------------------------------------------------------------


async def test_filter_on_a_sealed_field_opens_rows(store):
    """Mutants: the filter sees masks; stored events are not opened when the filter is new."""

    def is_mine(event):
        return event["data"]["to"] == NUMBER and event["data"]["code"] == CODE

    journal = await store.start(now=NOW, filters={"old": is_mine})
    mine, other = secret_sms(), secret_sms(code="1")
    await record(journal, mine, other)
    before = await visible(journal, "old")
    await journal.close()
    journal = await store.start(now=NOW, filters={"old": is_mine, "new": is_mine})
    while await journal.submit(IndexVisible()):
        pass

    assert before == [mine.event.id]
    assert await visible(journal, "new") == [mine.event.id]


async def test_many_threads_seal_and_open_at_once(store, journal):
    """Readers open while the writer seals. Mutant: they share a nonce or a cipher's state."""
    plans = [secret_sms() for _ in range(60)]
    await record(journal, plans[0])

    async def read():
        return [await found(journal, number=(NUMBER,)) for _ in range(20)]

    reads = asyncio.gather(read(), read(), read())
    await asyncio.gather(*(record(journal, plan) for plan in plans[1:]))
    await reads

    bodies = [(await event(journal, plan))["data"]["code"] for plan in plans]
    assert bodies == [CODE] * 60
    nonces = rows(store.path, "select substr(codes, 6, 12) from events")
    assert len(set(nonces)) == 60
