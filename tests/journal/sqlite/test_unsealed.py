"""Rows that were stored in clear before the journal had keys: they are sealed in small steps."""

import asyncio
import json

import msgspec
import pytest
from canary import secrets_in
from contracts.journal import NOW, arrival, attempt, keep, owed, planned, record
from contracts.orders import NUMBER, of_number, order
from journals import shell
from sealing import ALL, SealedStore

from core.delivery import State, Turn
from core.secret import Secret
from journal.keyring import Keyring
from journal.reads import (
    CallbackOfEvent,
    Deliveries,
    DeliveryById,
    EventById,
    EventFilter,
    Events,
    OrderById,
    QuarantinedById,
    SealedRows,
    UnsealedCount,
    UnsealedTimes,
)
from journal.records import SEALED_TABLES, Unsealed
from journal.seal import Kind
from journal.sqlite.inspection import find_lost, find_rows
from journal.writes import EraseContent, IndexVisible, RegisterOrder, SealStored, Settle, Take

HOUR, DAY = 3600.0, 86400.0
CODE, LINK = "ZQ7-918273", "https://example.com/ZQ7-918273"
FROM, OLD = "+18505550177", "+18505550178"
RAW, ANSWER = "raw-918273-body", "echo-918273-answer"
SECRETS = [CODE, NUMBER, FROM, OLD, RAW, ANSWER, "q-918273-body"]
LATER = NOW + 60


def ring(folder, now=LATER):
    root = Secret("the root key of these tests, 0123456789")
    return Keyring(folder / "smshook.keys", (root,), period=HOUR, now=now)


@pytest.fixture
async def store(path, tmp_path):
    store = SealedStore(path, ring(tmp_path))
    yield store
    await store.end()


def sms(*, at=NOW, **said):
    given = {"to": NUMBER, "from_": FROM, "text": f"{CODE} is it", "code": CODE, "urls": (LINK,)}
    return planned(at=at, **(given | said))


class Clear:
    """A journal in clear with one row of each kind, or more, and what it shows."""

    def __init__(self, store):
        self.store = store

    async def fill(self):
        journal = await self.store.start(now=NOW, keys=False)
        by_number = sms(subject=f"number/{NUMBER}")
        plain = sms(to=None, from_=None, text=None, code=None, urls=())
        self.plans = [sms(owed=[owed(ordering=f'"{NUMBER}"')]), by_number, plain]
        came = arrival(body=RAW.encode(), headers=(("x", CODE),))
        await record(journal, *self.plans, came=came)
        (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=1, now=NOW))
        await keep(journal, b"q-918273-body", new_id="q1", fingerprint=b"f" * 16)
        self.orders = [
            of_number(expires_at=NOW + DAY),
            order("7", number=OLD, expires_at=NOW + DAY),
            of_number(OLD, expires_at=NOW - 2 * DAY, state="expired"),
        ]
        for one in self.orders:
            await journal.submit(RegisterOrder(one, None))
        answer = attempt(answer=ANSWER.encode())
        await journal.submit(Settle(delivery, answer, State.PENDING, due_at=NOW))
        (delivery,) = await journal.submit(Take("log", Turn.RETRIED, limit=1, now=NOW))
        probe = msgspec.structs.replace(answer, probes=1)
        await journal.submit(Settle(delivery, probe, State.PENDING, due_at=NOW))
        (delivery,) = await journal.submit(Take("log", Turn.RETRIED, limit=1, now=NOW))
        await journal.submit(
            Settle(delivery, attempt("delivered", answer=ANSWER.encode()), State.DELIVERED, None)
        )
        self.delivery = delivery.id
        before = await self.shown(journal)
        await journal.close()
        return before

    async def shown(self, journal):
        kept = [await journal.ask(EventById(plan.event.id, ALL)) for plan in self.plans]
        raw = await journal.ask(CallbackOfEvent(self.plans[0].event.id))
        delivery = await journal.ask(DeliveryById(self.delivery))
        orders = [(await journal.ask(OrderById(one.id))).order for one in self.orders]
        return {
            "events": [one.body for one in kept],
            "raw": (raw.headers, raw.body),
            "quarantine": (await journal.ask(QuarantinedById("q1"))).body,
            "answers": [one.answer for one in delivery.attempts],
            "orders": [(one.name, one.number) for one in orders],
        }


