"""The search of events, before, while and after old events get their searched fields."""

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from contracts.journal import NOW, planned, record
from contracts.orders import order, sms
from examples import examples
from hypothesis import event, given, settings
from hypothesis import strategies as st
from journals import prepared, shell

from core.event import NumberChanged, Service
from journal.reads import EventFilter, Events
from journal.seal import Opener
from journal.sqlite import event_search, paging, queries, schema
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.outbox import Outbox
from journal.writes import Clamp, IndexVisible, RegisterOrder

#: Makes a journal as it is right after m012.
FORGET = (
    "delete from event_fields",
    "insert or replace into meta select 'event_fields_missing', max(seq) from events",
)


async def opened(path):
    return await SQLiteJournal.open(path, seal="s", now=NOW, version="0")


def forget_fields(path):
    with shell(path) as conn:
        for sql in FORGET:
            conn.execute(sql)


async def walked(journal, wanted, *, desc=False, limit=3):
    """Return the ids of all pages."""
    found, after = [], None
    while True:
        page = await journal.ask(Events(filter=wanted, after=after, limit=limit, desc=desc))
        found += [json.loads(body)["id"] for _, body in page.items]
        if not page.has_more:
            return found
        after = page.next_seq


NUMBERS = ["+18503814729", "+18503814730", "+447700900123"]
SERVICES = [
    None,
    Service(id="go", name="Google", key="google"),
    Service(id="Google", name="Google", key="google"),
    Service(id="ig", name=None, key="ig"),
    Service(id="google", name="Go", key="go"),
]
SAID = st.fixed_dictionaries(
    {
        "to": st.sampled_from([None, *NUMBERS]),
        "service": st.sampled_from(SERVICES),
        "code": st.sampled_from([None, "123456"]),
        "request_id": st.sampled_from([None, "1", "2"]),
    }
)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "number": st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3).map(tuple),
        "service": st.lists(st.sampled_from(["go", "Google", "google", "ig"]), min_size=1).map(
            tuple
        ),
        "code": st.booleans(),
        "request_id": st.just(("1",)),
        "since": st.sampled_from([NOW + 2, NOW + 5]),
        "until": st.sampled_from([NOW + 4, NOW + 9]),
    },
)


def said_by_provider(said, at):
    request = said["request_id"]
    return planned(at=at, subject=request and f"request/{request}", **said)


def matches(plan, wanted):
    data = msgspec.json.decode(plan.body)["data"]
    service = (data["service"] or {}).values()
    return (
        data["to"] in wanted.get("number", [data["to"]])
        and ("service" not in wanted or bool(set(service) & set(wanted["service"])))
        and (data["code"] is not None) is wanted.get("code", data["code"] is not None)
        and data["request_id"] in wanted.get("request_id", [data["request_id"]])
        and wanted.get("since", 0) <= plan.at < wanted.get("until", 1e18)
    )


