"""Sources as they are configured, with what came from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from litestar import Router, get

from journal import Journal
from receiver.door import Gate

from .deliveries import utc
from .keys import Asking, needs
from .listing import PAGING, Cursors, Listed
from .query import read


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


class ShownSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source, as it is shown."""

    name: str
    provider: str
    #: `waiting` until its first callback, then `receiving`; `silent` where none came for longer
    #: than is expected.
    state: str
    labels: Mapping[str, str]
    last_callback_at: datetime | None
    #: When the silence began.
    silent_since: datetime | None
    clock: ShownClock
    tokens: Sequence[ShownToken]


def sources(
    *, journal: Journal, cursors: Cursors, gates: Sequence[Gate], now: Callable[[], float]
) -> Router:
    @get("/", guards=[needs("events:read", whole=True)])
    async def listed(request: Asking) -> Listed[ShownSource]:
        asked = cursors.asked(read(request.scope, PAGING))
        used = {(use.source, use.token): use.last_at for use in await journal.token_uses()}
        return cursors.sliced(asked, [_source(gate, used, now()) for gate in gates])

    return Router("/sources", route_handlers=[listed])


def _source(gate: Gate, used: Mapping[tuple[str, str], float], now: float) -> ShownSource:
    # Also with tokens that are not configured any more.
    last_at = _latest(at for (source, _), at in used.items() if source == gate.name)
    silent_since = gate.watch.silent_since(now)
    fingerprints = [gate.tokens.fingerprint(i) for i in range(len(gate.source.tokens))]
    return ShownSource(
        name=gate.name,
        provider=str(gate.source.__struct_config__.tag),
        state=_state(last_at, silent_since),
        labels=gate.source.labels,
        last_callback_at=last_at,
        silent_since=utc(silent_since),
        clock=_clock(gate, now),
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


def _clock(gate: Gate, now: float) -> ShownClock:
    watch, wrong = gate.watch, gate.watch.wrong_zone(now)
    return ShownClock(
        offset=None if watch.offset is None else round(watch.offset, 3),
        measured=watch.measured,
        timezone=getattr(gate.source, "timezone", None),
        warning=None if wrong is None else str(wrong),
    )


def _latest(times: Iterable[float]) -> datetime | None:
    return utc(max(times, default=None))
