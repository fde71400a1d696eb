"""One statement for many rows: each statement releases the GIL, and then waits for it."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from types import NoneType
from typing import Any

# Each returns the value itself. Without an adapter, sqlite3 looks for a method of these values, and
# makes an exception because there is none: a tenth of the time to write an event.
sqlite3.register_adapter(NoneType, dict[None, None]().get)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)
# Even so, an adapted value takes four times as long as one that needs no adapter: a number, a text
# or a bytearray. Rows of callbacks have hardly any others.

Row = Sequence[object]
#: The numbers of rows of a statement. Each number is a statement of its own, and all of them stay
#: prepared: more numbers take more memory. More rows are split: 23 rows are 16 and 7. A statement
#: for more rows, filled up with nulls, takes up to twice as long.
_SIZES = (*range(1, 9), 16, 32)
_MOST = max(_SIZES)
#: For each number of rows up to `_MOST`, the largest size that it fills.
_FILLED = [max((size for size in _SIZES if size <= rows), default=0) for rows in range(_MOST + 1)]
#: The kinds of statements here, each in all sizes, and all others.
CACHED_STATEMENTS = 50 * len(_SIZES)
#: Whether a delivery is ours. A later start that opened the file owns all deliveries.
OWNED = "owner = ? and owner = (select max(id) from starts)"
_DELIVER = f"""
    update deliveries set state = 'delivered', attempts = ?, due_at = null,
                          scheduled_at = null, owner = null,
                          ordering = iif(?, null, ordering)
    where id in ($rows) and {OWNED} and attempts = ?
    returning id
"""  # noqa: S608 - our words
_RESULTS = """
    insert into sinks (name, failing_since, last_success_at, last_error_at, last_error, last_status)
    values $rows
    on conflict do update set
      failing_since = {failing_since},
      last_success_at = coalesce(excluded.last_success_at, last_success_at),
      last_error = iif(excluded.last_error_at is null, last_error, excluded.last_error),
      last_status = iif(excluded.last_error_at is null, last_status, excluded.last_status),
      last_error_at = coalesce(excluded.last_error_at, last_error_at)
"""
_FAILED = _RESULTS.format(failing_since="coalesce(failing_since, excluded.failing_since)")
_SUCCEEDED = _RESULTS.format(failing_since="excluded.failing_since")
_ADD = """
    insert into counters (name, value) values $rows
    on conflict do update set value = value + excluded.value
"""


def insert(conn: sqlite3.Connection, into: str, rows: Sequence[Row], more: str = "") -> None:
    """Insert rows into a table, or into `table (columns)`. Roll back if it raises.

    `more`: further values of each row, as SQL.

    A statement for each row, or executemany, is slower. `or fail` leaves the rows before the one
    that fails. Without it SQLite copies each page before it changes it, and from 64 KB of copies
    on into a temporary file for each statement: a fifth of the time to write an event.
    """
    for part in _parts(rows):
        sql = f"insert or fail into {into} values $rows"  # noqa: S608 - our words
        sql = _statement(sql, len(part[0]), len(part), more)
        conn.execute(sql, [*chain.from_iterable(part)])


def search(conn: sqlite3.Connection, wanted: str, sql: str, rows: Collection[Row]) -> list[Any]:
    """Run `sql`, which reads `rows` as the table `wanted`, such as `wanted(source, key)`."""
    sql = f"with {wanted} as (values $rows) {sql}"
    return [
        found
        for part in _parts([*rows])
        for found in conn.execute(
            _statement(sql, len(part[0]), len(part)), [*chain.from_iterable(part)]
        )
    ]


def deliver(
    conn: sqlite3.Connection, ids: Sequence[int], *, owner: int, attempts: int, forgets: bool
) -> set[int]:
    """Mark the owner's deliveries with that many attempts as delivered; return their ids.

    `forgets`: their `ordering` becomes null.
    """
    return {
        id_
        for part in _parts([(one,) for one in ids])
        for (id_,) in conn.execute(
            _statement(_DELIVER, 1, len(part)),
            [attempts + 1, forgets, *chain.from_iterable(part), owner, attempts],
        )
    }


def add(conn: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Add to the counters of those names."""
    for part in _parts([*changes.items()]):
        conn.execute(_statement(_ADD, 2, len(part)), [*chain.from_iterable(part)])


def note_results(conn: sqlite3.Connection, rows: Sequence[Row], *, succeeded: bool) -> None:
    """Store the newest results of sinks. `succeeded`: an older time of failure ends."""
    for part in _parts(rows):
        sql = _statement(_SUCCEEDED if succeeded else _FAILED, len(part[0]), len(part))
        conn.execute(sql, [*chain.from_iterable(part)])


def _parts(rows: Sequence[Row]) -> Sequence[Sequence[Row]]:
    parts, begin = [], 0
    while left := len(rows) - begin:
        end = begin + _FILLED[min(left, _MOST)]
        parts.append(rows[begin:end])
        begin = end
    return parts


@cache
def _statement(sql: str, width: int, count: int, more: str = "") -> str:
    """Return `sql` with slots for `count` rows in place of `$rows`."""
    row = f"({', '.join([*'?' * width, *filter(None, [more])])})"
    return sql.replace("$rows", ", ".join([row] * count))
