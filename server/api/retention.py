"""Retention: the last removal of old data, and the next one."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Response, get, post

from core.clock import utc
from journal.records import Retained

from ..runtime.retention import Pruner, PruneRun
from .auth import ApiRequest, needs
from .idempotency import Calls
from .operation import Operation
from .parameters import Switch, read_body
from .router import ApiRouter


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How to prune."""

    #: Only count what would be removed or erased now.
    dry_run: Switch = False


class ShownRetention(msgspec.Struct, frozen=True, kw_only=True):
    """A run that removes and erases old data, of the service or by request."""

    #: `running`, `done`, `dry_run`, or `none` before the first run.
    state: str
    #: The rows by kind: removed events, events with erased codes, and so on.
    counts: Mapping[str, int]
    #: The seconds that each kind is kept. Other kinds are kept forever.
    kept: Mapping[str, float]
    started_at: datetime | None
    ended_at: datetime | None
    #: Until then nothing is removed without a request. Null: old data is removed all the time.
    postponed_until: datetime | None


def retention(*, pruner: Pruner, calls: Calls) -> ApiRouter:
    def shown(state: str, run: PruneRun | None, counts: Mapping[Retained, int]) -> ShownRetention:
        return ShownRetention(
            state=state,
            counts={kind.value: counts.get(kind, 0) for kind in pruner.limits},
            kept={kind.value: seconds for kind, seconds in pruner.limits.items()},
            started_at=utc(None if run is None else run.started_at),
            ended_at=utc(None if run is None else run.ended_at),
            postponed_until=utc(pruner.postponed_until),
        )

    def last() -> ShownRetention:
        run = pruner.last
        if pruner.is_due:
            return shown("running", None, {})
        if run is None:
            return shown("none", None, {})
        return shown("running" if run.ended_at is None else "done", run, run.counts)

    @get("/", operation=Operation())
    async def one() -> ShownRetention:
        """Get the retention.

        With the run under way, or the last run that removed old data.
        """
        return last()

    @post(
        "/prune",
        operation=Operation(body=PruneRequest, answers={200: ShownRetention, 202: ShownRetention}),
    )
    async def prune(request: ApiRequest) -> Response[ShownRetention]:
        """Prune at once.

        A run begins now, and does not wait for its turn. The answer is 202; get the retention to
        follow the run. With `dry_run` rows are only counted, and the answer is 200.
        """
        body = await request.body()
        given = read_body(body if body.strip() else b"{}", PruneRequest, 'write {"dry_run": true}')
        async with calls.begin(request) as call:
            if given.dry_run:
                answer = shown("dry_run", None, await pruner.count())
                return Response(answer, status_code=200)
            pruner.start()
            answer = last()
            await call.keep(answer, 202)
        return Response(answer, status_code=202)

    return ApiRouter("/retention", route_handlers=[one, prune], guards=[needs("admin", whole=True)])
