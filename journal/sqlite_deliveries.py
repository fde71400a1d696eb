"""What is asked of SQLite about deliveries and sinks: only reading."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import fields

from . import KeptDelivery, Page, SinkRecord, WantedDeliveries
from .event import Attempt, State
from .sqlite_pages import Condition, Sought, any_of, page

_EVENT_ID = "(select id from events where seq = deliveries.event)"
_COLUMNS = f"{_EVENT_ID}, sink, state, replay, accepted_at, due_at"
#: States that are few, as the partial index of each has them.
_FEW = {
    State.PENDING: "state = 'pending'",
    State.SENDING: "state = 'sending'",
    State.DEAD: "state = 'dead' and state in ('dead', 'expired')",
    State.EXPIRED: "state = 'expired' and state in ('dead', 'expired')",
}
_SINK = ", ".join(field.name for field in fields(SinkRecord))


def deliveries(
    conn: sqlite3.Connection,
    wanted: WantedDeliveries,
    *,
    after: int | None,
    limit: int,
    desc: bool,
) -> Page[KeptDelivery]:
    few = wanted.state and all(state in _FEW for state in wanted.state)
    states = [_among_few(wanted.state)] if few else any_of(("state",), wanted.state)
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
    return page(conn, sought, lambda row: _delivery(conn, row), after=after, limit=limit, desc=desc)


def _among_few(states: Sequence[State]) -> Condition:
    # Each by itself: of a list SQLite would rather walk all that was ever delivered.
    each = (f"select id from deliveries where {_FEW[state]}" for state in set(states))  # noqa: S608 - our words
    return f"id in ({' union all '.join(each)})", ()


def delivery(conn: sqlite3.Connection, delivery_id: int) -> KeptDelivery | None:
    row = conn.execute(
        f"select id, {_COLUMNS} from deliveries where id = ?",  # noqa: S608 - our words
        (delivery_id,),
    ).fetchone()
    return None if row is None else _delivery(conn, row)


def of_event(conn: sqlite3.Connection, seq: int) -> tuple[KeptDelivery, ...]:
    rows = conn.execute(
        f"select id, {_COLUMNS} from deliveries where event = ? order by id",  # noqa: S608 - our words
        (seq,),
    ).fetchall()
    return tuple(_delivery(conn, row) for row in rows)


def _delivery(conn: sqlite3.Connection, row: Sequence[Any]) -> KeptDelivery:
    id_, event_id, sink, state, replay, accepted_at, due_at = row
    return KeptDelivery(
        id=id_,
        event_id=event_id,
        sink=sink,
        state=State(state),
        replay=bool(replay),
        accepted_at=accepted_at,
        due_at=due_at,
        attempts=_attempts(conn, id_),
    )


def _attempts(conn: sqlite3.Connection, delivery_id: int) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(at=at, outcome=outcome, status=status, error=error, took_ms=took_ms, answer=answer)
        for at, outcome, status, error, took_ms, answer in conn.execute(
            "select at, outcome, status, error, took_ms, answer from attempts"
            " where delivery = ? order by n",
            (delivery_id,),
        )
    )


def owed(conn: sqlite3.Connection) -> Mapping[str, int]:
    # Two questions, because each of the partial indexes answers one.
    return dict(
        conn.execute(
            "select sink, count(*) from ("
            " select sink from deliveries where state = 'pending'"
            " union all select sink from deliveries where state = 'sending') group by sink"
        )
    )


def next_due(conn: sqlite3.Connection, sink: str) -> float | None:
    (due_at,) = conn.execute(
        "select min(due_at) from deliveries where sink = ? and state = 'pending'", (sink,)
    ).fetchone()
    return None if due_at is None else float(due_at)


def sinks(conn: sqlite3.Connection) -> Mapping[str, SinkRecord]:
    rows = conn.execute(f"select {_SINK} from sinks order by name")  # noqa: S608 - our words
    records = (SinkRecord(**dict(zip(_SINK.split(", "), row, strict=True))) for row in rows)
    return {record.name: record for record in records}
