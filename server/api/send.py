"""Sends events with pending deliveries to another sink: each event gets a new delivery."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta

from core.clock import utc
from core.delivery import State
from core.instants import Instant
from journal import Journal
from journal.reads import Counters, DeliveriesBriefly, DeliveryFilter
from journal.records import owed_in
from sinks.worker import Worker

from ..runtime.redelivery import Redelivery, UnknownSinks
from .auth import ApiRequest, needs
from .errors import bad_body, not_found
from .events import unknown_sinks
from .idempotency import Calls
from .operation import Operation
from .parameters import Switch, read_body
from .retries import MOST

_BODY = "a JSON object is expected, with to, until, dry_run"
_A_SINK = "write the name of a sink"


class SendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send the events, and which."""

    #: The name of a configured sink.
    to: Annotated[str, Meta(min_length=1, description=_A_SINK)] = ""
    #: Only events with an earlier `recordedtime`: RFC 3339, or how long ago.
    until: Instant | None = None
    #: Only count the events.
    dry_run: Switch = False


class SendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a send. With `dry_run`: the expected result."""

    dry_run: bool
    #: Pending deliveries of the sink. They stay pending.
    owed: int
    #: Events that get a new delivery: the oldest, at most 10,000. Events that have a delivery to
    #: the other sink are left out.
    sent: int
    #: Whether there are more events. Repeat the call for them.
    has_more: bool
    #: The earliest `recordedtime` of these events; null: there are none.
    oldest: datetime | None


def send(
    *,
    journal: Journal,
    calls: Calls,
    redelivery: Redelivery,
    workers: Mapping[str, Worker],
    now: Callable[[], float],
) -> HTTPRouteHandler:
    @post(
        "/sinks/{name:str}/send",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(body=SendRequest, required=("to",), errors=("unknown_sink",)),
    )
    async def send_to(request: ApiRequest, name: FromPath[str]) -> SendAnswer:
        """Send pending events to another sink.

        For a sink that was removed. Each event with a pending delivery gets a new delivery to the
        other sink, with the same event id: the oldest events, at most 10,000. The pending
        deliveries stay. If a sink gets the old name again, it gets these events, too.
        """
        given = read_body(await request.body(), SendRequest, _BODY)
        if not given.to:
            raise bad_body("to", _A_SINK)
        owed = owed_in(await journal.ask(Counters()))
        if name not in owed and name not in workers:
            raise not_found("sink")
        async with calls.begin(request) as call:
            if given.to == name:
                raise bad_body("to", "the same sink; retry its deliveries instead")
            wanted = DeliveryFilter(
                state=(State.PENDING, State.SENDING),
                sink=(name,),
                without=given.to,
                until=None if given.until is None else given.until.at(now()),
            )
            found = await journal.ask(DeliveriesBriefly(filter=wanted, limit=MOST + 1))
            try:
                sent = await redelivery.send(found[:MOST], given.to, dry_run=given.dry_run)
            except UnknownSinks as exc:
                raise unknown_sinks(exc) from None
            answer = SendAnswer(
                dry_run=given.dry_run,
                owed=owed.get(name, 0),
                sent=sent,
                has_more=len(found) > MOST,
                oldest=utc(min((one.recorded_at for one in found[:MOST]), default=None)),
            )
            if not given.dry_run:
                await call.keep(answer, 200)
        return answer

    return send_to
