"""Reads of deliveries and sinks in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from msgspec.structs import fields, replace

from core.delivery import Attempt, State, Turn

from ..reads import (
    Deliveries,
    DeliveriesBriefly,
    DeliveryById,
    DeliveryFilter,
    OldestPending,
    Page,
    PendingBySink,
    SinkRecords,
)
from ..records import THROTTLED, BriefDelivery, OldestDelivery, SinkRecord, StoredDelivery
from ..seal import Opener, Opening
from . import sealed
from .paging import WINDOW, Condition, Sought, any_of, page
from .times import Span, span

_EVENTS = " cross join events on events.seq = deliveries.event"
_COLUMNS = "deliveries.id, events.id, sink, state, replay, accepted_at, due_at, owner"
#: What a BriefDelivery is made of. The alias is for the conditions of both.
_BRIEFLY = f"deliveries.id, events.id, sink, state, recorded_at from deliveries{_EVENTS}"
_GIVEN_UP = "id, event_id, sink, state, recorded_at from given_up as deliveries"
#: The condition of each turn on a pending delivery. Each has an index.
TURNS = {
    Turn.FRESH: "replay = 0 and attempts = 0",
    Turn.RETRIED: "attempts > 0",
    Turn.REPLAYED: "replay = 1 and attempts = 0",
}
#: The states of the table `given_up`.
GIVEN_UP = (State.DEAD, State.EXPIRED)
#: Where each state with few rows is found: a partial index or `given_up`, and the condition.
_FEW = {
    State.PENDING: (
        ("deliveries indexed by deliveries_fresh", "state = 'pending' and attempts = 0"),
        ("deliveries indexed by deliveries_retried", "state = 'pending' and attempts > 0"),
    ),
    State.DEAD: (("given_up", "state = 'dead'"),),
    State.EXPIRED: (("given_up", "state = 'expired'"),),
}
_FAILED = _FEW[State.PENDING][1]
_FAILING = _FAILED[1]
_ATTEMPT = tuple(field.name for field in fields(Attempt))
#: Attempts and probes of deliveries. Probes come before the attempt with the same number.
_ATTEMPTS = f"""
    select delivery, n, sealed, {", ".join(_ATTEMPT)} from (
      select delivery, n, at, outcome, status, error, took_ms, answer, 0 as probes, sealed
      from attempts where delivery in (select value from json_each(:ids))
      union all
      select delivery, n, at, outcome, status, error, took_ms, answer, count, sealed
      from probes where delivery in (select value from json_each(:ids))
    ) order by delivery, n, probes desc
