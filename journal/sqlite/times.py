"""Find the places of the events of a time range by bisection: both grow together."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ..rows import NewEvent

#: Seconds by which an event may be older than an earlier one, because clocks are corrected. After
#: a larger correction, bisection does not work for the places up to that event.
TOLERATED = 60.0
#: The most events around `until` that are looked at for its exact place: reading them takes 20 ms.
AROUND = 50_000
#: The row in `meta` of the newest time, if the last event does not have it.
_NEWEST = "newest_recorded_at"


class Span(NamedTuple):
    """The places of a time range. Its events lie in `first` to `last`, or in 1 to `unordered`."""

    first: int
    last: int
    #: The order of times is not known up to this place.
    unordered: int
    #: The place of the first event after that time, as far as is known. Later events of the range
    #: follow it if a clock was corrected.
    late: int | None = None
    #: Events before this place are older than the end of the range.
    near_end: int = 1

    def after(self, place: int) -> int:
        """Return the place to read after, upwards: it skips events before the span."""
        return place if place < self.unordered else max(place, self.first - 1)

    def from_place(self, oldest: int) -> "Span":
        """Return the same without the places before the oldest row."""
        unordered = self.unordered if self.unordered >= oldest else 0
        return self._replace(first=max(self.first, oldest), unordered=unordered)

    @property
    def lowest(self) -> int:
        """The lowest place that must be read."""
        return self.first if self.unordered == 0 else 1


def note_times(conn: sqlite3.Connection, events: Sequence[NewEvent]) -> None:
    """Store the last place of these new events where the order of times is broken.

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
    for new in events:
        if new.plan.at < newest - TOLERATED:
            unordered = new.seq
        newest = max(newest, new.plan.at)
    if unordered:
        conn.execute("update meta set value = ? where name = 'unordered_until'", (str(unordered),))
    # The last event is nearly always the newest, and nothing is written.
    if stored is None or newest > events[-1].plan.at:
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
        # The last event before this place is older than that. Earlier ones are at most TOLERATED
        # newer than it, so all of them are older than `since`.
        first = _first_at(conn, unordered + 1, newest, since - TOLERATED)
    near_end = 1
    if until is not None:
        last = _first_at(conn, unordered + 1, newest, until + TOLERATED)
        near_end = _first_at(conn, unordered + 1, newest, until - TOLERATED)
    return Span(first, min(last, newest), unordered, near_end=near_end)


def exact_span(
    conn: sqlite3.Connection, newest: int, *, since: float | None, until: float | None
) -> Span:
    """Return the same with the exact end. The work depends on all events around it."""
    found = span(conn, newest, since=since, until=until)
    if until is None:
        return found
    late, inside, count = conn.execute(
        "select min(seq) filter (where recorded_at >= :until),"
        " max(seq) filter (where recorded_at < :until), count(*)"
        " from (select seq, recorded_at from events where seq between :begin and :last"
        " order by seq limit :most)",
        {"until": until, "begin": found.near_end, "last": found.last, "most": AROUND + 1},
    ).fetchone()
    if count > AROUND:
        return found._replace(late=late)
    return found._replace(late=late, last=found.near_end - 1 if inside is None else inside)


def first_late(conn: sqlite3.Connection, first: int, last: int, until: float) -> int | None:
    """Return the place of the first event recorded at `until` or later; None: there is none.

    It reads all events from the place `first` to `last`, because their times may be in no order.
    """
    (late,) = conn.execute(
        "select min(seq) from events where seq between ? and ? and recorded_at >= ?",
        (first, last, until),
    ).fetchone()
    return None if late is None else int(late)


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