@pytest.mark.uncounted
@given(
    said=st.lists(SAID, min_size=1, max_size=14),
    more=st.lists(SAID, max_size=4),
    asked=st.lists(WANTED, min_size=1, max_size=4),
    steps=st.integers(0, 6),
    size=st.integers(1, 5),
    desc=st.booleans(),
)
@settings(max_examples=examples(40))
async def test_old_and_new_events_answer_a_filter_alike(said, more, asked, steps, size, desc):
    """Mutants: the fill skips an event, or ends early; a bucket is left out; `code` is reversed."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_search, "_FILLED_AT_ONCE", size)
        patch.setattr(paging, "WINDOW", 4)
        patch.setattr(queries, "PART", 4)
        path = prepared(Path(folder) / "smshook.db")
        journal = await opened(path)
        plans = [said_by_provider(one, NOW + n) for n, one in enumerate(said)]
        for plan in plans:
            await record(journal, plan)
        await journal.close()
        forget_fields(path)
        journal = await opened(path)
        for n, one in enumerate(more, start=len(plans)):
            plans.append(said_by_provider(one, NOW + n))
            await record(journal, plans[-1])
        work_is_left = True

        async def check():
            for one in asked:
                expected = [plan.event.id for plan in plans if matches(plan, one)]
                found = await walked(journal, EventFilter(**one), desc=desc)
                assert found == (expected[::-1] if desc else expected)

        await check()
        for _ in range(steps):
            work_is_left = await journal.submit(IndexVisible())
            await check()
        while work_is_left:
            work_is_left = await journal.submit(IndexVisible())
        event("filled at once" if len(said) <= size else "filled in steps")
        await check()
        await journal.close()


def stored_fields(path):
    with shell(path) as conn:
        return conn.execute("select * from event_fields order by seq").fetchall()


async def test_fields_of_new_events_equal_those_of_their_json(path):
    """Mutants: the fields of the plan stay after an order of the batch changed the event; the code
    of the plan is left out; a type without services fails."""
    journal = await opened(path)
    google = Service(id="go", name="Google", key="google")
    plain = [planned(to="+18503814730", service=google, code="1"), planned()]
    changed = NumberChanged(
        provider="t", channel="callback", labels={}, sample=False, time_from="received", to="+1"
    )
    other = msgspec.structs.replace(plain[1].event, id="changed", data=changed)
    body = msgspec.json.encode(other)
    plain.append(msgspec.structs.replace(planned(), event=other, body=body))
    completed = sms()
    await asyncio.gather(
        record(journal, *plain),
        record(journal, completed),
        journal.submit(RegisterOrder(order(number="+18503814729"), None)),
    )
    await journal.close()
    at_first = stored_fields(path)
    forget_fields(path)
    journal = await opened(path)
    while await journal.submit(IndexVisible()):
        pass
    await journal.close()

    assert [row[1] for row in at_first] == ["+18503814730", None, "+1", "+18503814729"]
    assert at_first == stored_fields(path)


async def test_field_that_an_order_fills_in_is_found(path):
    """Mutant: the fields are written only when the event is inserted."""
    journal = await opened(path)
    plan = sms()
    await record(journal, plan)
    before = await walked(journal, EventFilter(number=("+18503814729",)))
    await journal.submit(RegisterOrder(order(number="+18503814729"), None))

    assert before == []
    assert await walked(journal, EventFilter(number=("+18503814729",))) == [plan.event.id]
    await journal.close()


# Rows that SQLite reads


def steps_of(path, wanted, *, desc=False):
    """Return the steps of SQLite's plan, and the number of statements."""
    with shell(path) as conn:
        said = []
        conn.set_trace_callback(said.append)
        queries.events(conn, Events(filter=wanted, desc=desc), Opener(None, journal=""))
        conn.set_trace_callback(None)
        asked = [sql for sql in said if "body" in sql]
        return {row[3] for row in conn.execute(f"explain query plan {asked[0]}")}, len(asked)


BY_ID = [f"SEARCH events USING INDEX events_{it} ({it}=?)" for it in ("subject", "also")]
BY_NUMBER = "SEARCH event_fields USING INDEX event_fields_number (<expr>=? AND number=?)"
WALK = "SEARCH event_fields USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
EVENT, FIELDS = (
    f"SEARCH {table} USING INTEGER PRIMARY KEY (rowid=?)" for table in ("events", "event_fields")
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EventFilter(request_id=("1", "2")), {*BY_ID}),
        (EventFilter(rental_id=("1",), code=True), {*BY_ID, FIELDS}),
        (EventFilter(subject=("a/1",), number=("+1",)), {BY_ID[0], FIELDS}),
        (EventFilter(number=("+1", "+2"), code=True, since=NOW), {BY_NUMBER, EVENT}),
        (EventFilter(service=("go",)), {WALK, EVENT}),
        (EventFilter(number=tuple(f"+{n}" for n in range(101))), {WALK, EVENT}),
    ],
    ids=["ids", "id and code", "subject and number", "number", "service", "many numbers"],
)
@pytest.mark.parametrize("desc", [False, True])
async def test_filter_is_answered_by_its_index(path, wanted, expected, desc):
    """Mutant: a missing plus, so that the table is read by its key."""
    journal = await opened(path)
    await record(journal, planned(at=NOW, to="+1"))
    await journal.close()

    steps, _ = steps_of(path, wanted, desc=desc)

    assert {step for step in steps if step.startswith(("SEARCH", "SCAN"))} == expected


