"""Hide secrets in the headers of stored callbacks: older versions stored them in clear."""

import json
import sqlite3

import msgspec

from ..writes import Hidden
from .errors import judged

#: Table, its growing column, and the row in `meta` of the last place that may be in clear.
_PARTS = (
    ("callbacks", "id", "callbacks_in_clear"),
    ("quarantine", "seq", "quarantine_in_clear"),
)
LOG = "log_in_clear"


def hide(conn: sqlite3.Connection, hidden: Hidden, limit: int) -> bool:
    """Replace secrets in the newest `limit` rows that may hold some; return whether rows are left.

    The caller's transaction also stores the place to continue from.
    """
    for table, column, name in _PARTS:
        last = conn.execute("select value from meta where name = ?", (name,)).fetchone()
        if last is None:
            continue
        rows = conn.execute(
            f"select {column}, source, headers from {table} where {column} <= ?"  # noqa: S608 - our words
            f" order by {column} desc limit ?",
            (int(last[0]), limit),
        ).fetchall()
        for id_, source, written in rows:
            headers = tuple((key, value) for key, value in json.loads(written))
            safe = hidden(source, headers)
            if safe != headers:
                conn.execute(
                    f"update {table} set headers = ? where {column} = ?",  # noqa: S608 - our words
                    (msgspec.json.encode(safe).decode(), id_),
                )
        if len(rows) < limit:
            conn.execute("delete from meta where name = ?", (name,))
        else:
            conn.execute("update meta set value = ? where name = ?", (str(rows[-1][0] - 1), name))
        return True
    return False


def log_is_in_clear(conn: sqlite3.Connection) -> bool:
    """Return whether the write-ahead log may hold pages with secrets."""
    return conn.execute("select 1 from meta where name = ?", (LOG,)).fetchone() is not None


def mark_log_clean(conn: sqlite3.Connection) -> None:
    """Store that the log was cut off. Raises Broken or Unavailable."""
    try:
        conn.execute("delete from meta where name = ?", (LOG,))
    except sqlite3.Error as exc:
        raise judged(exc) from exc
