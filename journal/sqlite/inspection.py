"""What the file of a journal holds in clear, and what no key of it opens.

It reads the file only, without the lock: a service may use it.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from core.errors import Unavailable

from ..reads import SealedRows, UnsealedCount
from ..records import SEALED_TABLES, SealedParts, Unsealed
from ..seal import Kind, Opener, PeriodKeys
from . import unsealed
from .read_only import open_read_only
from .schema import errors_named

#: The step of the schema that brought the marks of rows in clear.
_MARKS = "m022_unsealed_rows"


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed rows whose keys are missing."""

    rows: Mapping[Unsealed, int]
    #: The pending deliveries of each sink, by the keys that their events need.
    owed: Mapping[str, Mapping[SealedParts, int]]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a journal by table."""

    in_clear: Mapping[Unsealed, int]
    #: Sealed rows whose key is missing and was not destroyed, or is another one.
    without_key: Mapping[Unsealed, int]
    #: Whether dedupe keys need keys of the key file.
    seals_dedupe: bool


def needs_newer_keys(path: Path, lacks: Callable[[Kind, int], bool]) -> bool:
    """Return whether the newest rows need a key that is missing. `lacks` tests for one.

    Raises Unavailable and Broken.
    """
    with errors_named(path), _reading(path) as conn:
        return (
            conn is not None
            and _had_keys(conn)
            and any(
                lacks(*part)
                for table in SEALED_TABLES
                for part in unsealed.newest_parts(conn, table)
            )
        )


def find_lost(path: Path, lacks: Callable[[Kind, int], bool]) -> Lost | None:
    """Return the rows that cannot be opened; None: there are none. `lacks` tests for a key.

    Raises Unavailable and Broken.
    """
    with errors_named(path), _reading(path) as conn:
        # Most journals without a key file are in clear: looking at all their rows takes seconds.
        if conn is None or not _had_keys(conn):
            return None
        rows = {table: _count_lost(conn, table, lacks, None) for table in SEALED_TABLES}
        return Lost(rows=rows, owed=unsealed.owed(conn)) if any(rows.values()) else None


def find_rows(
    path: Path, lacks: Callable[[Kind, int], bool], keys: PeriodKeys | None
) -> Rows | None:
    """Return the rows in clear, and those without a key; None: there is no journal.

    `lacks` tests for a key; None for `keys`: the keys that are there are not tried. Raises
    Unavailable, also if an older version made the journal, and Broken.
    """
    with errors_named(path), _reading(path) as conn:
        if conn is None:
            return None
        made = "select 1 from _sqlite_migrations where name = ?"
        if not _knows(conn, made, _MARKS) or conn.execute(made, (_MARKS,)).fetchone() is None:
            raise Unavailable(f"an older version made {path}; start the service to upgrade it")
        return Rows(
            in_clear={table: _count_clear(conn, table) for table in Unsealed},
            without_key={table: _count_lost(conn, table, lacks, keys) for table in SEALED_TABLES},
            seals_dedupe=unsealed.seals_dedupe(conn),
        )


def may_be_in_clear(path: Path) -> bool:
    """Return whether rows may be in clear: those from before the journal had keys are not sealed.

    It looks at no row. Raises Unavailable and Broken.
    """
    with errors_named(path), _reading(path) as conn:
        return conn is not None and (not _had_keys(conn) or unsealed.is_marked(conn))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection that only reads; None: there is no journal."""
    if not path.exists() or path.stat().st_size == 0:
        yield None
        return
    with contextlib.closing(open_read_only(path)) as conn:
        yield conn


def _had_keys(conn: sqlite3.Connection) -> bool:
    """Return whether the journal was ever opened with keys: it may have sealed rows."""
    had_keys, name = "select 1 from meta where name = ?", unsealed.HAS_KEYS
    return _knows(conn, had_keys, name) and conn.execute(had_keys, (name,)).fetchone() is not None


def _knows(conn: sqlite3.Connection, sql: str, *values: str) -> bool:
    """Return whether the schema has what the SQL names."""
    try:
        conn.execute(f"{sql} limit 1", values)
    except sqlite3.OperationalError:
        return False
    return True


def _count_clear(conn: sqlite3.Connection, table: Unsealed) -> int:
    count = 0
    place: int | None = 0
    while place is not None:
        part = unsealed.count(conn, UnsealedCount(table, place))
        count, place = count + part.count, part.next_place
    return count


def _count_lost(
    conn: sqlite3.Connection,
    table: Unsealed,
    lacks: Callable[[Kind, int], bool],
    keys: PeriodKeys | None,
) -> int:
    (identity,) = conn.execute("select value from meta where name = 'identity'").fetchone()
    opener = Opener(keys, journal=identity)
    count = 0
    place: int | None = 0
    while place is not None:
        part = unsealed.sealed_rows(conn, SealedRows(table, place, keys is not None), opener)
        count, place = count + part.count_lost(lacks), part.next_place
    return count
