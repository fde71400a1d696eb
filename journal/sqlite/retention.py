"""Prune stored data: one step of one kind, in the transaction of the caller.

Rows are looked at in the order of their keys, which grow with time. A step that finds no old row
ends the walk.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from core.erasure import CODES, PEOPLE

from ..reads import Prunable, PrunableCount
from ..records import HeldDelivery, Pruned, PrunedKeys, Retained
from ..writes import ForgetPruned, Prune, PruneKeys
from . import erasure
from .deliveries import GIVEN_UP
from .erasure import AT_PLACES
from .outbox import Outbox

#: Rows of one step of a count.
_COUNTED = 5_000
_OPEN = "(orders.state = 'waiting' or (orders.state = 'received' and orders.expires_at > :at))"
#: An event stays while a delivery is pending, its order is open, or a replay comes to it.
_IS_FREE = f"""
    not exists (select 1 from deliveries
                where event = events.seq and deliveries.state in ('pending', 'sending'))
    and not exists (select 1 from order_events join orders on orders.seq = order_seq
                    where event = events.seq and {_OPEN})
    and not exists (select 1 from order_copies join orders on orders.seq = order_seq
                    where event = events.seq and {_OPEN})
    and not exists (select 1 from replays
                    where replays.state = 'running' and place < events.seq and last >= events.seq)
