"""Statements for many rows. Each statement releases the GIL, and then waits for it again."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

Row = Sequence[object]
#: Rows a statement. Few shapes, so that each stays prepared; missing rows are filled up with nulls.
_SHAPES = (1, 4, 16, 64)


def insert(conn: sqlite3.Connection, into: str, rows: Sequence[Row]) -> None:
    """Insert rows into a table, or into `table (columns)`; no row may begin with null.

    One by one, or by executemany, is slower.
    """
    for part in _parts(rows):
        conn.execute(_insertion(into, len(part[0]), len(part)), [*chain.from_iterable(part)])


def search(conn: sqlite3.Connection, wanted: str, sql: str, rows: Collection[Row]) -> list[Any]:
    """Run `sql`, which reads `rows` as the table `wanted`, such as `wanted(source, key)`."""
    return [
        found
        for part in _parts([*rows])
        for found in conn.execute(
            _search(wanted, sql, len(part[0]), len(part)), [*chain.from_iterable(part)]
        )
    ]


def deliver(conn: sqlite3.Connection, ids: Sequence[int], *, owner: int, attempts: int) -> set[int]:
    """Mark deliveries as delivered that the owner took, and tried that often; return their ids."""
    return {
        id_
        for part in _parts([(one,) for one in ids])
        for (id_,) in conn.execute(
            _delivery(len(part)), [attempts + 1, *chain.from_iterable(part), owner, attempts]
        )
    }


def add(conn: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Add to the counters of those names."""
    if changes:
        cases = [*chain.from_iterable(changes.items())]
        conn.execute(_counting(len(changes)), [*cases, *changes])


def _parts(rows: Sequence[Row]) -> Sequence[Sequence[Row]]:
    if len(rows) < 2:  # noqa: PLR2004 - most have no row or one
        return [rows] if rows else ()
    parts = []
    for begin in range(0, len(rows), _SHAPES[-1]):
        part = rows[begin : begin + _SHAPES[-1]]
        shape = next(shape for shape in _SHAPES if shape >= len(part))
        parts.append([*part, *[(None,) * len(part[0])] * (shape - len(part))])
    return parts


@cache
def _insertion(into: str, width: int, shape: int) -> str:
    values = _values(width, shape)
    if shape == 1:
        return f"insert into {into} values {values}"  # noqa: S608 - our names
    return f"insert into {into} select * from (values {values}) where column1 is not null"  # noqa: S608 - our names


@cache
def _search(wanted: str, sql: str, width: int, shape: int) -> str:
    return f"with {wanted} as (values {_values(width, shape)}) {sql}"


@cache
def _delivery(shape: int) -> str:
    return f"""
        update deliveries set state = 'delivered', attempts = ?, due_at = null,
                              scheduled_at = null, owner = null
        where id in ({", ".join("?" * shape)}) and owner = ? and attempts = ?
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
