"""Sources: list with their state, start a backfill."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from litestar import post
from litestar.params import FromPath

from core.clock import utc
from core.instants import Instant
from journal import Journal
from journal.reads import TokenUses
from receiver.source_state import SourceState

from ..runtime.backfill import Backfiller, Why
from ..runtime.balances import Balances
from ..runtime.keys import Access
from ..runtime.outages import Backfills
from ..runtime.rejections import RejectionCounter
from ..runtime.silence import SourceMonitor
from .auth import ApiRequest, needs
from .errors import Problem, bad_body, not_found
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors, PageAnswer, named_list
from .parameters import read_body
from .router import ApiRouter


class ShownToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token with its last use, which shows whether the provider uses the new token."""

    fingerprint: str
    current: bool
    last_used_at: datetime | None


class ShownClock(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's clock compared with the service's, by the last messages since the start."""

    #: The smallest delay from a message's timestamp to its arrival, in seconds; null: no message.
    offset: float | None
    #: How many messages were measured.
    measured: int
    #: The zone of timestamps without an offset; null if all have one.
    timezone: str | None
    #: The error of the clock, and the zone in which it would be right.
    warning: str | None


class ShownRun(msgspec.Struct, frozen=True, kw_only=True):
    """The current run of a backfill, or the last one."""

    number: int
    #: `start`, `gap`, `timer` or `asked`.
    why: str
    #: The time back to which it asks.
    since: datetime
    started_at: datetime
    #: Null while it is under way.
    finished_at: datetime | None
    #: Orders that it asks for.
    orders: int
    #: Calls to the provider.
    asked: int
    new: int
    known: int
    #: `bad_key`, `busy`, `unreadable`, `journal` or `fault`; null: the run was complete.
    error: str | None
    detail: str | None
    notices: Mapping[str, int]


class ShownBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """The polling of a source."""

    #: `running`, `waiting`, or `stopped`: the provider rejects the key.
    state: str
    #: When the next run starts.
    next_at: datetime | None
    run: ShownRun | None


class BackfillBody(msgspec.Struct, frozen=True):
    """The fields of a POST that starts a run."""

    #: The time back to which to ask; missing: the last run.
    since: Instant | None = None


class StartedBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """The number of the run that a POST started; a later one may replace it."""

    run: int


class ShownBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of the provider's account, as last reported."""

    #: Decimal digits as sent.
    amount: str
    #: ISO 4217; null if neither the provider nor the source's `currency` names one.
    currency: str | None
    at: datetime


class ShownRejections(msgspec.Struct, frozen=True, kw_only=True):
    """Callbacks of a source that were rejected for one reason in the last day."""

    reason: str
    count: int
    #: Null if there were several, and for keys without `admin`.
    peer: str | None
    last_at: datetime


class ShownSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it is listed."""

    name: str
    provider: str
    #: `waiting` until its first callback, then `receiving`; `silent` if callbacks are overdue;
    #: `polled` if it sends no callbacks.
    state: str
    labels: Mapping[str, str]
    last_callback_at: datetime | None
    #: Seconds within which a callback is expected; null: not configured.
    expect_every: float | None
    #: When the silence began.
    silent_since: datetime | None
    clock: ShownClock
    #: Null if the source has no `backfill`.
    backfill: ShownBackfill | None
    #: Null if it was never asked for, or the provider has no such command.
    balance: ShownBalance | None
    tokens: Sequence[ShownToken]
    #: Since the start of the service, at most of the last day; most first.
    rejected: Sequence[ShownRejections]


def sources(  # noqa: PLR0913 - one for each part that its calls use
    *,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    states: Mapping[str, SourceState],
    backfills: Backfills,
    balances: Balances,
    monitor: SourceMonitor,
    rejections: RejectionCounter,
    now: Callable[[], float],
) -> ApiRouter:
    async def items(access: Access) -> Mapping[str, ShownSource]:
        used = {(use.source, use.token): use.last_at for use in await journal.ask(TokenUses())}
        return {name: shown(state, used, access) for name, state in states.items()}

    def shown(
        state: SourceState, used: Mapping[tuple[str, str], float], access: Access
    ) -> ShownSource:
        source, health = state.source, state.health
        silent_since, wrong = monitor.silent_since(state), health.wrong_zone(now())
        backfiller, balance = backfills.of(state.name), balances.of(state.name)
        # Callbacks with tokens that are no longer configured count too.
        last_at = _latest(at for (name, _), at in used.items() if name == state.name)
        if source.sends_no_callbacks:
            word = "polled"
        elif silent_since is not None:
            word = "silent"
        else:
            word = "waiting" if last_at is None else "receiving"
        fingerprints = [state.tokens.fingerprint(i) for i in range(len(source.tokens))]
        return ShownSource(
            name=state.name,
            provider=str(source.__struct_config__.tag),
            state=word,
            labels=source.labels,
            last_callback_at=last_at,
            expect_every=None if source.expect_every is None else float(source.expect_every),
            silent_since=utc(silent_since),
            clock=ShownClock(
                offset=None if health.offset is None else round(health.offset, 3),
                measured=health.measured,
                timezone=getattr(source, "timezone", None),
                warning=None if wrong is None else str(wrong),
            ),
            backfill=None if backfiller is None else _backfill(backfiller),
            balance=None
            if balance is None
            else ShownBalance(amount=balance.amount, currency=balance.currency, at=utc(balance.at)),
            tokens=[
                ShownToken(
                    fingerprint=fingerprint,
                    current=i == 0,
                    last_used_at=_latest(
                        at for use, at in used.items() if use == (state.name, fingerprint)
                    ),
                )
                for i, fingerprint in enumerate(fingerprints)
            ],
            rejected=recent_rejections(rejections, state.name, access),
        )

    @post(
        "/{name:str}/backfill",
        status_code=202,
        guards=[needs("admin", whole=True)],
        operation=Operation(body=BackfillBody, errors=("left_alone", "not_configured")),
    )
    async def backfill(request: ApiRequest, name: FromPath[str]) -> StartedBackfill:
        """Start a backfill.

        The provider of the source is asked for missed messages.
        """
        body = await request.body()
        given = read_body(body or b"{}", BackfillBody, "a JSON object is expected").since
        since = None if given is None else given.at(now())
        if since is not None and since < 0:
            raise bad_body("since", "before 1970; write a later time")
        backfiller = backfills.of(name)
        async with calls.begin(request) as call:
            if backfiller is None and name in states:
                raise Problem(409, "not_configured", f"sources.{name} has no `backfill`")
            if backfiller is None:
                raise not_found("source")
            if backfiller.left_until is not None:
                until = utc(backfiller.left_until)
                raise Problem(409, "left_alone", f"the provider accepts no requests until {until}")
            started = StartedBackfill(run=backfiller.start(Why.ASKED, since))
            await call.keep(started, 202)
        return started

    listed = named_list(cursors, items, text="List sources.", answer=PageAnswer[ShownSource])
    return ApiRouter("/sources", route_handlers=[listed, backfill])


def recent_rejections(
    counter: RejectionCounter, source: str, access: Access
) -> Sequence[ShownRejections]:
    return [
        ShownRejections(
            reason=one.reason,
            count=one.count,
            peer=one.peer if access.may("admin") else None,
            last_at=utc(one.last_at),
        )
        for one in counter.recent(source)
    ]


def _backfill(backfiller: Backfiller) -> ShownBackfill:
    run = backfiller.shown()
    shown = None
    if run is not None:
        fields = msgspec.structs.asdict(run)
        times = {name: utc(fields[name]) for name in ("since", "started_at", "finished_at")}
        shown = ShownRun(**fields | times)
    state = "stopped" if backfiller.stopped else "running" if backfiller.running else "waiting"
    return ShownBackfill(state=state, next_at=utc(backfiller.next_at), run=shown)


def _latest(times: Iterable[float]) -> datetime | None:
    return utc(max(times, default=None))
