"""Many rows, one statement."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache

Row = Sequence[object]
#: Rows a statement. Few shapes, so that each stays prepared.
_SHAPES = (64, 16, 4, 1)


def insert(conn: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Several rows a statement: executemany is a fifth slower."""
    for part in _parts(rows):
        sql = _insertion(table, len(part[0]), len(part))
        conn.execute(sql, [value for row in part for value in row])


def owners(
    conn: sqlite3.Connection, keys: Sequence[tuple[str, bytes]]
) -> dict[tuple[str, bytes], tuple[int, str]]:
    """The events, as (seq, id), of those keys, as (source, key), that are known.

    All in few statements: each lets another thread go on, and has to wait for it again.
    """
    return {
        (source, key): (seq, id_)
        for part in _parts(keys)
        for source, key, seq, id_ in conn.execute(
            _search(len(part)), [value for one in part for value in one]
        )
    }


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    done = 0
    for shape in _SHAPES:
        while len(rows) - done >= shape:
            yield rows[done : done + shape]
            done += shape


@cache
def _insertion(table: str, width: int, shape: int) -> str:
    return f"insert into {table} values {_values(width, shape)}"  # noqa: S608 - our names


@cache
def _search(shape: int) -> str:
    return f"""
        with wanted(source, key) as (values {_values(2, shape)})
        select keys.source, keys.key, events.seq, events.id
        from wanted cross join keys on keys.source = wanted.source and keys.key = wanted.key
        join events on events.seq = keys.event
    """  # noqa: S608 - question marks


def _values(width: int, shape: int) -> str:
    one = f"({', '.join('?' * width)})"
    return ", ".join([one] * shape)
