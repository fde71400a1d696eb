"""The search of an events list: its filter as SQL, and the table of searched fields.

`event_fields` has the searched fields of each event. They are inserted with the event; a trigger of
the schema changes them with it. `fill` adds those of an older version's events; until then the
filter reads their JSON.
"""

import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from core.event import SUBJECTS, SYSTEM, Data

from ..reads import EventFilter
from ..seal import Opener
from .paging import Condition, any_of
from .sealed import find_subjects
from .times import TOLERATED

#: Events of a bucket in the index of numbers, as in the migration, and buckets of one statement.
_BUCKET, _BUCKETS = 1 << 12, 16
#: Events of one statement.
PART: Final = _BUCKET * _BUCKETS
# Not `(?1 >> 12) + 1`: Python 3.12.0 to 3.12.3 warns of numbered placeholders.
_IN_BUCKETS: Final = f"event_fields.seq >> 12 in ({', '.join('?' * _BUCKETS)})"
#: With more numbers than this, reading all events is faster than a look-up in each bucket.
_MOST_NUMBERS = 100
#: Events of one step: about 20 milliseconds in the thread that writes.
_FILLED_AT_ONCE = 2000

#: Each searched field, as the column of `event_fields` and as the JSON of an event.
_JSON: Final = {
    "number": "json_extract(body, '$.data.to')",
    "service_id": "json_extract(body, '$.data.service.id')",
    "service_name": "json_extract(body, '$.data.service.name')",
    "service_key": "json_extract(body, '$.data.service.key')",
    "has_code": "json_extract(body, '$.data.code') is not null",
}
#: The columns of `fields`, after the place of the event.
FIELDS: Final = f"event_fields (seq, {', '.join(_JSON)})"
_FILL: Final = (
    f"insert or ignore into {FIELDS}"  # noqa: S608 - our words
    f" select seq, {', '.join(_JSON.values())} from events"
    " where seq between ? and ? and json_valid(body)"
)


def fields(data: Data) -> tuple[str | None, str | None, str | None, int]:
    """Return the searched fields of an event, as its JSON has them, without its number."""
    service = getattr(data, "service", None)
    its = (None, None, None) if service is None else (service.id, service.name, service.key)
    has_code = 0 if getattr(data, "code", None) is None else 1  # a bool needs an adapter
    return (*its, has_code)


class Search(NamedTuple):
    """The SQL that finds the events of a filter."""

    #: On columns of `events` and, where `reads_fields`, of `event_fields`.
    conditions: list[Condition]
    reads_fields: bool
    #: Whether an index leads to the events.
    indexed: bool
    #: Whether it is the index of numbers. It is searched one PART at a time, by `in_part`.
    by_number: bool
    #: Takes the first and last place of a part; returns a further condition for it.
    narrow: Callable[[int, int], Condition] | None = None

    @property
    def tables(self) -> tuple[str, str]:
        """The table to begin with, and the SQL that joins the other one."""
        if not self.reads_fields:
            return "events", ""
        if self.indexed and not self.by_number:
            return "events", " cross join event_fields using (seq)"
        return "event_fields", " cross join events using (seq)"


def in_part(further: Callable[[int, int], Condition] | None) -> Callable[[int, int], Condition]:
    """Return what narrows a part to its buckets of the index, and `further`."""

    def narrow(low: int, high: int) -> Condition:
        first = low // _BUCKET
        sql, values = ("", ()) if further is None else further(low, high)
        buckets = range(first, first + _BUCKETS)
        return f"{_IN_BUCKETS} and {sql}" if sql else _IN_BUCKETS, (*buckets, *values)

    return narrow