async def test_search_of_a_time_skips_other_parts(path):
    """Mutant: all parts of the journal are searched."""
    journal = await opened(path)
    for n in range(3):
        await record(journal, planned(at=NOW + 3600 * n, to="+1"))
    await journal.close()
    with shell(path) as conn:  # as with many events between them
        for seq, place in ((3, 9 * event_search.PART), (2, 5 * event_search.PART)):
            conn.execute("update events set seq = ? where seq = ?", (place, seq))
            conn.execute("update event_fields set seq = ? where seq = ?", (place, seq))

    statements = {
        since: steps_of(path, EventFilter(number=("+1",), since=NOW + since))[1]
        for since in (0, 7200)
    }

    assert statements == {0: 10, 7200: 5}


# Journals of an older version


STEPS = [name for name, _ in schema._scripts() if name < "m013"]
BODY = '{"data":{"to":"+1","service":{"id":"go","name":"Google","key":"google"},"code":"1"}}'


@pytest.mark.parametrize("last", STEPS)
async def test_events_of_each_earlier_schema_are_found(path, migrate_to, last):
    """Mutant: a journal of an older version counts as filled."""
    migrate_to(path, last)
    with shell(path) as conn:
        conn.executemany(
            "insert into events (id, source, type, subject, recorded_at, callback, routes, body)"
            " values (?, 's', 'sms.received', 'request/1', 1.0, 1, '[]', ?)",
            [("a", BODY), ("b", '{"data":{"code":null}}')],
        )
    journal = await opened(path)
    answers = []
    for _ in ("old", "filled"):
        for wanted in ({"number": ("+1",)}, {"service": ("google",)}, {"code": False}):
            page = await journal.ask(Events(filter=EventFilter(**wanted)))
            answers.append([seq for seq, _ in page.items])
        while await journal.submit(IndexVisible()):
            pass
    await journal.close()

    assert answers == [[1], [1], [2]] * 2
    with shell(path) as conn:
        assert conn.execute("select count(*) from event_fields").fetchone() == (2,)


KILLED = """
import os, pathlib, signal, sys
from journal.sqlite import event_search
from journal.sqlite.batch import BatchWriter
from journal.sqlite.schema import begin
from journal.writes import IndexVisible

fill, left = event_search.fill, [int(sys.argv[2])]

def fill_and_die(conn):
    more = fill(conn)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return more

event_search.fill, event_search._FILLED_AT_ONCE = fill_and_die, 3
file = begin(pathlib.Path(sys.argv[1]), seal="s", now=0.0, version="0")
writer = BatchWriter(file.conn, file.start)
while writer.write([IndexVisible()]) != [False]:
    pass
"""


async def test_killed_fill_goes_on_at_the_next_start(path):
    """Mutant: place and rows are stored in different transactions."""
    journal = await opened(path)
    plans = [planned(to=f"+1{n % 3}") for n in range(10)]
    for plan in plans:
        await record(journal, plan)
    await journal.close()
    forget_fields(path)
    expected = [plan.event.id for plan in plans if plan.event.data.to == "+11"]

    rows = []
    for step in (1, 2, 2):
        command = [sys.executable, "-c", KILLED, path, str(step)]
        killed = await asyncio.create_subprocess_exec(*command)
        assert await killed.wait() == -signal.SIGKILL
        journal = await opened(path)
        assert await walked(journal, EventFilter(number=("+11",))) == expected
        await journal.close()
        with shell(path) as conn:
            rows += conn.execute("select count(*) from event_fields").fetchone()
    journal = await opened(path)
    while await journal.submit(IndexVisible()):
        pass
    found = await walked(journal, EventFilter(number=("+11",)))
    await journal.close()

    assert rows == [0, 3, 6]
    assert found == expected


# Rows that a start reads


async def test_clamp_reads_no_delivered_deliveries(path):
    """Mutant: one statement for first attempts and retries, which reads the whole table."""
    await (await opened(path)).close()
    with shell(path) as conn:
        said = []
        conn.set_trace_callback(said.append)
        Outbox(conn, 1, {}, Opener(None, journal="")).clamp(
            Clamp("log", now=NOW, longest=1.0, asked=1.0)
        )
        conn.set_trace_callback(None)
        updates = [sql for sql in said if "update deliveries" in sql]
        steps = [row[3] for sql in updates for row in conn.execute(f"explain query plan {sql}")]

    assert steps == [
        "SEARCH deliveries USING INDEX deliveries_fresh (sink=?)",
        "SEARCH deliveries USING INDEX deliveries_retried (sink=?)",
    ]
