"""Batches of writes, each one transaction, in the one thread that writes."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from core.errors import Broken, InvalidRow, Unavailable

from ..decide import DECIDED, Decided, decide, find_needs
from ..feed import Committed
from ..writes import HideCredentials, IndexVisible, Shift, Touch, Write
from . import event_search, visible
from .bulk import add
from .changes import write
from .credentials import hide, log_is_in_clear, mark_log_clean
from .errors import error_name, judged
from .files import JournalFiles
from .look_up import look_up
from .outbox import Outbox, Shifting

#: Bytes of a page in the write-ahead log (sqlite.org/fileformat2.html, 4.1).
_FRAME = 4096 + 24
#: How large the log grows until it is written back, and how much further until the next time.
#: A log of the second size is cut off, too: until then its space is used again.
CHECKPOINT_AT, TRUNCATE_AT = 2_000 * _FRAME, 4_000 * _FRAME
CHECKPOINT_STEP = 500 * _FRAME
#: Milliseconds that a transaction waits for another process.
BUSY_MS = 1_000


class BatchWriter:
    """Writes batches, each in one transaction, through one connection.

    It also checkpoints the log: SQLite's automatic checkpoint does not report a failed fsync.
    """

    def __init__(
        self, conn: sqlite3.Connection, start: int, files: JournalFiles | None = None
    ) -> None:
        self._conn, self._start, self._files = conn, start, files
        self._checkpoint_at = CHECKPOINT_AT
        #: Whether the last batch with changes was written.
        self.working = True
        self._shifts: Mapping[int, Shifting] = {}
        self._committed: list[Committed] = []
        #: Truncate the log at the next checkpoint: it has secrets that no table has any more.
        self._log_in_clear = False

    def write(self, ops: Sequence[Write[Any]]) -> list[Any]:
        """Write the operations durably and return their results, or raise and store nothing."""
        before = self._conn.total_changes
        outbox = Outbox(self._conn, self._start, self._shifts)
        try:
            self._conn.execute("begin immediate")
            outbox.deliver(ops)
            results: list[Any] = []
            for end, op in enumerate(ops, 1):
                # Operations after a clock jump have times of the new clock: it ends a part.
                if isinstance(op, Shift) or end == len(ops):
                    results += self._apply(ops[len(results) : end], outbox)
            outbox.flush()
            # Counters that stay the same are left out: a `Take` without a result costs no fsync.
            add(self._conn, {name: n for name, n in outbox.counts.items() if n})
            self._conn.execute("commit")
        except Exception as exc:
            # Any error, MemoryError too: an open transaction would fail the next batch.
            verdict = judged(exc)
            self._give_up(ops, verdict)
            raise verdict from exc
        # A batch that changes nothing is committed on a full disk too.
        self.working = self.working or self._conn.total_changes > before
        self._shifts = outbox.shifts
        self.look()
        committed = outbox.committed()
        if committed is not None:
            self._committed.append(committed)
        return results

    def take_committed(self) -> Sequence[Committed]:
        """Return the news of the commits since the last call. Not while a batch is written."""
        committed, self._committed = self._committed, []
        return committed

    def _apply(self, ops: Sequence[Write[Any]], outbox: Outbox) -> list[Any]:
        """Decide and write what can be decided, then apply the rest in its order."""
        decided = cast("list[Decided]", [op for op in ops if type(op) in DECIDED])
        decisions: Iterator[Any] = iter(())
        if decided:
            looked_up = look_up(self._conn, find_needs(decided))
            changes, made = decide(decided, looked_up, owner=self._start)
            write(self._conn, changes)
            outbox.announce(changes)
            for name, count in changes.counts.items():
                outbox.counts[name] += count
            decisions = iter(made)
        results: list[Any] = []
        for op in ops:
            result: Any = None
            if type(op) in DECIDED:
                result = next(decisions)
            elif isinstance(op, Touch):
                # SQLite does not compare: the page is written.
                self._conn.execute("update counters set value = value where name = 'events'")
            elif isinstance(op, HideCredentials):
                result = hide(self._conn, op.hidden, op.limit)
                if not result:
                    result = self._log_in_clear = log_is_in_clear(self._conn)
            elif isinstance(op, IndexVisible):
                result = visible.fill(self._conn, op.limit) or event_search.fill(self._conn)
            else:
                result = outbox.apply(op)
            results.append(result)
        return results

    def _give_up(self, ops: Sequence[Write[Any]], verdict: Exception) -> None:
        """Store nothing of a batch that failed. Raises Broken if its transaction stays open."""
        self.working = isinstance(verdict, InvalidRow) and self.working
        if isinstance(verdict, Broken):
            return
        try:
            if self._conn.in_transaction:
                self._conn.execute("rollback")
        except sqlite3.Error as exc:
            # An open transaction would include the next batch, so nothing may be written any more.
            raise Broken(error_name(exc)) from exc
        if not isinstance(verdict, InvalidRow):
            # Later writes have instants of the new clock, also if its first step failed.
            failed = Outbox(self._conn, self._start, self._shifts)
            for op in ops:
                if isinstance(op, Shift):
                    failed.begin_shift(op)
            self._shifts = failed.shifts

    # --- the files ------------------------------------------------------------------------

    @property
    def log_size(self) -> int:
        """Bytes of the write-ahead log at the last check of the files."""
        return 0 if self._files is None else self._files.log_size

    @property
    def has_to_checkpoint(self) -> bool:
        return self._log_in_clear or self.log_size >= self._checkpoint_at

    def look(self) -> None:
        """Raise Broken if a file of the journal is not where it was."""
        if self._files is not None:
            self._files.check()

    def write_back(self) -> None:
        """Empty the log, before the connection is closed. Raises Broken or Unavailable."""
        checkpoint(self._conn, "truncate")

    def checkpoint(self) -> bool:
        """Write the log back into the file; return whether it starts over.

        Raises Broken. Other failures are tried again when the log has grown.
        """
        cut_off = self._log_in_clear or self.log_size >= TRUNCATE_AT
        try:
            done = checkpoint(self._conn, "truncate" if cut_off else "passive")
            if done and self._log_in_clear:
                mark_log_clean(self._conn)
        except Broken:
            raise
        except Unavailable:
            done = False
        self._log_in_clear = False  # if it is not done, the next HideCredentials asks again
        self.look()
        self._checkpoint_at = max(CHECKPOINT_AT, self.log_size + CHECKPOINT_STEP)
        return done


def checkpoint(conn: sqlite3.Connection, mode: str) -> bool:
    """Write the log back into the file; return whether all was. Raises Broken or Unavailable.

    `passive` waits for nobody and leaves the file of the log as long as it is. `truncate` cuts it
    off if no reader needs it.
    """
    conn.execute("pragma busy_timeout = 0")  # callbacks wait behind this
    try:
        busy, pages, written = conn.execute(f"pragma wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as exc:
        raise judged(exc) from exc
    finally:
        conn.execute(f"pragma busy_timeout = {BUSY_MS}")
    return bool(not busy and pages == written)
