"""Reads of events, quarantine, counters and balances in SQLite."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from core.delivery import State

from ..decide import NO_CALLBACK
from ..reads import (
    CallbackOfEvent,
    Counters,
    EventById,
    Events,
    JournalStats,
    LastBalances,
    Moment,
    Page,
    PageRead,
    QuarantinedById,
    QuarantinedCallbacks,
    Rejections,
    TokenUses,
    VisibleEvents,
)
from ..records import (
    AccountBalance,
    Arrival,
    Duplicate,
    QuarantinedCallback,
    Rejection,
    Stats,
    StoredEvent,
    TokenUse,
)
from . import visible
from .deliveries import of_event
from .event_search import BUCKET, IN_BUCKET, search
from .paging import Sought, page
from .times import span

_QUARANTINE = "seq, id, source, reason, detail, peer, at, count, last_at, token, headers, body"


def stats(conn: sqlite3.Connection, _read: JournalStats) -> Stats:
    counts = dict(conn.execute("select name, value from counters"))
    return Stats(
        events=counts["events"],
        duplicates=counts["duplicates"],
        quarantine=counts["quarantine"],
        deliveries={state.value: counts.get(f"deliveries.{state}", 0) for state in State},
    )


def counters(conn: sqlite3.Connection, _read: Counters) -> Mapping[str, int]:
    return dict(conn.execute("select name, value from counters where instr(name, '/')"))


def events(conn: sqlite3.Connection, read: Events) -> Page[bytes]:
    wanted, found = read.filter, search(conn, read.filter)
    table, joined = found.tables
    sought = Sought(
        table=table,
        joined=joined,
        place="seq",
        columns="body",
        conditions=[*([IN_BUCKET] if found.by_number else []), *found.conditions],
        indexed=found.indexed,
        within=lambda newest: span(conn, newest, since=wanted.since, until=wanted.until),
        part=BUCKET if found.by_number else 0,
    )
    return page(conn, sought, lambda row: bytes(row[0].encode()), read)


def visible_events(conn: sqlite3.Connection, read: VisibleEvents) -> Page[bytes] | None:
    wanted, filter_ = read.filter, visible.complete(conn, read.shown_to)
    if filter_ is None:
        return None
    # Not max(seq) of events: that may read hidden ones.
    (newest,) = conn.execute(
        "select coalesce(max(seq), 0) from sqlite_sequence where name = 'events'"
    ).fetchone()
    within = span(conn, newest, since=wanted.since, until=wanted.until)
    return visible.page(conn, filter_, search(conn, wanted), within, read)


def event(conn: sqlite3.Connection, read: EventById) -> StoredEvent | None:
    row = conn.execute("select seq, body, routes from events where id = ?", (read.id,)).fetchone()
    if row is None:
        return None
    seq, body, routes = row
    return StoredEvent(
        seq=seq,
        body=body.encode(),
        routes=tuple(json.loads(routes)),
        duplicates=tuple(
            Duplicate(at=at, channel=channel, peer=peer)
            for at, channel, peer in conn.execute(
                "select at, channel, peer from duplicates where event = ? order by n", (seq,)
            )
        ),
        deliveries=of_event(conn, seq),
    )


def callback(conn: sqlite3.Connection, read: CallbackOfEvent) -> Arrival | None:
    row = conn.execute(
        "select c.source, c.channel, c.token, c.peer, c.at, c.headers, c.body from events"
        " join callbacks c on c.id = events.callback"
        " where events.id = ? and c.channel <> ? and c.erased_at is null",
        (read.event_id, NO_CALLBACK),
    ).fetchone()
    if row is None:
        return None
    source, channel, token, peer, at, headers, body = row
    return Arrival(
        source=source,
        channel=channel,
        token=token,
        peer=peer,
        at=at,
        headers=_headers(headers),
        body=body,
    )


def quarantined(conn: sqlite3.Connection, read: QuarantinedCallbacks) -> list[QuarantinedCallback]:
    beyond, values = _beyond(read)
    rows = conn.execute(
        f"select {_QUARANTINE} from quarantine {beyond} limit ?",  # noqa: S608 - our words
        values,
    )
    return [_quarantine(row) for row in rows]


def quarantined_one(conn: sqlite3.Connection, read: QuarantinedById) -> QuarantinedCallback | None:
    row = conn.execute(
        f"select {_QUARANTINE} from quarantine where id = ?",  # noqa: S608 - our words
        (read.id,),
    ).fetchone()
    return None if row is None else _quarantine(row)


def _quarantine(row: tuple[object, ...]) -> QuarantinedCallback:
    named = dict(zip(_QUARANTINE.split(", "), row, strict=True))
    return QuarantinedCallback(**{**named, "headers": _headers(str(named["headers"]))})  # type: ignore[arg-type]


def rejections(conn: sqlite3.Connection, read: Rejections) -> list[tuple[int, Rejection]]:
    beyond, values = _beyond(read)
    rows = conn.execute(
        "select seq, reason, source, peer, count, first_at, last_at from rejections"  # noqa: S608
        f" {beyond} limit ?",
        values,
    )
    return [
        (
            seq,
            Rejection(
                reason=reason,
                source=source,
                peer=peer,
                count=count,
                first_at=first_at,
                last_at=last_at,
            ),
        )
        for seq, reason, source, peer, count, first_at, last_at in rows
    ]


def moment(conn: sqlite3.Connection, read: Moment) -> float | None:
    row = conn.execute("select at from moments where name = ?", (read.name,)).fetchone()
    return None if row is None else float(row[0])


def token_uses(conn: sqlite3.Connection, _read: TokenUses) -> list[TokenUse]:
    return [
        TokenUse(source=source, token=token, callbacks=callbacks, last_at=last_at)
        for source, token, callbacks, last_at in conn.execute(
            "select source, token, callbacks, last_at from token_uses"
        )
    ]


def balances(conn: sqlite3.Connection, _read: LastBalances) -> Mapping[str, AccountBalance]:
    rows = conn.execute("select source, amount, currency, at, low from balances")
    return {
        source: AccountBalance(
            source=source, amount=amount, currency=currency, at=at, low=bool(low)
        )
        for source, amount, currency, at, low in rows
    }


def _beyond(read: PageRead[Any]) -> tuple[str, tuple[int, ...]]:
    """Return the SQL that begins after the last page, with its values and the limit."""
    order = "order by seq desc" if read.desc else "order by seq"
    if read.after is None:
        return order, (read.limit,)
    return f"where seq {'<' if read.desc else '>'} ? {order}", (read.after, read.limit)


def _headers(kept: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(kept))