async def seal(journal, *, now=LATER, limit=1000, keys=None):
    """Seal all rows; return the sealed and the erased ones by table."""
    sealed, erased = {}, {}
    while True:
        for kind, times in (await journal.ask(UnsealedTimes(now, limit))).items():
            if keys is not None:
                keys.cover(kind, times)
        step = await journal.submit(SealStored(now, limit))
        if step.table is not None:
            sealed[step.table] = sealed.get(step.table, 0) + step.sealed
            erased[step.table] = erased.get(step.table, 0) + step.erased
        if not step.more:
            await journal.empty_log()
            return sealed, erased


async def in_clear(journal):
    return {table.value: (await journal.ask(UnsealedCount(table))).count for table in Unsealed}


def query(path, sql):
    with shell(path) as conn:
        return conn.execute(sql).fetchall()


def marks(path):
    return query(path, "select name from meta where name like 'unsealed_%' order by name")


# --- sealing -------------------------------------------------------------------------------------


async def test_rows_in_clear_are_sealed_and_read_as_before(store, path):
    """Mutants: a table or the probes are left out; a column stays in clear; the callback is bound
    to another id."""
    clear = Clear(store)
    before = await clear.fill()
    journal = await store.start(now=LATER)
    counted = await in_clear(journal)

    sealed, erased = await seal(journal)

    files = [path, path.with_name(f"{path.name}-wal")]
    assert secrets_in(files, SECRETS) == []
    assert await clear.shown(journal) == before
    assert counted == {
        "events": 2,
        "callbacks": 1,
        "quarantine": 1,
        "orders": 3,
        "deliveries": 1,
    }
    assert {table.value: count for table, count in sealed.items()} == counted
    assert not any(erased.values())
    assert not any((await in_clear(journal)).values())
    assert marks(path) == []
    found = await journal.ask(Events(EventFilter(number=(NUMBER,)), opening=ALL))
    assert [body for _, body in found.items] == before["events"][:2]
    subject = await journal.ask(Events(EventFilter(subject=(f"number/{NUMBER}",)), opening=ALL))
    assert [body for _, body in subject.items] == [before["events"][1]]
    assert query(path, "pragma integrity_check") == [("ok",)]


async def test_small_steps_seal_the_same(store, path):
    """Mutants: the mark skips a row; a table is done after its first step."""
    clear = Clear(store)
    before = await clear.fill()
    journal = await store.start(now=LATER)

    sealed, _ = await seal(journal, limit=1)

    assert sum(sealed.values()) == 8
    assert await clear.shown(journal) == before
    assert secrets_in([path], SECRETS) == []


async def test_sealing_that_was_interrupted_continues(store, path):
    """Mutants: the mark is not stored; it is stored before its rows are sealed."""
    clear = Clear(store)
    before = await clear.fill()
    steps = 0
    while marks(path):
        journal = await store.start(now=LATER)
        for kind, times in (await journal.ask(UnsealedTimes(LATER, 2))).items():
            store.keys.cover(kind, times)
        step = await journal.submit(SealStored(LATER, limit=2))
        assert await clear.shown(journal) == before
        if not step.more:
            await journal.empty_log()
        await journal.close()
        steps += 1

    assert steps >= 8
    assert secrets_in([path], SECRETS) == []


async def test_rows_stored_without_keys_later_are_sealed_too(store, path):
    """Mutant: the marks are set once only, and rows of a start without `seal` stay in clear."""
    clear = Clear(store)
    await clear.fill()
    journal = await store.start(now=LATER)
    await seal(journal)
    await journal.close()
    journal = await store.start(now=LATER, keys=False)
    later = sms(at=LATER)
    await record(journal, later)
    await journal.close()
    assert secrets_in([path], [CODE]) != []

    journal = await store.start(now=LATER)
    sealed, _ = await seal(journal)

    assert sealed[Unsealed.EVENTS] == 1
    assert secrets_in([path], SECRETS) == []


async def test_journal_made_with_keys_has_nothing_to_seal(store, path):
    journal = await store.start(now=NOW)
    await record(journal, sms())

    assert marks(path) == []
    assert await journal.submit(SealStored(LATER)) == await journal.submit(SealStored(LATER))
    assert not any((await in_clear(journal)).values())


