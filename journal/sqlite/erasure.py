"""Erase content of stored events, in the transaction of the caller.

`secure_delete` overwrites the erased bytes in the file. The caller empties the log afterwards.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from core.delivery import ERASED, State
from core.erasure import CODES, CONTENT, NUMBER, PEOPLE, SUBJECT
from core.erasure import erase as without_content
from core.order import BY_NUMBER
from core.paths import Path
from core.secret import MASK

from ..reads import ErasedUpTo, EventsFound, EventsNaming, QuarantinedNaming, StoredSealed
from ..records import Erased, ErasedNumber, HeldDelivery
from ..seal import Kind, Opener, Opening, Reason
from ..writes import EraseContent, EraseNumber
from .outbox import IN_LINE_UNTIL, EndedDelivery, Outbox
from .sealed import BODY, find_numbers, open_callback, stored_body

#: Events of one search for a number: about 20 milliseconds.
_SEARCHED = 5_000
_TO_ERASE = Opening((Kind.CODES, Kind.PEOPLE), Reason.ERASE)
#: The places, as JSON in `:places`, have a row.
AT_PLACES = "in (select value from json_each(:places))"
_PENDING = f"""
    select deliveries.id, sink, attempts, ordering, events.id from deliveries
    join events on events.seq = event where event {AT_PLACES} and state = 'pending'
