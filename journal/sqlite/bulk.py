"""Many rows, one statement: each lets another thread go on, and then has to wait for it."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
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


def deliver(conn: sqlite3.Connection, ids: Sequence[int], *, owner: int, attempts: int) -> set[int]:
    """Deliveries that were taken by that start, and tried so often, are delivered; which were."""
    return {
        id_
        for part in _parts([(one,) for one in ids])
        for (id_,) in conn.execute(
            _delivery(len(part)), [attempts + 1, *(id_ for (id_,) in part), owner, attempts]
        )
    }


def add(conn: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Add to the counters of those names."""
    if changes:
        cases = [value for change in changes.items() for value in change]
        conn.execute(_counting(len(changes)), [*cases, *changes])


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


@cache
def _delivery(shape: int) -> str:
    return f"""
        update deliveries set state = 'delivered', attempts = ?, due_at = null,
                              scheduled_at = null, owner = null
        where id in ({", ".join("?" * shape)}) and owner = ? and attempts = ? and state = 'sending'
        returning id
    """  # noqa: S608 - question marks


@cache
def _counting(size: int) -> str:
    return f"""
        update counters set value = value + case name {" ".join(["when ? then ?"] * size)} end
        where name in ({", ".join("?" * size)})
    """  # noqa: S608 - question marks


def _values(width: int, shape: int) -> str:
    one = f"({', '.join('?' * width)})"
    return ", ".join([one] * shape)
