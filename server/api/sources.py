"""Sources as they are configured, with what came from them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from litestar import Router, get

from journal import Journal
from receiver.door import Gate

from .keys import Asking, needs
from .listing import PAGING, Cursors, Listed
from .query import read


class ShownToken(msgspec.Struct, frozen=True, kw_only=True):
    """Tells whether the provider uses the new one already."""

    fingerprint: str
    current: bool
    last_used_at: datetime | None


class ShownSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source, as it is shown."""

    name: str
    provider: str
    #: `waiting` until its first callback, then `receiving`.
    state: str
    labels: Mapping[str, str]
    last_callback_at: datetime | None
    tokens: Sequence[ShownToken]


def sources(*, journal: Journal, cursors: Cursors, gates: Sequence[Gate]) -> Router:
    @get("/", guards=[needs("events:read", whole=True)])
    async def listed(request: Asking) -> Listed[ShownSource]:
        asked = cursors.asked(read(request.scope, PAGING))
        used = {(use.source, use.token): use.last_at for use in await journal.token_uses()}
        return cursors.sliced(asked, [_source(gate, used) for gate in gates])

    return Router("/sources", route_handlers=[listed])


def _source(gate: Gate, used: Mapping[tuple[str, str], float]) -> ShownSource:
    # Also with tokens that are not configured any more.
    last_at = _latest(at for (source, _), at in used.items() if source == gate.name)
    fingerprints = [gate.tokens.fingerprint(i) for i in range(len(gate.source.tokens))]
    return ShownSource(
        name=gate.name,
        provider=str(gate.source.__struct_config__.tag),
        state="waiting" if last_at is None else "receiving",
        labels=gate.source.labels,
        last_callback_at=last_at,
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


def _latest(times: Iterable[float]) -> datetime | None:
    latest = max(times, default=None)
    return None if latest is None else datetime.fromtimestamp(latest, UTC)
