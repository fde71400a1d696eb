"""Health of the process, and counts of the journal."""

from collections.abc import Callable, Mapping

import msgspec
from litestar import Response, get, route

from journal import Journal
from journal.reads import JournalStats
from receiver.door import RETRY_AFTER

from ..runtime.delivery_states import DeliveryStates
from .auth import ApiRequest, needs
from .operation import Operation
from .parameters import NoParameters, read
from .router import ApiRouter


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`ok`, `ready` or `not_ready`."""

    status: str


def health(ready: Callable[[], bool]) -> ApiRouter:
    """Return the health calls: without a key, and with any parameters."""

    @route("/healthz", http_method=["GET", "HEAD"], operation=Operation())
    async def healthz() -> HealthAnswer:
        """Check whether the process runs."""
        return HealthAnswer(status="ok")

    @route(
        "/readyz",
        http_method=["GET", "HEAD"],
        operation=Operation(answers={200: HealthAnswer, 503: HealthAnswer}),
    )
    async def readyz() -> Response[HealthAnswer]:
        """Check whether callbacks are accepted.

        The journal is writable and up to date, and the service is not stopping.
        """
        if ready():
            return Response(HealthAnswer(status="ready"))
        return Response(
            HealthAnswer(status="not_ready"),
            status_code=503,
            headers={"Retry-After": str(RETRY_AFTER)},
        )

    return ApiRouter("/", route_handlers=[healthz, readyz])


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the journal."""

    #: Since the journal was made.
    events: int
    duplicates: int
    #: Callbacks in quarantine now.
    quarantine: int
    #: By state; `sending` means that an attempt is under way.
    deliveries: Mapping[str, int]


def stats(*, journal: Journal, states: DeliveryStates) -> ApiRouter:
    @get("/", guards=[needs("events:read", whole=True)], operation=Operation())
    async def counted(request: ApiRequest) -> Counts:
        """Get the counts."""
        read(request.scope, NoParameters)
        under_way = len(states.under_way())
        counts = await journal.ask(JournalStats())
        return Counts(
            events=counts.events,
            duplicates=counts.duplicates,
            quarantine=counts.quarantine,
            deliveries=states.counted(counts, under_way),
        )

    return ApiRouter("/stats", route_handlers=[counted])
