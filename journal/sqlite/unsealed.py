"""Rows that were stored in clear: find them, count them and seal them.

A mark in `meta` is the last place of its table that may be in clear. It goes down as rows are
sealed, in the transaction that seals them, and is removed at the end. A start without keys stores
rows in clear, and sets all marks again.
"""

import itertools
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from core.erasure import CONTENT
from core.order import BY_NUMBER, OrderState
from core.secret import MASK

from ..reads import SealedRows, UnsealedCount, UnsealedTimes
from ..records import RowsByKey, RowsInClear, SealedParts, SealedStep, Unsealed
from ..seal import GONE, Kind, Opener, Sealer
from ..writes import SealStored
from . import event_search, sealed
from .erasure import AT_PLACES, has_content
from .errors import judged
from .orders import READ as READ_ORDER
from .orders import read_order

#: The row of `meta` of a journal that was opened with keys: it may have sealed rows.
HAS_KEYS: Final = "has_keys"
#: The mark of the log: it may hold pages with rows in clear.
_LOG: Final = "unsealed_log"
_ANYWHERE: Final = (1 << 63) - 1
#: Rows of one step of a count: about 20 milliseconds.
_COUNTED = 5_000
#: Rows that show whether the key file is an older copy.
_NEWEST = 100
_CLEAR_CALLBACK = "sealed is null and (headers <> '[]' or length(body) > 0)"
_SETTLED_IN_LINE = "ordering is not null and state not in ('pending', 'sending')"
_ANSWERED = (
    "exists (select 1 from {0} where {0}.delivery = deliveries.id and {0}.answer is not null)"
)
#: A value of `ordered_by` is JSON, which never ends with an equals sign. Its hash does.
_CLEAR_LINE = "ordering is not null and state in ('pending', 'sending') and ordering not like '%='"


class _Table(NamedTuple):
    """A table with rows that may be in clear. Its SQL is ours."""

    #: The key of the table, a growing integer.
    place: str
    #: Whether a row is in clear.
    clear: str


_TABLES: Mapping[Unsealed, _Table] = {
    Unsealed.EVENTS: _Table("seq", f"codes is null and people is null and {has_content(CONTENT)}"),
    Unsealed.CALLBACKS: _Table("id", _CLEAR_CALLBACK),
    Unsealed.QUARANTINE: _Table("seq", _CLEAR_CALLBACK),
    Unsealed.ORDERS: _Table(
        "seq",
        f"sealed is null and (number is not null or (kind = '{BY_NUMBER}' and name <> '{MASK}'))",
    ),
    # Answers of sinks, and values of `ordered_by`.
    Unsealed.DELIVERIES: _Table(
        "id",
        f"(({_SETTLED_IN_LINE}) or {_ANSWERED.format('attempts')} or {_ANSWERED.format('probes')})",
    ),
}


def _mark_of(table: Unsealed) -> str:
    return f"unsealed_{table}"


# --- the marks -------------------------------------------------------------------------------


def begin(conn: sqlite3.Connection, sealer: Sealer | None) -> None:
    """Set the marks for a start, in the transaction of the caller."""
    names = [*map(_mark_of, Unsealed), _LOG]
    if sealer is None:
        conn.executemany(
            "insert or replace into meta (name, value) values (?, ?)",
            [(name, str(_ANYWHERE)) for name in names],
        )
        return
    conn.execute("insert into meta values (?, '1') on conflict do nothing", (HAS_KEYS,))
    # From now on, new rows are sealed.
    conn.executemany(
        "update meta set value = cast(min(cast(value as integer), coalesce("
        " (select seq from sqlite_sequence where name = ?), 0)) as text) where name = ?",
        [(table, _mark_of(table)) for table in Unsealed],
    )
    _hash_lines(conn, sealer)


def _hash_lines(conn: sqlite3.Connection, sealer: Sealer) -> None:
    """Hash the values of `ordered_by` of pending deliveries.

    A start does it: no worker has a delivery with the value yet, and new events get its hash.
    """
    if sealer.derive("") is None:
        return  # the keys are missing: nothing is delivered
    lines = conn.execute(f"select id, ordering from deliveries where {_CLEAR_LINE}").fetchall()  # noqa: S608 - our words
    conn.executemany(
        "update deliveries set ordering = ? where id = ?",
        [(sealer.hash_line(line), id_) for id_, line in lines],
    )


def mark_log_empty(conn: sqlite3.Connection) -> None:
    """Store that the log was cut off after all rows were sealed. Raises Broken or Unavailable."""
    try:
        conn.execute(
            "delete from meta where name = :log and not exists"
            " (select 1 from meta where name like 'unsealed_%' and name <> :log)",
            {"log": _LOG},
        )
    except sqlite3.Error as exc:
        raise judged(exc) from exc


