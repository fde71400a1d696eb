"""Alerts: what is raised now, and a test of each through the routes."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from litestar import get, post
from litestar.params import FromPath

from core.clock import utc

from ..runtime.alert_kinds import KINDS
from ..runtime.alerts import Alerts, RecentAlert
from ..runtime.keys import Access
from .auth import ApiRequest, needs
from .errors import not_found
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors, PageAnswer, named_list
from .router import ApiRouter


class ShownAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that was reported and holds."""

    #: Such as `sink_failing`: the event has the type `system.sink_failing`.
    name: str
    #: The thing that it is about: `sink/crm`, `source/tellabot`, `service`.
    subject: str
    #: `info`, `warning` or `critical`.
    severity: str
    #: One line for people.
    summary: str
    #: When it began.
    since: datetime | None
    #: When it was reported.
    raised_at: datetime | None
    #: The id of the event that reported it.
    event: str


class RecentAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts that began or ended last."""

    #: At most ten, newest first.
    data: Sequence[RecentAlert]


class TestedAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that went through the routes."""

    #: The id of its event. Its `data.sample` is true.
    event: str
    #: The routes that took it, and the sinks that get it.
    routes: tuple[str, ...]
    sinks: tuple[str, ...]


def shown_alerts(alerts: Alerts) -> Sequence[ShownAlert]:
    """Return what is raised now, the oldest first."""
    return [
        ShownAlert(
            name=one.name,
            subject=one.subject,
            severity=one.severity,
            summary=one.summary,
            since=utc(one.since),
            raised_at=utc(one.raised_at),
            event=one.event,
        )
        for one in alerts.raised()
    ]


def alerts(*, alerts: Alerts, cursors: Cursors, calls: Calls) -> ApiRouter:
    async def raised(_access: Access) -> Mapping[str, ShownAlert]:
        return {f"{one.name} {one.subject}": one for one in shown_alerts(alerts)}

    @get("/recent", guards=[needs("events:read", whole=True)], operation=Operation())
    async def recent() -> RecentAlerts:
        """List recent alerts.

        The last ten alerts that began or ended, newest first. After a restart, older ones come
        from the newest 10,000 events of the journal.
        """
        return RecentAlerts(data=tuple(reversed(alerts.recent)))

    @post(
        "/{name:str}/test",
        status_code=200,
        guards=[needs("admin", whole=True)],
        operation=Operation(),
    )
    async def test(request: ApiRequest, name: FromPath[str]) -> TestedAlert:
        """Test an alert.

        A sample is recorded and goes through the routes, as if it was raised.
        """
        if name not in KINDS:
            raise not_found(f"alert; alerts: {', '.join(KINDS)}")
        async with calls.begin(request) as call:
            planned = await alerts.test(name)
            answer = TestedAlert(
                event=planned.event.id,
                routes=planned.routes,
                sinks=tuple(owed.sink for owed in planned.owed),
            )
            await call.keep(answer, 200)
        return answer

    listed = named_list(cursors, raised, text="List alerts.", answer=PageAnswer[ShownAlert])
    return ApiRouter("/alerts", route_handlers=[listed, recent, test])
