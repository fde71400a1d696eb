"""Copies a journal into one file, also while a service uses it, and checks such a file."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from .read_only import open_read_only
from .schema import DiskFull, errors_named

#: Pages of one step. Each step is written to disk before the next one: the commits of the service
#: wait for data that waits for the same disk.
_STEP = 256


class NotABackup(Exception):
    """The file is not a whole journal."""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a copy of a journal."""

    bytes: int
    events: int
    #: Pending deliveries.
    pending: int
    #: Acceptance of the newest event, in seconds since the epoch; None: there is no event.
    newest_at: float | None
    #: Whether its version could erase content on request.
    knows_erasures: bool


def copy(
    journal: Path, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> None:
    """Copy a journal into the empty file `target`.

    The copy has every commit before the call. A service may write meanwhile: the copy reads in one
    transaction, so the write-ahead log keeps the state of its beginning. `progress` is called with
    the copied pages and all pages. Raises Unavailable and OSError.
    """
    try:
        _copy(journal, target, progress)
    except DiskFull as exc:
        cause = exc.__cause__
        if isinstance(cause, OSError) or getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL":
            # Only the copy is written.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from exc
        raise


def _copy(journal: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    with (
        errors_named(journal),
        contextlib.closing(open_read_only(journal)) as source,
        _syncing(target) as sync,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as made,
    ):
        # Until it is complete and checked, the file does not count.
        made.execute("pragma journal_mode = off")
        made.execute("pragma synchronous = off")
        source.execute("begin")
        # The first read determines the state.
        source.execute("select count(*) from sqlite_schema").fetchone()

        def stepped(_status: int, left: int, whole: int) -> None:
            sync()
            progress(whole - left, whole)

        source.backup(made, pages=_STEP, progress=stepped)
        # A file with a log cannot be read from a read-only disk.
        made.execute("pragma journal_mode = delete")
        sync()


def check(path: Path, name: str = "") -> Contents:
    """Read the whole file and compare its tables and indexes.

    Raises NotABackup, WrongJournal for a file that is no database, and Unavailable. They name the
    path, or `name`.
    """
    name = name or str(path)
    with errors_named(path, name), contextlib.closing(open_read_only(path)) as conn:
        (verdict,) = conn.execute("pragma integrity_check(1)").fetchone()
        if verdict != "ok":
            raise NotABackup(f"{name} is damaged: {verdict}")
        made = conn.execute("select count(*) from sqlite_schema where name = 'counters'")
        if made.fetchone() == (0,):
            raise NotABackup(f"{name} is a database, but not a journal of smshook")
        (events,) = conn.execute("select count(*) from events").fetchone()
        (pending,) = conn.execute(
            "select value from counters where name = 'deliveries.pending'"
        ).fetchone()
        (erasing,) = conn.execute(
            "select count(*) from pragma_table_info('events') where name = 'erased_at'"
        ).fetchone()
        newest = conn.execute("select recorded_at from events order by seq desc limit 1").fetchone()
    return Contents(
        bytes=path.stat().st_size,
        events=events,
        pending=pending,
        newest_at=None if newest is None else newest[0],
        knows_erasures=bool(erasing),
    )


@contextlib.contextmanager
def _syncing(path: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that writes the file to disk.

    SQLite's own locks of the file end with the context, so it contains the connections.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield lambda: os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
