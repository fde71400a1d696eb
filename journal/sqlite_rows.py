"""Many rows, one statement: each lets another thread go on, and then has to wait for it."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache

Row = Sequence[object]
#: Rows a statement. Few shapes, so that each stays prepared; what is too few is filled up.
_SHAPES = (1, 4, 16, 64)


def insert(conn: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Rows whose first value is not null. One by one, or by executemany, is slower."""
    for part in _parts(rows):
        sql = _insertion(table, len(part[0]), len(part))
        conn.execute(sql, [value for row in part for value in row])


def owners(
    conn: sqlite3.Connection, keys: Sequence[tuple[str, bytes]]
) -> dict[tuple[str, bytes], tuple[int, str]]:
    """The events, as (seq, id), of those keys, as (source, key), that are known."""
    return {
        (source, key): (seq, id_)
        for part in _parts(keys)
        for source, key, seq, id_ in conn.execute(
            _search(len(part)), [value for one in part for value in one]
        )
    }


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), _SHAPES[-1]):
        part = rows[begin : begin + _SHAPES[-1]]
        shape = next(shape for shape in _SHAPES if shape >= len(part))
        filler = (None,) * len(part[0])
        yield [*part, *[filler] * (shape - len(part))]


@cache
def _insertion(table: str, width: int, shape: int) -> str:
    values = _values(width, shape)
    if shape == 1:
        return f"insert into {table} values {values}"  # noqa: S608 - our names
    return f"insert into {table} select * from (values {values}) where column1 is not null"  # noqa: S608 - our names


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
