"""Seals rows that were stored in clear, in small steps beside the work of the service.

Rules that live here: a row gets the key of its own time, so it lives no longer than before. If that
key is destroyed already, the row is erased. Keys are made before the writer needs them: it would
wait for the disk, and callbacks with it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
import structlog

from core.clock import WallClock
from core.errors import Broken, Unavailable
from journal import Journal
from journal.keyring import Keyring
from journal.reads import Read, SealedRows, UnsealedCount, UnsealedTimes
from journal.records import SEALED_TABLES, RowsByKey, RowsInClear, Unsealed
from journal.seal import Kind
from journal.writes import SealStored

from .credentials import HeaderCredentials, hide_stored_credentials
from .steps import Steps

#: A part of a count.
Part = TypeVar("Part", RowsInClear, RowsByKey)
#: Rows of one step, while other writes come, while none comes, and in a stopped journal.
_BUSY_ROWS, _IDLE_ROWS, _STOPPED_ROWS = 20, 200, 1000

log = structlog.get_logger()


class SealRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run over all rows. Times are seconds since the epoch; counts are by table."""

    started_at: float
    #: None: it is under way.
    ended_at: float | None = None
    #: Rows in clear when it began.
    found: Mapping[Unsealed, int] = {}
    #: Rows that it sealed so far.
    sealed: Mapping[Unsealed, int] = {}
    #: Rows with a key that was destroyed already: what it would have sealed is erased.
    erased: Mapping[Unsealed, int] = {}
    #: Why rows are still in clear; None: all are sealed, or it is under way.
    error: str | None = None


class RowSealer:
    """Seals the rows that were stored in clear, if asked, and counts them.

    `keys` None: new rows are stored in clear, too. `seal_secrets` encrypts the secrets of
    subscriptions that were stored before.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        keys: Keyring | None,
        credentials: HeaderCredentials,
        seal_secrets: Callable[[], Awaitable[None]],
        clock: WallClock,
    ) -> None:
        self._journal, self._keys, self._clock = journal, keys, clock
        self._credentials, self._seal_secrets = credentials, seal_secrets
        self._steps = Steps(journal, clock)
        self._asked = asyncio.Event()
        self._sealing = asyncio.Lock()
        #: The run under way, or the last one; None: there was no run.
        self.last: SealRun | None = None

    @property
    def is_on(self) -> bool:
        """Whether new rows are sealed."""
        return self._keys is not None

    @property
    def is_due(self) -> bool:
        """Whether a run was asked for and has not begun."""
        return self._asked.is_set()

    def start(self) -> None:
        """Make a run at once."""
        self._asked.set()

    async def run(self) -> None:
        """Say at a start how many rows are in clear. Then wait for requests, until cancelled."""
        if self._keys is None:
            return
        try:
            await self._warn()
            while True:
                await self._asked.wait()
                self._asked.clear()
                await self.seal()
        except Broken:
            return  # the service ends

    async def _warn(self) -> None:
        try:
            counts = await self.count()
        except Broken:
            raise
        except Unavailable:
            return  # `seal show` counts them, too
        if any(counts.values()):
            named = {table.value: count for table, count in counts.items()}
            log.warning("seal.rows_in_clear", **named, then="smshook seal migrate")

    async def seal(self, *, gently: bool = True) -> SealRun:
        """Seal all rows, and return the run. Raises Broken.

        `gently`: pause between two steps, so that callbacks come first.
        """
        async with self._sealing:
            self.last = run = SealRun(started_at=self._clock.now())
            error = None
            try:
                await self._seal(gently=gently)
            except Broken:
                raise
            except Unavailable as exc:
                error = str(exc)
            run = msgspec.structs.replace(self.last, ended_at=self._clock.now(), error=error)
            self.last = run
            note = log.info if error is None else log.warning
            note(
                "seal.migrated",
                sealed=sum(run.sealed.values()),
                erased=sum(run.erased.values()),
                error=error,
            )
            return run

    async def _seal(self, *, gently: bool) -> None:
        if self._keys is None:
            raise Unavailable("the journal has no keys")
        # Sealed headers could not be changed any more.
        await hide_stored_credentials(self._journal, self._credentials)
        run = SealRun(started_at=self._clock.now(), found=await self.count())
        sealed: Counter[Unsealed] = Counter()
        erased: Counter[Unsealed] = Counter()
        has_more = True
        while has_more:
            self.last = msgspec.structs.replace(run, sealed=dict(sealed), erased=dict(erased))
            # Not before the newest key: a clock that is set back must not age the rows.
            newest = max(self._keys.periods(Kind.CODES), default=0) * 60.0
            now, limit = max(self._clock.now(), newest), self._rows(gently=gently)
            for kind, times in (await self._journal.ask(UnsealedTimes(now, limit))).items():
                await asyncio.to_thread(self._keys.cover, kind, times)
            step = await self._steps.write(SealStored(now, limit), gently=gently)
            has_more = step.more
            if step.table is not None:
                sealed[step.table] += step.sealed
                erased[step.table] += step.erased
        await self._seal_secrets()
        await self._journal.empty_log()

    def _rows(self, *, gently: bool) -> int:
        if not gently:
            return _STOPPED_ROWS
        return _BUSY_ROWS if self._steps.is_busy else _IDLE_ROWS

    def _lacks(self, kind: Kind, period: int) -> bool:
        return self._keys is None or self._keys.lacks(kind, period)

    # --- counts ---------------------------------------------------------------------------

    async def count(self) -> Mapping[Unsealed, int]:
        """Return the rows of each table that are in clear. Raises Unavailable."""
        return await self._count(Unsealed, UnsealedCount, lambda part: part.count)

    async def count_without_key(self) -> Mapping[Unsealed, int]:
        """Return the sealed rows whose key is missing, not destroyed. Raises Unavailable."""
        return await self._count(
            SEALED_TABLES,
            lambda table, place: SealedRows(table, place, tests=True),
            lambda part: part.count_lost(self._lacks),
        )

    async def _count(
        self,
        tables: Iterable[Unsealed],
        read: Callable[[Unsealed, int], Read[Part]],
        count: Callable[[Part], int],
    ) -> Mapping[Unsealed, int]:
        """Count the rows of each table, part by part."""
        counts = dict.fromkeys(tables, 0)
        for table in counts:
            place: int | None = 0
            while place is not None:
                part = await self._journal.ask(read(table, place))
                counts[table] += count(part)
                place = part.next_place
                await asyncio.sleep(0)
        return counts