def _mark(conn: sqlite3.Connection, table: Unsealed) -> int:
    """Return the last place that may be in clear; 0: there is none."""
    row = conn.execute("select value from meta where name = ?", (_mark_of(table),)).fetchone()
    return 0 if row is None else int(row[0])


def _is_marked(conn: sqlite3.Connection, table: Unsealed) -> bool:
    row = conn.execute("select 1 from meta where name = ?", (_mark_of(table),)).fetchone()
    return row is not None


def is_marked(conn: sqlite3.Connection) -> bool:
    """Return whether rows of any table may be in clear."""
    return any(_mark(conn, table) > 0 for table in Unsealed)


class _Next(NamedTuple):
    """The next rows to look at, the newest first."""

    table: Unsealed
    #: Those in clear.
    places: Sequence[int]
    #: The place to continue from; None: this table is done.
    mark: int | None


def _next(conn: sqlite3.Connection, limit: int) -> _Next | None:
    """Return the next rows of the first table that is not done; None: all are."""
    for table, (place, clear) in _TABLES.items():
        if not _is_marked(conn, table):
            continue
        rows = conn.execute(
            f"select {place}, ({clear}) is true from {table}"  # noqa: S608 - our words
            f" where {place} <= ? order by {place} desc limit ?",
            (_mark(conn, table), limit),
        ).fetchall()
        places = [its for its, is_clear in rows if is_clear]
        return _Next(table, places, rows[-1][0] - 1 if len(rows) == limit else None)
    return None


# --- reads -----------------------------------------------------------------------------------


def times(conn: sqlite3.Connection, read: UnsealedTimes) -> Mapping[Kind, Sequence[float]]:
    """Return the times whose keys the next step needs, by kind of key."""
    following = _next(conn, read.limit)
    if following is None or not following.places:
        return {}
    kinds, sql = _TIMES[following.table]
    found = [at for (at,) in conn.execute(sql, {"places": json.dumps(following.places)})]
    return {kind: [min(at, read.now) for at in found] for kind in kinds}


_WITHOUT_CODES = (
    "select recorded_at from deliveries join events on seq = event and codes is null"  # noqa: S608 - our words
    f" where deliveries.id {AT_PLACES}"
)
#: The kinds of keys of each table, and the SQL of the times of its rows.
_TIMES: Mapping[Unsealed, tuple[Sequence[Kind], str]] = {
    Unsealed.EVENTS: (
        (Kind.CODES, Kind.PEOPLE),
        f"select recorded_at from events where seq {AT_PLACES}",  # noqa: S608 - our words
    ),
    Unsealed.CALLBACKS: ((Kind.RAW,), f"select at from callbacks where id {AT_PLACES}"),  # noqa: S608 - our words
    Unsealed.QUARANTINE: (
        (Kind.QUARANTINE,),
        f"select at from quarantine where seq {AT_PLACES}",  # noqa: S608 - our words
    ),
    Unsealed.ORDERS: ((Kind.PEOPLE,), f"select expires_at from orders where seq {AT_PLACES}"),  # noqa: S608 - our words
    # An answer is sealed with its event, if that has codes.
    Unsealed.DELIVERIES: ((Kind.CODES,), _WITHOUT_CODES),
}


def count(conn: sqlite3.Connection, read: UnsealedCount) -> RowsInClear:
    """Count the rows in clear among the next ones."""
    place, clear = _TABLES[read.table]
    mark = _mark(conn, read.table)
    rows = conn.execute(
        f"select {place}, ({clear}) is true from {read.table}"  # noqa: S608 - our words
        f" where {place} > ? and {place} <= ? order by {place} limit ?",
        (read.after, mark, _COUNTED),
    ).fetchall()
    return RowsInClear(
        count=sum(is_clear for _, is_clear in rows),
        next_place=rows[-1][0] if len(rows) == _COUNTED else None,
    )


#: The columns of the sealed parts of SEALED_TABLES, with the kind of their keys.
_PARTS: Mapping[Unsealed, Mapping[str, Kind]] = {
    Unsealed.EVENTS: {"codes": Kind.CODES, "people": Kind.PEOPLE},
    Unsealed.CALLBACKS: {"sealed": Kind.RAW},
    Unsealed.QUARANTINE: {"sealed": Kind.QUARANTINE},
    Unsealed.ORDERS: {"sealed": Kind.PEOPLE},
}
#: The time of a row in clear, whose key seals it.
_AT: Mapping[Unsealed, str] = {
    Unsealed.EVENTS: "recorded_at",
    Unsealed.CALLBACKS: "at",
    Unsealed.QUARANTINE: "at",
    Unsealed.ORDERS: "expires_at",
}


