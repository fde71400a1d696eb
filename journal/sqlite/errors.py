"""Errors of SQLite, sorted by what to do."""

import sqlite3

from core.errors import Broken, InvalidRow, Unavailable

#: A commit after one of these may "succeed" without being on disk. Beginnings of names: that a
#: file is corrupt has several (SQLITE_CORRUPT_INDEX).
FATAL = ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC", "SQLITE_CORRUPT", "SQLITE_NOTADB")


def judged(exc: Exception) -> Exception:
    """Which of the three it is: this row's fault, not this time, or never again."""
    if isinstance(exc, sqlite3.IntegrityError | sqlite3.DataError | UnicodeError | OverflowError):
        return InvalidRow(error_name(exc))
    name = error_name(exc)
    return Broken(name) if name.startswith(FATAL) else Unavailable(name)


def error_name(exc: Exception) -> str:
    # The name only: SQLite's text may quote a value.
    return str(getattr(exc, "sqlite_errorname", None) or type(exc).__name__)
