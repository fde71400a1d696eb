"""The journal in a SQLite file: the default, for one machine."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from core.delivery import Attempt, Delivery, State
from core.errors import Unavailable
from core.order import TIME_UP, Order

from .. import Filters
from ..commit import GroupCommit
from ..reads import DeliveryFilter, EventFilter, Marks, OrderFilter, Page
from ..records import (
    AccountBalance,
    Arrival,
    Owed,
    Placed,
    Planned,
    Quarantine,
    Quarantined,
    Recorded,
    Rejection,
    Replayed,
    SinkRecord,
    Stats,
    StoredDelivery,
    StoredEvent,
    StoredOrder,
    TokenUse,
)
from ..writes import (
    Arrange,
    BringForward,
    Cancel,
    Clamp,
    Dismiss,
    Expire,
    Hidden,
    Hide,
    Hold,
    IndexVisible,
    Keep,
    Lapse,
    LogIsClean,
    Move,
    Note,
    Op,
    PauseSink,
    Place,
    Probe,
    Record,
    Reject,
    ReplayEvent,
    Result,
    ResumeSink,
    RetryDelivery,
    SetBalance,
    Settle,
    Shift,
    Take,
    Touch,
)
from . import balances as sqlite_balances
from . import deliveries as sqlite_deliveries
from . import orders as sqlite_orders
from . import paging, queries, visible
from .batch import BatchWriter
from .credentials import log_is_in_clear
from .files import JournalFiles
from .reader import Reader
from .schema import (
    DiskFull,
    OpenedFile,
    WrongJournal,
    begin,
    errors_named,
    has_wal_reset_race,
    migrate,
)
from .visible import NO_FILTERS

__all__ = ["DiskFull", "SQLiteJournal", "WrongJournal", "has_wal_reset_race", "migrate"]


#: Bytes of the write-ahead log at which readers wait until it is brought back, and how much further
#: it grows until the next time where that did not help: another process reads.
GATE_AT, GATE_STEP = 128 << 20, 16 << 20
#: Seconds that questions which are being answered have to end in.
GATE_WITHIN = 1.0
#: Seconds for what is asked once, before callbacks come.
AT_START = 60.0
#: Seconds between two looks at the files of an idle journal.
LOOK_EVERY = 1.0


class SQLiteJournal:
    """One thread owns the one connection that writes and checkpoints; all others only read."""

    def __init__(
        self,
        path: Path,
        begun: OpenedFile,
        *,
        thread: ThreadPoolExecutor,
        broken: Callable[[], None],
        beside: Sequence[Path],
    ) -> None:
        self._conn, self._thread = begun.conn, thread
        self._writer = BatchWriter(begun.conn, begun.start, JournalFiles(path, beside))
        self._commits: GroupCommit[Op, Result] = GroupCommit(
            self._writer.write, thread=thread, broken=broken, tend=self._tend
        )
        self._reader = Reader(path, failed=self._commits.fail)
        self.identity = begun.identity
        self._gate_at = GATE_AT
        self._gating: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._looked_at = time.monotonic()

    @staticmethod
    async def open(
        path: Path,
        *,
        seal: str,
        now: float,
        version: str,
        broken: Callable[[], None] = lambda: None,
        beside: Sequence[Path] = (),
        filters: Filters = NO_FILTERS,
    ) -> "SQLiteJournal":
        """Open or make it, bring its schema up to date, and count this start.

        The caller holds the lock. `seal` is derived from the secret the journal's keys are made
        with: another one than the journal was made with raises WrongJournal, a file that cannot be
        opened Unavailable (NoRoom on a full disk), one that must not be touched again Broken.
        `broken` is called once, when nothing may be written any more. `beside`: files that must
        stay where they are while it is open, as the journal's own must. `filters`: those of all API
        keys; call `index_visible` until it returns False.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

        def opened() -> OpenedFile:
            with errors_named(path):
                return begin(path, seal=seal, now=now, version=version, filters=filters)

        try:
            begun = await asyncio.get_running_loop().run_in_executor(thread, opened)
        except BaseException:
            thread.shutdown()
            raise
        journal = SQLiteJournal(path, begun, thread=thread, broken=broken, beside=beside)
        journal._look_later()
        return journal

    # --- looking after the file -----------------------------------------------------------

    def _tend(self) -> None:
        """After each flight: the log does not grow for ever."""
        self._looked_at = time.monotonic()
        size = self._writer.log_size
        if size >= self._gate_at and self._gating is None:
            self._gating = asyncio.get_running_loop().create_task(self._bring_back())
        elif self._writer.has_to_checkpoint:
            self._commits.run(self._writer.checkpoint).add_done_callback(_heard)

    async def _bring_back(self) -> None:
        """Readers that overlap would keep the log from ever starting over: they wait."""
        try:
            async with self._reader.halted(within=GATE_WITHIN):
                done = await self._commits.run(self._writer.checkpoint)
        except Unavailable:
            done = False
        self._gate_at = GATE_AT if done else self._writer.log_size + GATE_STEP
        self._gating = None

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        if self.broken:
            return
        if time.monotonic() - self._looked_at >= LOOK_EVERY / 2:
            self._commits.run(self._writer.look).add_done_callback(_heard)
        self._look_later()

    async def hide_credentials(self, hidden: Hidden, *, limit: int = 1000) -> bool:
        if await self._commits.submit(Hide(hidden, limit), patient=True):
            return True
        if not await self._reader.ask(log_is_in_clear):
            return False
        # The log still holds the pages as they were.
        if await self._commits.run(self._writer.cut_off_log):
            await self._commits.submit(LogIsClean())
            return False
        return True

    async def index_visible(self, *, limit: int = 500) -> bool:
        return bool(await self._commits.submit(IndexVisible(limit), patient=True))

    @property
    def waiting(self) -> int:
        return self._commits.waiting

    @property
    def broken(self) -> bool:
        return self._commits.broken

    @property
    def failure(self) -> str | None:
        return None if self._commits.failure is None else str(self._commits.failure)

    @property
    def stalled(self) -> bool:
        return self._commits.stalled

    @property
    def working(self) -> bool:
        return self._writer.working and not self.stalled

    def touch(self) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._commits.submit(Touch()))

    # --- writing --------------------------------------------------------------------------

    def record(
        self,
        arrival: Arrival,
        plans: Sequence[Planned],
        *,
        then: Callable[[Recorded | Exception], None],
        replaces: str | None = None,
    ) -> "asyncio.Future[Recorded]":
        future = self._commits.submit(
            Record(arrival, tuple(plans), replaces),
            then=cast("Callable[[Result | Exception], None]", then),
        )
        return cast("asyncio.Future[Recorded]", future)

    def quarantine(
        self, arrival: Arrival, *, new_id: str, fingerprint: bytes, reason: str, detail: str
    ) -> "asyncio.Future[Quarantined]":
        op = Keep(arrival, new_id, fingerprint, reason, detail)
        return cast("asyncio.Future[Quarantined]", self._commits.submit(op))

    def dismiss(self, quarantine_id: str) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(Dismiss(quarantine_id)))

    def settle(
        self,
        delivery: Delivery,
        attempt: Attempt | None,
        state: State,
        *,
        due_at: float | None,
        asked: bool = False,
        fixed: bool = False,
        held: bool = False,
    ) -> "asyncio.Future[bool]":
        op = Settle(delivery, attempt, state, due_at, asked, fixed, held)
        return cast("asyncio.Future[bool]", self._commits.submit(op, patient=True, endless=True))

    def take(
        self, sink: str, *, fresh: bool, limit: int, now: float
    ) -> "asyncio.Future[Sequence[Delivery]]":
        op = Take(sink, fresh, limit, now)
        return cast("asyncio.Future[Sequence[Delivery]]", self._commits.submit(op, endless=True))

    def probe(self, sink: str, *, after: int = 0) -> "asyncio.Future[Sequence[Delivery]]":
        op = Probe(sink, after)
        return cast("asyncio.Future[Sequence[Delivery]]", self._commits.submit(op, endless=True))

    def bring_forward(
        self, sink: str, *, limit: int, now: float
    ) -> "asyncio.Future[Sequence[int]]":
        op = BringForward(sink, limit, now)
        return cast("asyncio.Future[Sequence[int]]", self._commits.submit(op, endless=True))

    def hold(self, ids: Sequence[int]) -> "asyncio.Future[bool]":
        op = Hold(tuple(ids))
        return cast("asyncio.Future[bool]", self._commits.submit(op, patient=True, endless=True))

    def shift(
        self,
        number: int,
        by: float,
        *,
        limit: int,
        then: Callable[[bool | Exception], None] = lambda _outcome: None,
    ) -> "asyncio.Future[bool]":
        future = self._commits.submit(
            Shift(number, by, limit),
            then=cast("Callable[[Result | Exception], None]", then),
            endless=True,
        )
        return cast("asyncio.Future[bool]", future)

    def clamp(
        self, sink: str, *, now: float, longest: float, asked: float
    ) -> "asyncio.Future[int]":
        op = Clamp(sink, now, longest, asked)
        return cast("asyncio.Future[int]", self._commits.submit(op, endless=True))

    def replay(
        self,
        event_id: str,
        owed: Sequence[Owed],
        *,
        at: float,
        then: Callable[[Replayed | Exception | None], None],
    ) -> "asyncio.Future[Replayed | None]":
        future = self._commits.submit(
            ReplayEvent(event_id, tuple(owed), at),
            then=cast("Callable[[Result | Exception], None]", then),
        )
        return cast("asyncio.Future[Replayed | None]", future)

    def retry(self, delivery_id: int, *, now: float) -> "asyncio.Future[State | None]":
        return cast(
            "asyncio.Future[State | None]", self._commits.submit(RetryDelivery(delivery_id, now))
        )

    def pause(self, sink: str, *, by: str, at: float) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(PauseSink(sink, by, at)))

    def resume(self, sink: str, *, by: str | None = None) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(ResumeSink(sink, by)))

    def arrange(self, sink: str, *, ordered_by: str | None) -> "asyncio.Future[int]":
        op = Arrange(sink, ordered_by)
        return cast("asyncio.Future[int]", self._commits.submit(op, endless=True))

    def place(
        self,
        order: Order,
        end: float | None,
        *,
        then: Callable[[Placed | Exception], None] = lambda _outcome: None,
    ) -> "asyncio.Future[Placed]":
        future = self._commits.submit(
            Place(order, end), then=cast("Callable[[Result | Exception], None]", then)
        )
        return cast("asyncio.Future[Placed]", future)

    def cancel(self, order_id: str, *, at: float) -> "asyncio.Future[Order | None]":
        return cast("asyncio.Future[Order | None]", self._commits.submit(Cancel(order_id, at)))

    def expire(
        self,
        planned: Planned,
        *,
        reason: str = TIME_UP,
        at_once: bool = False,
        then: Callable[[Recorded | Exception | None], None],
    ) -> "asyncio.Future[Recorded | None]":
        future = self._commits.submit(
            Expire(planned, reason, at_once),
            then=cast("Callable[[Result | Exception], None]", then),
        )
        return cast("asyncio.Future[Recorded | None]", future)

    def lapse(self, order_id: str, *, at: float) -> "asyncio.Future[Order | None]":
        return cast("asyncio.Future[Order | None]", self._commits.submit(Lapse(order_id, at)))

    def move_orders(self, moved: Sequence[tuple[Order, Order]]) -> "asyncio.Future[None]":
        op = Move(tuple(moved))
        return cast("asyncio.Future[None]", self._commits.submit(op, endless=True))

    def set_balance(
        self,
        balance: AccountBalance,
        planned: Planned | None,
        *,
        then: Callable[[Recorded | Exception | None], None] = lambda _outcome: None,
    ) -> "asyncio.Future[Recorded | None]":
        future = self._commits.submit(
            SetBalance(balance, planned), then=cast("Callable[[Result | Exception], None]", then)
        )
        return cast("asyncio.Future[Recorded | None]", future)

    def reject(self, rejections: Sequence[Rejection]) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._commits.submit(Reject(tuple(rejections))))

    # --- reading --------------------------------------------------------------------------

    def note(self, moment: str, at: float) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._commits.submit(Note(moment, at)))

    async def moment(self, name: str) -> float | None:
        return await self._reader.ask(lambda conn: queries.moment(conn, name))

    async def next_due(self, sink: str, *, fresh: bool) -> float | None:
        return await self._reader.ask(
            lambda conn: sqlite_deliveries.next_due(conn, sink, fresh=fresh)
        )

    async def stats(self) -> Stats:
        return await self._reader.ask(queries.stats)

    async def owed(self) -> Mapping[str, int]:
        return await self._reader.ask(sqlite_deliveries.owed)

    async def events(
        self, wanted: EventFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[bytes]:
        return await self._reader.ask(
            lambda conn: queries.events(conn, wanted, after=after, limit=limit, desc=desc)
        )

    async def visible_events(
        self, shown_to: str, wanted: EventFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[bytes] | None:
        return await self._reader.ask(
            lambda conn: queries.visible_events(
                conn, shown_to, wanted, after=after, limit=limit, desc=desc
            )
        )

    async def is_visible(self, shown_to: str, event_id: str) -> bool | None:
        return await self._reader.ask(lambda conn: visible.is_visible(conn, shown_to, event_id))

    async def marks(self, kind: str, places: Sequence[int], *, desc: bool) -> Marks:
        return await self._reader.ask(lambda conn: paging.marks(conn, kind, places, desc=desc))

    async def event(self, event_id: str) -> StoredEvent | None:
        return await self._reader.ask(lambda conn: queries.event(conn, event_id))

    async def deliveries(
        self, wanted: DeliveryFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[StoredDelivery]:
        return await self._reader.ask(
            lambda conn: sqlite_deliveries.deliveries(
                conn, wanted, after=after, limit=limit, desc=desc
            )
        )

    async def delivery(self, delivery_id: int) -> StoredDelivery | None:
        return await self._reader.ask(lambda conn: sqlite_deliveries.delivery(conn, delivery_id))

    async def sinks(self) -> Mapping[str, SinkRecord]:
        return await self._reader.ask(sqlite_deliveries.sinks)

    async def orders(
        self, wanted: OrderFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[Order]:
        return await self._reader.ask(
            lambda conn: sqlite_orders.orders(conn, wanted, after=after, limit=limit, desc=desc)
        )

    async def order(self, order_id: str) -> StoredOrder | None:
        return await self._reader.ask(lambda conn: sqlite_orders.order(conn, order_id))

    async def open_orders(self, *, since: float) -> Sequence[Order]:
        return await self._reader.ask(
            lambda conn: sqlite_orders.open_orders(conn, since=since), within=AT_START
        )

    async def balances(self) -> Mapping[str, AccountBalance]:
        return await self._reader.ask(sqlite_balances.balances)

    async def callback(self, event_id: str) -> Arrival | None:
        return await self._reader.ask(lambda conn: queries.callback(conn, event_id))

    async def quarantined(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[Quarantine]:
        return await self._reader.ask(
            lambda conn: queries.quarantined(conn, after=after, limit=limit, desc=desc)
        )

    async def quarantined_one(self, quarantine_id: str) -> Quarantine | None:
        return await self._reader.ask(lambda conn: queries.quarantined_one(conn, quarantine_id))

    async def rejections(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[tuple[int, Rejection]]:
        return await self._reader.ask(
            lambda conn: queries.rejections(conn, after=after, limit=limit, desc=desc)
        )

    async def token_uses(self) -> Sequence[TokenUse]:
        return await self._reader.ask(queries.token_uses)

    async def close(self) -> None:
        """Write what waits, write the log back, let go.

        A broken journal is left as it is: its file is not touched again by this process, which
        must end by `os._exit` (closing the connection would checkpoint).
        """
        if self._looking is not None:
            self._looking.cancel()
        if self._gating is not None:
            await asyncio.wait([self._gating])
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._reader.close)
        # Not left to the closing of the connection: that keeps a failed fsync to itself.
        await self._commits.close(self._writer.write_back)
        if not self.broken:
            await loop.run_in_executor(self._thread, self._conn.close)
        self._thread.shutdown()


def _heard(done: "asyncio.Future[Any]") -> None:
    """Whoever asked has no use for the outcome: what is fatal is told to all."""
    if not done.cancelled():
        done.exception()