async def test_many_rows_leave_no_trace_in_the_file(store, path):
    """Pages are split and merged. Mutant: `secure_delete` is off."""
    journal = await store.start(now=NOW, keys=False)
    plans = [
        sms(
            code=f"ZQ7-9{n:05d}",
            text=f"ZQ7-9{n:05d} is your code " + "x" * (n * 37 % 900),
            to=f"+1850777{n:04d}",
        )
        for n in range(800)
    ]
    for begin in range(0, len(plans), 100):
        await asyncio.gather(
            *(
                record(journal, plan, came=arrival(body=plan.event.data.text.encode()))
                for plan in plans[begin : begin + 100]
            )
        )
    await journal.close()
    journal = await store.start(now=LATER)

    await seal(journal, limit=100)

    content = path.read_bytes() + path.with_name(f"{path.name}-wal").read_bytes()
    left = [n for n in range(800) if f"ZQ7-9{n:05d}".encode() in content]
    assert left == []
    assert [n for n in range(800) if f"1850777{n:04d}".encode() in content] == []


# --- keys ----------------------------------------------------------------------------------------


async def test_old_row_gets_the_key_of_its_own_time(store):
    """Mutant: an old code gets the key of today, and lives longer than a new one of its time."""
    journal = await store.start(now=NOW, keys=False)
    old, new = sms(at=NOW - 5 * HOUR), sms(at=NOW)
    for plan in (old, new):
        await record(journal, plan, came=arrival(at=plan.at, body=RAW.encode()))
    await journal.close()
    journal = await store.start(now=LATER)
    await seal(journal, keys=store.keys)

    store.keys.destroy(Kind.CODES, before=NOW - 3 * HOUR)

    codes = [
        json.loads((await journal.ask(EventById(plan.event.id, ALL))).body)["data"]["code"]
        for plan in (old, new)
    ]
    assert codes == [None, CODE]
    store.keys.destroy(Kind.RAW, before=NOW - 3 * HOUR)
    assert await journal.ask(CallbackOfEvent(old.event.id)) is None
    assert (await journal.ask(CallbackOfEvent(new.event.id))).body == RAW.encode()


async def test_row_with_a_destroyed_key_is_erased(store, path):
    """Mutants: it gets the oldest living key; the part of another kind is erased, too."""
    clear = Clear(store)
    await clear.fill()
    journal = await store.start(now=LATER)
    for kind in (Kind.CODES, Kind.RAW, Kind.QUARANTINE, Kind.PEOPLE):
        store.keys.cover(kind, [NOW - 2 * DAY, NOW + 2 * DAY])
    until = NOW + 1.5 * DAY
    for kind in (Kind.CODES, Kind.RAW, Kind.QUARANTINE):
        store.keys.destroy(kind, before=until)
    before = (store.path.parent / "smshook.keys").read_bytes()

    _, erased = await seal(journal, keys=store.keys)

    event = json.loads((await journal.ask(EventById(clear.plans[0].event.id, ALL))).body)
    delivery = await journal.ask(DeliveryById(clear.delivery))
    assert (event["data"]["code"], event["data"]["to"]) == (None, NUMBER)
    assert event["erasedtime"]
    assert [one.answer for one in delivery.attempts] == [None] * 3
    assert await journal.ask(CallbackOfEvent(clear.plans[0].event.id)) is None
    assert (await journal.ask(QuarantinedById("q1"))).is_erased
    assert {table.value: count for table, count in erased.items() if count} == {
        "events": 2,
        "callbacks": 1,
        "quarantine": 1,
        "deliveries": 1,
    }
    assert secrets_in([path], [CODE, RAW, ANSWER]) == []
    assert before == (store.path.parent / "smshook.keys").read_bytes()


async def test_number_of_an_ended_order_has_the_key_of_its_end(store):
    """Mutant: it gets the newest key, as that of an open order does."""
    clear = Clear(store)
    await clear.fill()
    journal = await store.start(now=LATER)
    await seal(journal)

    store.keys.destroy(Kind.PEOPLE, before=NOW - DAY)

    shown = [(await journal.ask(OrderById(one.id))).order for one in clear.orders]
    assert [(one.name, one.number) for one in shown] == [
        (NUMBER, NUMBER),
        ("7", OLD),
        ("***", None),
    ]


async def test_row_of_a_later_time_has_the_key_of_now(store):
    """The clock was ahead. Mutant: its key is made, and lives longer than all others."""
    journal = await store.start(now=NOW, keys=False)
    await record(journal, sms(at=NOW + 400 * DAY))
    await journal.close()
    journal = await store.start(now=LATER)
    newest = store.keys.periods(Kind.PEOPLE)[0]

    await seal(journal, keys=store.keys)

    assert store.keys.periods(Kind.PEOPLE)[0] == newest


# --- what depends on clear values ----------------------------------------------------------------


