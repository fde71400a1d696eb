"""Pairs what came two ways, in the transaction that would store it a second time."""

import sqlite3
from datetime import datetime
from typing import Any

import msgspec

from core.copies import Copy, PossibleCopy, find_copy
from core.event import Event

#: What a stored event may gain from its twin, where it has none of its own.
_GAINED = ("to", "from", "country", "service", "price", "text", "code")
#: Events of one order that are looked at, the newest first.
_MOST = 200
#: A callback does not say that its code was spoken.
_ALIKE = {"sms.received": "call.received", "call.received": "sms.received"}
_CALLBACK, _UNTIMED = "callback", "received"


class _CopyData(msgspec.Struct, frozen=True):
    channel: str
    time_from: str
    text: str | None = None
    code: str | None = None


class _Stored(msgspec.Struct, frozen=True):
    time: str
    data: _CopyData


_stored = msgspec.json.Decoder(_Stored)


def claim(conn: sqlite3.Connection, event: Event, twin: Copy) -> tuple[int, str] | None:
    """The stored event, as (seq, id), that this one is a copy of; None: it is news."""
    found = find_copy(twin, _candidates(conn, event, twin.form))
    return None if found is None else (found.seq, found.id)


def gain(conn: sqlite3.Connection, seq: int, event: Event, twin: Copy | None) -> None:
    """The stored event has another copy, and what that knows besides."""
    if twin is not None:
        note(conn, seq, twin)
    _add(conn, seq, event)


def note(conn: sqlite3.Connection, seq: int, twin: Copy) -> None:
    """A copy of that event came this way; another of the same way has the same key."""
    conn.execute(
        "insert into twins (event, form, second) values (?, ?, ?) on conflict do nothing",
        (seq, twin.form, twin.second),
    )


def _candidates(conn: sqlite3.Connection, event: Event, form: str) -> list[PossibleCopy]:
    rows = conn.execute(
        "select seq, id, body, (select min(second) from twins where event = seq) from events"
        " where subject = ? and source = ? and type in (?, ?)"
        " and not exists (select 1 from twins where event = seq and form = ?)"
        " order by seq desc limit ?",
        (event.subject, event.source, event.type, _ALIKE.get(event.type, event.type), form, _MOST),
    )
    decoded = [(seq, id_, _stored.decode(body), second) for seq, id_, body, second in rows]
    return [
        PossibleCopy(seq=seq, id=id_, copy=_twin(stored, second))
        for seq, id_, stored, second in decoded
        # Of a callback that came before there was anything to pair it with, nothing was noted.
        if not stored.data.channel == form == _CALLBACK
    ]


def _twin(stored: _Stored, second: float | None) -> Copy:
    """`second` is what a copy said: an event that was told without a time has its from then on."""
    if stored.data.time_from != _UNTIMED:
        second = datetime.fromisoformat(stored.time).timestamp()
    data = stored.data
    return Copy(form=data.channel, text=data.text, code=data.code, second=second)


def _add(conn: sqlite3.Connection, seq: int, event: Event) -> None:
    (body,) = conn.execute("select body from events where seq = ?", (seq,)).fetchone()
    kept: dict[str, Any] = msgspec.json.decode(body)
    known = msgspec.to_builtins(event.data)
    gained = {
        name: known[name]
        for name in _GAINED
        if name in kept["data"] and kept["data"][name] is None and known.get(name) is not None
    }
    if "text" in gained:
        gained["urls"] = known["urls"]  # they are in it
    if gained:
        kept["data"] |= gained
        changed = msgspec.json.encode(kept).decode()
        conn.execute("update events set body = ? where seq = ?", (changed, seq))
