"""Named readers and their places, in SQLite."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..reads import ConsumerByName, Consumers
from ..records import StoredConsumer
from ..writes import DropConsumer, MoveConsumer

_COLUMNS = "key, name, place, created_at, moved_at"
_MOVE = f"""
    insert into consumers ({_COLUMNS})
    select :key, :name, :place, :at, :at
    where exists (select 1 from consumers where key = :key and name = :name)
      or (select count(*) from consumers where key = :key) < :most
    on conflict do update set moved_at = excluded.moved_at,
      place = iif(:back, excluded.place, max(place, excluded.place))
"""  # noqa: S608 - our words


def move(conn: sqlite3.Connection, write: MoveConsumer) -> StoredConsumer | None:
    given = {"key": write.key, "name": write.name, "place": write.place, "at": write.at}
    conn.execute(_MOVE, given | {"most": write.most, "back": write.back})
    return consumer(conn, ConsumerByName(write.key, write.name))


def drop(conn: sqlite3.Connection, write: DropConsumer) -> bool:
    dropped = conn.execute(
        "delete from consumers where key = ? and name = ?", (write.key, write.name)
    )
    return dropped.rowcount > 0


#: The functions of the writes here.
VERBS: Mapping[type, Callable[[sqlite3.Connection, Any], object]] = {
    MoveConsumer: move,
    DropConsumer: drop,
}


def consumer(conn: sqlite3.Connection, read: ConsumerByName) -> StoredConsumer | None:
    row = conn.execute(
        f"select {_COLUMNS} from consumers where key = ? and name = ?",  # noqa: S608 - our words
        (read.key, read.name),
    ).fetchone()
    return None if row is None else _stored(row)


def consumers(conn: sqlite3.Connection, read: Consumers) -> Sequence[StoredConsumer]:
    rows = conn.execute(
        f"select {_COLUMNS} from consumers where key = coalesce(?, key)"  # noqa: S608 - our words
        " order by key, name",
        (read.key,),
    )
    return [_stored(row) for row in rows]


def _stored(row: tuple[Any, ...]) -> StoredConsumer:
    return StoredConsumer(**dict(zip(_COLUMNS.split(", "), row, strict=True)))
