"""Batches of writes, each in one transaction. They run in the one thread that writes."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from core.errors import Broken, InvalidRow, Unavailable

from ..actor import SERVICE, Actor
from ..decide import DECIDED, Decided, decide, find_needs
from ..feed import Committed
from ..seal import Opener, Sealer
from ..writes import (
    ChangeFilters,
    ForgetCalls,
    HideCredentials,
    IndexVisible,
    KeepFigures,
    LineNumber,
    OnBehalf,
    RenewOrders,
    SealStored,
    Shift,
    Touch,
    Write,
)
from . import consumers, event_search, orders, subscriptions, unsealed, visible
from .audit import VERBS as AUDIT
from .audit import AuditBatch, AuditWriter
from .bulk import add
from .calls import CallsOfBatch, forget
from .changes import write
from .credentials import hide, log_is_in_clear, mark_log_clean
from .errors import error_name, judged
from .files import JournalFiles
from .look_up import look_up
from .outbox import VERBS, Outbox, Shifting
from .retention import VERBS as RETENTION

#: Bytes of a page in the write-ahead log (sqlite.org/fileformat2.html, 4.1).
_FRAME = 4096 + 24
#: Sizes of the log, in bytes. At the first one it is written back. At the second one its file is
#: truncated, too; until then SQLite uses its space again, and a sync that does not change the size
#: of the file takes less processor time. A step later it is tried again.
CHECKPOINT_AT, TRUNCATE_AT = 1_500 * _FRAME, 2_500 * _FRAME
CHECKPOINT_STEP = 100 * _FRAME
#: Milliseconds that a transaction waits for another process.
BUSY_MS = 1_000
#: For writes of the service itself: the actor, and no request for the number of the audit line.
_BY_SERVICE: tuple[Actor, LineNumber | None] = (SERVICE, None)


class BatchWriter:
    """Writes batches, each in one transaction, through one connection.

    It also checkpoints the log: SQLite's automatic checkpoint does not report a failed fsync.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        start: int,
        files: JournalFiles | None = None,
        filters: visible.ById | None = None,
        opener: Opener | None = None,
        audit: AuditWriter | None = None,
    ) -> None:
        """`filters` are those that `visible.configure` returned; they are changed.

        `opener` opens sealed rows. New rows are stored in clear if it is no Sealer. `audit` None:
        there is no audit log.
        """
        self._conn, self._start, self._files = conn, start, files
        self._filters: visible.ById = {} if filters is None else filters
        self._opener = Opener(None, journal="") if opener is None else opener
        self._audit = audit
        self._sealer = self._opener if isinstance(self._opener, Sealer) else None
        self._checkpoint_at = CHECKPOINT_AT
        #: Whether the last batch with changes succeeded.
        self.working = True
        self._shifts: Mapping[int, Shifting] = {}
        self._committed: list[Committed] = []
        #: Truncate the log at the next checkpoint: it holds secrets that the tables no longer hold.
        self._log_in_clear = False
        #: The functions of the writes that need more than the connection.
        self._own: Mapping[type, Callable[[Any], Any]] = {
            ChangeFilters: lambda op: visible.change(self._conn, self._filters, op),
            HideCredentials: self._hide_credentials,
            RenewOrders: self._renew_orders,
            SealStored: lambda op: unsealed.seal(self._conn, op, self._sealer),
        }

    def write(self, ops: Sequence[Write[Any]]) -> list[Any]:
        """Write the operations durably and return their results, or raise and store nothing."""
        before = self._conn.total_changes
        outbox = self._outbox()
        audit = None if self._audit is None else self._audit.begin()
        actors = [(op.actor, op.line) if type(op) is OnBehalf else _BY_SERVICE for op in ops]
        ops = [op.write if type(op) is OnBehalf else op for op in ops]
        try:
            self._conn.execute("begin immediate")
            calls = CallsOfBatch(self._conn, ops)
            ops = calls.writes
            outbox.deliver(ops)
            results: list[Any] = []
            for end, op in enumerate(ops, 1):
                # Operations after a clock jump have times of the new clock: a jump ends a part.
                if isinstance(op, Shift) or end == len(ops):
                    part = slice(len(results), end)
                    results += self._apply(ops[part], actors[part], outbox, audit)
            outbox.flush()
            if audit is not None:
                audit.add_ended(outbox.given_up, results)
                audit.flush(ops, results)
            calls.store(results)
            # Leave out counters that stay the same: a `Take` without a result costs no fsync.
            add(self._conn, {name: n for name, n in outbox.counts.items() if n})
            outbox.forget_ended()
            self._conn.execute("commit")
        except Exception as exc:
            # Catch any error, also MemoryError: an open transaction would fail the next batch.
            verdict = judged(exc)
            self._give_up(ops, verdict)
            raise verdict from exc
        # On a full disk, a batch that changes nothing still succeeds.
        self.working = self.working or self._conn.total_changes > before
        self._shifts = outbox.shifts
        if self._audit is not None and audit is not None:
            self._audit.take(audit)
        self.look()
        committed = outbox.committed()
        if committed is not None:
            self._committed.append(committed)
        return results

    def _outbox(self) -> Outbox:
        return Outbox(self._conn, self._start, self._shifts, self._opener, self._sealer)

    def take_committed(self) -> Sequence[Committed]:
        """Return the news of the commits since the last call. Not while a batch is written."""
        committed, self._committed = self._committed, []
        return committed

    def _apply(
        self,
        ops: Sequence[Write[Any]],
        actors: Sequence[tuple[Actor, LineNumber | None]],
        outbox: Outbox,
        audit: AuditBatch | None,
    ) -> list[Any]:
        """Decide and write the writes of `decide`, then apply the others in their order."""
        decisions = iter(self._decide(ops, outbox, audit))
        results: list[Any] = []
        for op, (actor, line) in zip(ops, actors, strict=True):
            result: Any = None
            if type(op) in DECIDED:
                result = next(decisions)
            elif type(op) in _OF_OUTBOX:
                result = _OF_OUTBOX[type(op)](outbox, op)
            elif type(op) in _UPKEEP:
                result = _UPKEEP[type(op)](self._conn, op)
            elif type(op) in self._own:
                result = self._own[type(op)](op)
            elif audit is not None and type(op) in AUDIT:
                result = AUDIT[type(op)](audit, op, actor)
            if audit is not None:
                before = audit.frontier.size
                result = audit.add_write(op, result, actor)
                if line is not None:
                    line.n = audit.last_line(before, result)
            results.append(result)
        return results

    def _decide(
        self, ops: Sequence[Write[Any]], outbox: Outbox, audit: AuditBatch | None
    ) -> Sequence[Any]:
        """Write the changes of the writes of `decide`, and return their results."""
        decided = cast("list[Decided]", [op for op in ops if type(op) in DECIDED])
        if not decided:
            return ()
        looked_up = look_up(self._conn, find_needs(decided), self._opener)
        changes, made = decide(decided, looked_up, owner=self._start)
        write(self._conn, changes, self._sealer)
        visible.follow(self._conn, self._filters, changes.api_keys)
        outbox.announce(changes)
        for name, count in changes.counts.items():
            outbox.counts[name] += count
        return made if audit is None else audit.add_changes(changes, made)

    def _renew_orders(self, op: RenewOrders) -> bool:
        return self._sealer is not None and orders.renew(self._conn, op, self._sealer)

    def _hide_credentials(self, op: HideCredentials) -> bool:
        left = hide(self._conn, op.hidden, op.limit)
        if not left:
            left = self._log_in_clear = log_is_in_clear(self._conn)
        return left

    def _give_up(self, ops: Sequence[Write[Any]], verdict: Exception) -> None:
        """Store nothing of a batch that failed. Raises Broken if its transaction stays open."""
        self.working = isinstance(verdict, InvalidRow) and self.working
        if isinstance(verdict, Broken):
            return
        try:
            if self._conn.in_transaction:
                self._conn.execute("rollback")
        except sqlite3.Error as exc:
            # An open transaction would include the next batch, so nothing more may be written.
            raise Broken(error_name(exc)) from exc
        if not isinstance(verdict, InvalidRow):
            # Later writes have instants of the new clock, even if its first step failed.
            failed = self._outbox()
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

    def empty_log(self) -> bool:
        """Write the log back and cut it off; return whether that was possible.

        Raises Broken or Unavailable.
        """
        done = checkpoint(self._conn, "truncate")
        if done:
            unsealed.mark_log_empty(self._conn)
        self.look()
        return done

    def checkpoint(self) -> bool:
        """Write the log back into the file; return whether all of it was written.

        Raises Broken. After other failures it is tried again when the log has grown.
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
    """Write the log back into the file; return whether all of it was written.

    `passive` waits for no reader and keeps the size of the log file. `truncate` truncates it if no
    reader needs it. Raises Broken or Unavailable.
    """
    conn.execute("pragma busy_timeout = 0")  # callbacks wait for this
    try:
        busy, pages, written = conn.execute(f"pragma wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as exc:
        raise judged(exc) from exc
    finally:
        conn.execute(f"pragma busy_timeout = {BUSY_MS}")
    return bool(not busy and pages == written)


def _keep_figures(conn: sqlite3.Connection, op: KeepFigures) -> None:
    conn.execute("insert or replace into figures values (?, ?)", (op.at, op.counted))
    conn.execute("delete from figures where at < ?", (op.before,))


def _touch(conn: sqlite3.Connection, _op: Touch) -> None:
    # SQLite does not compare the values: it writes the page.
    conn.execute("update counters set value = value where name = 'events'")


#: The function for each write that changes deliveries, or what counts them.
_OF_OUTBOX: Mapping[type, Callable[[Outbox, Any], Any]] = {**VERBS, **RETENTION}
#: The function for each write that concerns the journal itself, consumers or subscriptions.
_UPKEEP: Mapping[type, Callable[[sqlite3.Connection, Any], Any]] = {
    Touch: _touch,
    ForgetCalls: forget,
    KeepFigures: _keep_figures,
    IndexVisible: lambda conn, op: visible.fill(conn, op.limit) or event_search.fill(conn),
    **consumers.VERBS,
    **subscriptions.VERBS,
}
