"""The conditions that were reported as events, in SQLite."""

import sqlite3
from collections.abc import Collection, Sequence

from msgspec.structs import astuple

from ..reads import Conditions
from ..records import StoredCondition

_COLUMNS = StoredCondition.__struct_fields__


def put(conn: sqlite3.Connection, changed: Collection[StoredCondition], forget: float) -> None:
    """Store conditions. If there are some, remove those that were cleared before `forget`."""
    if not changed:
        return
    conn.execute("delete from conditions where cleared_at < ?", (forget,))
    conn.executemany(
        f"insert or replace into conditions ({', '.join(_COLUMNS)})"  # noqa: S608 - our words
        f" values ({', '.join('?' * len(_COLUMNS))})",
        [astuple(one) for one in changed],
    )


def stored(conn: sqlite3.Connection, _read: Conditions) -> Sequence[StoredCondition]:
    rows = conn.execute(
        f"select {', '.join(_COLUMNS)} from conditions order by raised_at, name, subject"  # noqa: S608 - our words
    )
    return [StoredCondition(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
