"""The look-ups and writes of a batch in SQLite."""

import contextlib
import json
import os
import sqlite3

import hypothesis
import msgspec
import pytest
import writes
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from journals import shell
from period_keys import MemoryKeys

from core.order import Order
from journal.records import Recorded, Registered
from journal.seal import Opener, Sealer
from journal.sqlite import bulk, look_up, sealed
from journal.sqlite.batch import BatchWriter
from journal.sqlite.schema import migrate
from journal.sqlite.sealed import stored_body


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "smshook.db"
    migrate(path)
    with shell(path) as conn:
        yield conn


def shown(result):
    """Return the result without `received_at`, which depends on the looked-up events."""
    if isinstance(result, Order):
        return msgspec.structs.replace(result, received_at=None)
    if isinstance(result, Registered):
        return msgspec.structs.replace(result, order=shown(result.order))
    if isinstance(result, Recorded):
        return msgspec.structs.replace(result, orders=tuple(map(shown, result.orders)))
    return result


@pytest.mark.uncounted
@given(writes.batches(), st.booleans())
@hypothesis.settings(max_examples=examples(150))
def test_sqlite_finds_everything_a_batch_needs(template, batches, is_sealed):
    """In clear and sealed.

    Mutants: a user's order finds no events of a provider's order; events lack their forms; an
    order's events are found only if an event names it; a link keeps its old order."""
    memory, opener = writes.Memory(), Opener(None, journal="j")
    if is_sealed:
        opener = Sealer(MemoryKeys(), journal="j", chance=os.urandom)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        template.backup(conn)
        writer = BatchWriter(conn, 1, opener=opener)

        for batch in batches:
            assert list(map(shown, writer.write(batch))) == list(map(shown, memory.write(batch)))

        bodies = [
            (seq, opener.open(stored_body(stored), sealed.TO_JOIN).body.decode(), reference)
            for seq, reference, *stored in conn.execute(
                f"select seq, reference, {sealed.BODY} from events order by seq"  # noqa: S608 - our words
            )
        ]
        owners = conn.execute(
            "select event, orders.id, taken from order_events join orders on orders.seq = order_seq"
        ).fetchall()
        counts = dict(conn.execute("select name, value from counters where value > 0"))
    assert bodies == [
        (seq, row.body, row.reference) for seq, row in sorted(memory.rows.events.items())
    ]
    assert {(seq, order, tuple(json.loads(taken))) for seq, order, taken in owners} == {
        (seq, row.order, row.taken) for seq, row in memory.rows.events.items() if row.order
    }
    assert counts == +memory.counts


@pytest.mark.parametrize(
    ("wanted", "sql", "indexes"),
    [
        ("wanted(source, key)", look_up._KEYS, ["PRIMARY KEY (source=? AND key=?)"]),
        (
            "wanted(its_subject, its_source, one, other, form)",
            look_up._POSSIBLE_COPIES,
            ["INDEX events_subject", "PRIMARY KEY (event=? AND form=?)"],
        ),
        (
            "wanted(its_subject, its_source, by_user)",
            look_up._OF_SUBJECT,
            ["INDEX events_subject", "INDEX events_also"],
        ),
        (
            "wanted(its_source, text, since, place, by_user)",
            look_up._OF_NUMBER,
            ["events USING INTEGER PRIMARY KEY (rowid>?)"],
        ),
        ("wanted(its_id)", look_up._OF_ORDER, ["order_events_order (order_seq=?)"]),
        ("wanted(place)", look_up._EVENTS, ["duplicates USING PRIMARY KEY (event=?)"]),
        ("wanted(its_id)", look_up._ORDERS_BY_ID, ["orders USING INDEX"]),
        (
            "wanted(its_source, its_kind, its_name)",
            look_up._ORDERS_BY_NAME,
            ["orders_name (name=? AND kind=? AND source=?)"],
        ),
        (
            "wanted(its_sink, its_ordering)",
            look_up._UNFINISHED,
            ["deliveries_ordered (sink=? AND ordering=?)"],
        ),
        (
            "wanted(its_reason, its_source, its_peer)",
            look_up._REJECTIONS,
            ["(reason=? AND source=? AND peer=?)"],
        ),
    ],
)
def test_look_up_walks_no_table(template, wanted, sql, indexes):
    """Mutant: with `join` for `cross join`, the planner begins with the large table."""
    width = wanted.count(",") + 1
    statement = bulk._statement(f"with {wanted} as (values $rows) {sql}", width, 4)

    plan = [row[3] for row in template.execute(f"explain query plan {statement}", [1] * width * 4)]

    assert {step for step in plan if "SCAN" in step} == {"SCAN wanted", "SCAN 4 CONSTANT ROWS"}
    for index in indexes:
        assert any(index in step for step in plan), plan