async def test_pending_line_goes_on_after_a_start_with_keys(store, path):
    """Mutants: a value in clear waits for no hash of it; the next of the line is never due."""
    journal = await store.start(now=NOW, keys=False)
    plans = [sms(owed=[owed(ordering=f'"{NUMBER}"')]) for n in range(2)]
    await record(journal, *plans)
    await journal.close()
    journal = await store.start(now=LATER)
    line = journal.sealer.hash_line(f'"{NUMBER}"')
    await record(journal, sms(at=LATER, owed=[owed(ordering=line)]))
    assert query(path, "select ordering, due_at is null from deliveries") == [
        (line, 0),
        (line, 1),
        (line, 1),
    ]
    await seal(journal)

    done = []
    for _ in range(3):
        (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=9, now=LATER))
        await journal.submit(Settle(delivery, attempt("delivered"), State.DELIVERED, None))
        done.append(delivery.id)

    assert done == [1, 2, 3]


async def test_delivery_in_memory_ends_while_its_event_is_sealed(store):
    """Mutant: its answer is stored in clear, below the mark."""
    journal = await store.start(now=NOW, keys=False)
    await record(journal, sms(owed=[owed(wait=1.0)]))
    await journal.close()
    journal = await store.start(now=LATER)
    (delivery,) = await journal.submit(Take("log", Turn.FRESH, limit=1, now=LATER))
    await seal(journal)

    answer = attempt("delivered", answer=ANSWER.encode())
    assert await journal.submit(Settle(delivery, answer, State.DELIVERED, None))

    assert not delivery.is_masked
    assert not any((await in_clear(journal)).values())
    [(_, kept)] = (await journal.ask(Deliveries())).items
    assert [one.answer for one in kept.attempts] == [ANSWER.encode()]


async def test_searched_fields_are_filled_before_events_are_sealed(store, path):
    """Mutant: an event of an older version is found by its mask."""
    clear = Clear(store)
    before = await clear.fill()
    with shell(path) as conn:
        conn.execute("delete from event_fields")
        conn.execute("insert into meta select 'event_fields_missing', max(seq) from events")
    journal = await store.start(now=LATER)

    await seal(journal)

    while await journal.submit(IndexVisible()):
        pass
    found = await journal.ask(Events(EventFilter(number=(NUMBER,)), opening=ALL))
    assert [body for _, body in found.items] == before["events"][:2]


# --- files ---------------------------------------------------------------------------------------


async def test_file_shows_rows_in_clear_and_rows_without_a_key(store, path):
    """Mutants: a destroyed key counts as missing; rows in clear are those of all places."""
    clear = Clear(store)
    await clear.fill()
    found = find_rows(path, store.keys.lacks, store.keys)
    assert (sum(found.in_clear.values()), found.seals_dedupe) == (8, False)
    journal = await store.start(now=LATER)
    await seal(journal)
    await journal.close()

    whole = find_rows(path, store.keys.lacks, store.keys)
    nothing = find_rows(path, lambda _kind, _period: True, None)

    assert not any((*whole.in_clear.values(), *whole.without_key.values()))
    assert {table.value: n for table, n in nothing.without_key.items()} == {
        "events": 2,
        "callbacks": 1,
        "quarantine": 1,
        "orders": 3,
    }
    assert find_lost(path, store.keys.lacks) is None
    store.keys.destroy(Kind.CODES, before=NOW + 2 * DAY)
    assert find_lost(path, store.keys.lacks) is None
    assert find_rows(path.with_name("none.db"), store.keys.lacks, store.keys) is None


