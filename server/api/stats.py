"""How much there is, in counters that the journal keeps: cheap at any size."""

from collections.abc import Mapping

import msgspec
from litestar import Router, get

from journal import Journal
from journal.reads import JournalStats

from ..runtime.delivery_states import DeliveryStates
from .auth import Asking, needs
from .parameters import read


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    #: Since the journal was made.
    events: int
    duplicates: int
    #: What waits there now.
    quarantine: int
    #: By state; `sending` are those whose attempt is under way.
    deliveries: Mapping[str, int]


def stats(*, journal: Journal, states: DeliveryStates) -> Router:
    @get("/", guards=[needs("events:read", whole=True)])
    async def counted(request: Asking) -> Counts:
        read(request.scope, {})
        under_way = len(states.under_way())
        counts = await journal.ask(JournalStats())
        return Counts(
            events=counts.events,
            duplicates=counts.duplicates,
            quarantine=counts.quarantine,
            deliveries=states.counted(counts, under_way),
        )

    return Router("/stats", route_handlers=[counted])