def sealed_rows(conn: sqlite3.Connection, read: SealedRows, opener: Opener) -> RowsByKey:
    """Count the sealed rows among the next ones, by their keys."""
    kinds, (place, clear) = _PARTS[read.table], _TABLES[read.table]
    # An event has the keys of its time, also for what it does not have yet.
    at = _AT[read.table]
    if read.table is not Unsealed.EVENTS:
        at = f"iif({clear}, {at}, null)"
    columns = [place, at, "id", *map(_period, kinds), *(kinds if read.tests else ())]
    rows = conn.execute(
        f"select {', '.join(columns)} from {read.table} where {place} > ? order by {place} limit ?",  # noqa: S608 - our words
        (read.after, _COUNTED),
    ).fetchall()
    counts: Counter[SealedParts] = Counter()
    unfit: Counter[SealedParts] = Counter()
    for _, _, id_, *values in rows:
        parts = _parts(kinds.values(), values[: len(kinds)])
        counts[parts] += 1
        blobs = zip(kinds.values(), values[len(kinds) :], strict=False)
        if not all(opener.fits(kind, str(id_), blob) for kind, blob in blobs if blob):
            unfit[parts] += 1
    times = [at for _, at, *_ in rows if at is not None]
    oldest = {kind: min(times) for kind in kinds.values() if times}
    for kind, period in itertools.chain(*counts):
        oldest[kind] = min(period * 60.0, oldest.get(kind, math.inf))
    return RowsByKey(
        counts=counts,
        unfit=unfit,
        oldest=oldest,
        next_place=rows[-1][0] if len(rows) == _COUNTED else None,
    )


def newest_parts(conn: sqlite3.Connection, table: Unsealed) -> SealedParts:
    """Return the keys that the newest rows of a table need."""
    kinds = _PARTS[table]
    rows = conn.execute(
        f"select {', '.join(map(_period, kinds))} from {table}"  # noqa: S608 - our words
        f" order by {_TABLES[table].place} desc limit ?",
        (_NEWEST,),
    )
    return tuple({part for row in rows for part in _parts(kinds.values(), row)})


def seals_dedupe(conn: sqlite3.Connection) -> bool:
    """Return whether the journal was made with keys: its dedupe keys need them."""
    return conn.execute("select 1 from meta where name = 'dedupe'").fetchone() is not None


def owed(conn: sqlite3.Connection) -> Mapping[str, Mapping[SealedParts, int]]:
    """Count the pending deliveries of each sink, by the keys of their events."""
    found: dict[str, Counter[SealedParts]] = {}
    kinds = _PARTS[Unsealed.EVENTS]
    pending = "deliveries.state = 'pending' and deliveries.attempts"
    for tried in ("= 0", "> 0"):  # each has its own index
        for sink, *periods in conn.execute(
            f"select sink, {', '.join(map(_period, kinds))} from deliveries"  # noqa: S608 - our words
            f" cross join events on seq = event where {pending} {tried}"
        ):
            found.setdefault(sink, Counter())[_parts(kinds.values(), periods)] += 1
    return found


def _period(column: str) -> str:
    """Return the SQL of the period of a sealed part; null: there is none, or it is erased."""
    return f"iif(length({column}) > 4, substr({column}, 2, 4), null)"


def _parts(kinds: Iterable[Kind], periods: Iterable[bytes | None]) -> SealedParts:
    return tuple(
        (kind, int.from_bytes(period))
        for kind, period in zip(kinds, periods, strict=True)
        if period is not None
    )


# --- the write -------------------------------------------------------------------------------


def seal(conn: sqlite3.Connection, op: SealStored, sealer: Sealer | None) -> SealedStep:
    """Seal the rows in clear among the next ones."""
    if sealer is None:
        return SealedStep(more=False)
    # An event without its searched fields would get those of its masks.
    if event_search.fill(conn):
        return SealedStep(more=True)
    following = _next(conn, op.limit)
    if following is None:
        return SealedStep(more=False)
    table, places, mark = following
    erased = _ACTS[table](conn, sealer, places, op.now) if places else 0
    if mark is None:
        conn.execute("delete from meta where name = ?", (_mark_of(table),))
    else:
        conn.execute("update meta set value = ? where name = ?", (str(mark), _mark_of(table)))
    return SealedStep(table=table, sealed=len(places) - erased, erased=erased, more=True)


