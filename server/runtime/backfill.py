"""Asks providers for what callbacks did not bring: at start, after a gap, in time, on request.

What is found passes the same way as a callback: normalized, deduplicated, planned, recorded.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from core.clock import boot_ticks
from core.errors import InvalidRow, Unavailable
from core.event import SUBJECTS
from core.order import NAMES, Order
from journal import Journal
from journal.reads import EventFilter, Events, Moment
from journal.writes import SetMoment
from receiver.intake import Caller
from receiver.polling.client import PollingClient, Summary, asking
from receiver.polling.questions import Ended, FoundMessage, Known, ListedOrder
from receiver.source_state import SourceState

from .accept import Pipeline
from .balances import Balances
from .orders import Orders

#: Seconds that the first backfill of a source reaches back, and that after a gap looks at orders.
REACH = 2 * 86400.0
#: Seconds before the end of the one before: clocks differ, and providers are slow to list.
OVERLAP = 600.0
#: Events that are read to learn which orders there are, the newest first.
MOST_EVENTS = 2000
_PAGE = 500
#: Seconds that a provider may want to be left alone, at most.
LONGEST_LEFT = 86400.0
#: Seconds until it is tried again where our own journal could not take what was found.
AGAIN = 10.0
#: Seconds between two notes that we are there.
NOTED_EVERY = 10.0
#: Seconds that a look each second is not late while the machine is awake.
_ASLEEP = 30.0
#: Seconds of one sleep while a provider is left alone.
LONGEST_SLEEP = 30.0
_ALIVE = "alive"
#: The moment of the journal at which a source had last been asked for all.
_MOMENT = "backfilled/{}"

log = structlog.get_logger()


class Why(enum.StrEnum):
    """What made it ask."""

    START = "start"
    GAP = "gap"  # the service was not ready for a while
    TIMER = "timer"
    ASKED = "asked"  # by the API


class BackfillRun(msgspec.Struct, frozen=True, kw_only=True):
    """One round of questions. Times are seconds since the epoch."""

    #: Counts from 1 at each start of the service.
    number: int
    why: Why
    #: How far it looks back.
    since: float
    started_at: float
    finished_at: float | None = None
    #: Orders that it looks after.
    orders: int = 0
    #: Calls to the provider.
    asked: int = 0
    #: Of what was found.
    new: int = 0
    known: int = 0
    #: `bad_key`, `busy`, `unreadable` or `journal`; null: all was asked and understood.
    error: str | None = None
    #: Of which command, and what was wrong, without a value.
    detail: str | None = None
    #: What a person should know: `auto_check_off`, and how often.
    notices: Mapping[str, int] = {}


class Backfiller:
    """Of one source."""

    def __init__(
        self,
        gate: SourceState,
        *,
        pipeline: Pipeline,
        journal: Journal,
        orders: Orders,
        balances: Balances,
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        """`now` gives seconds since the epoch, `ticks` seconds that only go forward."""
        self._gate, self._pipeline = gate, pipeline
        self._journal, self._orders, self._now = journal, orders, now
        self._balances, self._ticks = balances, ticks
        self._every = gate.source.asking().every
        self._wanted = asyncio.Event()
        self._why = Why.START
        self._since: float | None = None
        self._numbered = 0
        self._client: PollingClient | None = None
        self._asked_before = 0
        #: By `ticks`: until when the provider wants to be left alone.
        self._left_until = float("-inf")
        #: By `ticks`: when the next round begins, and the one under way began. None: no timer.
        self._next: float | None = None
        self._began = 0.0
        #: Whether the next round looks at all orders of two days, until one has and went well.
        self._wide = True
        #: Set when the first round has ended.
        self.began = asyncio.Event()
        #: The one that is under way, else the last.
        self.last: BackfillRun | None = None
        #: The provider does not take our key: only a person's asking goes on.
        self.stopped = False

    @property
    def name(self) -> str:
        return self._gate.name

    @property
    def left_until(self) -> float | None:
        """When the provider may be asked again; None: it may be asked now."""
        left = self._left_until - self._ticks()
        return self._now() + left if left > 0 else None

    @property
    def next_at(self) -> float | None:
        """When the next round of the timer begins."""
        return None if self._next is None else self._now() + self._next - self._ticks()

    @property
    def running(self) -> bool:
        return self.last is not None and self.last.finished_at is None

    def shown(self) -> BackfillRun | None:
        """The round that is under way, as far as it is, else the last."""
        if self.last is None or self._client is None or not self.running:
            return self.last
        asked = self._client.asked - self._asked_before
        return msgspec.structs.replace(self.last, asked=asked)

    def start(self, why: Why, since: float | None = None) -> int:
        """Ask at once, or when the round that is under way has ended; the number of that round."""
        if self.stopped and why is not Why.ASKED:
            return self._numbered
        if since is not None:
            self._since = since if self._since is None else min(since, self._since)
        self._why, self.stopped, self._wide = why, False, True
        self._wanted.set()
        return self._numbered + 1

    async def run(self) -> None:
        """Ask now, and whenever it is time or somebody wants it, until cancelled."""
        async with asking(self._gate.source) as client:
            self._client = client
            self._wanted.set()
            while True:
                await self._until_wanted()
                while (left := self._left_until - self._ticks()) > 0:  # noqa: ASYNC110 - time tells nobody
                    # In pieces: a machine that sleeps stops this wait, but not `ticks`.
                    await asyncio.sleep(min(left, LONGEST_SLEEP))
                self._wanted.clear()
                await self._round(client)
                self.began.set()

    async def _until_wanted(self) -> None:
        wait = None if self._next is None else max(0.0, self._next - self._ticks())
        try:
            async with asyncio.timeout(wait):
                await self._wanted.wait()
        except TimeoutError:
            self._why = Why.TIMER

    async def _round(self, client: PollingClient) -> None:
        run, wide = self._begun(), self._wide
        self._wide = False
        try:
            self.last = run = msgspec.structs.replace(run, since=await self._reaching(run))
            known = await self._known(run, wide=wide)
            self.last = run = msgspec.structs.replace(run, orders=len(known))
            run = await self._polled(client, run, known)
        except (Unavailable, InvalidRow):
            # The journal says the rest itself; nothing was lost, it is asked for again.
            run = msgspec.structs.replace(self.last or run, error="journal", detail="not written")
        except Exception as exc:  # noqa: BLE001 - a fault of ours ends one round, and no source
            log.error("backfill.fault", source=self.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            run = msgspec.structs.replace(self.last or run, error="fault", detail="report it")
        await self._ended(run)
        if run.error is not None:
            # What it was to look at is looked at by the next.
            self._wide = self._wide or wide
            self._since = run.since if self._since is None else min(run.since, self._since)

    def _begun(self) -> BackfillRun:
        self._numbered += 1
        at, self._began = self._now(), self._ticks()
        self._next = None
        self.last = BackfillRun(
            number=self._numbered, why=self._why, since=at - REACH, started_at=at
        )
        return self.last

    async def _reaching(self, run: BackfillRun) -> float:
        """How far back it looks."""
        at = run.started_at
        wanted, self._since = self._since, None
        last = await self._journal.ask(Moment(_MOMENT.format(self.name)))
        # One that lies ahead is of a clock that was wrong: nobody knows what it missed.
        since = at - REACH if last is None or last > at else last - OVERLAP
        return since if wanted is None else min(since, wanted)

    async def _polled(
        self, client: PollingClient, run: BackfillRun, known: Sequence[Known]
    ) -> BackfillRun:
        self._asked_before = client.asked
        since, now = _utc(run.since), _utc(run.started_at)
        async for item in client.poll(known, since=since, now=now):
            if isinstance(item, Summary):
                longest = max((one.retry_after or 0.0 for one in item.errors), default=0.0)
                self._left_until = self._ticks() + min(longest, LONGEST_LEFT)
                return _summed(run, item)
            if isinstance(item, FoundMessage):
                new = await self._accepted(item)
                again = len(item.happenings) - new
                run = msgspec.structs.replace(run, new=run.new + new, known=run.known + again)
                self.last = run
            elif isinstance(item, ListedOrder):
                await self._orders.listed(self._gate, item)
            elif isinstance(item, Ended):
                await self._orders.ended(self._gate, item)
            else:
                await self._balances.said(self._gate, item)
        return run

    async def _accepted(self, found: FoundMessage) -> int:
        """Record what was found; return how many of its happenings are new."""
        caller = Caller(source=self.name, token="", request_id=self._pipeline.request_id())
        recorded = await self._pipeline.record(caller, found.callback, found.happenings)
        return sum(recorded.new)

    async def _ended(self, run: BackfillRun) -> None:
        took = self._ticks() - self._began
        run = msgspec.structs.replace(run, finished_at=self._now())
        self.stopped = run.error == "bad_key"
        if run.error is None:
            await self._remembered(run.started_at)
        again = self._ticks() + (AGAIN if run.error == "journal" else self._every)
        self._next = None if self.stopped else max(again, self._left_until)
        self.last = run
        self._say(run, took)

    async def _remembered(self, at: float) -> None:
        try:
            await self._journal.submit(SetMoment(_MOMENT.format(self.name), at))
        except Unavailable:
            return  # the next round asks for as much again

    def _say(self, run: BackfillRun, took: float) -> None:
        said = {
            "source": self.name,
            "why": run.why.value,
            "since": _utc(run.since).isoformat(timespec="seconds"),
            "asked": run.asked,
            "new": run.new,
            "known": run.known,
            "error": run.error,
            "detail": run.detail,
            "notices": dict(run.notices) or None,
            "took_ms": round(took * 1000, 1),
        }
        if run.error == "bad_key":
            log.error("backfill.finished", **said)
        elif run.error is not None or run.notices:
            log.warning("backfill.finished", **said)
        else:
            log.info("backfill.finished", **said)

    # --- what it looks after ----------------------------------------------------------------

    async def _known(self, run: BackfillRun, *, wide: bool) -> Sequence[Known]:
        """The open orders, and those that recent events name.

        A round of the timer takes those that are new since the last round. A wide one takes those
        of two days, and rentals always: a one-time request gets a single SMS, and to ask for each
        takes TellABot fifteen seconds.
        """
        reach = min(run.since, run.started_at - REACH)
        open_ = self._orders.open(self.name, since=run.since, wide=wide)
        told = [_ordered(order) for order in open_]
        recent = reach if wide else run.since
        heard = await self._heard(reach)
        subjects = {_subject(known) for known in told}
        of_events = [
            known
            for at, known in heard
            if (at >= recent or known.rental_id is not None)
            and _subject(known) not in subjects
            and (wide or not self._is_ended(known))
        ]
        return [*told, *of_events]

    def _is_ended(self, known: Known) -> bool:
        names = ((kind, getattr(known, kind)) for kind in NAMES)
        return any(name and self._orders.is_ended(self.name, kind, name) for kind, name in names)

    async def _heard(self, since: float) -> Sequence[tuple[float, Known]]:
        """What events tell of orders, each once, the newest first."""
        found: dict[str, tuple[float, Known]] = {}
        after: int | None = None
        for _ in range(MOST_EVENTS // _PAGE):
            page = await self._journal.ask(
                Events(
                    filter=EventFilter(source=(self.name,), since=since),
                    after=after,
                    limit=_PAGE,
                    desc=True,
                )
            )
            for _, body in page.items:
                event = _decode(body)
                found.setdefault(event.subject, (event.recordedtime.timestamp(), _known(event)))
            if not page.has_more:
                break
            after = page.next_seq
        return [(at, known) for at, known in found.values() if known is not _NONE]


class Backfilling:
    """All that ask, and what makes them ask: the service began, or was not ready for a while."""

    def __init__(
        self,
        backfillers: Sequence[Backfiller],
        *,
        journal: Journal,
        ready: Callable[[], bool],
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        """`now` gives seconds since the epoch, `ticks` seconds also while the machine sleeps."""
        self._backfillers = {one.name: one for one in backfillers}
        self._journal, self._ready, self._now, self._ticks = journal, ready, now, ticks

    def of(self, source: str) -> Backfiller | None:
        """None: that source has no `backfill`, or there is none of that name."""
        return self._backfillers.get(source)

    async def run(self) -> None:
        """Until cancelled."""
        if not self._backfillers:
            return
        await self._reach_back()
        async with asyncio.TaskGroup() as tasks:
            for one in self._backfillers.values():
                tasks.create_task(one.run())
            tasks.create_task(self._watch())

    async def first_rounds(self, within: float) -> None:
        """Until each source was asked once, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for one in self._backfillers.values():
                    await one.began.wait()

    async def _reach_back(self) -> None:
        """To the last moment that we are known to have been there."""
        try:
            alive = await self._journal.ask(Moment(_ALIVE))
        except Unavailable:
            return  # the rounds look back to their last ones
        if alive is None or alive > self._now():
            return
        for one in self._backfillers.values():
            one.start(Why.START, alive - OVERLAP)
        log.info("service.gap", since=_utc(alive).isoformat(timespec="seconds"))

    async def _watch(self) -> None:
        was_ready, last, noted = True, self._ticks(), float("-inf")
        while True:
            ready, at = self._ready(), self._ticks()
            # A machine that was asleep made no step here. One whose clock is set was not away.
            if ready and (not was_ready or at - last > _ASLEEP):
                for one in self._backfillers.values():
                    one.start(Why.GAP, self._now() - (at - last) - OVERLAP)
            if ready and at - noted >= NOTED_EVERY:
                await self._note_alive()
                noted = at
            was_ready, last = ready, at if ready else last
            await asyncio.sleep(1)

    async def _note_alive(self) -> None:
        with contextlib.suppress(Unavailable):
            await self._journal.submit(SetMoment(_ALIVE, self._now()))


