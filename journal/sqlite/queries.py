"""Reads of events, quarantine, counters and balances in SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from core.delivery import State

from ..decide import NO_CALLBACK
from ..reads import (
    CallbackOfEvent,
    Counters,
    EventById,
    Events,
    JournalStats,
    KeptFigures,
    LastBalances,
    Moment,
    Moments,
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
from ..seal import Kind, Opener, Reason
from . import sealed, visible
from .deliveries import of_event
from .event_search import PART, hidden, in_part, search
from .paging import Sought, page
from .times import exact_span, first_late, span

_QUARANTINE = (
    "seq, id, source, reason, detail, peer, at, count, last_at, token, headers, body, sealed"
)

#: The time to read an event, and to compare its services, as multiples of that for a narrow row. If
#: a page does both, they add up.
_WIDE, _SERVICES = 5, 2


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


def events(conn: sqlite3.Connection, read: Events, opener: Opener) -> Page[bytes]:
    wanted, found = read.filter, search(conn, read.filter, opener, in_parts=True)
    table, joined = found.tables
    left_out = hidden(wanted)
    # A condition on the type alone has no index: such a page reads a WINDOW.
    reads_all = bool(left_out) and not found.conditions and not found.by_number
    weight = _WIDE * bool(wanted.type or wanted.source) + _SERVICES * bool(wanted.service)
    sought = Sought(
        table=table,
        joined=joined,
        place="seq",
        columns=sealed.BODY,
        conditions=[*found.conditions, *left_out],
        indexed=found.indexed and not reads_all,
        weight=weight or 1,
        # Only a reader that goes on from the end needs the exact end.
        within=lambda newest: (span if read.desc else exact_span)(
            conn, newest, since=wanted.since, until=wanted.until
        ),
        ends=wanted.until is not None,
        late=lambda first, last: first_late(conn, first, last, wanted.until or 0.0),
        part=PART if found.by_number else 0,
        narrow=in_part(found.narrow) if found.by_number else None,
    )
    return page(
        conn, sought, lambda row: opener.open(sealed.stored_body(row), read.opening).body, read
    )


def visible_events(
    conn: sqlite3.Connection, read: VisibleEvents, opener: Opener
) -> Page[bytes] | None:
    wanted, filter_ = read.filter, visible.complete(conn, read.shown_to)
    if filter_ is None:
        return None
    # Not max(seq) of events: that may read hidden ones.
    (newest,) = conn.execute(
        "select coalesce(max(seq), 0) from sqlite_sequence where name = 'events'"
    ).fetchone()
    within = span(conn, newest, since=wanted.since, until=wanted.until)
    return visible.page(conn, filter_, search(conn, wanted, opener), within, read, opener)


def event(conn: sqlite3.Connection, read: EventById, opener: Opener) -> StoredEvent | None:
    row = conn.execute(
        f"select seq, routes, {sealed.BODY} from events where id = ?",  # noqa: S608 - our words
        (read.id,),
    ).fetchone()
    if row is None:
        return None
    seq, routes, *stored = row
    return StoredEvent(
        seq=seq,
        body=opener.open(sealed.stored_body(stored), read.opening).body,
        routes=tuple(json.loads(routes)),
        duplicates=tuple(
            Duplicate(at=at, channel=channel, peer=peer)
            for at, channel, peer in conn.execute(
                "select at, channel, peer from duplicates where event = ? order by n", (seq,)
            )
        ),
        deliveries=of_event(conn, seq, opener),
    )


def callback(conn: sqlite3.Connection, read: CallbackOfEvent, opener: Opener) -> Arrival | None:
    row = conn.execute(
        "select c.id, c.source, c.channel, c.token, c.peer, c.at, c.headers, c.body, c.sealed"
        " from events join callbacks c on c.id = events.callback"
        " where events.id = ? and c.channel <> ? and (? or c.erased_at is null)",
        (read.event_id, NO_CALLBACK, read.erased),
    ).fetchone()
    if row is None:
        return None
    id_, source, channel, token, peer, at, *columns = row
    opened = sealed.open_callback(opener, Kind.RAW, str(id_), columns, read.why)
    if opened is None:
        return None
    headers, body = opened
    return Arrival(
        source=source,
        channel=channel,
        token=token,
        peer=peer,
        at=at,
        headers=headers,
        body=body,
    )


def quarantined(
    conn: sqlite3.Connection, read: QuarantinedCallbacks, opener: Opener
) -> list[QuarantinedCallback]:
    wanted = {"source": read.source, "reason": read.reason}
    beyond, values = _beyond(read, {name: text for name, text in wanted.items() if text})
    rows = conn.execute(
        f"select {_QUARANTINE} from quarantine {beyond} limit ?",  # noqa: S608 - our words
        values,
    )
    return [_quarantine(row, opener, read.why) for row in rows]


def quarantined_one(
    conn: sqlite3.Connection, read: QuarantinedById, opener: Opener
) -> QuarantinedCallback | None:
    row = conn.execute(
        f"select {_QUARANTINE} from quarantine where id = ?",  # noqa: S608 - our words
        (read.id,),
    ).fetchone()
    return None if row is None else _quarantine(row, opener, read.why)


def _quarantine(row: Sequence[Any], opener: Opener, why: Reason | None) -> QuarantinedCallback:
    *plain, headers, body, part = row
    named = dict(zip(_QUARANTINE.split(", "), plain, strict=False))
    columns = headers, body, part
    opened = sealed.open_callback(opener, Kind.QUARANTINE, named["id"], columns, why)
    its_headers, its_body = ((), b"") if opened is None else opened
    return QuarantinedCallback(
        **named, headers=its_headers, body=its_body, is_erased=opened is None
    )


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


def moments(conn: sqlite3.Connection, read: Moments) -> dict[str, float]:
    names = "select name, at from moments where substr(name, 1, ?) = ?"
    skipped = len(read.beginning)
    return {name[skipped:]: at for name, at in conn.execute(names, (skipped, read.beginning))}


def figures(conn: sqlite3.Connection, _read: KeptFigures) -> list[bytes]:
    return [counted for (counted,) in conn.execute("select counted from figures order by at")]


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


def _beyond(
    read: PageRead[Any], wanted: Mapping[str, str] = {}
) -> tuple[str, tuple[str | int, ...]]:
    """Return the SQL that begins after the last page, with its values and the limit.

    `wanted` are columns with an index, and their values.
    """
    order = "order by seq desc" if read.desc else "order by seq"
    conditions = [f"{name} = ?" for name in wanted]
    values: list[str | int] = [*wanted.values()]
    if read.after is not None:
        conditions.append(f"seq {'<' if read.desc else '>'} ?")
        values.append(read.after)
    where = f"where {' and '.join(conditions)} " if conditions else ""
    return where + order, (*values, read.limit)
