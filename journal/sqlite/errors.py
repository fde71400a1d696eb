"""Errors of SQLite, sorted by what to do."""

import sqlite3

from core.errors import Broken, InvalidRow, Unavailable

#: After one of these errors, a commit may seem to succeed without being on disk. Names may go on:
#: corruption has several (SQLITE_CORRUPT_INDEX).
FATAL = ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC", "SQLITE_CORRUPT", "SQLITE_NOTADB")


def judged(exc: Exception) -> Exception:
    """Return our error for any error: InvalidRow, Broken if it is fatal, or Unavailable."""
    if isinstance(exc, InvalidRow):
        return exc
    if isinstance(exc, sqlite3.IntegrityError | sqlite3.DataError | UnicodeError | OverflowError):
        return InvalidRow(error_name(exc))
    name = error_name(exc)
    return Broken(name) if name.startswith(FATAL) else Unavailable(name)


def error_name(exc: Exception) -> str:
    # The name only: SQLite's text may quote a value.
    return str(getattr(exc, "sqlite_errorname", None) or type(exc).__name__)