class _OrderData(msgspec.Struct, frozen=True):
    to: str | None = None


class _OrderEvent(msgspec.Struct, frozen=True):
    subject: str
    recordedtime: datetime
    data: _OrderData


_decode = msgspec.json.Decoder(_OrderEvent).decode
#: Of an event that tells of no order.
_NONE = Known()


def _known(event: _OrderEvent) -> Known:
    kind, _, id_ = event.subject.partition("/")
    name = SUBJECTS.get(kind)
    if name not in Known.__struct_fields__:
        return _NONE
    try:
        return Known(**{name: id_}, number=event.data.to)
    except ValueError:
        return _NONE  # no id that a provider could be asked for


def _ordered(order: Order) -> Known:
    ids: dict[str, Any] = {order.kind: order.name, "number": order.number, "service": order.service}
    return Known(**ids)


def _subject(known: Known) -> tuple[str | None, ...]:
    ids = (known.request_id, known.activation_id, known.rental_id)
    return ids if any(ids) else (known.number,)


def _summed(run: BackfillRun, summary: Summary) -> BackfillRun:
    # What ended it says more than what was passed over.
    ending = [one for one in summary.errors if one.kind != "unreadable"]
    first = next(iter([*ending, *summary.errors]), None)
    notices: dict[str, int] = {}
    for notice in summary.notices:
        notices[notice.word] = notices.get(notice.word, 0) + 1
    return msgspec.structs.replace(
        run,
        asked=summary.asked,
        error=first and first.kind,
        detail=first and f"{first.command}: {first.detail}",
        notices=notices,
    )


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