def _seal_events(
    conn: sqlite3.Connection, sealer: Sealer, places: Sequence[int], now: float
) -> int:
    rows = conn.execute(
        f"select seq, recorded_at, {sealed.BODY} from events where seq {AT_PLACES}",  # noqa: S608 - our words
        {"places": json.dumps(places)},
    ).fetchall()
    erased = 0
    for seq, at, *columns in rows:
        its = sealer.seal_clear(sealed.stored_body(columns), min(at, now))
        erased += GONE in (its.codes, its.people)
        conn.execute(
            "update events set subject = coalesce(?, subject), body = ?, codes = ?, people = ?"
            " where seq = ?",
            (its.subject, its.body.decode(), its.codes, its.people, seq),
        )
        # The trigger leaves the number of a sealed event alone.
        conn.execute("update event_fields set number = ? where seq = ?", (its.number, seq))
    return erased


def _sealing_bytes(
    table: Unsealed, kind: Kind, *, key: str, id_: str
) -> Callable[[sqlite3.Connection, Sealer, Sequence[int], float], int]:
    """Return the function that seals callbacks of a table. `id_` is bound to the sealed part."""

    def act(conn: sqlite3.Connection, sealer: Sealer, places: Sequence[int], now: float) -> int:
        parts = [
            (
                sealer.seal_own(
                    kind, str(its_id), sealed.callback_part(headers.encode(), body), min(at, now)
                ),
                place,
            )
            for place, its_id, at, headers, body in conn.execute(
                f"select {key}, {id_}, at, headers, body from {table} where {key} {AT_PLACES}",  # noqa: S608 - our words
                {"places": json.dumps(places)},
            ).fetchall()
        ]
        conn.executemany(
            f"update {table} set headers = '[]', body = x'', sealed = ? where {key} = ?",  # noqa: S608 - our words
            parts,
        )
        return sum(part == GONE for part, _ in parts)

    return act


def _seal_orders(
    conn: sqlite3.Connection, sealer: Sealer, places: Sequence[int], now: float
) -> int:
    erased = 0
    for row in conn.execute(
        f"select {READ_ORDER} from orders where seq {AT_PLACES}",  # noqa: S608 - our words
        {"places": json.dumps(places)},
    ).fetchall():
        order = read_order(row, sealer)
        if order.state is OrderState.WAITING or order.expires_at > now:
            columns = sealed.order_columns(sealer, order)
        else:
            columns = sealed.ended_order_columns(sealer, order)
        conn.execute(
            "update orders set (name, number, sealed) = (?, ?, ?) where id = ?",
            (*columns, order.id),
        )
        erased += columns[-1] == GONE
    return erased


def _seal_deliveries(
    conn: sqlite3.Connection, sealer: Sealer, places: Sequence[int], now: float
) -> int:
    given = {"places": json.dumps(places)}
    # Older versions kept the value after the delivery was settled.
    conn.execute(
        f"update deliveries set ordering = null where id {AT_PLACES} and {_SETTLED_IN_LINE}",  # noqa: S608 - our words
        given,
    )
    erased = set()
    for table, is_probe in (("attempts", False), ("probes", True)):
        for delivery, number, answer, event_id, at, codes in conn.execute(
            f"select delivery, n, answer, events.id, recorded_at, codes from {table}"  # noqa: S608 - our words
            " join deliveries on deliveries.id = delivery join events on events.seq = event"
            f" where delivery {AT_PLACES} and answer is not null",
            given,
        ).fetchall():
            id_ = sealed.answer_id(event_id, delivery, number, probe=is_probe)
            part = (
                sealer.seal_own(Kind.CODES, id_, answer, min(at, now))
                if codes is None
                else sealer.seal_beside(Kind.CODES, id_, answer, at, codes) or GONE
            )
            conn.execute(
                f"update {table} set answer = null, sealed = ? where delivery = ? and n = ?",  # noqa: S608 - our words
                (part, delivery, number),
            )
            if part == GONE:
                erased.add(delivery)
    return len(erased)


#: Seals rows at places, and returns how many of them are erased, because their key is destroyed.
_ACTS: Mapping[Unsealed, Callable[[sqlite3.Connection, Sealer, Sequence[int], float], int]] = {
    Unsealed.EVENTS: _seal_events,
    Unsealed.CALLBACKS: _sealing_bytes(Unsealed.CALLBACKS, Kind.RAW, key="id", id_="id"),
    Unsealed.QUARANTINE: _sealing_bytes(Unsealed.QUARANTINE, Kind.QUARANTINE, key="seq", id_="id"),
    Unsealed.ORDERS: _seal_orders,
    Unsealed.DELIVERIES: _seal_deliveries,
}
