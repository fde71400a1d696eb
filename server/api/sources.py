"""Sources as they are configured, with what came from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from journal import Journal
from journal.reads import TokenUses
from journal.records import AccountBalance
from receiver.source_state import SourceState

from ..runtime.backfill import Backfiller, BackfillRun, Why
from ..runtime.balances import Balances
from ..runtime.outages import Backfills
from ..runtime.silence import SourceMonitor
from .auth import Asking, needs
from .deliveries import utc
from .errors import Problem, not_found
from .paging import PAGING, Cursors, PageAnswer
from .parameters import instant, read


class ShownToken(msgspec.Struct, frozen=True, kw_only=True):
    """Tells whether the provider uses the new one already."""

    fingerprint: str
    current: bool
    last_used_at: datetime | None


class ShownClock(msgspec.Struct, frozen=True, kw_only=True):
    """How the provider's clock goes beside ours, of the last messages since the start."""

    #: Seconds from the time that a message says to its arrival, the least of them; null: none came.
    offset: float | None
    #: How many it is the least of.
    measured: int
    #: Of what is sent without an offset; null: all that this provider sends has one.
    timezone: str | None
    #: What is wrong with it, and where its clock would be right.
    warning: str | None


class ShownRun(msgspec.Struct, frozen=True, kw_only=True):
    """A round of questions to the provider: the one that is under way, else the last."""

    number: int
    #: `start`, `gap`, `timer` or `asked`.
    why: str
    #: How far it looks back.
    since: datetime
    started_at: datetime
    #: Null while it is under way.
    finished_at: datetime | None
    #: Orders that it looks after.
    orders: int
    #: Calls to the provider.
    asked: int
    new: int
    known: int
    #: `bad_key`, `busy`, `unreadable`, `journal` or `fault`; null: all was asked and understood.
    error: str | None
    detail: str | None
    notices: Mapping[str, int]


class ShownBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """Whether and when the provider is asked."""

    #: `running`, `waiting`, or `stopped`: the provider does not take the key.
    state: str
    #: When it is asked again by itself.
    next_at: datetime | None
    run: ShownRun | None


class StartedBackfill(msgspec.Struct, frozen=True, kw_only=True):
    """What a POST began: the run of that number, or a later one, holds it."""

    run: int


class ShownBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The money in the provider's account, as the provider last said."""

    #: Decimal digits as sent.
    amount: str
    #: ISO 4217; null: neither the provider nor the source's `currency` says it.
    currency: str | None
    at: datetime


class ShownSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source, as it is shown."""

    name: str
    provider: str
    #: `waiting` until its first callback, then `receiving`; `silent` where none came for longer
    #: than is expected; `polled` where there are no callbacks.
    state: str
    labels: Mapping[str, str]
    last_callback_at: datetime | None
    #: When the silence began.
    silent_since: datetime | None
    clock: ShownClock
    #: Null where it is not configured.
    backfill: ShownBackfill | None
    #: Null where the provider was not asked, or has no such command.
    balance: ShownBalance | None
    tokens: Sequence[ShownToken]


def sources(
    *,
    journal: Journal,
    cursors: Cursors,
    gates: Sequence[SourceState],
    backfills: Backfills,
    balances: Balances,
    monitor: SourceMonitor,
    now: Callable[[], float],
) -> Router:
    names = {gate.name for gate in gates}

    @get("/", guards=[needs("events:read", whole=True)])
    async def listed(request: Asking) -> PageAnswer[ShownSource]:
        asked = await cursors.asked(read(request.scope, PAGING), names=[one.name for one in gates])
        used = {(use.source, use.token): use.last_at for use in await journal.ask(TokenUses())}
        shown = {
            gate.name: _source(
                gate,
                used,
                backfiller=backfills.of(gate.name),
                balance=balances.of(gate.name),
                silent_since=monitor.silent_since(gate),
                now=now(),
            )
            for gate in gates
        }
        return cursors.sliced(asked, shown)

    @post("/{name:str}/backfill", status_code=202, guards=[needs("admin", whole=True)])
    async def backfill(request: Asking, name: FromPath[str]) -> StartedBackfill:
        read(request.scope, {})
        since = _since(await request.body(), now)
        backfiller = backfills.of(name)
        if backfiller is not None and backfiller.left_until is not None:
            until = utc(backfiller.left_until)
            raise Problem(409, "left_alone", f"the provider wants to be left alone until {until}")
        if backfiller is not None:
            return StartedBackfill(run=backfiller.start(Why.ASKED, since))
        if name in names:
            raise Problem(409, "not_configured", f"sources.{name} has no `backfill`")
        raise not_found("source")

    return Router("/sources", route_handlers=[listed, backfill])


def _since(body: bytes, now: Callable[[], float]) -> float | None:
    """Of `{"since": "2d"}` or `{"since": "2026-11-21T12:00:00Z"}`; nothing: what is usual."""
    try:
        given = msgspec.json.decode(body or b"{}", type=_Asked).since
    except msgspec.ValidationError as exc:
        raise Problem(400, "bad_body", str(exc)) from None
    except msgspec.DecodeError:
        raise Problem(400, "bad_body", "a JSON object is expected") from None
    if given is None:
        return None
    try:
        at = instant(now)(given)
    except ValueError as exc:
        raise Problem(400, "bad_body", f"since: {exc}") from None
    if at < 0:
        raise Problem(400, "bad_body", "since: before 1970, and no provider keeps so much")
    return at


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: str | None = None


def _source(
    gate: SourceState,
    used: Mapping[tuple[str, str], float],
    *,
    backfiller: Backfiller | None,
    balance: AccountBalance | None,
    silent_since: float | None,
    now: float,
) -> ShownSource:
    # Also with tokens that are not configured any more.
    last_at = _latest(at for (source, _), at in used.items() if source == gate.name)
    fingerprints = [gate.tokens.fingerprint(i) for i in range(len(gate.source.tokens))]
    return ShownSource(
        name=gate.name,
        provider=str(gate.source.__struct_config__.tag),
        state="polled" if gate.source.sends_no_callbacks else _state(last_at, silent_since),
        labels=gate.source.labels,
        last_callback_at=last_at,
        silent_since=utc(silent_since),
        clock=_clock(gate, now),
        backfill=None if backfiller is None else _backfill(backfiller),
        balance=None if balance is None else _balance(balance),
        tokens=[
            ShownToken(
                fingerprint=fingerprint,
                current=i == 0,
                last_used_at=_latest(
                    at for use, at in used.items() if use == (gate.name, fingerprint)
                ),
            )
            for i, fingerprint in enumerate(fingerprints)
        ],
    )


def _state(last_at: datetime | None, silent_since: float | None) -> str:
    if silent_since is not None:
        return "silent"
    return "waiting" if last_at is None else "receiving"


def _backfill(backfiller: Backfiller) -> ShownBackfill:
    state = "stopped" if backfiller.stopped else "running" if backfiller.running else "waiting"
    return ShownBackfill(state=state, next_at=utc(backfiller.next_at), run=_run(backfiller.shown()))


def _balance(balance: AccountBalance) -> ShownBalance:
    at = datetime.fromtimestamp(balance.at, UTC)
    return ShownBalance(amount=balance.amount, currency=balance.currency, at=at)


def _run(run: BackfillRun | None) -> ShownRun | None:
    if run is None:
        return None
    told = msgspec.structs.asdict(run)
    times = ("since", "started_at", "finished_at")
    return ShownRun(**told | {name: utc(told[name]) for name in times})


def _clock(gate: SourceState, now: float) -> ShownClock:
    health, wrong = gate.health, gate.health.wrong_zone(now)
    return ShownClock(
        offset=None if health.offset is None else round(health.offset, 3),
        measured=health.measured,
        timezone=getattr(gate.source, "timezone", None),
        warning=None if wrong is None else str(wrong),
    )


def _latest(times: Iterable[float]) -> datetime | None:
    return utc(max(times, default=None))
