"""Asks a provider for missed messages: at a start, after a gap, on a timer, on request.

A found message is normalized, planned and recorded like a callback.
"""

import asyncio
import contextlib
import enum
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
import structlog

from core.clock import boot_ticks, utc
from core.errors import Unavailable
from core.event import SUBJECTS
from core.order import NAMES
from journal import Journal
from journal.reads import EventFilter, Events, Moment
from journal.seal import Kind, Opening, Reason
from journal.writes import SetMoment
from receiver.intake import Caller
from receiver.polling.client import PollingClient, Summary, open_client
from receiver.polling.questions import Ended, FoundMessage, Known, ListedOrder
from receiver.source_state import SourceState

from .accept import Recorder
from .balances import Balances
from .identity import Identity
from .orders import Orders

#: Seconds that the first run of a source reaches back. A run after a gap asks for the orders of
#: the same time.
REACH = 2 * 86400.0
#: Seconds by which two runs overlap: clocks differ, and providers list messages late.
OVERLAP = 600.0
#: Newest events that are searched for orders.
MOST_EVENTS = 2000
_PAGE = 500
#: Longest Retry-After that is respected, in seconds.
LONGEST_LEFT = 86400.0
#: Seconds until the next run if the journal was unavailable.
AGAIN = 10.0
#: Seconds between two looks at the clock during a Retry-After.
LONGEST_SLEEP = 30.0
#: Why a run was not complete.
RUN_ERRORS = ("bad_key", "busy", "unreadable", "journal", "fault")
#: The journal's moment at which the last complete run of a source began.
_MOMENT = "backfilled/{}"

log = structlog.get_logger()


class Why(enum.StrEnum):
    """The cause of a run."""

    START = "start"
    GAP = "gap"  # the service was not ready for a while
    TIMER = "timer"
    ASKED = "asked"  # by the API


class BackfillRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a backfill. Times are seconds since the epoch."""

    #: Counts from 1 at each start of the service.
    number: int
    why: Why
    #: The time back to which it asks.
    since: float
    started_at: float
    finished_at: float | None = None
    #: Orders that it asks for.
    orders: int = 0
    #: Calls to the provider.
    asked: int = 0
    #: Found messages, new and already stored.
    new: int = 0
    known: int = 0
    #: One of RUN_ERRORS; null: the run was complete.
    error: str | None = None
    #: The command that failed and the reason, without values.
    detail: str | None = None
    #: Notices for a person, such as `auto_check_off`, with their number.
    notices: Mapping[str, int] = {}


class Backfiller:
    """The backfill of one source.

    `now` returns seconds since the epoch, `ticks` seconds that only go forward.
    """

    def __init__(
        self,
        state: SourceState,
        *,
        recorder: Recorder,
        journal: Journal,
        identity: Identity,
        orders: Orders,
        balances: Balances,
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        self._state, self._recorder, self._journal = state, recorder, journal
        self._identity, self._orders, self._balances = identity, orders, balances
        self._now, self._ticks = now, ticks
        self._every = state.source.polling_settings().every
        #: For the next run.
        self._latest = state
        self._wanted = asyncio.Event()
        self._why = Why.START
        self._since: float | None = None
        self._numbered = 0
        self._client: PollingClient | None = None
        self._asked_before = 0
        #: The end of the provider's Retry-After, by `ticks`.
        self._left_until = float("-inf")
        #: When the next run begins, by `ticks`. None: no run is planned.
        self._next: float | None = None
        #: When the current run began, by `ticks`.
        self._began = 0.0
        #: The next run asks for all orders of two days. Set until such a run succeeds.
        self._wide = True
        #: Set after the first run.
        self.ran = asyncio.Event()
        #: The current run, else the last.
        self.last: BackfillRun | None = None
        #: Finished runs by their error, or `complete`, and the new events that they found.
        self.outcomes: dict[str, int] = defaultdict(int)
        self.found = 0
        #: When the last complete run began; None: it is unknown, or there was none.
        self.succeeded_at: float | None = None
        #: Runs that failed since the last complete one; None: none has ended since the start.
        self.failures: int | None = None
        #: The provider rejects the key: only a request of a person starts a run.
        self.stopped = False

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def left_until(self) -> float | None:
        """The end of the provider's Retry-After; None: it may be asked now."""
        left = self._left_until - self._ticks()
        return self._now() + left if left > 0 else None

    @property
    def next_at(self) -> float | None:
        """When the timer starts the next run; None: it does not."""
        return None if self._next is None else self._now() + self._next - self._ticks()

    @property
    def running(self) -> bool:
        return self.last is not None and self.last.finished_at is None

    def shown(self) -> BackfillRun | None:
        """Return the current run with its calls so far, else the last run."""
        if self.last is None or self._client is None or not self.running:
            return self.last
        asked = self._client.asked - self._asked_before
        return msgspec.structs.replace(self.last, asked=asked)

    def start(self, why: Why, since: float | None = None) -> int:
        """Start a run now, or after the current one; return its number."""
        if self.stopped and why is not Why.ASKED:
            return self._numbered
        if since is not None:
            self._since = since if self._since is None else min(since, self._since)
        self._why, self.stopped, self._wide = why, False, True
        self._wanted.set()
        return self._numbered + 1

    def change(self, state: SourceState) -> None:
        """Use other options of the source from the next run on.

        A changed `backfill` starts a run now, or after the current one.
        """
        before, self._latest = self._latest.source, state
        if state.source.backfill != before.backfill:
            self.stopped = False
            self.start(Why.START)

    async def run(self) -> None:
        """Run now, on each timer and each request, until cancelled."""
        async with open_client(self._state.source) as client:
            self._client = client
            self._wanted.set()
            while True:
                wait = None if self._next is None else max(0.0, self._next - self._ticks())
                try:
                    async with asyncio.timeout(wait):
                        await self._wanted.wait()
                except TimeoutError:
                    self._why = Why.TIMER
                while (left := self._left_until - self._ticks()) > 0:  # noqa: ASYNC110 - time has no event
                    # In short sleeps: while the machine is asleep only `ticks` goes on.
                    await asyncio.sleep(min(left, LONGEST_SLEEP))
                self._wanted.clear()
                if self._state is not self._latest:
                    self._state = self._latest
                    self._every = self._state.source.polling_settings().every
                    client.use(self._state.source)
                await self._run_once(client)
                self.ran.set()

    async def _run_once(self, client: PollingClient) -> None:
        self._numbered += 1
        at, self._began, self._next = self._now(), self._ticks(), None
        wide, self._wide = self._wide, False
        run = BackfillRun(number=self._numbered, why=self._why, since=at - REACH, started_at=at)
        self.last = run
        try:
            last = await self._journal.ask(Moment(_MOMENT.format(self.name)))
            wanted, self._since = self._since, None
            self.succeeded_at = self.succeeded_at or last
            # A last run in the future means that the clock was wrong: any message may be missing.
            since = run.since if last is None or last > at else last - OVERLAP
            since = since if wanted is None else min(since, wanted)
            self.last = run = msgspec.structs.replace(run, since=since)
            known = await self._known_orders(run, wide=wide)
            self.last = run = msgspec.structs.replace(run, orders=len(known))
            run = await self._poll(client, run, known)
        except Unavailable:
            # The journal logs the reason. Nothing is lost: the next run asks again.
            run = msgspec.structs.replace(self.last, error="journal", detail="not written")
        except Exception as exc:  # noqa: BLE001 - a bug ends one run, not the source
            log.error("backfill.fault", source=self.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            run = msgspec.structs.replace(self.last, error="fault", detail="report it")
        await self._finish(run)
        if run.error is not None:
            # The next run asks for the same orders and the same time.
            self._wide = self._wide or wide
            self._since = run.since if self._since is None else min(run.since, self._since)

    async def _poll(
        self, client: PollingClient, run: BackfillRun, known: Sequence[Known]
    ) -> BackfillRun:
        self._asked_before = client.asked
        since, now, not_stored = utc(run.since), utc(run.started_at), 0
        async for item in client.poll(known, since=since, now=now):
            if isinstance(item, Summary):
                longest = max((one.retry_after or 0.0 for one in item.errors), default=0.0)
                self._left_until = self._ticks() + min(longest, LONGEST_LEFT)
                # The error that ended the run matters more than unreadable items.
                error = min(item.errors, key=lambda one: one.kind == "unreadable", default=None)
                kind, detail = error and error.kind, error and f"{error.command}: {error.detail}"
                if not_stored and kind in (None, "unreadable"):
                    kind, detail = "fault", f"messages not stored: {not_stored}; report it"
                return msgspec.structs.replace(
                    run,
                    asked=item.asked,
                    error=kind,
                    detail=detail,
                    notices=dict(Counter(notice.word for notice in item.notices)),
                )
            if isinstance(item, FoundMessage):
                caller = Caller(source=self.name, token="", request_id=self._identity.request_id())
                try:
                    recorded = await self._recorder.record(caller, item.callback, item.happenings)
                except Unavailable:
                    raise
                except Exception as exc:  # noqa: BLE001 - a bug costs one message, not those after it
                    name = type(exc).__name__
                    log.error("backfill.not_stored", source=self.name, error=name)  # noqa: TRY400 - a traceback shows values
                    not_stored += 1
                    continue
                new = sum(recorded.new)
                again = len(item.happenings) - new
                run = msgspec.structs.replace(run, new=run.new + new, known=run.known + again)
                self.last = run
            elif isinstance(item, ListedOrder):
                await self._orders.add_listed(self._state, item)
            elif isinstance(item, Ended):
                await self._orders.end_listed(self._state, item)
            else:
                await self._balances.update(self._state, item)
        return run

    async def _finish(self, run: BackfillRun) -> None:
        took = self._ticks() - self._began
        run = msgspec.structs.replace(run, finished_at=self._now())
        self.stopped = run.error == "bad_key"
        self.outcomes[run.error or "complete"] += 1
        self.failures = 0 if run.error is None else (self.failures or 0) + 1
        self.found += run.new
        if run.error is None:
            self.succeeded_at = run.started_at
            # If it cannot be written, the next run asks for the same time again.
            with contextlib.suppress(Unavailable):
                await self._journal.submit(SetMoment(_MOMENT.format(self.name), run.started_at))
        again = self._ticks() + (AGAIN if run.error == "journal" else self._every)
        self._next = None if self.stopped else max(again, self._left_until)
        self.last = run
        fields = {
            "source": self.name,
            "why": run.why.value,
            "since": utc(run.since).isoformat(timespec="seconds"),
            "asked": run.asked,
            "new": run.new,
            "known": run.known,
            "error": run.error,
            "detail": run.detail,
            "notices": dict(run.notices) or None,
            "took_ms": round(took * 1000, 1),
        }
        if run.error == "bad_key":
            log.error("backfill.finished", **fields)
        elif run.error is not None or run.notices:
            log.warning("backfill.finished", **fields)
        else:
            log.info("backfill.finished", **fields)

    # --- the orders it asks for ------------------------------------------------------------

    async def _known_orders(self, run: BackfillRun, *, wide: bool) -> Sequence[Known]:
        """Return the open orders, and those that recent events name.

        A run of the timer takes the orders that are new since the last run, and all rentals. A
        wide run takes all orders of two days. A one-time request gets a single SMS, and some
        providers answer slowly for each.
        """

        def is_ended(known: Known) -> bool:
            ids = [(kind, getattr(known, kind)) for kind in NAMES]
            return any(id_ and self._orders.is_ended(self.name, kind, id_) for kind, id_ in ids)

        reach = min(run.since, run.started_at - REACH)
        open_ = self._orders.open(self.name, since=run.since, wide=wide)
        registered = [
            Known(**{order.kind: order.name, "number": order.number, "service": order.service})
            for order in open_
        ]
        recent = reach if wide else run.since
        subjects = {_subject(known) for known in registered}
        of_events = [
            known
            for at, known in await self._named_in_events(reach)
            if (at >= recent or known.rental_id is not None)
            and _subject(known) not in subjects
            and (wide or not is_ended(known))
        ]
        return [*registered, *of_events]

    async def _named_in_events(self, since: float) -> Sequence[tuple[float, Known]]:
        """Return the orders that events name, each once, with the time of its newest event."""
        found: dict[str, tuple[float, Known] | None] = {}  # None: the subject is no order
        after: int | None = None
        for _ in range(MOST_EVENTS // _PAGE):
            page = await self._journal.ask(
                Events(
                    filter=EventFilter(source=(self.name,), since=since),
                    after=after,
                    limit=_PAGE,
                    desc=True,
                    opening=Opening((Kind.PEOPLE,), Reason.ORDER),
                )
            )
            for _, body in page.items:
                event = _decode(body)
                if event.subject in found:
                    continue
                found[event.subject] = None
                kind, _, id_ = event.subject.partition("/")
                name = SUBJECTS.get(kind)
                if name in Known.__struct_fields__:
                    with contextlib.suppress(ValueError):  # providers accept no such id
                        known = Known(**{name: id_}, number=event.data.to)
                        found[event.subject] = event.recordedtime.timestamp(), known
            if not page.has_more:
                break
            after = page.next_seq
        return [one for one in found.values() if one is not None]


class _OrderData(msgspec.Struct, frozen=True):
    to: str | None = None


class _OrderEvent(msgspec.Struct, frozen=True):
    subject: str
    recordedtime: datetime
    data: _OrderData


_decode = msgspec.json.Decoder(_OrderEvent).decode


def _subject(known: Known) -> tuple[str | None, ...]:
    ids = (known.request_id, known.activation_id, known.rental_id)
    return ids if any(ids) else (known.number,)
