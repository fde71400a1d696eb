"""The index of visible events in SQLite: its cost, and that it is always correct."""

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from contracts.journal import NOW, arrival, planned, record
from contracts.orders import order, sms
from contracts.visible import CODES, FILTERS, GROWTH, TEAM, ids, is_growth, of_growth, visible
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from journals import prepared, shell

from core.errors import InvalidRow
from journal.reads import EventFilter, Events, IsVisible, VisibleEvents
from journal.seal import Opener
from journal.sqlite import queries, schema
from journal.sqlite import visible as sqlite_visible
from journal.sqlite.journal import SQLiteJournal
from journal.writes import IndexVisible, RegisterOrder

#: Hidden events between two visible ones.
HIDDEN = 20_000


def opened(path, filters=FILTERS):
    return SQLiteJournal.open(path, seal="s", now=NOW, version="0", filters=lambda _keys: filters)


async def between_two_visible(path, hidden):
    """Make a journal with hidden events between two visible ones; return the visible ones."""
    journal = await opened(path)
    first, last = of_growth(), of_growth()
    await record(journal, first, planned(subject="request/7"))
    await journal.close()
    with shell(path) as conn:
        conn.execute(
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < ?)"
            " insert into events (id, source, type, subject, recorded_at, callback, routes, body)"
            " select id || n, source, type, subject, recorded_at, callback, routes, body"
            " from events, n where seq = 2",
            (hidden,),
        )
        conn.execute("analyze")
        # As with many visible events: SQLite would begin with an index on events.
        conn.execute("update sqlite_stat1 set stat = '20000 10000 1' where tbl = 'visible'")
    journal = await opened(path)
    await record(journal, last)
    await journal.close()
    return first, last