"""  # noqa: S608 - our words


class _Outcome(NamedTuple):
    #: The pending deliveries, and those of them that expired.
    pending: tuple[HeldDelivery, ...]
    expired: tuple[HeldDelivery, ...]


def has_content(paths: Collection[Path]) -> str:
    """Return the SQL of whether an event has content at these paths."""
    conditions = [
        f"coalesce(json_extract(body, '$.{'.'.join(path)}'), '[]') <> '[]'"
        for path in paths
        if path != SUBJECT
    ]
    if SUBJECT in paths:
        conditions += [f"{name} like '{NUMBER}%'" for name in ("subject", "also")]
    return f"({' or '.join(conditions)})"


def erase(
    outbox: Outbox,
    places: Sequence[int],
    paths: Collection[Path],
    *,
    at: float,
    spared: Collection[str],
) -> _Outcome:
    """Erase content of events at these places, with their callbacks and the answers of sinks.

    Pending deliveries expire, except those of the sinks in `spared`.
    """
    conn, given = outbox.conn, {"places": json.dumps(places)}
    changed = []
    codes, people = bool(set(CODES) & set(paths)), bool(set(PEOPLE) & set(paths))
    # In a sealed event the masks are erased, and the sealed parts with them.
    for seq, body in conn.execute(f"select seq, body from events where seq {AT_PLACES}", given):  # noqa: S608 - our words
        event = msgspec.json.decode(body)
        erased = without_content(event, paths, at=at)
        if erased != event:
            changed.append((msgspec.json.encode(erased).decode(), at, codes, people, seq))
    conn.executemany(
        "update events set body = ?, erased_at = ?, codes = iif(?, null, codes),"
        " people = iif(?, null, people) where seq = ?",
        changed,
    )
    erase_callbacks(conn, places, at=at)
    for table in ("attempts", "probes"):
        conn.execute(
            f"update {table} set answer = null, sealed = null"  # noqa: S608 - our words
            " where (answer is not null or sealed is not null)"
            f" and delivery in (select id from deliveries where event {AT_PLACES})",
            given,
        )
    pending = conn.execute(_PENDING, given).fetchall()
    needing = [row for row in pending if row[1] not in spared]
    outbox.give_up([EndedDelivery(*row[:4]) for row in needing], State.EXPIRED, ERASED, at)
    if SUBJECT in paths:
        _erase_subjects(conn, given)
        _erase_orderings(outbox, given)
    return _Outcome(pending=_held(pending), expired=_held(needing))


def _held(rows: Sequence[Sequence[Any]]) -> tuple[HeldDelivery, ...]:
    return tuple(HeldDelivery(sink, id_, event_id) for id_, sink, _, _, event_id in rows)


def _erase_subjects(conn: sqlite3.Connection, given: Mapping[str, object]) -> None:
    for name, empty in (("subject", "''"), ("also", "null")):
        conn.execute(
            f"update events set {name} = {empty}"  # noqa: S608 - our words
            f" where seq {AT_PLACES} and {name} like '{NUMBER}%'",
            given,
        )


def _erase_orderings(outbox: Outbox, given: Mapping[str, object]) -> None:
    """Remove values of `ordered_by`, which may be numbers. Deliveries leave their lines."""
    left = outbox.conn.execute(
        "update deliveries set ordering = null, due_at = iif(state = 'pending',"  # noqa: S608 - our words
        f" coalesce(due_at, {IN_LINE_UNTIL}), due_at) where event {AT_PLACES}"
        " and ordering is not null returning id",
        given,
    ).fetchall()
    outbox.announce_due([id_ for (id_,) in left])


def erase_callbacks(conn: sqlite3.Connection, places: Sequence[int], *, at: float) -> None:
    """Remove the bytes and the headers of the callbacks of events."""
    conn.execute(
        "update callbacks set body = x'', headers = '[]', sealed = null, erased_at = :at"  # noqa: S608 - our words
        f" where id in (select callback from events where seq {AT_PLACES})"
        " and erased_at is null and channel <> 'none'",
        {"places": json.dumps(places), "at": at},
    )


def drop_quarantined(outbox: Outbox, places: Sequence[int]) -> None:
    """Remove callbacks in quarantine."""
    removed = outbox.conn.execute(
        f"delete from quarantine where seq {AT_PLACES}",  # noqa: S608 - our words
        {"places": json.dumps(places)},
    ).rowcount
    outbox.counts["quarantine"] -= removed


def erase_order_numbers(conn: sqlite3.Connection, places: Sequence[int]) -> None:
    """Remove the numbers of orders."""
    conn.execute(
        "update orders set number = null, sealed = null,"  # noqa: S608 - our words
        f" name = iif(kind = :by_number, :no_name, name) where seq {AT_PLACES}",
        {"places": json.dumps(places), "by_number": BY_NUMBER, "no_name": MASK},
    )


# --- on request ------------------------------------------------------------------------------


def erase_on_request(outbox: Outbox, op: EraseContent) -> Erased:
    rows = outbox.conn.execute(
        "select id, seq from events where id in (select value from json_each(?)) order by seq",
        (json.dumps(op.events),),
    ).fetchall()
    places = [seq for _, seq in rows]
    outcome = erase(outbox, places, CONTENT, at=op.at, spared=op.spared)
    ids = {"ids": json.dumps(op.events)}
    orders = _places(
        outbox.conn,
        "select seq from orders where id in (select value from json_each(:ids))"
        " and state <> 'waiting' and (number is not null or sealed is not null)",
        ids,
    )
    erase_order_numbers(outbox.conn, orders)
    quarantined = _places(
        outbox.conn,
        "select seq from quarantine where id in (select value from json_each(:ids))",
        ids,
    )
    drop_quarantined(outbox, quarantined)
    _store_last(outbox.conn, op.events[-1])
    return Erased(
        orders=len(orders),
        quarantine=len(quarantined),
        events=tuple(id_ for id_, _ in rows),
        places=tuple(places),
        deliveries=outcome.pending,
        expired=outcome.expired,
    )


def erase_number(outbox: Outbox, op: EraseNumber) -> ErasedNumber:
    conn = outbox.conn
    numbers = json.dumps(find_numbers(outbox.opener, [op.number]))
    orders = _places(
        conn,
        "select seq from orders where state <> 'waiting'"
        " and (number in (select value from json_each(:numbers))"
        " or (kind = :by_number and name in (select value from json_each(:numbers))))",
        {"numbers": numbers, "by_number": BY_NUMBER},
    )
    erase_order_numbers(conn, orders)
    held = _quarantined(conn, op.number, outbox.opener)
    drop_quarantined(outbox, list(held))
    if op.last is not None:
        _store_last(conn, op.last)
    return ErasedNumber(orders=len(orders), quarantine=len(held))


def _store_last(conn: sqlite3.Connection, last: str) -> None:
    """Store the last erased id in the transaction: a copy of the journal knows what it has."""
    conn.execute(
        "insert into meta values ('erased_up_to', ?)"
        " on conflict do update set value = excluded.value",
        (last,),
    )


def _places(conn: sqlite3.Connection, sql: str, given: Mapping[str, object]) -> list[int]:
    return [seq for (seq,) in conn.execute(sql, given)]


def _quarantined(conn: sqlite3.Connection, number: str, opener: Opener) -> Mapping[int, str]:
    """Return the callbacks in quarantine that hold a number: their ids by their places."""
    digits = number.lstrip("+")
    held = dict(
        conn.execute(
            "select seq, id from quarantine where instr(body, :digits) or instr(headers, :text)",
            {"digits": digits.encode(), "text": digits},
        ).fetchall()
    )
    for seq, id_, *columns in conn.execute(
        "select seq, id, headers, body, sealed from quarantine where sealed is not null"
    ):
        opened = open_callback(opener, Kind.QUARANTINE, id_, columns, Reason.ERASE)
        if opened is not None and digits in f"{opened[0]}{opened[1]!r}":
            held[seq] = id_
    return held


#: The functions of the writes here.
VERBS: Mapping[type, Callable[[Outbox, Any], object]] = {
    EraseContent: erase_on_request,
    EraseNumber: erase_number,
}


def erased_up_to(conn: sqlite3.Connection, _read: ErasedUpTo) -> str | None:
    row = conn.execute("select value from meta where name = 'erased_up_to'").fetchone()
    return None if row is None else str(row[0])


def quarantined_naming(
    conn: sqlite3.Connection, read: QuarantinedNaming, opener: Opener
) -> tuple[str, ...]:
    return tuple(_quarantined(conn, read.number, opener).values())


def stored_sealed(conn: sqlite3.Connection, read: StoredSealed) -> frozenset[str]:
    rows = conn.execute(
        "select id from events where id in (select value from json_each(?))"
        " and seq > (select cast(value as integer) from meta where name = 'sealed_after')",
        (json.dumps(read.events),),
    )
    return frozenset(id_ for (id_,) in rows)


def naming(conn: sqlite3.Connection, read: EventsNaming, opener: Opener) -> EventsFound:
    """Find the events that hold a number among the next ones."""
    digits = read.number.lstrip("+")
    rows = conn.execute(
        f"select seq, also, instr(body, :digits), {BODY} from events"  # noqa: S608 - our words
        " where seq > :after order by seq limit :limit",
        {"digits": digits, "after": read.after, "limit": _SEARCHED},
    ).fetchall()
    found = []
    for _, also, has_digits, *columns in rows:
        stored = stored_body(columns)
        is_sealed = stored.codes is not None or stored.people is not None
        names = also == f"{NUMBER}{read.number}"
        if not names and (is_sealed or has_digits):
            opened = opener.open(stored, _TO_ERASE)
            names = _names(opened.body, read.number)
        if names:
            found.append(stored.id)
    ended = len(rows) < _SEARCHED
    return EventsFound(events=tuple(found), next_seq=None if ended else rows[-1][0])


def _names(body: bytes, number: str) -> bool:
    event = msgspec.json.decode(body)
    data, digits = event["data"], number.lstrip("+")
    numbers = [data.get(path[1]) for path in PEOPLE if path != SUBJECT]
    texts = [str(data.get(path[1]) or "") for path in CODES]
    return (
        number in numbers
        or digits in numbers
        or event["subject"] == f"{NUMBER}{number}"
        or any(digits in text for text in texts)
    )
