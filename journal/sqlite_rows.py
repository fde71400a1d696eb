"""Many rows, one statement."""

import sqlite3
from collections.abc import Sequence


def insert(conn: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Several rows a statement: executemany is a fifth slower. Few shapes, so they stay cached."""
    done = 0
    for shape in (64, 16, 4, 1):
        while len(rows) - done >= shape:
            part = rows[done : done + shape]
            one = f"({', '.join('?' * len(part[0]))})"
            conn.execute(
                f"insert into {table} values {', '.join([one] * shape)}",  # noqa: S608 - our names
                [value for row in part for value in row],
            )
            done += shape