def steps_of(path, question):
    """Return the answer, and the steps of SQLite's virtual machine."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        question(conn)  # the schema and its statistics are read once
        conn.set_progress_handler(count, 1)
        return question(conn), steps


@pytest.mark.parametrize(
    "wanted",
    [
        EventFilter(),
        EventFilter(type=("sms.received",)),
        EventFilter(subject=("request/0",)),  # of no event
        EventFilter(code=True),
        EventFilter(until=NOW + 1),
    ],
)
@pytest.mark.parametrize("desc", [False, True])
async def test_query_steps_do_not_reveal_hidden_events(tmp_path, wanted, desc):
    """Only the binary search for a time adds some steps: a few when the events double.

    Mutant: a plain JOIN, which uses an index on the events' subjects.
    """
    pages = []
    for hidden in (1, HIDDEN):
        path = tmp_path / f"{hidden}.db"
        await between_two_visible(path, hidden)
        page, steps = steps_of(
            path,
            lambda conn: queries.visible_events(
                conn,
                VisibleEvents(shown_to=GROWTH, filter=wanted, limit=1, desc=desc),
                Opener(None, journal=""),
            ),
        )
        pages.append(([body for _, body in page.items] != [], page.has_more, steps))

    (*few, few_steps), (*many, many_steps) = pages
    assert many == few
    allowed = 0 if wanted.until is None else 1000
    assert abs(many_steps - few_steps) <= allowed


async def test_pages_of_one_pass_over_many_hidden_events(path):
    first, last = await between_two_visible(path, HIDDEN)
    journal = await opened(path)

    found = [
        await journal.ask(
            VisibleEvents(shown_to=GROWTH, filter=EventFilter(), after=after, limit=1)
        )
        for after in (None, 1, HIDDEN + 3)
    ]
    await journal.close()

    assert [(page.next_seq, page.has_more) for page in found] == [
        (1, True),
        (HIDDEN + 3, False),
        (HIDDEN + 3, False),
    ]
    assert [msgspec.json.decode(page.items[0][1])["id"] for page in found[:2]] == ids(first, last)
    assert found[2].items == ()


async def test_hidden_event_costs_what_a_missing_one_does(path):
    """Mutant: the event is read with its deliveries and copies, and hidden then."""
    await between_two_visible(path, 100)
    with shell(path) as conn:
        [(hidden,)] = conn.execute("select id from events where seq = 50")

    answers = [
        steps_of(
            path, lambda conn, id_=id_: sqlite_visible.is_visible(conn, IsVisible(GROWTH, id_))
        )
        for id_ in (hidden, "event-none")
    ]

    assert [answer for answer, _ in answers] == [False, False]
    (_, of_hidden), (_, of_missing) = answers
    assert abs(of_hidden - of_missing) <= 2


async def test_page_looks_at_a_window_of_visible_events(path, monkeypatch):
    """It ends at a visible event, not at a hidden one."""
    monkeypatch.setattr(sqlite_visible, "WINDOW", 2)
    journal = await opened(path)
    for place in range(1, 11):
        await record(journal, of_growth() if place in {2, 5, 7, 9} else planned())
    with_code = EventFilter(code=True)

    places = {
        desc: [
            (page.next_seq, page.has_more)
            for after in afters
            for page in [
                await journal.ask(
                    VisibleEvents(
                        shown_to=GROWTH, filter=with_code, after=after, limit=9, desc=desc
                    )
                )
            ]
        ]
        for desc, afters in ((False, (None, 5)), (True, (None, 7)))
    }
    await journal.close()

    assert places == {False: [(5, True), (5, False)], True: [(7, True), (7, False)]}


async def test_without_filters_nothing_is_added(path):
    """There is no trigger, no row and no work."""
    journal = await opened(path, {})
    await record(journal, of_growth())
    left = await journal.submit(IndexVisible())
    triggers = await journal._commits.run(
        lambda: journal._conn.execute("select count(*) from sqlite_temp_schema").fetchone()
    )
    await journal.close()

    assert (left, triggers) == (False, (0,))
    assert rows(path) == ([], [])


def rows(path):
    with shell(path) as conn:
        return (
            conn.execute("select id, digest, unseen from visible_filters").fetchall(),
            conn.execute("select filter, seq from visible").fetchall(),
        )


async def test_rows_of_a_former_filter_are_removed_in_steps(path):
    journal = await opened(path, {GROWTH: is_growth})
    await record(journal, *(of_growth() for _ in range(5)))
    await journal.close()

    journal = await opened(path, {})
    left = []
    while await journal.submit(IndexVisible(limit=2)):
        left.append(len(rows(path)[1]))
    await journal.close()

    assert left == [3, 1, 0]
    assert rows(path) == ([], [])


async def test_journal_of_an_earlier_version_is_filled(path, monkeypatch):
    scripts = schema._scripts()
    with monkeypatch.context() as before:
        # Later steps do not depend on this one, and the writer needs their tables.
        others = [it for it in scripts if not it[0].startswith("m010")]
        before.setattr(schema, "_scripts", lambda: others)
        before.setattr(schema, "configure", lambda *_: None)
        journal = await opened(path)
        plans = [of_growth(), planned(), of_growth()]
        await record(journal, *plans)
        await journal.close()

    journal = await opened(path)
    at_first = await visible(journal)
    while await journal.submit(IndexVisible()):
        pass
    found = await visible(journal)
    await journal.close()

    assert at_first is None
    assert found == ids(plans[0], plans[2])


async def test_rolled_back_event_leaves_no_row(path):
    journal = await opened(path, {GROWTH: is_growth})
    first = of_growth()
    await record(journal, first)
    same_id = msgspec.structs.replace(of_growth(), event=first.event)
    with pytest.raises(InvalidRow):
        await record(journal, of_growth(), same_id)
    await journal.close()

    assert rows(path)[1] == [(1, 1)]


# Against a model: events are stored and changed, and filters configured and filled, in any order.

NAMES = st.sampled_from("56")
LABELS = st.sampled_from([{}, TEAM, {"team": "other"}])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sms"), NAMES, LABELS),
        st.tuples(st.just("order"), NAMES, LABELS),
        st.tuples(st.just("code"), st.integers(1, 3)),
        st.tuples(st.just("start"), st.sets(st.sampled_from(sorted(FILTERS)))),
        st.tuples(st.just("fill"), st.integers(1, 3)),
    ),
    max_size=25,
)


@pytest.mark.uncounted
@settings(max_examples=examples(40))
@given(steps=STEPS)
@example(steps=[("sms", "5", TEAM), ("order", "5", {"team": "other"})])
def test_index_has_the_events_that_match_its_filter(steps):
    """Mutants: `event_changed` only adds; `unseen` is 0 at once; `configure` keeps rows."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compared(Path(folder) / "smshook.db", steps))


async def compared(path, steps):
    configured = dict(FILTERS)
    journal = await opened(prepared(path), configured)
    for step, *values in steps:
        if step == "sms":
            name, labels = values
            await record(journal, sms(name, labels=labels))
        elif step == "order":
            name, labels = values
            await journal.submit(RegisterOrder(order(name, labels=labels), None))
        elif step == "code":
            [number] = values
            await record(journal, planned(number))
            copy = planned(number, channel="poll", code="4711")
            await record(journal, copy, came=arrival(channel="poll"))
        elif step == "start":
            await journal.close()
            configured = {name: FILTERS[name] for name in values[0]}
            journal = await opened(path, configured)
        else:
            await journal.submit(IndexVisible(limit=values[0]))
        await agree(journal, configured)
    while await journal.submit(IndexVisible(limit=2)):
        await agree(journal, configured)
    indexed = [await visible(journal, name) is not None for name in configured]
    await agree(journal, configured)
    await journal.close()
    assert all(indexed)


async def agree(journal, filters):
    page = await journal.ask(Events(filter=EventFilter(), limit=1000))
    stored = [msgspec.json.decode(body) for _, body in page.items]
    for name, holds in filters.items():
        expected = [event["id"] for event in stored if holds(event)]
        assert await visible(journal, name) in (None, expected)
        if name == CODES:
            assert await visible(journal, name, desc=True) in (None, expected[::-1])
