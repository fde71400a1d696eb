"""Removes and erases stored data that is older than `retention`, in small steps.

Rules that live here: a step waits for callbacks. Nothing is removed while the clock may be wrong,
or soon after an upgrade without `retention`. Dedupe keys stay longer than their events. A key goes
when nothing can hold what it sealed, even if its kind is kept forever.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from math import ceil
from typing import Protocol

import msgspec
import structlog

from core.clock import AgeClock, WallClock, rfc3339
from core.delivery import ERASED, State
from core.erasure import CODES, PEOPLE
from core.errors import Broken, Unavailable
from core.paths import Path
from journal import Journal
from journal.keyring import DEDUPE
from journal.reads import Moment, PrunableCount, SealedRows
from journal.records import SEALED_TABLES, HeldDelivery, Retained
from journal.writes import ForgetPruned, LineNumber, Prune, PruneKeys, SetMoment
from sinks.worker import Worker

from ..config.kept import KEYS_EVERY, KEYS_OUTLIVE, limits, with_events
from ..config.options import Retention
from .steps import Steps

#: Seconds between two passes.
EVERY = 30.0
#: Seconds between two records of the time. A clock that is further ahead at a start is suspicious.
_NOTED_EVERY = 60.0
#: Seconds for which a kind is pruned before the next one: codes must not wait for old events.
_AT_ONCE = 15.0
#: Seconds after an upgrade in which nothing is removed, unless `retention` is configured.
AFTER_UPGRADE = 7 * 86_400.0
#: Rows of each kind in _FILLED to prune a second while other writes come: 800 callbacks a second,
#: and some more. Callbacks wait for a step, so there are no more steps than that takes.
_PACE = 850
#: Kinds that have a row of each callback.
_FILLED = (Retained.CODES, Retained.PEOPLE, Retained.RAW, Retained.EVENTS)
#: Rows of one step: the fewest, the most, and those while no other writes come. An attempt is a
#: small row.
_FEWEST, _MOST, _IDLE, _SMALL = 20, 200, 100, 10
#: The content that a kind erases.
_CONTENT: Mapping[Retained, Collection[Path]] = {Retained.CODES: CODES, Retained.PEOPLE: PEOPLE}
#: Kinds of removed data that must not stay in the log.
_SECRET = frozenset({*_CONTENT, Retained.RAW, Retained.QUARANTINE, Retained.ORDER_NUMBERS})
#: Kinds that a sealed journal has keys of.
_SEALED = _SECRET - {Retained.ORDER_NUMBERS}
#: When ages were computed last: see `AgeClock`.
AGES = Moment("retention_clock")
_UPGRADED = "upgraded_to_retention"

log = structlog.get_logger()


class PruneRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run over all kinds. Times are seconds since the epoch."""

    started_at: float
    #: None: it is under way.
    ended_at: float | None = None
    #: Removed or erased rows, by kind.
    counts: Mapping[Retained, int] = {}


class Destroys(Protocol):
    """Destroys keys of sealed content."""

    def destroy(self, kind: str, before: float) -> object:
        """Destroy the keys of content from before a time: no file and no backup opens it then.

        `kind` is that of Retained, or `dedupe`. Raises Unavailable.
        """


