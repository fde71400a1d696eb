"""Write the rows of a decided batch, each kind in few statements."""

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import repeat

import msgspec
from msgspec.structs import astuple

from ..rows import Changes, EventRow
from ..seal import Kind, Sealed, Sealer, is_clear
from ..writes import CreateKey
from . import conditions, keys, replays, sealed
from .bulk import insert
from .event_search import FIELDS, fields
from .orders import INSERT, UPDATE, order_values
from .times import note_times

_CLEAR_CALLBACKS = "callbacks (id, source, channel, token, peer, at, headers, body)"
_SEALED_CALLBACKS = "callbacks (id, source, channel, token, peer, at, sealed, headers, body)"
#: The last two columns of a sealed callback.
_EMPTY = "'[]', x''"
_PLAIN_EVENTS = "events (seq, id, source, type, subject, recorded_at, callback, routes, body)"
_SEALED_EVENTS = f"{_PLAIN_EVENTS[:-1]}, codes, people)"
_EVENTS = f"{_PLAIN_EVENTS[:-1]}, codes, people, also, reference)"
_DELIVERIES = "deliveries (id, event, sink, state, due_at, owner, accepted_at, ordering, replay)"
_LINK = """
    insert into order_events (event, order_seq, taken) select ?, seq, ? from orders where id = ?
    on conflict do update set order_seq = excluded.order_seq, taken = excluded.taken
"""
_ORDER_COPY = """
    insert into order_copies (order_seq, event) select seq, ? from orders where id = ?
    on conflict do nothing
"""
_QUARANTINE = """
    insert into quarantine
      (id, source, fingerprint, reason, detail, token, peer, at, last_at, headers, body, sealed)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (source, fingerprint) do update
    set count = count + 1, last_at = max(last_at, excluded.last_at)
"""
_NEW_REJECTION = """
    insert into rejections (reason, source, peer, count, first_at, last_at)
    values (?, ?, ?, ?, ?, ?)
"""
_REJECTION = """
    update rejections set count = count + ?, last_at = max(last_at, ?)
    where reason = ? and source = ? and peer = ?
"""
_USE = """
    insert into token_uses (source, token, callbacks, last_at) values (?, ?, ?, ?)
    on conflict do update
    set callbacks = callbacks + excluded.callbacks, last_at = max(last_at, excluded.last_at)
"""
_BALANCE = """
    insert into balances (source, amount, currency, at, low) values (?, ?, ?, ?, ?)
    on conflict do update set amount = excluded.amount, currency = excluded.currency,
      at = excluded.at, low = excluded.low
"""
_KEY_USE = (
    "insert into key_uses (name, last_at) values (?, ?)"
    " on conflict do update set last_at = max(last_at, excluded.last_at)"
)
_MOMENT = "insert into moments (name, at) values (?, ?) on conflict do update set at = excluded.at"

#: Many events have the same routes.
_encode_routes = lru_cache(maxsize=1024)(json.dumps)


def write(conn: sqlite3.Connection, changes: Changes, sealer: Sealer | None = None) -> None:
    """Write all rows except the counters, in the transaction of the caller.

    `sealer` None: new rows are stored in clear.
    """
    _write_events(conn, changes, sealer)
    if changes.token_uses:
        uses = [(*name, count, at) for name, (count, at) in changes.token_uses.items()]
        conn.executemany(_USE, uses)
    if changes.new_orders or changes.orders or changes.links or changes.order_copies:
        new = [order_values(order, sealer) for order in changes.new_orders.values()]
        conn.executemany(INSERT, new)
        changed = [(*order_values(order, sealer), order.id) for order in changes.orders.values()]
        conn.executemany(UPDATE, changed)
        links = [
            (row.seq, msgspec.json.encode(row.taken).decode(), row.order)
            for row in changes.links.values()
        ]
        conn.executemany(_LINK, links)
        conn.executemany(_ORDER_COPY, [(event, order) for order, event in changes.order_copies])
    if changes.dismissed or changes.quarantine:
        # Delete first: the same bytes may arrive again after they were dismissed.
        dismissed = [(id_,) for id_ in changes.dismissed]
        conn.executemany("delete from quarantine where id = ?", dismissed)
        seal = None if sealer is None else partial(sealer.seal_part, Kind.QUARANTINE)
        kept = [
            (
                *(one.id, one.arrival.source, one.fingerprint, one.reason, one.detail),
                *(one.arrival.token, one.arrival.peer, one.arrival.at, one.arrival.at),
                *sealed.callback_columns(seal, one.id, one.arrival),
            )
            for again in changes.quarantine.values()
            for one in again
        ]
        conn.executemany(_QUARANTINE, kept)
    if changes.new_rejections or changes.rejections:
        conn.executemany(_NEW_REJECTION, [astuple(one) for one in changes.new_rejections])
        again = [
            (one.count, one.last_at, one.reason, one.source, one.peer) for one in changes.rejections
        ]
        conn.executemany(_REJECTION, again)
    if changes.balances:
        conn.executemany(_BALANCE, [astuple(balance) for balance in changes.balances.values()])
    conditions.put(conn, changes.conditions.values(), changes.forget_conditions)
    replays.put(conn, changes.replays.values())
    if changes.moments:
        moments = changes.moments.items()
        conn.executemany(_MOMENT, [(name, at) for name, at in moments if at is not None])
        gone = [(name,) for name, at in moments if at is None]
        conn.executemany("delete from moments where name = ?", gone)
    if changes.key_uses:
        conn.executemany(_KEY_USE, changes.key_uses.items())
    for key in changes.api_keys:
        if isinstance(key, CreateKey):
            keys.insert(conn, key.key)
        else:
            keys.remove(conn, key.id)


