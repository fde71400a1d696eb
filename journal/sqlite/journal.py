"""The journal in a SQLite file: the default, for one machine."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from core.errors import Unavailable

from .. import JournalHealth
from ..actor import ACTING, SERVICE
from ..commit import CommitMeters, GroupCommit, settle
from ..facts import AuditOptions
from ..feed import CommitFeed, Committed
from ..reads import (
    Answer,
    AuditLines,
    AuditLogs,
    CallbackOfEvent,
    CallByKey,
    Checkpoints,
    Conditions,
    ConsistencyProof,
    ConsumerByName,
    Consumers,
    Counters,
    Deliveries,
    DeliveriesBriefly,
    DeliveryById,
    ErasedUpTo,
    EventById,
    EventCount,
    Events,
    EventsNaming,
    FirstSinks,
    HashesAt,
    InclusionProof,
    IsVisible,
    JournalStats,
    KeptFigures,
    KeyUses,
    KnownOrders,
    LastBalances,
    LeavesAt,
    LinesFoundBy,
    LogBeginning,
    MarksAt,
    Moment,
    Moments,
    OldestPending,
    OpenOrders,
    OrderById,
    PendingBySink,
    PrunableCount,
    QuarantinedById,
    QuarantinedCallbacks,
    QuarantinedNaming,
    Read,
    Rejections,
    ReplayById,
    RunningReplays,
    SealedRows,
    SinkRecords,
    StoredKeys,
    StoredSealed,
    Subscriptions,
    TokenUses,
    UnsealedCount,
    UnsealedTimes,
    VisibleEvents,
)
from ..seal import Opener, PeriodKeys, Sealer
from ..thread import WorkThread
from ..writes import LineNumber, OnBehalf, Result, Write
from . import (
    audit_lines,
    calls,
    conditions,
    consumers,
    deliveries,
    erasure,
    keys,
    orders,
    paging,
    queries,
    replays,
    retention,
    subscriptions,
    unsealed,
    visible,
)
from .batch import BatchWriter
from .files import JournalFiles
from .reader import Reader
from .schema import OpenedFile, begin, errors_named
from .visible import FiltersOf, no_filters

#: Bytes of the write-ahead log at which readers wait for a checkpoint. Another process may read
#: meanwhile; then the log grows by the second number before they wait again.
GATE_AT, GATE_STEP = 128 << 20, 16 << 20
#: Seconds for running reads to end before they are interrupted.
GATE_WITHIN = 1.0
#: Tries to empty the log: another checkpoint may let readers in meanwhile.
_EMPTIED = 3
#: Seconds between two checks of the files of an idle journal.
LOOK_EVERY = 1.0


class SQLiteJournal:
    """A journal in one SQLite file. One thread has the only connection that writes."""

    def __init__(
        self,
        path: Path,
        begun: OpenedFile,
        *,
        thread: WorkThread,
        broken: Callable[[], None],
        beside: Sequence[Path],
    ) -> None:
        self._conn, self._thread = begun.conn, thread
        self._writer = BatchWriter(
            *(begun.conn, begun.start, JournalFiles(path, beside), begun.filters, begun.opener),
            audit=begun.audit,
        )
        self._commits: GroupCommit[Write[Any], Any] = GroupCommit(
            self._writer.write, thread=self._thread, broken=broken, tend=self._tend
        )
        self._feed = CommitFeed()
        self._reader = Reader(path, failed=self._commits.fail)
        self.identity, self.generation = begun.identity, begun.generation
        self.opener = begun.opener
        self.sealer = begun.opener if isinstance(begun.opener, Sealer) else None
        self.seals_dedupe = begun.seals_dedupe and self.sealer is not None
        self._gate_at = GATE_AT
        self._gating: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._looked_at = time.monotonic()

    @staticmethod
    async def open(  # noqa: PLR0913 - each is a choice of the caller
        path: Path,
        *,
        seal: str,
        now: float,
        version: str,
        broken: Callable[[], None] = lambda: None,
        beside: Sequence[Path] = (),
        filters: FiltersOf = no_filters,
        keys: PeriodKeys | None = None,
        audit: AuditOptions | None = None,
    ) -> "SQLiteJournal":
        """Open or create the journal, upgrade its schema, and count this start.

        The caller holds the lock. `seal` is derived from the secret of the journal's keys. Another
        secret, or the key file of another journal, raises WrongJournal. A file that cannot be
        opened raises Unavailable (DiskFull on a full disk). A file that must not be touched again
        raises Broken.

        `broken` is called once, when nothing more may be written. `beside`: more files that must
        not move while the journal is open. `filters` takes the stored API keys and returns the
        filters of all keys; submit `IndexVisible` until it returns False. `keys` seal new rows;
        None: they are stored in clear, and sealed rows are erased. `audit`: what the audit log
        records; None: no callbacks and deliveries, all at the time `now`.
        """

        def opened() -> OpenedFile | Exception:
            try:
                with errors_named(path):
                    return begin(
                        path,
                        seal=seal,
                        now=now,
                        version=version,
                        filters=filters,
                        keys=keys,
                        audit=audit,
                    )
            except Exception as exc:  # noqa: BLE001 - the caller gets any error
                return exc

        thread = WorkThread("journal")
        opening: asyncio.Future[OpenedFile] = asyncio.get_running_loop().create_future()
        thread.run(opened, partial(settle, opening))
        try:
            begun = await opening
        except BaseException:
            thread.close()
            raise
        journal = SQLiteJournal(path, begun, thread=thread, broken=broken, beside=beside)
        journal._look()
        return journal

    # --- looking after the file -----------------------------------------------------------

    def _tend(self) -> None:
        """Announce the commits of a batch, and checkpoint if the log is large."""
        for committed in self._writer.take_committed():
            self._feed.announce(committed)
        self._looked_at = time.monotonic()
        size = self._writer.log_size
        if size >= self._gate_at and self._gating is None:
            self._gating = asyncio.get_running_loop().create_task(self._bring_back())
        elif self._writer.has_to_checkpoint:
            self._commits.run(self._writer.checkpoint).add_done_callback(_ignore)

    async def _bring_back(self) -> None:
        """Checkpoint while readers wait: as long as any reader reads, the log cannot start over."""
        try:
            async with self._reader.halted(within=GATE_WITHIN):
                done = await self._commits.run(self._writer.checkpoint)
        except Unavailable:
            done = False
        self._gate_at = GATE_AT if done else self._writer.log_size + GATE_STEP
        self._gating = None

    def _look(self) -> None:
        """Check the files of an idle journal, from now on every LOOK_EVERY seconds."""
        if self._commits.broken:
            return
        if time.monotonic() - self._looked_at >= LOOK_EVERY / 2:
            self._commits.run(self._writer.look).add_done_callback(_ignore)
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    @property
    def waiting(self) -> int:
        return self._commits.waiting

    @property
    def meters(self) -> CommitMeters:
        return self._commits.meters

    @property
    def health(self) -> JournalHealth:
        if self._commits.broken:
            return JournalHealth.BROKEN
        if self._commits.stalled:
            return JournalHealth.STALLED
        return JournalHealth.WORKING if self._writer.working else JournalHealth.FAILING

    @property
    def failure(self) -> str | None:
        return None if self._commits.failure is None else str(self._commits.failure)

    def submit(
        self,
        write: Write[Result],
        then: Callable[[Result | Exception], None] | None = None,
        *,
        line: LineNumber | None = None,
    ) -> "asyncio.Future[Result]":
        op = _on_behalf(write, line)
        return self._commits.submit(op, then=then, patient=write.patient, endless=write.endless)

    def put(
        self,
        write: Write[Result],
        answer: Callable[[Result | Exception], None],
        then: Callable[[Result | Exception], None] | None = None,
    ) -> None:
        patient, endless = write.patient, write.endless
        self._commits.put(_on_behalf(write), answer, then=then, patient=patient, endless=endless)

    def listen(
        self, callback: Callable[[Committed], None], *, sink: str | None = None
    ) -> contextlib.AbstractContextManager[None]:
        return self._feed.listen(callback, sink=sink)

    async def ask(self, read: Read[Answer]) -> Answer:
        opener, opening = self.opener, _OPENING.get(type(read))

        def answer(conn: sqlite3.Connection) -> Any:
            if opening is not None:
                return opening(conn, read, opener)
            return _ANSWERS[type(read)](conn, read)

        return cast("Answer", await self._reader.ask(answer, within=read.within))

    async def empty_log(self) -> None:
        for _ in range(_EMPTIED):
            async with self._reader.halted(within=GATE_WITHIN):
                if await self._commits.run(self._writer.empty_log):
                    return
        raise Unavailable("another process reads the journal, and the log holds erased content")

    async def close(self) -> None:
        """Write waiting operations, write the log back, and close.

        The file of a broken journal is not touched again. The process must end by `os._exit`:
        closing the connection would checkpoint.
        """
        if self._looking is not None:
            self._looking.cancel()
        if self._gating is not None:
            await asyncio.wait([self._gating])
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._reader.close)
        # Closing the connection would checkpoint, too, but not report a failed fsync.
        await self._commits.close(self._writer.write_back)
        if not self._commits.broken:
            await loop.run_in_executor(None, self._conn.close)
        self._thread.close()


def _on_behalf(write: Write[Result], line: LineNumber | None = None) -> Write[Result]:
    """Return the write with the actor of this context."""
    actor = ACTING.get()
    return write if actor is SERVICE and line is None else OnBehalf(write, actor, line)


def _ignore(done: "asyncio.Future[Any]") -> None:
    """Ignore the outcome: a fatal error reaches all callers anyway."""
    if not done.cancelled():
        done.exception()


#: The function that answers each read.
_ANSWERS: Mapping[type, Callable[[sqlite3.Connection, Any], Any]] = {
    AuditLines: audit_lines.page,
    AuditLogs: audit_lines.logs,
    CallByKey: calls.call,
    Checkpoints: audit_lines.checkpoints,
    Conditions: conditions.stored,
    ConsistencyProof: audit_lines.consistency,
    InclusionProof: audit_lines.inclusion,
    ConsumerByName: consumers.consumer,
    DeliveriesBriefly: deliveries.brief,
    Consumers: consumers.consumers,
    Counters: queries.counters,
    ErasedUpTo: erasure.erased_up_to,
    FirstSinks: replays.first_sinks,
    HashesAt: audit_lines.hashes,
    IsVisible: visible.is_visible,
    JournalStats: queries.stats,
    LogBeginning: audit_lines.beginning,
    KeyUses: keys.key_uses,
    LastBalances: queries.balances,
    LeavesAt: audit_lines.leaves,
    LinesFoundBy: audit_lines.found_by,
    MarksAt: paging.marks,
    Moment: queries.moment,
    Moments: queries.moments,
    KeptFigures: queries.figures,
    OldestPending: deliveries.oldest_pending,
    PendingBySink: deliveries.pending_by_sink,
    PrunableCount: retention.count,
    Rejections: queries.rejections,
    ReplayById: replays.replay,
    RunningReplays: replays.running,
    SinkRecords: deliveries.sinks,
    StoredKeys: keys.stored_keys,
    StoredSealed: erasure.stored_sealed,
    Subscriptions: subscriptions.subscriptions,
    TokenUses: queries.token_uses,
    UnsealedCount: unsealed.count,
    UnsealedTimes: unsealed.times,
}
#: The function that answers each read of rows with sealed parts.
_OPENING: Mapping[type, Callable[[sqlite3.Connection, Any, Opener], Any]] = {
    CallbackOfEvent: queries.callback,
    Deliveries: deliveries.deliveries,
    DeliveryById: deliveries.delivery,
    EventById: queries.event,
    EventCount: replays.count,
    Events: queries.events,
    EventsNaming: erasure.naming,
    QuarantinedNaming: erasure.quarantined_naming,
    KnownOrders: orders.orders,
    OpenOrders: orders.open_orders,
    OrderById: orders.order,
    QuarantinedById: queries.quarantined_one,
    QuarantinedCallbacks: queries.quarantined,
    SealedRows: unsealed.sealed_rows,
    VisibleEvents: queries.visible_events,
}