"""  # noqa: S608 - our words
_PENDING = "select accepted_at, id from deliveries where sink = :sink and state = 'pending'"
#: The oldest pending delivery of a sink, from the ends of the partial indexes.
_ENDS = (
    *(
        f"{_PENDING} and attempts = 0 and replay = {replay} and due_at is {due}"
        for replay in (0, 1)
        for due in ("null order by id", "not null order by due_at")
    ),
    f"{_PENDING} and attempts > 0 order by id",
)
_OLDEST = (
    f"select * from ({' union all '.join(f'select * from ({end} limit 1)' for end in _ENDS)})"  # noqa: S608 - our words
    " order by accepted_at limit 1"
)
#: The fields of a sink's record that other tables have.
_ELSEWHERE = {
    "held": "exists(select 1 from deliveries"
    " where sink = sinks.name and state = 'pending' and held = 1)",
    "throttled_until": f"(select at from moments where moments.name = '{THROTTLED}' || sinks.name)",  # noqa: S608 - our words
}
_SINK = tuple(field.name for field in fields(SinkRecord) if field.name not in _ELSEWHERE)


def deliveries(
    conn: sqlite3.Connection,
    read: Deliveries,
    opener: Opener,
) -> Page[StoredDelivery]:
    wanted = read.filter
    after, conditions = _place(conn, wanted), [*_states(wanted), *_others(conn, wanted)]
    by_index = not wanted.event and _is_few(wanted)
    sought = Sought(
        table="deliveries",
        joined=_EVENTS,
        place="deliveries.id",
        columns=_COLUMNS,
        conditions=conditions,
        indexed=not conditions or by_index or bool(wanted.event),
        within=lambda newest: Span(after + 1, newest, 0),
        ends=wanted.until is not None,
        # For a condition on the event, each delivery needs a lookup of its event.
        weight=1 if wanted.source == () and wanted.since is wanted.until is None else 10,
        among=(lambda *between: _few(conn, wanted, *between, desc=read.desc)) if by_index else None,
    )
    found = page(conn, sought, tuple, read)
    kept = _read(conn, [row for _, row in found.items], opener, read.opening)
    places = (place for place, _ in found.items)
    return Page(
        items=tuple(zip(places, kept, strict=True)),
        next_seq=found.next_seq,
        has_more=found.has_more,
    )


def brief(conn: sqlite3.Connection, read: DeliveriesBriefly) -> Sequence[BriefDelivery]:
    """Return deliveries of `_FEW` states, or with some ids."""
    wanted, after = read.filter, _place(conn, read.filter)
    others = _others(conn, wanted)
    if read.ids is not None:
        ids = json.dumps(read.ids)
        others.append(("deliveries.id in (select value from json_each(?))", (ids,)))
    given_up = [state for state in GIVEN_UP if state in wanted.state]
    parts = [(_GIVEN_UP, [("state = ? and id > ?", (state, after)), *others]) for state in given_up]
    states = tuple(state for state in wanted.state if state not in given_up)
    if states or wanted.failing or not given_up:
        rest = replace(wanted, state=states)
        # With the plus, SQLite does not read the table by its key.
        place = "deliveries.id > ?" if read.ids is not None else "+deliveries.id > ?"
        conditions = [(place, (after,)), *_states(rest), *others]
        if _is_few(rest):
            # One query for each state: with a list of states, SQLite would read all delivered rows.
            every = " union all ".join(
                f"select id from {table} where {condition}"  # noqa: S608 - our words
                for table, condition in _tables(rest)
            )
            conditions.append((f"deliveries.id in ({every})", ()))
        parts.append((_BRIEFLY, conditions))
    rows = []
    for head, conditions in parts:
        where = " and ".join(sql for sql, _ in conditions)
        values = [value for _, given in conditions for value in given]
        sql = f"select {head} where {where} order by deliveries.id limit ?"
        rows += conn.execute(sql, (*values, read.limit)).fetchall()
    return [
        BriefDelivery(id_, event_id, sink, State(state), recorded_at)
        for id_, event_id, sink, state, recorded_at in sorted(rows)[: read.limit]
    ]


def _others(conn: sqlite3.Connection, wanted: DeliveryFilter) -> list[Condition]:
    """Return the conditions on all but the state."""
    conditions = [*any_of(("sink",), wanted.sink)]
    if wanted.without is not None:
        known = "select 1 from deliveries as other where other.event = deliveries.event"
        conditions.append((f"not exists ({known} and other.sink = ?)", (wanted.without,)))
    if wanted.event:
        slots = ", ".join("?" * len(wanted.event))
        ids = f"event in (select seq from events where id in ({slots}))"  # noqa: S608 - our words
        conditions.append((ids, wanted.event))
    conditions += any_of(("source",), wanted.source)
    if wanted.since is not None or wanted.until is not None:
        within = _times(conn, wanted)
        conditions.append(("+event between ? and ?", (within.lowest, within.last)))
    if wanted.since is not None:
        conditions.append(("recorded_at >= ?", (wanted.since,)))
    if wanted.until is not None:
        conditions.append(("recorded_at < ?", (wanted.until,)))
    return conditions


def _times(conn: sqlite3.Connection, wanted: DeliveryFilter) -> Span:
    """Return the places of the events of the requested time."""
    (newest,) = conn.execute("select coalesce(max(seq), 0) from events").fetchone()
    return span(conn, newest, since=wanted.since, until=wanted.until)


def _place(conn: sqlite3.Connection, wanted: DeliveryFilter) -> int:
    """Return an id before those of all deliveries of the requested time.

    An event's deliveries are made after the first deliveries of all earlier events.
    """
    if wanted.since is None:
        return 0
    row = conn.execute(
        "select id from deliveries where event < ? and replay = 0"
        " order by event desc, id desc limit 1",
        (_times(conn, wanted).lowest,),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _stored(wanted: DeliveryFilter) -> set[State]:
    """Return the states as they are stored: a delivery that is being sent is pending."""
    pending = {State.PENDING} if State.SENDING in wanted.state else set()
    return (set(wanted.state) | pending) - {State.SENDING}


def _states(wanted: DeliveryFilter) -> list[Condition]:
    if not wanted.state and not wanted.failing:
        return []
    sending, pending = State.SENDING in wanted.state, State.PENDING in wanted.state
    stored = _stored(wanted)
    failing = f" or {_FAILING}" if wanted.failing else ""
    slots = ", ".join("?" * len(stored))
    conditions: list[Condition] = [(f"(state in ({slots}){failing})", tuple(stored))]
    if sending != pending:
        # Pending deliveries with an attempt under way are being sent.
        negation = "" if sending else "not "
        under_way = "deliveries.id in (select value from json_each(?))"
        failing = " or attempts > 0" if wanted.failing else ""
        conditions.append(
            (
                f"(state <> 'pending' or {negation}{under_way}{failing})",
                (json.dumps(wanted.under_way),),
            )
        )
    return conditions


def _is_few(wanted: DeliveryFilter) -> bool:
    """Return whether the filter names only states with few rows."""
    return bool(wanted.state or wanted.failing) and _stored(wanted) <= set(_FEW)


def _tables(wanted: DeliveryFilter) -> Sequence[tuple[str, str]]:
    """Return the tables that have all rows of the states, with their conditions."""
    each = [table for state in sorted(_stored(wanted)) for table in _FEW[state]]
    return list(dict.fromkeys([*each, *([_FAILED] if wanted.failing else [])]))


def _few(
    conn: sqlite3.Connection, wanted: DeliveryFilter, low: int, high: int, most: int, *, desc: bool
) -> list[int]:
    """Return the first ids of the states between two ids, in order.

    Given up deliveries are sorted by id. The indexes of pending deliveries are not: they are read
    whole, unless the newest deliveries have enough pending ones.
    """
    order = f"order by id {'desc' if desc else 'asc'} limit ?"
    # With the plus, SQLite does not read the table in the order of its key.
    unordered = f"+id between ? and ? {order.replace('id', '+id')}"
    (pending,) = conn.execute(
        "select value from counters where name = 'deliveries.pending'"
    ).fetchone()
    found: set[tuple[int]] = set()
    for table, condition in _tables(wanted):
        head, values = f"from {table} where {condition}", (low, high, most)
        if table == "given_up":
            found.update(conn.execute(f"select id {head} and id between ? and ? {order}", values))
            continue
        sinks = "".join(f" and {sql}" for sql, _ in any_of(("sink",), wanted.sink))
        rows = []
        if desc and pending >= most:
            rows = conn.execute(
                f"select id from deliveries not indexed where {condition}{sinks}"  # noqa: S608 - our words
                f" and id between ? and ? {order}",
                (*wanted.sink, max(low, high - WINDOW + 1), high, most),
            ).fetchall()
        if len(rows) < most:
            sql = f"select id {head}{sinks} and {unordered}"
            rows = conn.execute(sql, (*wanted.sink, *values)).fetchall()
        found.update(rows)
    return sorted((id_ for (id_,) in found), reverse=desc)[:most]


def delivery(conn: sqlite3.Connection, read: DeliveryById, opener: Opener) -> StoredDelivery | None:
    row = conn.execute(
        f"select {_COLUMNS} from deliveries{_EVENTS} where deliveries.id = ?",  # noqa: S608 - our words
        (read.id,),
    ).fetchone()
    return None if row is None else _read(conn, [row], opener, read.opening)[0]


def of_event(conn: sqlite3.Connection, seq: int, opener: Opener) -> tuple[StoredDelivery, ...]:
    rows = conn.execute(
        f"select {_COLUMNS} from deliveries{_EVENTS} where event = ? order by deliveries.id",  # noqa: S608 - our words
        (seq,),
    ).fetchall()
    return tuple(_read(conn, rows, opener, None))


def _read(
    conn: sqlite3.Connection,
    rows: Sequence[Sequence[Any]],
    opener: Opener,
    opening: Opening | None,
) -> list[StoredDelivery]:
    """Return the deliveries of rows, with the attempts of all of them in one query."""
    ids = json.dumps([id_ for id_, *_ in rows])
    every = groupby(conn.execute(_ATTEMPTS, {"ids": ids}), key=lambda row: int(row[0]))
    attempts = {id_: [columns for _, *columns in found] for id_, found in every}
    return [_delivery(row, attempts.get(row[0], []), opener, opening) for row in rows]


def _delivery(
    row: Sequence[Any],
    attempts: Sequence[Sequence[Any]],
    opener: Opener,
    opening: Opening | None,
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
        attempts=tuple(attempt(*columns) for columns in attempts),
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


def oldest_pending(conn: sqlite3.Connection, read: OldestPending) -> Mapping[str, OldestDelivery]:
    """Look at the ends of the partial indexes: a sink may have a million pending deliveries.

    First attempts become due in the order of acceptance, except those that wait in line.
    """
    found: dict[str, OldestDelivery] = {}
    for sink in read.sinks:
        oldest = conn.execute(_OLDEST, {"sink": sink}).fetchone()
        if oldest is not None:
            found[sink] = OldestDelivery(*oldest)
    return found


def sinks(conn: sqlite3.Connection, _read: SinkRecords) -> Mapping[str, SinkRecord]:
    rows = conn.execute(
        f"select {', '.join((*_ELSEWHERE.values(), *_SINK))} from sinks order by name"  # noqa: S608 - our words
    )
    records = (
        SinkRecord(held=bool(held), throttled_until=until, **dict(zip(_SINK, row, strict=True)))
        for held, until, *row in rows
    )
    return {record.name: record for record in records}