def _write_events(conn: sqlite3.Connection, changes: Changes, sealer: Sealer | None) -> None:
    clear, hidden = [], []
    times = [one.at for _, one in changes.callbacks if one.headers or one.body]
    seal = None if sealer is None or not times else sealer.make_seal(Kind.RAW, times)
    for id_, one in changes.callbacks:
        its_row = (id_, one.source, one.channel, one.token, one.peer, one.at)
        part = sealed.seal_callback(seal, str(id_), one)
        if part is None:
            clear.append((*its_row, *sealed.clear_columns(one)))
        else:
            hidden.append((*its_row, part))
    insert(conn, _CLEAR_CALLBACKS, clear)
    insert(conn, _SEALED_CALLBACKS, hidden, _EMPTY)
    note_times(conn, changes.events)
    parts: Iterable[Sealed | None] = repeat(None)
    if sealer is not None:
        parts = sealer.seal_new([(new.plan.event, new.plan.at) for new in changes.events])
    # Statements without columns that are null: to bind a null takes longer than to bind a text.
    plain, secret, events, searched = [], [], [], []
    for new, its in zip(changes.events, parts, strict=False):
        plan, event = new.plan, new.plan.event
        if its is None:
            subject, body, number = event.subject, plan.body, getattr(event.data, "to", None)
            codes = people = None
        else:
            subject, body, number = its.subject, its.body, its.number
            codes, people = its.codes, its.people
        row = (
            *(new.seq, event.id, event.source, event.type, subject, plan.at, new.callback),
            *(_encode_routes(plan.routes), body.decode()),
        )
        also, reference = new.also, event.data.reference
        if also is not None or reference is not None:
            events.append((*row, codes, people, also, reference))
        elif codes is not None or people is not None:
            secret.append((*row, codes, people))
        else:
            plain.append(row)
        searched.append((new.seq, number, *fields(event.data)))
    insert(conn, _PLAIN_EVENTS, plain)
    insert(conn, _SEALED_EVENTS, secret)
    insert(conn, _EVENTS, events)
    insert(conn, FIELDS, searched)
    insert(conn, "keys", [(source, bytearray(key), seq) for source, key, seq in changes.keys])
    insert(conn, _DELIVERIES, [astuple(one) for one in changes.deliveries])
    if changes.not_before:  # a statement without rows takes time, too
        conn.executemany("update deliveries set scheduled_at = ? where id = ?", changes.not_before)
    insert(conn, "duplicates", changes.duplicates)
    insert(conn, "twins", changes.copies)
    if changes.changed:
        _write_bodies(conn, changes.changed.values(), sealer)


def _write_bodies(
    conn: sqlite3.Connection, rows: Iterable[EventRow], sealer: Sealer | None
) -> None:
    """Write events with another body. One that was stored in clear stays in clear."""
    clear = []
    for row in rows:
        if sealer is None or (row.stored is not None and is_clear(row.stored)):
            clear.append((row.body, row.reference, row.seq))
            continue
        its = sealer.seal(row.id, msgspec.json.decode(row.body), row.at, was=row.stored)
        conn.execute(
            "update events set body = ?, reference = ?, codes = ?, people = ? where seq = ?",
            (its.body.decode(), row.reference, its.codes, its.people, row.seq),
        )
        conn.execute("update event_fields set number = ? where seq = ?", (its.number, row.seq))
    conn.executemany("update events set body = ?, reference = ? where seq = ?", clear)