async def test_rows_under_another_key_of_their_period_are_counted(store, path, tmp_path):
    """The key file was lost, and made again in the same periods. Mutants: a key that is there
    counts, whatever it opens; an erased part counts; a row with two such parts counts twice; the id
    of the event is left out.
    """
    journal = await store.start(now=LATER)
    before = [sms(at=LATER), sms(at=LATER)]
    await record(journal, before[0], came=arrival(at=LATER, body=RAW.encode()))
    await record(journal, before[1], came=arrival(at=LATER, body=RAW.encode()))
    await journal.submit(EraseContent((before[1].event.id,), at=LATER))
    await keep(journal, b"q-918273-body", new_id="q1", fingerprint=b"f" * 16, at=LATER)
    await journal.submit(RegisterOrder(of_number(created_at=LATER), None))
    assert not any(find_rows(path, store.keys.lacks, store.keys).without_key.values())
    await journal.close()
    (tmp_path / "smshook.keys").unlink()
    store.keys = ring(tmp_path)
    journal = await store.start(now=LATER)
    await record(journal, sms(at=LATER), came=arrival(at=LATER, body=RAW.encode()))

    found = find_rows(path, store.keys.lacks, store.keys).without_key
    asked = {
        table: (await journal.ask(SealedRows(table, tests=True))).count_lost(store.keys.lacks)
        for table in SEALED_TABLES
    }
    untested = await journal.ask(SealedRows(Unsealed.EVENTS))

    assert {table.value: n for table, n in found.items()} == {
        "events": 1,
        "callbacks": 1,
        "quarantine": 1,
        "orders": 1,
    }
    assert asked == found
    assert untested.count_lost(store.keys.lacks) == 0
    assert journal.opener.opened == {}
    store.keys.destroy(Kind.RAW, LATER + 2 * HOUR)
    destroyed = find_rows(path, store.keys.lacks, store.keys).without_key
    assert destroyed == found | {Unsealed.CALLBACKS: 0}


async def test_lost_rows_count_what_is_owed_from_them(store, path):
    journal = await store.start(now=NOW)
    await record(journal, sms(owed=[owed(wait=9.0), owed("crm", wait=9.0)]))
    await record(journal, sms(to=None, from_=None, owed=[owed(wait=9.0)]))
    await journal.close()

    lost = find_lost(path, lambda _kind, _period: True)

    kinds = {
        sink: sorted((sorted(kind for kind, _ in parts), n) for parts, n in counts.items())
        for sink, counts in lost.owed.items()
    }
    assert kinds == {
        "log": [(["codes"], 1), (["codes", "people"], 1)],
        "crm": [(["codes", "people"], 1)],
    }
    assert lost.rows[Unsealed.EVENTS] == 2


async def test_sealed_rows_are_counted_in_parts(store, monkeypatch):
    """Mutant: the second part is left out."""
    monkeypatch.setattr("journal.sqlite.unsealed._COUNTED", 1)
    clear = Clear(store)
    await clear.fill()
    found = find_rows(store.path, store.keys.lacks, store.keys)
    journal = await store.start(now=LATER)
    await seal(journal)

    assert sum(found.in_clear.values()) == 8
    first = await journal.ask(SealedRows(Unsealed.EVENTS))
    assert first.next_place is not None
    lost = find_lost(store.path, lambda _kind, _period: True)
    assert [lost.rows[table] for table in SEALED_TABLES] == [2, 1, 1, 3]


async def test_oldest_key_in_use_is_that_of_the_oldest_row(store):
    """Mutants: rows in clear count for nothing; an event has only the keys of its parts; a settled
    row that has nothing to seal counts.
    """
    clear = Clear(store)
    await clear.fill()

    async def oldest(journal):
        parts = [(await journal.ask(SealedRows(table))).oldest for table in SEALED_TABLES]
        return [{kind.value: at for kind, at in part.items()} for part in parts]

    journal = await store.start(now=LATER)
    in_clear = await oldest(journal)
    await seal(journal, keys=store.keys)
    day, hour = NOW // DAY * DAY, NOW // HOUR * HOUR
    sealed = await oldest(journal)
    plain = sms(at=NOW - DAY, to=None, from_=None, text=None, code=None, urls=())
    await record(journal, plain, came=arrival(at=NOW - DAY, body=b"", headers=()))
    with_plain = await oldest(journal)

    ended = NOW - 2 * DAY
    assert in_clear == [
        {"codes": NOW, "people": NOW},
        {"raw": NOW},
        {"quarantine": NOW},
        {"people": ended},
    ]
    assert sealed == [
        {"codes": hour, "people": day},
        {"raw": hour},
        {"quarantine": day},
        {"people": ended // DAY * DAY},
    ]
    assert with_plain == [{"codes": NOW - DAY, "people": NOW - DAY}, *sealed[1:]]


async def test_journal_in_clear_is_not_searched_for_lost_rows(store, path, monkeypatch):
    """Each start without `seal` asks. Mutant: it reads all rows, which takes seconds."""
    clear = Clear(store)
    await clear.fill()

    def searched(*_given):
        raise AssertionError("rows were read")

    monkeypatch.setattr("journal.sqlite.unsealed.sealed_rows", searched)
    assert find_lost(path, lambda _kind, _period: True) is None
    await store.start(now=LATER)
    with pytest.raises(AssertionError, match="rows were read"):
        find_lost(path, lambda _kind, _period: True)
