"""Replays of many events in SQLite."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from ..reads import Counted, EventCount, FirstSinks, ReplayById, RunningReplays
from ..records import ReplayState, StoredReplay
from ..seal import Opener
from .bulk import search as find
from .event_search import hidden, search
from .paging import WINDOW, lowest_place, window
from .times import span

_COLUMNS = StoredReplay.__struct_fields__
_STORED = ", ".join(_COLUMNS)
_LISTS = ("types", "sources", "sinks")
_PUT = f"""
    insert into replays ({_STORED}) values ({", ".join("?" * len(_COLUMNS))})
    on conflict do update set state = excluded.state, place = excluded.place,
      replayed = excluded.replayed, created = excluded.created, ended_at = excluded.ended_at
"""  # noqa: S608 - our words


def put(conn: sqlite3.Connection, replays: Iterable[StoredReplay]) -> None:
    for one in replays:
        values = dict(zip(_COLUMNS, astuple(one), strict=True))
        lists = {
            name: None if values[name] is None else json.dumps(values[name]) for name in _LISTS
        }
        conn.execute(_PUT, [*(values | lists).values()])


def look_up(conn: sqlite3.Connection, ids: Collection[str]) -> Mapping[str, StoredReplay]:
    sql = f"select {_STORED} from wanted cross join replays on id = its_id"  # noqa: S608 - our words
    rows = find(conn, "wanted(its_id)", sql, [(id_,) for id_ in ids])
    return {one.id: one for one in map(_stored, rows)}


def replay(conn: sqlite3.Connection, read: ReplayById) -> StoredReplay | None:
    return look_up(conn, (read.id,)).get(read.id)


def running(conn: sqlite3.Connection, _read: RunningReplays) -> Sequence[StoredReplay]:
    rows = conn.execute(f"select {_STORED} from replays where state = 'running'")  # noqa: S608 - our words
    return sorted(map(_stored, rows), key=lambda one: (one.created_at, one.id))


def _stored(row: Sequence[Any]) -> StoredReplay:
    values = dict(zip(_COLUMNS, row, strict=True))
    lists = {
        name: None if values[name] is None else tuple(json.loads(values[name])) for name in _LISTS
    }
    return StoredReplay(**(values | lists | {"state": ReplayState(values["state"])}))


def count(conn: sqlite3.Connection, read: EventCount, opener: Opener) -> Counted:
    wanted, found = read.filter, search(conn, read.filter, opener)
    within = span(conn, read.upto, since=wanted.since, until=wanted.until)
    oldest = lowest_place(conn, "events", "seq")
    within = within.from_place(oldest)
    first, last = window(max(read.after, oldest - 1), within, desc=False, width=WINDOW)
    table, joined = found.tables
    conditions = (*found.conditions, *hidden(wanted))
    where = "".join(f" and {sql}" for sql, _ in conditions)
    values = [value for _, given in found.conditions for value in given]
    (number,) = conn.execute(
        f"select count(*) from {table}{joined} where seq between ? and ?{where}",  # noqa: S608 - our words
        (first, last, *values),
    ).fetchone()
    return Counted(count=number, next_seq=last if last < within.last else None)


def first_sinks(conn: sqlite3.Connection, read: FirstSinks) -> Mapping[int, Sequence[str]]:
    rows = conn.execute(
        "select event, sink from deliveries where replay = 0"
        " and event in (select value from json_each(?)) order by id",
        (json.dumps(read.places),),
    )
    sinks: dict[int, list[str]] = {}
    for event, sink in rows:
        sinks.setdefault(event, []).append(sink)
    return sinks
