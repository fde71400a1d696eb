"""Places of the events of a span of time, found by bisection: places and times grow together."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ..rows import EventRow

#: Seconds that an event may be older than one before it, because clocks are corrected. Beyond that,
#: bisection does not work for all places up to that event.
TOLERATED = 60.0
#: The row in `meta` of the newest time, if the last event does not have it.
_NEWEST = "newest_recorded_at"


class Span(NamedTuple):
    """All events of the requested time lie from `first` to `last`, or up to `unordered`."""

    first: int
    last: int
    #: The order of times is not known up to this place.
    unordered: int

    def after(self, place: int) -> int:
        """Return the place to continue after, upwards: it skips events before the span."""
        return place if place < self.unordered else max(place, self.first - 1)

    @property
    def lowest(self) -> int:
        """The place to end at, downwards."""
        return self.first if self.unordered == 0 else 1


def note_times(conn: sqlite3.Connection, events: Sequence[EventRow]) -> None:
    """Store up to which of these new events the order of times is broken.

    Call it before they are inserted.
    """
    if not events:
        return
    last, stored = conn.execute(
        "select (select recorded_at from events order by seq desc limit 1),"
        " (select value from meta where name = ?)",
        (_NEWEST,),
    ).fetchone()
    # An older version stored no newest time: its last event may be this much older than it.
    newest = (0.0 if last is None else last + TOLERATED) if stored is None else float(stored)
    newest = max(newest, last or 0.0)
    unordered = 0
    for row in events:
        if row.at < newest - TOLERATED:
            unordered = row.seq
        newest = max(newest, row.at)
    if unordered:
        conn.execute("update meta set value = ? where name = 'unordered_until'", (str(unordered),))
    # The last event is nearly always the newest, and nothing is written.
    if stored is None or newest > events[-1].at:
        conn.execute(
            "insert into meta (name, value) values (?, ?)"
            " on conflict do update set value = excluded.value",
            (_NEWEST, repr(newest)),
        )


def span(
    conn: sqlite3.Connection, newest: int, *, since: float | None, until: float | None
) -> Span:
    """Return the places of the events of a time among those up to `newest`."""
    if since is None and until is None:
        return Span(1, newest, 0)
    (value,) = conn.execute("select value from meta where name = 'unordered_until'").fetchone()
    unordered = int(value)
    first, last = 1, newest
    if since is not None:
        # Events before this place are older than `since`: none is newer than it by more.
        first = _first_at(conn, unordered + 1, newest, since - TOLERATED)
    if until is not None:
        last = _first_at(conn, unordered + 1, newest, until + TOLERATED)
    return Span(first, min(last, newest), unordered)


def _first_at(conn: sqlite3.Connection, low: int, newest: int, at: float) -> int:
    """Return a place that is not older than `at`, after one that is; else newest + 1."""
    high = newest + 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(
            "select seq, recorded_at from events where seq >= ? order by seq limit 1", (middle,)
        ).fetchone()
        if row is None or row[1] >= at:
            high = middle
        else:
            low = row[0] + 1
    return low
