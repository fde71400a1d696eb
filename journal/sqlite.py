"""The journal in a SQLite file: the default, for one machine."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from . import (
    Arrival,
    Kept,
    KeptDelivery,
    KeptOrder,
    Order,
    Owed,
    Page,
    Placed,
    Planned,
    Quarantine,
    Quarantined,
    Recorded,
    Rejection,
    Replayed,
    SinkRecord,
    Stats,
    TokenUse,
    Wanted,
    WantedDeliveries,
    WantedOrders,
    sqlite_deliveries,
    sqlite_orders,
    sqlite_read,
)
from .commit import GroupCommit
from .event import Attempt, Delivery, State
from .sqlite_open import WrongJournal, begin, errors_named, has_wal_reset_race, migrate
from .sqlite_orders import Cancel, Expire, Place
from .sqlite_outbox import (
    Arrange,
    BringForward,
    Clamp,
    Hold,
    Pause,
    Probe,
    Replay,
    Resume,
    Retry,
    Settle,
    Shift,
    Take,
)
from .sqlite_read import Reader
from .sqlite_write import BatchWriter, Dismiss, Keep, Note, Op, Record, Reject, Result, Touch

__all__ = ["SQLiteJournal", "WrongJournal", "has_wal_reset_race", "migrate"]


class SQLiteJournal:
    """One thread owns the one connection that writes and checkpoints; all others only read."""

    def __init__(
        self,
        path: Path,
        conn: sqlite3.Connection,
        *,
        identity: str,
        start: int,
        thread: ThreadPoolExecutor,
        broken: Callable[[], None],
    ) -> None:
        self._conn, self._thread, self._reader = conn, thread, Reader(path)
        self._writer = BatchWriter(conn, start)
        self._commits: GroupCommit[Op, Result] = GroupCommit(
            self._writer.write, thread=thread, broken=broken
        )
        self.identity = identity

    @staticmethod
    async def open(
        path: Path,
        *,
        seal: str,
        now: float,
        version: str,
        broken: Callable[[], None] = lambda: None,
    ) -> "SQLiteJournal":
        """Open or make it, bring its schema up to date, and count this start.

        The caller holds the lock. `seal` is derived from the secret the journal's keys are made
        with: another one than the journal was made with raises WrongJournal, a file that cannot be
        opened Unavailable. `broken` is called once, when nothing may be written any more.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

        def opened() -> "SQLiteJournal":
            with errors_named(path):
                conn, start, identity = begin(path, seal=seal, now=now, version=version)
            return SQLiteJournal(
                path, conn, identity=identity, start=start, thread=thread, broken=broken
            )

        try:
            return await asyncio.get_running_loop().run_in_executor(thread, opened)
        except BaseException:
            thread.shutdown()
            raise

    @property
    def waiting(self) -> int:
        return self._commits.waiting

    @property
    def broken(self) -> bool:
        return self._commits.broken

    @property
    def working(self) -> bool:
        return self._writer.working

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
        return cast("asyncio.Future[bool]", self._commits.submit(op, patient=True))

    def take(
        self, sink: str, *, fresh: bool, limit: int, now: float
    ) -> "asyncio.Future[Sequence[Delivery]]":
        return cast(
            "asyncio.Future[Sequence[Delivery]]",
            self._commits.submit(Take(sink, fresh, limit, now)),
        )

    def probe(self, sink: str, *, after: int = 0) -> "asyncio.Future[Sequence[Delivery]]":
        return cast("asyncio.Future[Sequence[Delivery]]", self._commits.submit(Probe(sink, after)))

    def bring_forward(
        self, sink: str, *, limit: int, now: float
    ) -> "asyncio.Future[Sequence[int]]":
        return cast(
            "asyncio.Future[Sequence[int]]", self._commits.submit(BringForward(sink, limit, now))
        )

    def hold(self, ids: Sequence[int]) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(Hold(tuple(ids)), patient=True))

    def shift(
        self,
        number: int,
        by: float,
        *,
        limit: int,
        then: Callable[[bool | Exception], None] = lambda _outcome: None,
    ) -> "asyncio.Future[bool]":
        future = self._commits.submit(
            Shift(number, by, limit), then=cast("Callable[[Result | Exception], None]", then)
        )
        return cast("asyncio.Future[bool]", future)

    def clamp(
        self, sink: str, *, now: float, longest: float, asked: float
    ) -> "asyncio.Future[int]":
        return cast("asyncio.Future[int]", self._commits.submit(Clamp(sink, now, longest, asked)))

    def replay(
        self,
        event_id: str,
        owed: Sequence[Owed],
        *,
        at: float,
        then: Callable[[Replayed | Exception | None], None],
    ) -> "asyncio.Future[Replayed | None]":
        future = self._commits.submit(
            Replay(event_id, tuple(owed), at),
            then=cast("Callable[[Result | Exception], None]", then),
        )
        return cast("asyncio.Future[Replayed | None]", future)

    def retry(self, delivery_id: int, *, now: float) -> "asyncio.Future[State | None]":
        return cast("asyncio.Future[State | None]", self._commits.submit(Retry(delivery_id, now)))

    def pause(self, sink: str, *, by: str, at: float) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(Pause(sink, by, at)))

    def resume(self, sink: str, *, by: str | None = None) -> "asyncio.Future[bool]":
        return cast("asyncio.Future[bool]", self._commits.submit(Resume(sink, by)))

    def arrange(self, sink: str, *, ordered_by: str | None) -> "asyncio.Future[int]":
        return cast("asyncio.Future[int]", self._commits.submit(Arrange(sink, ordered_by)))

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
        self, planned: Planned, *, then: Callable[[Recorded | Exception | None], None]
    ) -> "asyncio.Future[Recorded | None]":
        future = self._commits.submit(
            Expire(planned), then=cast("Callable[[Result | Exception], None]", then)
        )
        return cast("asyncio.Future[Recorded | None]", future)

    def reject(self, rejections: Sequence[Rejection]) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._commits.submit(Reject(tuple(rejections))))

    # --- reading --------------------------------------------------------------------------

    def note(self, moment: str, at: float) -> "asyncio.Future[None]":
        return cast("asyncio.Future[None]", self._commits.submit(Note(moment, at)))

    async def moment(self, name: str) -> float | None:
        return await self._reader.ask(lambda conn: sqlite_read.moment(conn, name))

    async def next_due(self, sink: str, *, fresh: bool) -> float | None:
        return await self._reader.ask(
            lambda conn: sqlite_deliveries.next_due(conn, sink, fresh=fresh)
        )

    async def stats(self) -> Stats:
        return await self._reader.ask(sqlite_read.stats)

    async def owed(self) -> Mapping[str, int]:
        return await self._reader.ask(sqlite_deliveries.owed)

    async def events(
        self, wanted: Wanted, *, after: int | None, limit: int, desc: bool
    ) -> Page[bytes]:
        return await self._reader.ask(
            lambda conn: sqlite_read.events(conn, wanted, after=after, limit=limit, desc=desc)
        )

    async def event(self, event_id: str) -> Kept | None:
        return await self._reader.ask(lambda conn: sqlite_read.event(conn, event_id))

    async def deliveries(
        self, wanted: WantedDeliveries, *, after: int | None, limit: int, desc: bool
    ) -> Page[KeptDelivery]:
        return await self._reader.ask(
            lambda conn: sqlite_deliveries.deliveries(
                conn, wanted, after=after, limit=limit, desc=desc
            )
        )

    async def delivery(self, delivery_id: int) -> KeptDelivery | None:
        return await self._reader.ask(lambda conn: sqlite_deliveries.delivery(conn, delivery_id))

    async def sinks(self) -> Mapping[str, SinkRecord]:
        return await self._reader.ask(sqlite_deliveries.sinks)

    async def orders(
        self, wanted: WantedOrders, *, after: int | None, limit: int, desc: bool
    ) -> Page[Order]:
        return await self._reader.ask(
            lambda conn: sqlite_orders.orders(conn, wanted, after=after, limit=limit, desc=desc)
        )

    async def order(self, order_id: str) -> KeptOrder | None:
        return await self._reader.ask(lambda conn: sqlite_orders.order(conn, order_id))

    async def open_orders(self, *, since: float) -> Sequence[Order]:
        return await self._reader.ask(lambda conn: sqlite_orders.open_orders(conn, since=since))

    async def callback(self, event_id: str) -> Arrival | None:
        return await self._reader.ask(lambda conn: sqlite_read.callback(conn, event_id))

    async def quarantined(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[Quarantine]:
        return await self._reader.ask(
            lambda conn: sqlite_read.quarantined(conn, after=after, limit=limit, desc=desc)
        )

    async def quarantined_one(self, quarantine_id: str) -> Quarantine | None:
        return await self._reader.ask(lambda conn: sqlite_read.quarantined_one(conn, quarantine_id))

    async def rejections(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[tuple[int, Rejection]]:
        return await self._reader.ask(
            lambda conn: sqlite_read.rejections(conn, after=after, limit=limit, desc=desc)
        )

    async def token_uses(self) -> Sequence[TokenUse]:
        return await self._reader.ask(sqlite_read.token_uses)

    async def close(self) -> None:
        """Write what waits, checkpoint, let go.

        A broken journal is left as it is: its file is not touched again by this process, which
        must end by `os._exit` (closing the connection would checkpoint).
        """
        await self._commits.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._reader.close)
        if not self.broken:
            await loop.run_in_executor(self._thread, self._conn.close)
        self._thread.shutdown()
