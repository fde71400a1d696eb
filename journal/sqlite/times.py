"""The places between which events of a time lie: found by halves, since both grow together."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ..rows import EventRow

#: Seconds that an event may be older than one before it: they are recorded as they come, and
#: clocks are corrected. More is noted as disorder, up to which nothing can be found by halves.
TOLERATED = 60.0
#: The row in `meta` of the newest time, where the last event does not have it.
_NEWEST = "newest_recorded_at"


class Span(NamedTuple):
    """No event of the time that was asked for lies outside; both ends are included."""

    first: int
    last: int
    #: Up to here the order of times is not known: such events may lie before `first`, too.
    unordered: int

    def after(self, place: int) -> int:
        """Where to go on upwards from a place: what need not be looked at is passed over."""
        return place if place < self.unordered else max(place, self.first - 1)

    @property
    def lowest(self) -> int:
        """Where to end downwards."""
        return self.first if self.unordered == 0 else 1


def note_times(conn: sqlite3.Connection, events: Sequence[EventRow]) -> None:
    """Note which of these new events is older than one before it by more than is tolerated.

    Call it before they are inserted.
    """
    if not events:
        return
    last, noted = conn.execute(
        "select (select recorded_at from events order by seq desc limit 1),"
        " (select value from meta where name = ?)",
        (_NEWEST,),
    ).fetchone()
    # An older version noted nothing: the last may be that much older than one before it.
    newest = (0.0 if last is None else last + TOLERATED) if noted is None else float(noted)
    newest = max(newest, last or 0.0)
    unordered = 0
    for row in events:
        if row.at < newest - TOLERATED:
            unordered = row.seq
        newest = max(newest, row.at)
    if unordered:
        conn.execute("update meta set value = ? where name = 'unordered_until'", (str(unordered),))
    # Nearly always the last event is the newest: then nothing is written.
    if noted is None or newest > events[-1].at:
        conn.execute(
            "insert into meta (name, value) values (?, ?)"
            " on conflict do update set value = excluded.value",
            (_NEWEST, repr(newest)),
        )


def span(
    conn: sqlite3.Connection, newest: int, *, since: float | None, until: float | None
) -> Span:
    """Where the events of a time lie among those up to `newest`."""
    if since is None and until is None:
        return Span(1, newest, 0)
    (value,) = conn.execute("select value from meta where name = 'unordered_until'").fetchone()
    unordered = int(value)
    first, last = 1, newest
    if since is not None:
        # All before this place are older than `since`: each is at most so much newer than it.
        first = _first_at(conn, unordered + 1, newest, since - TOLERATED)
    if until is not None:
        last = _first_at(conn, unordered + 1, newest, until + TOLERATED)
    return Span(first, min(last, newest), unordered)


def _first_at(conn: sqlite3.Connection, low: int, newest: int, at: float) -> int:
    """A place that is not older than `at` while the one before it is; newest + 1 where none is."""
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
