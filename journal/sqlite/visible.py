"""The index of the events that each filter of an API key shows. The writer keeps it."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from .. import Filters
from ..reads import IsVisible, Page, VisibleEvents
from ..records import StoredKey
from ..seal import Opener
from ..writes import ChangeFilters, CreateKey, RevokeKey
from . import sealed
from .event_search import Search
from .keys import stored_keys
from .paging import WINDOW, window
from .times import AROUND, Span

#: A filter takes an event as plain JSON values.
_Filter = Callable[[Mapping[str, Any]], bool]
#: The filters by their id in the table.
ById = dict[int, _Filter]


#: Takes the stored API keys; returns the filters of all keys.
FiltersOf = Callable[[Sequence[StoredKey]], Filters]


def no_filters(_keys: Sequence[StoredKey]) -> Filters:
    """Return no filters, for a journal without API keys."""
    return MappingProxyType({})


#: Adds the event to all filters that show it.
_SHOWN = (
    "insert or ignore into visible select id, new.seq from visible_filters"
    " where digest is not null"
    " and shows(id, new.id, new.body, new.codes, new.people, new.erased_at);"
)
_FORGET = (
    "delete from visible where seq = new.seq"
    " and filter in (select id from visible_filters where digest is not null);"
)
#: Temporary triggers of the writing connection: each change of an event changes its rows in the
#: same transaction.
_STORED = (
    f"create temp trigger if not exists event_stored after insert on main.events begin {_SHOWN} end"
)
_CHANGED = (
    "create temp trigger if not exists event_changed"
    " after update of body, codes, people, erased_at on main.events"
    f" begin {_FORGET} {_SHOWN} end"
)


# --- writing ---------------------------------------------------------------------------------


def configure(conn: sqlite3.Connection, filters: Filters, opener: Opener) -> ById:
    """Keep an index for each of these filters from now on, and for no other.

    Call it in a transaction, before an event is written through that connection. Return the
    filters by their id, for `add`.
    """
    known = [digest for (digest,) in conn.execute("select digest from visible_filters")]
    # The filter misses events while it is not configured, so it starts over afterwards.
    for digest in known:
        if digest is not None and digest not in filters:
            remove(conn, digest)
    by_id: ById = {}

    # All filters check an event before the next event comes.
    @lru_cache(maxsize=1)
    def opened(*columns: Any) -> Any:
        return msgspec.json.decode(opener.open(sealed.stored_body(columns), sealed.TO_FILTER).body)

    def shows(filter_: int, *columns: Any) -> bool:
        try:
            return bool(by_id[filter_](opened(*columns)))
        except Exception:  # noqa: BLE001 - a filter that fails must not keep events from being stored
            return False

    conn.create_function("shows", 1 + sealed.BODY_WIDTH, shows)
    for digest, holds in filters.items():
        add(conn, by_id, digest, holds)
    return by_id


def follow(conn: sqlite3.Connection, by_id: ById, changes: Sequence[CreateKey | RevokeKey]) -> None:
    """Keep the indexes that the keys need after these changes, which are written already."""
    for change in changes:
        if isinstance(change, CreateKey):
            if change.filter is not None:
                add(conn, by_id, *change.filter)
        elif change.filter is not None:
            digest, is_used = change.filter
            # Only now is it known which keys are left: others are created at the same time.
            if not is_used(stored_keys(conn)):
                remove(conn, digest)


def change(conn: sqlite3.Connection, by_id: ById, op: ChangeFilters) -> None:
    """Keep the indexes of further filters, and no longer those of the removed ones."""
    for digest, holds in op.added.items():
        add(conn, by_id, digest, holds)
    for digest in op.removed:
        remove(conn, digest)


def add(conn: sqlite3.Connection, by_id: ById, digest: str, holds: _Filter) -> None:
    """Keep an index for this filter, too, from now on. Stored events are indexed by `fill`."""
    conn.execute(
        "insert into visible_filters (digest, unseen) select ?, coalesce(max(seq), 0) from events"
        " where true on conflict do nothing",
        (digest,),
    )
    (id_,) = conn.execute("select id from visible_filters where digest = ?", (digest,)).fetchone()
    by_id[id_] = holds
    conn.execute(_STORED)
    conn.execute(_CHANGED)


def remove(conn: sqlite3.Connection, digest: str) -> None:
    """Keep no index for this filter. Its rows are removed by `fill`."""
    conn.execute("update visible_filters set digest = null where digest = ?", (digest,))


def fill(conn: sqlite3.Connection, limit: int) -> bool:
    """Index the newest `limit` unseen events of a filter, or remove as many stale rows.

    Return whether work is left. The caller's transaction stores the changes and the place to
    continue from.
    """
    row = conn.execute(
        "select id, unseen from visible_filters where digest is not null and unseen > 0"
        " order by id limit 1"
    ).fetchone()
    if row is not None:
        filter_, unseen = row
        _index(conn, filter_, unseen, limit)
        return True
    row = conn.execute("select id from visible_filters where digest is null").fetchone()
    if row is None:
        return False
    removed = conn.execute(
        "delete from visible where filter = :filter and seq in"
        " (select seq from visible where filter = :filter order by seq limit :limit)",
        {"filter": row[0], "limit": limit},
    ).rowcount
    if removed < limit:
        conn.execute("delete from visible_filters where id = ?", row)
    return True


def _index(conn: sqlite3.Connection, filter_: int, unseen: int, limit: int) -> None:
    (first,) = conn.execute(
        "select min(seq) from (select seq from events where seq <= ? order by seq desc limit ?)",
        (unseen, limit),
    ).fetchone()
    # Events that were changed since are indexed already.
    conn.execute(
        "insert or ignore into visible select :filter, seq from events"  # noqa: S608 - our words
        f" where seq between :first and :last and shows(:filter, {sealed.BODY})",
        {"filter": filter_, "first": first, "last": unseen},
    )
    conn.execute(
        "update visible_filters set unseen ="
        " coalesce((select max(seq) from events where seq < ?), 0) where id = ?",
        (first, filter_),
    )


# --- reading ---------------------------------------------------------------------------------


def complete(conn: sqlite3.Connection, digest: str) -> int | None:
    """Return the id of the filter; None: it has not seen all events yet."""
    row = conn.execute(
        "select id from visible_filters where digest = ? and unseen = 0", (digest,)
    ).fetchone()
    return None if row is None else int(row[0])


def is_visible(conn: sqlite3.Connection, read: IsVisible) -> bool | None:
    filter_ = complete(conn, read.shown_to)
    if filter_ is None:
        return None
    (found,) = conn.execute(
        "select exists(select 1 from visible where filter = ?"
        " and seq = coalesce((select seq from events where id = ?), 0))",
        (filter_, read.event_id),
    ).fetchone()
    return bool(found)


def page(
    conn: sqlite3.Connection,
    filter_: int,
    search: Search,
    span: Span,
    read: VisibleEvents,
    opener: Opener,
) -> Page[bytes]:
    """Read one page of the events that the filter shows; read at most WINDOW of them.

    Places and `has_more` come from shown events only; hidden ones are not read.
    """
    limit, desc = read.limit, read.desc
    begin = (span.last + 1 if desc else 0) if read.after is None else read.after
    first, last = window(begin, span, desc=desc, width=None)
    order = "desc" if desc else "asc"
    edge = None
    if search.conditions:
        ends = conn.execute(
            "select seq from visible where filter = ? and seq between ? and ?"  # noqa: S608 - our words
            f" order by seq {order} limit 2 offset ?",
            (filter_, first, last, WINDOW - 1),
        ).fetchall()
        if len(ends) > 1:  # more rows follow
            edge = ends[0][0]
            first, last = (edge, last) if desc else (first, edge)
    where = "".join(f" and {sql}" for sql, _ in search.conditions)
    values = [value for _, given in search.conditions for value in given]
    fields = " cross join event_fields on event_fields.seq = visible.seq"
    # CROSS JOIN, NOT INDEXED: an index on events would read hidden ones.
    rows = conn.execute(
        f"select visible.seq, {sealed.BODY} from visible{fields if search.reads_fields else ''}"  # noqa: S608 - our words
        " cross join events not indexed on events.seq = visible.seq"
        f" where filter = ? and visible.seq between ? and ?{where}"
        f" order by visible.seq {order} limit ?",
        (filter_, first, last, *values, limit + 1),
    ).fetchall()
    items = tuple(
        (seq, opener.open(sealed.stored_body(stored), read.opening).body)
        for seq, *stored in rows[:limit]
    )
    has_more = len(rows) > limit or edge is not None
    if edge is not None and len(rows) <= limit:
        place = edge
    else:
        # Not the end of the journal: a cursor that moves would reveal hidden events.
        place = items[-1][0] if items else read.after or 0
    again = None
    if not desc and read.filter.until is not None:
        again = _before_late(conn, filter_, span, begin, place, read.filter.until)
    if again is not None and not has_more:
        place = again
    return Page(items=items, next_seq=place, has_more=has_more, again=again)


def _before_late(
    conn: sqlite3.Connection, filter_: int, span: Span, begin: int, place: int, until: float
) -> int | None:
    """Return a place before the first shown event of a page that `until` leaves out; None: none.

    Events after such an event may have an earlier time, because a clock was corrected. They are
    read twice, so that none is missed.
    """
    first = begin + 1 if begin < span.unordered else max(span.near_end, begin + 1)
    (late,) = conn.execute(
        "select min(seq) filter (where recorded_at >= ?) from"
        " (select visible.seq, recorded_at from visible"
        " cross join events not indexed on events.seq = visible.seq"
        " where filter = ? and visible.seq between ? and ? order by visible.seq limit ?)",
        (until, filter_, first, span.last, AROUND),
    ).fetchone()
    if late is None or late > place:
        return None
    (before,) = conn.execute(
        "select coalesce(max(seq), ?) from visible where filter = ? and seq between ? and ?",
        (begin, filter_, begin + 1, late - 1),
    ).fetchone()
    return int(before)
