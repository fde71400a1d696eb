"""Reads of deliveries and sinks in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import fields

from core.delivery import Attempt, State, Turn

from ..reads import (
    Deliveries,
    DeliveryById,
    DeliveryFilter,
    NextDue,
    OldestPending,
    Page,
    PendingBySink,
    SinkRecords,
)
from ..records import SinkRecord, StoredDelivery
from ..seal import Opener, Opening
from . import sealed
from .paging import Condition, Sought, any_of, page

_EVENT_ID = "(select id from events where seq = deliveries.event)"
_COLUMNS = f"{_EVENT_ID}, sink, state, replay, accepted_at, due_at, owner"
#: The condition of each turn on a pending delivery. Each has an index.
TURNS = {
    Turn.FRESH: "replay = 0 and attempts = 0",
    Turn.RETRIED: "attempts > 0",
    Turn.REPLAYED: "replay = 1 and attempts = 0",
}
#: States with few rows. Each has a partial index.
_FEW = {
    State.PENDING: ("state = 'pending' and attempts = 0", "state = 'pending' and attempts > 0"),
    State.DEAD: ("state = 'dead' and state in ('dead', 'expired')",),
    State.EXPIRED: ("state = 'expired' and state in ('dead', 'expired')",),
}
_ATTEMPT = tuple(field.name for field in fields(Attempt))
#: Attempts and probes of a delivery. Probes of a number precede the attempt of that number.
_ATTEMPTS = f"""
    select n, sealed, {", ".join(_ATTEMPT)} from (
      select n, at, outcome, status, error, took_ms, answer, 0 as probes, sealed from attempts
      where delivery = :id
      union all select n, at, outcome, status, error, took_ms, answer, count, sealed from probes
      where delivery = :id) order by n, probes desc
"""  # noqa: S608 - our words
_SINK = tuple(field.name for field in fields(SinkRecord) if field.name != "held")


def deliveries(
    conn: sqlite3.Connection,
    read: Deliveries,
    opener: Opener,
) -> Page[StoredDelivery]:
    wanted = read.filter
    few = wanted.state and set(wanted.state) <= {State.SENDING, *_FEW}
    states = _states(wanted)
    conditions = [*states, *any_of(("sink",), wanted.sink)]
    if wanted.event:
        slots = ", ".join("?" * len(wanted.event))
        ids = f"event in (select seq from events where id in ({slots}))"  # noqa: S608 - our words
        conditions.append((ids, wanted.event))
    sought = Sought(
        table="deliveries",
        place="id",
        columns=f"id, {_COLUMNS}",
        conditions=conditions,
        indexed=not conditions or bool(wanted.event or few),
    )
    return page(conn, sought, lambda row: _delivery(conn, row, opener, read.opening), read)


def _states(wanted: DeliveryFilter) -> list[Condition]:
    if not wanted.state:
        return []
    states = set(wanted.state)
    sending, pending = State.SENDING in states, State.PENDING in states
    stored = (states | {State.PENDING} if sending else states) - {State.SENDING}
    conditions: list[Condition] = []
    if stored <= set(_FEW):
        # One query for each state: for a list of states SQLite would read all delivered rows.
        each = (
            f"select id from deliveries where {condition}"  # noqa: S608 - our words
            for state in sorted(stored)
            for condition in _FEW[state]
        )
        conditions.append((f"id in ({' union all '.join(each)})", ()))
    else:
        conditions += any_of(("state",), tuple(stored))
    if sending != pending:
        # Pending deliveries with an attempt under way are being sent.
        negation = "" if sending else "not "
        under_way = "id in (select value from json_each(?))"
        conditions.append(
            (f"(state <> 'pending' or {negation}{under_way})", (json.dumps(wanted.under_way),))
        )
    return conditions


def delivery(conn: sqlite3.Connection, read: DeliveryById, opener: Opener) -> StoredDelivery | None:
    row = conn.execute(
        f"select id, {_COLUMNS} from deliveries where id = ?",  # noqa: S608 - our words
        (read.id,),
    ).fetchone()
    return None if row is None else _delivery(conn, row, opener, read.opening)


def of_event(conn: sqlite3.Connection, seq: int, opener: Opener) -> tuple[StoredDelivery, ...]:
    rows = conn.execute(
        f"select id, {_COLUMNS} from deliveries where event = ? order by id",  # noqa: S608 - our words
        (seq,),
    ).fetchall()
    return tuple(_delivery(conn, row, opener, None) for row in rows)


def _delivery(
    conn: sqlite3.Connection, row: Sequence[Any], opener: Opener, opening: Opening | None
) -> StoredDelivery:
    def attempt(number: int, part: bytes | None, *columns: Any) -> Attempt:
        shown = dict(zip(_ATTEMPT, columns, strict=True))
        if part is not None:
            answer_id = sealed.answer_id(event_id, id_, number, probe=shown["probes"] > 0)
            shown["answer"] = sealed.open_answer(opener, answer_id, part, opening)
        return Attempt(**shown)

    id_, event_id, sink, state, replay, accepted_at, due_at, owner = row
    return StoredDelivery(
        id=id_,
        event_id=event_id,
        sink=sink,
        state=State(state),
        replay=bool(replay),
        accepted_at=accepted_at,
        due_at=due_at,
        owner=owner,
        attempts=tuple(attempt(*columns) for columns in conn.execute(_ATTEMPTS, {"id": id_})),
    )


def pending_by_sink(conn: sqlite3.Connection, _read: PendingBySink) -> Mapping[str, int]:
    # Two queries: each has its own partial index.
    return dict(
        conn.execute(
            "select sink, count(*) from ("
            " select sink from deliveries where state = 'pending' and attempts = 0"
            " union all select sink from deliveries where state = 'pending' and attempts > 0"
            ") group by sink"
        )
    )


def oldest_pending(conn: sqlite3.Connection, read: OldestPending) -> Mapping[str, float]:
    """Look at the ends of the partial indexes: a sink may have a million pending deliveries.

    First attempts become due in the order of acceptance, except those that wait in line.
    """
    pending = "select accepted_at from deliveries where sink = ?1 and state = 'pending'"
    fresh = f"{pending} and attempts = 0 and due_at is"
    found: dict[str, float] = {}
    for sink in read.sinks:
        (oldest,) = conn.execute(
            f"select min(accepted_at) from ("  # noqa: S608 - our words
            f" select * from ({fresh} null order by id limit 1)"
            f" union all select * from ({fresh} not null order by due_at limit 1)"
            f" union all select * from ({pending} and attempts > 0 order by id limit 1))",
            (sink,),
        ).fetchone()
        if oldest is not None:
            found[sink] = oldest
    return found


def next_due(conn: sqlite3.Connection, read: NextDue) -> float | None:
    row = conn.execute(
        "select due_at from deliveries where sink = ? and state = 'pending'"  # noqa: S608 - our words
        f" and {TURNS[read.turn]} and due_at is not null"
        " and id not in (select value from json_each(?))"
        " order by due_at limit 1",
        (read.sink, json.dumps(read.known)),
    ).fetchone()
    return None if row is None else float(row[0])


def sinks(conn: sqlite3.Connection, _read: SinkRecords) -> Mapping[str, SinkRecord]:
    rows = conn.execute(
        f"select {', '.join(_SINK)}, exists(select 1 from deliveries"  # noqa: S608 - our words
        " where sink = sinks.name and state = 'pending' and held = 1) from sinks order by name"
    )
    records = (
        SinkRecord(**dict(zip(_SINK, row, strict=True)), held=bool(held)) for *row, held in rows
    )
    return {record.name: record for record in records}