class Pruner:
    """Prunes the journal all the time, and at once if asked.

    `shown` returns a delivery's id for the log; `keys` are those of sealed content. `gave_up` is
    called with the sink, the id of the event and the state of each delivery that expires.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        workers: Mapping[str, Worker],
        clock: WallClock,
        shown: Callable[[int], str],
        keys: Destroys | None = None,
        gave_up: Callable[[str, str, State], None] = lambda _sink, _event, _state: None,
    ) -> None:
        self._journal, self._workers, self._clock = journal, workers, clock
        self._keys, self._gave_up = keys, gave_up
        self._is_configured, self._shown = False, shown
        #: Seconds by kind, as `use` sets them; other kinds are kept.
        self.limits: Mapping[Retained, float] = {}
        #: The kinds whose keys go after the last event that they seal.
        self._with_events: Collection[Retained] = ()
        self._ages = AgeClock(clock, None)
        #: Nothing is removed before, unless a person asks for it; None: no such time.
        self.begins_at: float | None = None
        self._keys_at = self._noted_at = float("-inf")
        self._steps = Steps(journal, clock)
        self._asked = asyncio.Event()
        self._pruning = asyncio.Lock()
        #: The run under way, or the last one; None: there was no run.
        self.last: PruneRun | None = None
        #: The number of the last line about it in the audit log.
        self._leaf: int | None = None
        #: The places to continue from, of kinds that took too long.
        self._cut_off: dict[Retained, int] = {}
        #: By kind, the time up to which all data was pruned.
        self._done: dict[Retained, float] = {}
        #: When the first run began; None: there was none.
        self._begun: float | None = None

    def use(self, retention: Retention, *, is_configured: bool) -> None:
        """Keep data as long as other options say, from the next run on."""
        self.limits, self._is_configured = limits(retention), is_configured
        self._with_events = with_events(retention)
        self._steps.apart = _FEWEST / self._pace()
        if is_configured:
            self.begins_at = None

    async def load(self) -> None:
        """Begin to count ages. Raises Unavailable."""
        self._ages = AgeClock(self._clock, await self._journal.ask(AGES))
        upgraded_at = await self._journal.ask(Moment(_UPGRADED))
        if upgraded_at == 0:
            upgraded_at = self._clock.now()
            await self._journal.submit(SetMoment(_UPGRADED, upgraded_at))
        if upgraded_at is not None and not self._is_configured:
            self.begins_at = upgraded_at + AFTER_UPGRADE

    @property
    def is_due(self) -> bool:
        """Whether a run was asked for and has not begun."""
        return self._asked.is_set()

    @property
    def wait(self) -> float:
        """Seconds until something is pruned without a request."""
        begins = 0.0 if self.begins_at is None else self.begins_at - self._ages.now()
        return max(0.0, begins, self._ages.wait)

    @property
    def postponed_until(self) -> float | None:
        """When pruning begins, in seconds since the epoch; None: it has begun."""
        return self._clock.now() + self.wait if self.wait else None

    def overdue(self) -> Mapping[Retained, float]:
        """Return the seconds by which the oldest data of each kind is too old.

        Before a kind was pruned, they count from the first run.
        """
        begun = self._ages.before(0.0) if self._begun is None else self._begun
        return {
            kind: max(0.0, self._ages.before(kept) - self._done.get(kind, begun - kept))
            for kind, kept in self.limits.items()
        }

    @property
    def has_pruned_all(self) -> bool:
        """Whether each kind was pruned since the start of the service."""
        return self._done.keys() >= self.limits.keys()

    def start(self) -> None:
        """Make a run at once, whatever the clock says: a person asked for it."""
        self._asked.set()

    async def count(self) -> Mapping[Retained, int]:
        """Return the rows that a run would remove or erase now. Raises Unavailable."""
        at = self._ages.now()
        counts: dict[Retained, int] = {}
        for kind, kept in self.limits.items():
            counts[kind], place = 0, None
            while True:
                part = await self._journal.ask(
                    PrunableCount(kind, before=self._ages.before(kept), at=at, after=place)
                )
                counts[kind] += part.count
                place = part.next_place
                if place is None:
                    break
                await asyncio.sleep(0)
        return counts

    # --- the task -------------------------------------------------------------------------

    async def run(self) -> None:
        """Prune again and again, until cancelled or until the journal is broken."""
        self._log_waits()
        try:
            while True:
                await self._note_time()
                if self._asked.is_set() or not self.wait:
                    self._asked.clear()
                    await self.prune()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await self._asked.wait()
        except Broken:
            return

    def _log_waits(self) -> None:
        if self._ages.is_ahead:
            log.warning("retention.postponed", reason="clock", seconds=round(self._ages.wait))
        if self.begins_at is not None and self.begins_at > self._ages.now():
            log.warning("retention.postponed", reason="upgrade", until=rfc3339(self.begins_at))

    async def _note_time(self) -> None:
        """Store the time once a minute. Raises Broken."""
        if self._clock.ticks() < self._noted_at + _NOTED_EVERY or self._ages.wait:
            return  # a clock that may be wrong is still suspicious after another start
        try:
            await self._journal.submit(SetMoment(AGES.name, self._ages.now()))
        except Broken:
            raise
        except Unavailable:
            return  # the next pass tries again
        self._noted_at = self._clock.ticks()

    async def prune(self, *, gently: bool = True) -> PruneRun:
        """Prune all kinds, and return the run. Raises Broken.

        `gently`: pause between two steps, so that callbacks come first.
        """
        async with self._pruning:
            self.last, self._leaf = PruneRun(started_at=self._clock.now()), None
            self._begun = self._ages.before(0.0) if self._begun is None else self._begun
            while await self._pass(gently=gently):
                await self._note_time()
            await self._prune_keys(gently=gently)
            self.last = msgspec.structs.replace(self.last, ended_at=self._clock.now())
            counts = {kind.value: count for kind, count in self.last.counts.items()}
            if counts:
                log.info("retention.pruned", **counts, leaf=self._leaf)
            return self.last

    async def _pass(self, *, gently: bool) -> bool:
        """Prune each kind for a while; return whether there is more to do."""
        has_more = is_erased = False
        for kind, kept in self.limits.items():
            before, known = self._ages.before(kept), self._counted(kind)
            if kind in _SEALED and not await self._destroy(kind.value, before):
                continue  # the next run tries again
            if await self._prune(kind, before, gently=gently):
                has_more = True
            else:
                self._done[kind] = before
            is_erased = is_erased or (kind in _SECRET and self._counted(kind) > known)
        if is_erased:
            await self._empty_log()
        return has_more

    async def _prune(self, kind: Retained, before: float, *, gently: bool) -> bool:
        """Prune a kind for at most _AT_ONCE seconds; return whether there is more to do."""
        ends = self._clock.ticks() + _AT_ONCE
        content = _CONTENT.get(kind)
        place = self._cut_off.pop(kind, None)
        while True:
            spared = () if content is None else self.spared(content)
            rows = self._rows() if gently and self._steps.is_busy else _IDLE
            line = LineNumber()
            pruned = await self._steps.write(
                Prune(
                    kind,
                    before=before,
                    at=self._clock.now(),
                    after=place,
                    limit=rows * _SMALL if kind is Retained.ATTEMPTS else rows,
                    spared=spared,
                ),
                gently=gently,
                line=line,
            )
            self._leaf = self._leaf if line.n is None else line.n
            self._count(kind, pruned.count)
            self.put_back(pruned.expired)
            self.log_expired(pruned.expired)
            if not pruned.more:
                return False
            place = pruned.place
            if self._clock.ticks() >= ends:
                self._cut_off[kind] = place
                return True

    def _rows(self) -> int:
        """Return the rows of a step beside other writes, at the pace of the last step."""
        return min(_MOST, max(_FEWEST, ceil(self._pace() * self._steps.period)))

    def _pace(self) -> int:
        """Return the rows to prune a second, of all kinds."""
        return _PACE * max(1, sum(kind in self.limits for kind in _FILLED))

    async def _prune_keys(self, *, gently: bool) -> None:
        kept = self.limits.get(Retained.EVENTS)
        if kept is None or self._clock.ticks() - self._keys_at < KEYS_EVERY:
            return
        before = self._ages.before(kept + KEYS_OUTLIVE)
        place: tuple[str, bytes] | None = ("", b"")
        while place is not None:
            pruned = await self._steps.write(PruneKeys(before, after=place), gently=gently)
            place = pruned.place
        while await self._steps.write(ForgetPruned(before), gently=gently):
            pass
        # Now no row is left that a key of that time has made.
        if not await self._destroy(DEDUPE, before):
            return
        if await self._destroy_unused(self._ages.before(kept)):
            self._keys_at = self._clock.ticks()

    async def _destroy_unused(self, before: float) -> bool:
        """Destroy keys from before a time that no stored row uses; return whether they are gone.

        Raises Broken.
        """
        if self._keys is None or not self._with_events:
            return True
        try:
            oldest = await self._oldest_in_use()
        except Broken:
            raise
        except Unavailable:
            return False  # the next run tries again
        for kind in self._with_events:
            if not await self._destroy(kind, min(before, oldest.get(kind, before))):
                return False
        return True

    async def _oldest_in_use(self) -> Mapping[str, float]:
        """Return the time of the oldest row by the kind of its keys. Raises Unavailable."""
        oldest: dict[str, float] = {}
        for table in SEALED_TABLES:
            place: int | None = 0
            while place is not None:
                part = await self._journal.ask(SealedRows(table, place))
                for kind, at in part.oldest.items():
                    oldest[kind] = min(at, oldest.get(kind, at))
                place = part.next_place
                await asyncio.sleep(0)
        return oldest

    async def _destroy(self, kind: str, before: float) -> bool:
        """Destroy the keys of old content, before its rows; return whether they are gone."""
        if self._keys is None:
            return True
        try:
            await asyncio.to_thread(self._keys.destroy, kind, before)
        except Unavailable as exc:
            log.error("retention.keys_kept", kind=kind, error=str(exc))  # noqa: TRY400 - a traceback says no more
            return False
        return True

    async def _empty_log(self) -> None:
        """Leave no erased content in the log. The next run that erases something tries again."""
        try:
            await self._journal.empty_log()
        except Broken:
            raise
        except Unavailable as exc:
            log.warning("retention.log_kept", error=str(exc))

    def _counted(self, kind: Retained) -> int:
        return 0 if self.last is None else self.last.counts.get(kind, 0)

    def _count(self, kind: Retained, count: int) -> None:
        if count and self.last is not None:
            counts = dict(self.last.counts)
            counts[kind] = self._counted(kind) + count
            self.last = msgspec.structs.replace(self.last, counts=counts)

    # --- deliveries -----------------------------------------------------------------------

    def spared(self, content: Collection[Path]) -> tuple[str, ...]:
        """Return the sinks that need nothing of that content."""
        return tuple(name for name, worker in self._workers.items() if not worker.needs(content))

    def put_back(self, deliveries: Collection[HeldDelivery]) -> None:
        """Remove deliveries from the queues of their sinks, with the content that was erased."""
        for one in deliveries:
            if (worker := self._workers.get(one.sink)) is not None:
                worker.put_back(one.id)

    def log_expired(self, expired: Collection[HeldDelivery]) -> None:
        """Log the deliveries that expired."""
        for one in expired:
            self._gave_up(one.sink, one.event_id, State.EXPIRED)
            log.warning(
                "delivery.expired",
                event_id=one.event_id,
                sink=one.sink,
                delivery_id=self._shown(one.id),
                error=ERASED,
                leaf=one.leaf,
            )