def search(
    conn: sqlite3.Connection, wanted: EventFilter, opener: Opener, *, in_parts: bool = False
) -> Search:
    """Return the SQL of a filter. `in_parts`: the caller obeys `by_number` and `narrow`."""
    filled = _missing(conn) == 0
    named = [
        *any_of(("id",), wanted.id),
        *any_of(("subject",), [it for one in wanted.subject for it in find_subjects(opener, one)]),
        *any_of(("reference",), wanted.reference),
    ]
    for kind, name in SUBJECTS.items():
        # First look for ids as subjects, which have an index, then in the event: it may name more.
        ids = getattr(wanted, name)
        named += any_of(("subject", "also"), [f"{kind}/{id_}" for id_ in ids])
        named += any_of((f"json_extract(body, '$.data.{name}')",), ids)
    sql = {name: name for name in _JSON} if filled else _JSON
    services = (sql["service_id"], sql["service_name"], sql["service_key"])
    numbers = _Numbers(conn, opener, wanted)
    fields = [*any_of(services, wanted.service)]
    if wanted.code is not None:
        fields.append((f"({sql['has_code']}) = ?", (int(wanted.code),)))
    other = [*any_of(("type",), wanted.type), *any_of(("source",), wanted.source)]
    if wanted.since is not None:
        other.append(("recorded_at >= ?", (wanted.since,)))
    if wanted.until is not None:
        other.append(("recorded_at < ?", (wanted.until,)))
    has_numbers = 0 < len(wanted.number) <= _MOST_NUMBERS
    by_number = in_parts and filled and not named and has_numbers
    narrows = by_number and numbers.are_sealed
    if wanted.number and not narrows:
        fields.insert(0, numbers.condition(sql["number"]))
    conditions = [*fields, *other, *named]
    return Search(
        conditions=conditions,
        reads_fields=filled and bool(fields or narrows),
        indexed=bool(named) or by_number or not conditions,
        by_number=by_number,
        narrow=numbers.condition_between if narrows else None,
    )


def hidden(wanted: EventFilter) -> Sequence[Condition]:
    """Return the condition that leaves out events about the service itself.

    A filter with types gets those that it names.
    """
    return () if wanted.type else ((f"type not glob '{SYSTEM}*'", ()),)


class _Numbers:
    """The texts that the column of numbers may have for the numbers of a filter.

    A sealed number has another one on each day.
    """

    def __init__(self, conn: sqlite3.Connection, opener: Opener, wanted: EventFilter) -> None:
        self._conn, self._clear = conn, wanted.number
        #: The times between which a text was stored, in seconds since the epoch.
        self._sealed: list[tuple[float, float, str]] = []
        for number in wanted.number:
            end = math.inf
            for begin, index in opener.find_number(number, since=wanted.since, until=wanted.until):
                self._sealed.append((begin, end, index))
                end = begin

    @property
    def are_sealed(self) -> bool:
        return bool(self._sealed)

    def condition(self, expression: str) -> Condition:
        texts = (*self._clear, *(text for _, _, text in self._sealed))
        if not self._sealed:
            return next(any_of((expression,), texts))
        # Rows of an older version are in clear, and have no row in `event_fields` yet.
        stored = "(select number from event_fields as its where its.seq = events.seq)"
        values = "(select value from json_each(?))"  # there may be more than SQLite has slots
        either = (expression,) if expression == "number" else (expression, stored)
        sql = " or ".join(f"{one} in {values}" for one in either)
        return f"({sql})", (json.dumps(texts),) * len(either)

    def condition_between(self, low: int, high: int) -> Condition:
        """Return the condition for events between two places: they have a few days."""
        begin, end, unordered = self._conn.execute(
            "select (select recorded_at from events where seq >= ? order by seq limit 1),"
            " (select recorded_at from events where seq <= ? order by seq desc limit 1),"
            " (select value from meta where name = 'unordered_until')",
            (low, high),
        ).fetchone()
        texts = [*self._clear]
        for its_begin, its_end, text in self._sealed:
            is_near = its_begin <= (end or 0) + TOLERATED and its_end >= (begin or 0) - TOLERATED
            if is_near or low <= int(unordered):
                texts.append(text)
        return next(any_of(("number",), texts))


def fill(conn: sqlite3.Connection) -> bool:
    """Add the searched fields of some events of an older version; return whether work is left.

    The caller's transaction also stores the place to continue from.
    """
    last = _missing(conn)
    if last == 0:
        return False
    first = max(1, last - _FILLED_AT_ONCE + 1)
    conn.execute(_FILL, (first, last))
    if first == 1:
        conn.execute("delete from meta where name = 'event_fields_missing'")
    else:
        conn.execute(
            "update meta set value = ? where name = 'event_fields_missing'", (str(first - 1),)
        )
    return first > 1


def _missing(conn: sqlite3.Connection) -> int:
    """Return the place up to which events have no row in `event_fields`; 0: all have one."""
    row = conn.execute("select value from meta where name = 'event_fields_missing'").fetchone()
    return 0 if row is None else int(row[0])
