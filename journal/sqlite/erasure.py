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

from ..reads import EventsNaming, Named
from ..records import Erased, ErasedNumber, HeldDelivery
from ..writes import EraseContent, EraseNumber
from .outbox import EndedDelivery, Outbox

#: In place of the number of an order that is known by its number.
_NO_NAME = "***"
#: Events of one search for a number: about 20 milliseconds.
_SEARCHED = 5_000
_IN = "in (select value from json_each(:places))"
_PENDING = f"""
    select deliveries.id, sink, attempts, ordering, events.id from deliveries
    join events on events.seq = event where event {_IN} and state = 'pending'
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
    for seq, body in conn.execute(f"select seq, body from events where seq {_IN}", given):  # noqa: S608 - our words
        event = msgspec.json.decode(body)
        erased = without_content(event, paths, at=at)
        if erased != event:
            changed.append((msgspec.json.encode(erased).decode(), at, seq))
    conn.executemany("update events set body = ?, erased_at = ? where seq = ?", changed)
    erase_callbacks(conn, places, at=at)
    for table in ("attempts", "probes"):
        conn.execute(
            f"update {table} set answer = null where answer is not null"  # noqa: S608 - our words
            f" and delivery in (select id from deliveries where event {_IN})",
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
            f" where seq {_IN} and {name} like '{NUMBER}%'",
            given,
        )


def _erase_orderings(outbox: Outbox, given: Mapping[str, object]) -> None:
    """Remove values of `ordered_by`, which may be numbers. Deliveries leave their lines."""
    left = outbox.conn.execute(
        "update deliveries set ordering = null, due_at = iif(state = 'pending',"  # noqa: S608 - our words
        f" coalesce(due_at, accepted_at), due_at) where event {_IN} and ordering is not null"
        " returning id",
        given,
    ).fetchall()
    outbox.announce_due([id_ for (id_,) in left])


def erase_callbacks(conn: sqlite3.Connection, places: Sequence[int], *, at: float) -> None:
    """Remove the bytes and the headers of the callbacks of events."""
    conn.execute(
        "update callbacks set body = x'', headers = '[]', erased_at = :at"  # noqa: S608 - our words
        f" where id in (select callback from events where seq {_IN})"
        " and erased_at is null and channel <> 'none'",
        {"places": json.dumps(places), "at": at},
    )


def drop_quarantined(outbox: Outbox, places: Sequence[int]) -> None:
    """Remove callbacks in quarantine."""
    removed = outbox.conn.execute(
        f"delete from quarantine where seq {_IN}",  # noqa: S608 - our words
        {"places": json.dumps(places)},
    ).rowcount
    outbox.counts["quarantine"] -= removed


def erase_order_numbers(conn: sqlite3.Connection, places: Sequence[int]) -> None:
    """Remove the numbers of orders."""
    conn.execute(
        f"update orders set number = null, name = iif(kind = :by_number, :no_name, name)"  # noqa: S608 - our words
        f" where seq {_IN}",
        {"places": json.dumps(places), "by_number": BY_NUMBER, "no_name": _NO_NAME},
    )


# --- on request ------------------------------------------------------------------------------


def _erase_on_request(outbox: Outbox, op: EraseContent) -> Erased:
    rows = outbox.conn.execute(
        "select id, seq from events where id in (select value from json_each(?)) order by seq",
        (json.dumps(op.events),),
    ).fetchall()
    places = [seq for _, seq in rows]
    outcome = erase(outbox, places, CONTENT, at=op.at, spared=op.spared)
    return Erased(
        events=tuple(id_ for id_, _ in rows),
        places=tuple(places),
        deliveries=outcome.pending,
        expired=outcome.expired,
    )


def _erase_number(outbox: Outbox, op: EraseNumber) -> ErasedNumber:
    conn, digits = outbox.conn, op.number.lstrip("+")
    orders = conn.execute(
        "select seq from orders where state <> 'waiting'"
        " and (number = :number or (kind = :by_number and name = :number))",
        {"number": op.number, "by_number": BY_NUMBER},
    ).fetchall()
    erase_order_numbers(conn, [seq for (seq,) in orders])
    held = conn.execute(
        "select seq from quarantine where instr(body, :digits) or instr(headers, :text)",
        {"digits": digits.encode(), "text": digits},
    ).fetchall()
    drop_quarantined(outbox, [seq for (seq,) in held])
    return ErasedNumber(orders=len(orders), quarantine=len(held))


#: The functions of the writes here.
VERBS: Mapping[type, Callable[[Outbox, Any], object]] = {
    EraseContent: _erase_on_request,
    EraseNumber: _erase_number,
}


def naming(conn: sqlite3.Connection, read: EventsNaming) -> Named:
    """Find the events that hold a number among the next ones."""
    digits = read.number.lstrip("+")
    rows = conn.execute(
        "select seq, id, case when instr(body, :digits) then body end, also from events"
        " where seq > :after order by seq limit :limit",
        {"digits": digits, "after": read.after, "limit": _SEARCHED},
    ).fetchall()
    found = [
        id_
        for _, id_, body, also in rows
        if also == f"{NUMBER}{read.number}" or (body is not None and _names(body, read.number))
    ]
    ended = len(rows) < _SEARCHED
    return Named(events=tuple(found), next_seq=None if ended else rows[-1][0])


def _names(body: str, number: str) -> bool:
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
