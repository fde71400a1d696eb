"""Opens a journal only to read it, also while a service writes."""

import sqlite3
from pathlib import Path


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that must exist. Any thread may use the connection, one at a time.

    mode=ro: a second connection that writes or checkpoints at the same instant is how SQLite before
    3.51.3 loses its log (sqlite.org/wal.html#walresetbug). Raises sqlite3.Error.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