"""  # noqa: S608 - our words
_HAS_RAW = (
    "exists (select 1 from callbacks"
    " where id = callback and erased_at is null and channel <> 'none')"
)
#: Rows that few events have.
_RARE = (
    *(
        f"{table} where event {AT_PLACES}"
        for table in ("duplicates", "twins", "order_events", "order_copies")
    ),
    f"visible where filter in (select id from visible_filters) and seq {AT_PLACES}",  # noqa: S608 - our words
)
_ENDED = "orders.state <> 'waiting' and orders.expires_at < :before"


class _Walk(NamedTuple):
    """The rows of a kind. Its SQL is ours."""

    table: str
    #: The key of the table, a growing integer.
    place: str
    #: A time that grows with the key.
    at: str
    #: Whether an old row is to be pruned.
    due: str = "1"
    #: Whether an old row must be looked at again in a later pass, although it stays.
    blocks: str = "0"
    #: Whether pruned rows stay in the table, so that the next pass begins after them.
    stays: bool = False


_EVENTS = ("events", "seq", "recorded_at")
_WALKS: Mapping[Retained, _Walk] = {
    Retained.EVENTS: _Walk(*_EVENTS, due=_IS_FREE),
    Retained.CODES: _Walk(*_EVENTS, due=erasure.has_content(CODES), stays=True),
    Retained.PEOPLE: _Walk(*_EVENTS, due=erasure.has_content(PEOPLE), stays=True),
    Retained.RAW: _Walk(*_EVENTS, due=_HAS_RAW, stays=True),
    Retained.ATTEMPTS: _Walk(
        *("deliveries", "id", "accepted_at"),
        due="exists (select 1 from attempts where delivery = deliveries.id and at < :before)",
        blocks="exists (select 1 from attempts where delivery = deliveries.id and at >= :before)",
        stays=True,
    ),
    Retained.QUARANTINE: _Walk("quarantine", "seq", "at"),
    Retained.ORDERS: _Walk(
        *("orders", "seq", "created_at"),
        due=f"{_ENDED} and not exists (select 1 from order_events where order_seq = orders.seq)"  # noqa: S608 - our words
        " and not exists (select 1 from order_copies where order_seq = orders.seq)",
    ),
    Retained.ORDER_NUMBERS: _Walk(
        *("orders", "seq", "created_at"),
        due=f"number is not null and {_ENDED}",
        blocks=f"number is not null and not ({_ENDED})",
        stays=True,
    ),
}


class _Row(NamedTuple):
    place: int
    is_old: int
    is_due: int
    blocks: int


def prune(outbox: Outbox, op: Prune) -> Pruned:
    """Prune the due rows of the next `limit` rows."""
    conn, walk = outbox.conn, _WALKS[op.kind]
    stored = _stored_place(conn, op.kind)
    begin = stored if op.after is None else op.after
    rows = _rows(conn, walk, begin, op.limit, before=op.before, at=op.at)
    places = [row.place for row in rows if row.is_old and row.is_due]
    expired = _ACTS[op.kind](outbox, op, places) if places else ()
    if walk.stays and begin == stored:
        _store_place(conn, op.kind, stored, rows)
    place = rows[-1].place if rows else begin
    return Pruned(
        count=len(places), place=place, more=_has_more(conn, rows, place, op.limit), expired=expired
    )


def count(conn: sqlite3.Connection, read: PrunableCount) -> Prunable:
    """Count the rows that `prune` would prune among the next ones."""
    walk = _WALKS[read.kind]
    begin = _stored_place(conn, read.kind) if read.after is None else read.after
    rows = _rows(conn, walk, begin, _COUNTED, before=read.before, at=read.at)
    place = rows[-1].place if rows else begin
    return Prunable(
        count=sum(row.is_old and row.is_due for row in rows),
        next_place=place if _has_more(conn, rows, place, _COUNTED) else None,
    )


def _rows(
    conn: sqlite3.Connection, walk: _Walk, begin: int, limit: int, *, before: float, at: float
) -> Sequence[_Row]:
    # Without the case, the conditions of young rows would be tested, too.
    old = f"{walk.table}.{walk.at} < :before"
    rows = conn.execute(
        f"select {walk.place}, {old}, case when {old} then {walk.due} else 0 end,"  # noqa: S608 - our words
        f" case when {old} then {walk.blocks} else 1 end from {walk.table}"
        f" where {walk.place} > :begin order by {walk.place} limit :limit",
        {"begin": begin, "limit": limit, "before": before, "at": at},
    )
    return [_Row(*row) for row in rows]


def _has_more(conn: sqlite3.Connection, rows: Sequence[_Row], place: int, limit: int) -> bool:
    """Return whether rows after these may be old."""
    if len(rows) < limit:
        return False
    if any(row.is_old for row in rows):
        return True
    # Up to this place, a later event may be older than an earlier one.
    (unordered,) = conn.execute("select value from meta where name = 'unordered_until'").fetchone()
    return place < int(unordered)


def _stored_place(conn: sqlite3.Connection, kind: Retained) -> int:
    row = conn.execute("select place from pruned_places where kind = ?", (kind,)).fetchone()
    return 0 if row is None else int(row[0])


def _store_place(
    conn: sqlite3.Connection, kind: Retained, stored: int, rows: Sequence[_Row]
) -> None:
    """Store the place before the first row that a later pass must look at."""
    done = stored
    for row in rows:
        if row.blocks:
            break
        done = row.place
    if done > stored:
        conn.execute(
            "insert into pruned_places (kind, place) values (?, ?)"
            " on conflict do update set place = excluded.place",
            (kind, done),
        )


# --- the kinds -------------------------------------------------------------------------------

_Expired = tuple[HeldDelivery, ...]


def remove_events(outbox: Outbox, _op: Prune, places: Sequence[int]) -> _Expired:
    """Remove events with all that belongs to them, except their dedupe keys."""
    conn, given = outbox.conn, {"places": json.dumps(places)}
    conn.execute(
        "insert or replace into pruned_events (seq, id, recorded_at)"  # noqa: S608 - our words
        f" select seq, id, recorded_at from events where seq {AT_PLACES}",
        given,
    )
    counts = conn.execute(
        f"select state, count(*) from deliveries where event {AT_PLACES} group by state",  # noqa: S608 - our words
        given,
    ).fetchall()
    for state, number in counts:
        outbox.counts[f"deliveries.{state}"] -= number
    its = f"(select id from deliveries where event {AT_PLACES})"  # noqa: S608 - our words
    rare = [*_RARE, f"probes where delivery in {its}"]
    if any(state in GIVEN_UP for state, _ in counts):
        rare.append(f"given_up where state in ('dead', 'expired') and id in {its}")
    # Few steps have any. Each statement that deletes nothing would wait for the interpreter.
    found = conn.execute(
        f"select {', '.join(f'exists (select 1 from {rows})' for rows in rare)}",  # noqa: S608 - our words
        given,
    ).fetchone()
    for rows in (
        *itertools.compress(rare, found),
        f"attempts where delivery in {its}",
        f"deliveries where event {AT_PLACES}",
        f"event_fields where seq {AT_PLACES}",
    ):
        conn.execute(f"delete from {rows}", given)  # noqa: S608 - our words
    callbacks = {
        callback
        for (callback,) in conn.execute(
            f"delete from events where seq {AT_PLACES} returning callback",  # noqa: S608 - our words
            given,
        )
    }
    # The events of one callback lie together, so only neighbours can share it.
    kept = conn.execute(
        "select callback from events where seq between"
        " coalesce((select max(seq) from events where seq < :first), :first) and"
        " coalesce((select min(seq) from events where seq > :last), :last)",
        {"first": places[0], "last": places[-1]},
    )
    callbacks -= {callback for (callback,) in kept}
    conn.execute(
        f"delete from callbacks where id {AT_PLACES}",  # noqa: S608 - our words
        {"places": json.dumps(sorted(callbacks))},
    )
    return ()


def erase_content(outbox: Outbox, op: Prune, places: Sequence[int]) -> _Expired:
    paths = CODES if op.kind is Retained.CODES else PEOPLE
    return erasure.erase(outbox, places, paths, at=op.at, spared=op.spared).expired


def erase_raw(outbox: Outbox, op: Prune, places: Sequence[int]) -> _Expired:
    erasure.erase_callbacks(outbox.conn, places, at=op.at)
    return ()


def remove_attempts(outbox: Outbox, op: Prune, places: Sequence[int]) -> _Expired:
    for table in ("attempts", "probes"):
        outbox.conn.execute(
            f"delete from {table} where delivery {AT_PLACES} and at < :before",  # noqa: S608 - our words
            {"places": json.dumps(places), "before": op.before},
        )
    return ()


def remove_quarantined(outbox: Outbox, _op: Prune, places: Sequence[int]) -> _Expired:
    erasure.drop_quarantined(outbox, places)
    return ()


def remove_orders(outbox: Outbox, _op: Prune, places: Sequence[int]) -> _Expired:
    outbox.conn.execute(
        f"delete from orders where seq {AT_PLACES}",  # noqa: S608 - our words
        {"places": json.dumps(places)},
    )
    return ()


def erase_order_numbers(outbox: Outbox, _op: Prune, places: Sequence[int]) -> _Expired:
    erasure.erase_order_numbers(outbox.conn, places)
    return ()


_ACTS: Mapping[Retained, Callable[[Outbox, Prune, Sequence[int]], _Expired]] = {
    Retained.EVENTS: remove_events,
    Retained.CODES: erase_content,
    Retained.PEOPLE: erase_content,
    Retained.RAW: erase_raw,
    Retained.ATTEMPTS: remove_attempts,
    Retained.QUARANTINE: remove_quarantined,
    Retained.ORDERS: remove_orders,
    Retained.ORDER_NUMBERS: erase_order_numbers,
}


# --- dedupe keys -----------------------------------------------------------------------------


def prune_keys(outbox: Outbox, op: PruneKeys) -> PrunedKeys:
    """Remove the keys of removed events among the next keys."""
    conn = outbox.conn
    oldest = conn.execute("select recorded_at from pruned_events order by seq limit 1").fetchone()
    if oldest is None or oldest[0] >= op.before:
        return PrunedKeys(count=0, place=None)
    rows = conn.execute(
        "select keys.source, key, recorded_at < ? from keys"
        " left join pruned_events on pruned_events.seq = keys.event"
        " where (keys.source, key) > (?, ?) order by keys.source, key limit ?",
        (op.before, *op.after, op.limit),
    ).fetchall()
    old = [(source, key) for source, key, is_old in rows if is_old]
    conn.executemany("delete from keys where source = ? and key = ?", old)
    ended = len(rows) < op.limit
    return PrunedKeys(count=len(old), place=None if ended else (rows[-1][0], rows[-1][1]))


def forget_pruned(outbox: Outbox, op: ForgetPruned) -> bool:
    """Remove the ids of removed events. Their keys are gone."""
    removed = outbox.conn.execute(
        "delete from pruned_events where seq in"
        " (select seq from pruned_events where recorded_at < ? order by seq limit ?)",
        (op.before, op.limit),
    ).rowcount
    return removed == op.limit


#: The functions of the writes here.
VERBS: Mapping[type, Callable[[Outbox, Any], object]] = {
    Prune: prune,
    PruneKeys: prune_keys,
    ForgetPruned: forget_pruned,
    **erasure.VERBS,
}
