"""Health of the process, and counts of the journal."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from litestar import Response, get, route
from litestar.types import Scope
from msgspec import UNSET, UnsetType

from journal import Journal
from journal.reads import JournalStats
from receiver.door import RETRY_AFTER

from ..runtime.delivery_states import DeliveryStates
from .alerts import ShownAlert
from .auth import needs
from .handlers import AnyRequest
from .operation import Operation
from .router import ApiRouter


class HealthParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of the check. Others are ignored."""

    #: `1`: add `alerts` to the answer, for a key with events:read and without a `when`.
    details: str | None = None


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The process runs."""

    #: `ok`.
    status: str
    #: With `details`: the alerts that are raised now, the oldest first.
    alerts: Sequence[ShownAlert] | UnsetType = UNSET


class ReadyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether callbacks are accepted."""

    #: `ready` or `not_ready`.
    status: str
    #: Why it is not ready, for people.
    reasons: list[str]


def health(
    ready: Callable[[], bool],
    not_ready: Callable[[], Sequence[str]],
    raised: Callable[[Scope], Sequence[ShownAlert]] | None = None,
) -> ApiRouter:
    """Return the health calls: without a key, and with any parameters.

    `raised` returns the alerts that are raised now. It raises Problem if the key of the request
    may not see them. None: the listener does not serve the API.
    """

    @route(
        "/healthz",
        http_method=["GET", "HEAD"],
        operation=Operation(
            query=HealthParameters,
            errors=("unauthorized", "missing_scope", "key_filtered", "too_many"),
        ),
    )
    async def healthz(request: AnyRequest) -> HealthAnswer:
        """Check whether the process runs.

        With `details=1` and a key, the answer has the alerts that are raised now. Without a key,
        it has no alerts, and the check does not fail.
        """
        asks = request.query_params.get("details") == "1" and "authorization" in request.headers
        if raised is None or not asks:
            return HealthAnswer(status="ok")
        return HealthAnswer(status="ok", alerts=raised(request.scope))

    @route(
        "/readyz",
        http_method=["GET", "HEAD"],
        operation=Operation(
            headers={"Accept": "`application/json` for an object; else text, one reason a line."},
            answers={200: ReadyAnswer, 503: ReadyAnswer},
            is_text=True,
        ),
    )
    async def readyz(request: AnyRequest) -> Response[bytes]:
        """Check whether callbacks are accepted.

        The journal is writable and up to date, its disk has room, and the service is not stopping.
        The answer has the reasons why not.
        """
        is_ready = ready()
        reasons = [] if is_ready else [*not_ready()] or ["the service is not ready"]
        answer = ReadyAnswer(status="ready" if is_ready else "not_ready", reasons=reasons)
        is_json = "application/json" in request.headers.get("accept", "")
        text = "\n".join(reasons or [answer.status]) + "\n"
        return Response(
            msgspec.json.encode(answer) if is_json else text.encode(),
            status_code=200 if is_ready else 503,
            media_type="application/json" if is_json else "text/plain",
            headers={} if is_ready else {"Retry-After": str(RETRY_AFTER)},
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
    async def counted() -> Counts:
        """Get the counts."""
        under_way = len(states.under_way())
        counts = await journal.ask(JournalStats())
        return Counts(
            events=counts.events,
            duplicates=counts.duplicates,
            quarantine=counts.quarantine,
            deliveries=states.counted(counts, under_way),
        )

    return ApiRouter("/stats", route_handlers=[counted])
