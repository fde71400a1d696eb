"""The retry of many deliveries: those with some ids, or all that match."""

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from core.clock import utc
from core.instants import Instant
from journal import Journal
from journal.reads import DeliveriesBriefly

from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.redelivery import Redelivery
from .auth import ApiRequest, needs
from .deliveries import delivery_filter
from .idempotency import Calls
from .operation import Operation
from .parameters import Switch, Text, read_body

#: Deliveries that one call retries.
MOST = 10_000
_IDS = "write a list of 1 to 1000 ids"
_STATES = "write a list of one or more states, or leave it out"
_RETRY_BODY = "a JSON object is expected, with ids, state, sink, source, since, until, dry_run"


class UnfinishedState(enum.StrEnum):
    """A state from which deliveries can be retried."""

    PENDING = "pending"
    DEAD = "dead"
    EXPIRED = "expired"
    FAILING = "failing"


class RetryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The deliveries to retry: those of `ids`, or all that the other fields match."""

    #: At most 1000.
    ids: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=1000, description=_IDS)] = ()
    #: States. Missing: `dead` and `expired`. `failing`: pending, after an attempt that failed.
    state: Annotated[tuple[UnfinishedState, ...], Meta(min_length=1, description=_STATES)] = (
        UnfinishedState.DEAD,
        UnfinishedState.EXPIRED,
    )
    #: Names of sinks.
    sink: Annotated[tuple[Text, ...], Meta(min_length=1)] = ()
    #: Sources of the events.
    source: Annotated[tuple[Text, ...], Meta(min_length=1)] = ()
    #: The earliest `recordedtime` of the event: RFC 3339, or how long ago, such as `10m`.
    since: Instant | None = None
    #: The end of the range, exclusive, in the forms of `since`.
    until: Instant | None = None
    #: Only count them.
    dry_run: Switch = False


class RetryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a retry of several deliveries did. With `dry_run`: what it would do."""

    dry_run: bool
    #: Deliveries that match, at most 10,000: the oldest.
    matched: int
    #: Whether more match. Call it again for them.
    has_more: bool
    #: Deliveries that are due now.
    retried: int
    #: Those by sink.
    sinks: Mapping[str, int]
    #: The earliest `recordedtime` of their events; null: there are none.
    oldest: datetime | None
    #: How many that match are not due, by the reason: `being_sent`, `delivered`, `unsubscribed`.
    left_out: Mapping[str, int]


def retries(
    *,
    journal: Journal,
    calls: Calls,
    redelivery: Redelivery,
    identity: Identity,
    states: DeliveryStates,
    now: Callable[[], float],
) -> HTTPRouteHandler:
    @post(
        "/deliveries/retry",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(body=RetryRequest),
    )
    async def retry_all(request: ApiRequest) -> RetryAnswer:
        """Retry all deliveries that match.

        The oldest 10,000 at most, or those of `ids`. Each is due now, and its schedule begins
        again. With `dry_run`, it only counts them.
        """
        given = read_body(await request.body(), RetryRequest, _RETRY_BODY)
        ids = None
        if given.ids:
            numbers = map(identity.delivery_number, given.ids)
            ids = tuple(number for number in numbers if number is not None)
            given = msgspec.structs.replace(
                given, state=(), sink=(), source=(), since=None, until=None
            )
        async with calls.begin(request) as call:
            wanted = delivery_filter(given, states.under_way(), now())
            found = await journal.ask(DeliveriesBriefly(filter=wanted, ids=ids, limit=MOST + 1))
            done = await redelivery.retry_all(found[:MOST], dry_run=given.dry_run)
            answer = RetryAnswer(
                dry_run=given.dry_run,
                matched=min(len(found), MOST),
                has_more=len(found) > MOST,
                retried=len(done.due),
                sinks=Counter(one.sink for one in done.due),
                oldest=utc(min((one.recorded_at for one in done.due), default=None)),
                left_out=done.left_out,
            )
            if not given.dry_run:
                await call.keep(answer, 200)
        return answer

    return retry_all
