"""Pages of a large table in the order of its key, each read in limited time."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from ..reads import Marks, MarksAt, Page, PageRead
from .audit_lines import end_of
from .times import Span

T = TypeVar("T")
#: A condition in SQL, and its values.
Condition = tuple[str, tuple[object, ...]]

#: The most narrow rows that one page reads without an index. So a page is fast at any size of the
#: journal. An empty page has the place to continue from.
WINDOW = 50_000
#: The most rows of `Sought.among` that one page reads, unless it shows more, and that one statement
#: reads.
AMONG, _AT_ONCE = 500, 100


class Sought(NamedTuple):
    """A search. Its SQL is ours; only the values come from outside."""

    table: str
    #: The table's key, a growing integer.
    place: str
    columns: str
    conditions: Sequence[Condition]
    #: Whether an index leads to the rows, so that no WINDOW is needed.
    indexed: bool
    #: Takes the newest place; returns the span of the requested time.
    within: Callable[[int], Span] = lambda newest: Span(1, newest, 0)
    #: Whether the span has an end. It may be a duration ago, so rows after it may match later.
    ends: bool = False
    #: Searches the rows between two places, whose times may be in no order. Returns the place of
    #: the first one after the end of the span.
    late: Callable[[int, int], int | None] = lambda _first, _last: None
    #: SQL that joins further tables.
    joined: str = ""
    #: If not 0, each statement searches that many places, from a multiple of it on.
    part: int = 0
    #: Takes the first and last place of a part; returns a further condition on its rows.
    narrow: Callable[[int, int], Condition] | None = None
    #: The time to read a row, as a multiple of that for a narrow row: a page reads fewer such rows.
    weight: int = 1
    #: Takes the first and last place, and a maximum number. Returns places from indexes, in the
    #: order of the page. The page reads only the rows at these places.
    among: Callable[[int, int, int], list[int]] | None = None


def page(
    conn: sqlite3.Connection,
    sought: Sought,
    convert: Callable[[Sequence[Any]], T],
    read: PageRead[Any],
) -> Page[T]:
    """Read one page: at most WINDOW rows, unless an index leads to the matching ones."""
    place, limit, desc = sought.place, read.limit, read.desc
    (newest,) = conn.execute(f"select coalesce(max({place}), 0) from {sought.table}").fetchone()  # noqa: S608 - our words
    oldest = lowest_place(conn, sought.table, place)
    begin = (newest + 1 if desc else 0) if read.after is None else read.after
    begin = begin if desc else max(begin, oldest - 1)
    span = sought.within(newest).from_place(oldest)
    # Where times have no order, `late` looks at each row of the page.
    looks = sought.ends and not desc and begin < span.unordered
    width = None if sought.indexed and not looks else max(1, WINDOW // sought.weight)
    first, last = window(begin, span, desc=desc, width=width)
    where = "".join(f" and {sql}" for sql, _ in sought.conditions)
    values = [value for _, given in sought.conditions for value in given]
    # With the plus, SQLite does not read the table by its key.
    has_conditions = bool(sought.conditions) or sought.narrow is not None
    key = f"+{place}" if sought.indexed and has_conditions else place
    head = (
        f"select {place}, {sought.columns} from {sought.table}{sought.joined}"  # noqa: S608 - our words
        f" where {key} between ? and ?{where}"
    )
    tail = f" order by {place} {'desc' if desc else 'asc'} limit ?"
    parts = _parts(sought, first, last, desc=desc)
    if sought.among is not None:
        most = max(AMONG, limit)
        places = sought.among(first, last, most + 1)
        if len(places) > most:
            places.pop()
            first, last = (places[-1], last) if desc else (first, places[-1])
        parts = _groups(place, places)
    rows: list[Any] = []
    for low, high, narrow, further in parts:
        sql = f"{head} and {narrow}{tail}" if narrow else f"{head}{tail}"
        rows += conn.execute(sql, (low, high, *values, *further, limit + 1 - len(rows)))
        if len(rows) > limit:
            break
    items = tuple((at, convert(row)) for at, *row in rows[:limit])
    is_full = len(rows) > limit
    if desc and is_full:
        return Page(items=items, next_seq=items[-1][0], has_more=True)
    if desc:
        return Page(items=items, next_seq=max(min(first, begin), 1), has_more=first > span.lowest)
    has_more = is_full or last < span.last
    if is_full or (sought.ends and not has_more):
        last = items[-1][0] if items else begin
    last = max(last, begin)
    again = _before_late(sought, span, begin, last)
    if again is not None and not has_more:
        last = again
    return Page(items=items, next_seq=last, has_more=has_more, again=again)


def _before_late(sought: Sought, span: Span, begin: int, last: int) -> int | None:
    """Return the place before the first row of a page that the end of the time leaves out.

    Rows after it are read twice, so that none is missed. None: there is no such row.
    """
    if not sought.ends:
        return None
    late = sought.late(begin + 1, min(last, span.unordered)) if begin < span.unordered else None
    if late is None and span.late is not None and begin < span.late <= last:
        late = span.late
    return None if late is None else late - 1


#: The first and last place of a statement, a further condition on its rows, and its values.
_Part = tuple[int, int, str, tuple[object, ...]]


def _parts(sought: Sought, first: int, last: int, *, desc: bool) -> Iterator[_Part]:
    size = sought.part
    starts = range(first - first % size, last + 1, size) if size else (first,)
    for start in reversed(starts) if desc else starts:
        low, high = max(first, start), min(last, start + size - 1) if size else last
        yield low, high, *(("", ()) if sought.narrow is None else sought.narrow(low, high))


def _groups(place: str, places: Sequence[int]) -> Iterator[_Part]:
    for at in range(0, len(places), _AT_ONCE):
        group = places[at : at + _AT_ONCE]
        sql = f"{place} in (select value from json_each(?))"  # noqa: S608 - our words
        yield min(group), max(group), sql, (json.dumps(group),)


def lowest_place(conn: sqlite3.Connection, table: str, place: str) -> int:
    """Return the lowest place of a table: rows before it were removed. Without rows, 1."""
    (lowest,) = conn.execute(f"select coalesce(min({place}), 1) from {table}").fetchone()  # noqa: S608 - our words
    return int(lowest)


#: A text of a delivery that no retry and no change of the clock changes.
_DELIVERY = "(select id from events where seq = deliveries.event) || ' ' || sink || ' ' || replay"
#: The table of each list, its key, and a text that differs for each row, also for removed ones. It
#: never changes: a client may change the rows of a page before it asks for the next one.
_LISTS = {
    "events": ("events", "seq", "id"),
    "deliveries": ("deliveries", "id", _DELIVERY),
    "orders": ("orders", "seq", "id"),
    "subscriptions": ("subscriptions", "seq", "id"),
    "quarantine": ("quarantine", "seq", "id"),
    "rejections": ("rejections", "seq", "reason || ' ' || source || ' ' || peer || first_at"),
}


def marks(conn: sqlite3.Connection, read: MarksAt) -> Marks:
    if read.list == "audit":
        # Lines keep their places for ever, also those that are gone.
        newest = end_of(conn)
        return Marks(
            beside={place: (place, "") for place in read.places if place <= newest}, newest=newest
        )
    table, key, mark = _LISTS[read.list]
    beside, order = (">=", "asc") if read.desc else ("<=", "desc")
    found = (
        f"select {key}, {mark} from {table}"  # noqa: S608 - our words
        f" where {key} {beside} ? order by {key} {order} limit 1"
    )
    rows = {place: conn.execute(found, (place,)).fetchone() for place in read.places}
    (newest,) = conn.execute(
        "select coalesce(max(seq), 0) from sqlite_sequence where name = ?", (table,)
    ).fetchone()
    return Marks(
        beside={place: (row[0], str(row[1])) for place, row in rows.items() if row is not None},
        newest=newest,
    )


def window(begin: int, span: Span, *, desc: bool, width: int | None) -> tuple[int, int]:
    """Return the first and last of `width` places from `begin`. None: up to the end of the list."""
    if desc:
        last = min(begin - 1, span.last)
        return (span.lowest if width is None else max(span.lowest, last - width + 1)), last
    first = span.after(begin) + 1
    return first, (span.last if width is None else min(span.last, first + width - 1))


def any_of(expressions: Sequence[str], allowed: Sequence[object]) -> Iterator[Condition]:
    """Yield the condition that an expression has an allowed value. Empty: yield no condition."""
    if allowed:
        slots = ", ".join("?" * len(allowed))
        either = " or ".join(f"{expression} in ({slots})" for expression in expressions)
        yield f"({either})", tuple(allowed) * len(expressions)
