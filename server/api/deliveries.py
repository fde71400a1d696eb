"""Deliveries: list, show, retry."""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec
from litestar import get, post
from litestar.params import FromPath

from core.clock import utc
from core.delivery import Attempt, State
from core.instants import Instant
from journal import Journal
from journal.reads import Deliveries, DeliveryById, DeliveryFilter, Page
from journal.records import StoredDelivery, StoredEvent
from journal.seal import Reason
from sinks.http.guard import BLOCKED

from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.readers import Readers
from ..runtime.redelivery import BeingSent, Redelivery, Unsubscribed
from ..runtime.subscriptions import PREFIX, LiveSubscriptions
from .auth import ApiRequest, needs
from .errors import Problem, not_found
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, PageRequest, Paging, journal_list
from .parameters import Text, read_range
from .router import ApiRouter

#: Replaces the answer of a sink for keys without codes:read: it may repeat the message.
_MASK = "***"


class ShownAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, or the last of several probes with one number."""

    #: From 1. A probe has the number of the next attempt.
    number: int
    at: datetime
    outcome: str
    status: int | None
    error: str | None
    took_ms: float
    #: A probe only tests whether the sink is back: it uses up no scheduled attempt.
    probe: bool
    #: How many probes have this number; 1 for an attempt.
    count: int


class ShownDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as part of its event."""

    id: str
    sink: str
    state: str
    #: `retry`, `rate`, `order`, `pause` or `slot`; null if it is not pending.
    waits_for: str | None
    attempts: Sequence[ShownAttempt]
    #: Null also while it waits for an earlier delivery with the same `ordered_by` value.
    next_at: datetime | None


class AttemptWithAnswer(ShownAttempt, frozen=True, kw_only=True):
    """An attempt with the beginning of the sink's answer, for keys with codes:read."""

    answer: str | None


class WholeDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with its attempts."""

    id: str
    #: The event's id.
    event: str
    sink: str
    state: str
    #: `retry`, `rate`, `order`, `pause` or `slot`; null if it is not pending.
    waits_for: str | None
    #: Created by a replay, not when the event was accepted.
    replay: bool
    attempts: Sequence[AttemptWithAnswer]
    next_at: datetime | None
    #: When the event was accepted, or the delivery was retried or replayed.
    accepted_at: datetime


class WantedState(enum.StrEnum):
    """A state of a filter. Each delivery that is `failing` also has another one."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    EXPIRED = "expired"
    FAILING = "failing"


class DeliveryParameters(Paging, frozen=True, kw_only=True):
    """The filter of a list of deliveries."""

    #: States. `failing`: pending or sending, after an attempt that failed.
    state: tuple[WantedState, ...] = ()
    #: Names of sinks.
    sink: tuple[Text, ...] = ()
    #: Ids of events.
    event: tuple[Text, ...] = ()
    #: Sources of the events.
    source: tuple[Text, ...] = ()
    #: The earliest `recordedtime` of the event: RFC 3339, or how long ago, such as `10m`.
    since: Instant | None = None
    #: The end of the range, exclusive, in the forms of `since`.
    until: Instant | None = None


class AskedDeliveries(Protocol):
    """The filter that a list and a retry of many share."""

    @property
    def state(self) -> Sequence[str]: ...

    @property
    def sink(self) -> tuple[str, ...]: ...

    @property
    def source(self) -> tuple[str, ...]: ...

    @property
    def since(self) -> Instant | None: ...

    @property
    def until(self) -> Instant | None: ...


def delivery_filter(
    given: AskedDeliveries, under_way: tuple[int, ...], now: float
) -> DeliveryFilter:
    """Return the filter of the journal. Raise Problem if nothing lies in the time."""
    since, until = read_range(given.since, given.until, now)
    return DeliveryFilter(
        state=tuple(State(one) for one in given.state if one != WantedState.FAILING),
        failing=WantedState.FAILING in given.state,
        under_way=under_way,
        sink=given.sink,
        source=given.source,
        since=since,
        until=until,
    )


def deliveries(
    *,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    redelivery: Redelivery,
    identity: Identity,
    states: DeliveryStates,
    readers: Readers,
    now: Callable[[], float],
) -> ApiRouter:
    def whole(kept: StoredDelivery, access: Access) -> WholeDelivery:
        return WholeDelivery(
            id=identity.delivery_id(kept.id),
            event=kept.event_id,
            sink=kept.sink,
            state=states.state(kept),
            waits_for=states.waits_for(kept),
            replay=kept.replay,
            attempts=[
                AttemptWithAnswer(**fields, answer=shown_answer(attempt.answer, access))
                for fields, attempt in _attempts(kept, access)
            ],
            next_at=utc(states.next_at(kept)),
            accepted_at=utc(kept.accepted_at),
        )

    find, record = partial(_find, journal, identity), partial(_record, readers)

    async def fetch(
        given: DeliveryParameters, asked: PageRequest, access: Access
    ) -> Page[StoredDelivery]:
        wanted = delivery_filter(given, states.under_way(), now())
        page = await journal.ask(
            Deliveries(
                filter=msgspec.structs.replace(wanted, event=given.event),
                after=asked.after,
                limit=asked.limit,
                desc=asked.desc,
                opening=access.opening(Reason.ANSWER),
            )
        )
        await record(access, [kept for _, kept in page.items])
        return page

    listed = journal_list(
        cursors,
        fetch,
        whole,
        text="List deliveries.",
        answer=PageAnswer[WholeDelivery],
        parameters=DeliveryParameters,
        errors=("reads_limited",),
    )

    @get(
        "/{delivery_id:str}",
        guards=[needs("events:read", whole=True)],
        operation=Operation(errors=("reads_limited",)),
    )
    async def one(request: ApiRequest, delivery_id: FromPath[str]) -> WholeDelivery:
        """Get a delivery."""
        kept = await find(delivery_id, request.auth)
        await record(request.auth, [kept])
        return whole(kept, request.auth)

    @post(
        "/{delivery_id:str}/retry",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(
            errors=("being_sent", "already_delivered", "unsubscribed", "reads_limited")
        ),
    )
    async def retry(request: ApiRequest, delivery_id: FromPath[str]) -> WholeDelivery:
        """Retry a delivery.

        It is due now, and its schedule begins again.
        """
        async with calls.begin(request, reread=True) as call:
            kept = await find(delivery_id, request.auth)
            if call.made is not None:
                await record(request.auth, [kept])
                return whole(kept, request.auth)
            guard = call.guard(_retried)
            try:
                opening = request.auth.opening(Reason.ANSWER)
                then = await redelivery.retry(kept.id, kept.sink, guard, opening)
            except BeingSent:
                text = "it is being sent; try again in a moment"
                raise Problem(409, "being_sent", text) from None
            except Unsubscribed:
                text = "its subscription was deleted; nothing can be sent to it"
                raise Problem(409, "unsubscribed", text) from None
        if then is None:
            raise not_found("delivery")
        if then.state is State.DELIVERED:
            text = "the sink has it; to send it again: POST /v1/events/ID/replay"
            raise Problem(409, "already_delivered", text)
        await record(request.auth, [then])
        return whole(then, request.auth)

    return ApiRouter("/deliveries", route_handlers=[listed, one, retry])


async def _find(
    journal: Journal, identity: Identity, delivery_id: str, access: Access
) -> StoredDelivery:
    number = identity.delivery_number(delivery_id)
    opening = access.opening(Reason.ANSWER)
    kept = None if number is None else await journal.ask(DeliveryById(number, opening))
    if kept is None:
        raise not_found("delivery")
    return kept


async def _record(readers: Readers, access: Access, kept: Iterable[StoredDelivery]) -> None:
    """Record that the key gets the answers of sinks, unless it sees them masked."""
    if access.may("codes:read"):
        answered = [one for one in kept if any(its.answer for its in one.attempts)]
        fields = {one.event_id: ("answer",) for one in answered}
        await readers.read_ids(access, "answer", fields)


def _retried(then: StoredDelivery | None) -> MadeId | None:
    return None if then is None or then.state is State.DELIVERED else MadeId()


def seen_deliveries(
    kept: StoredEvent, access: Access, subscriptions: LiveSubscriptions
) -> Sequence[StoredDelivery]:
    """Return the deliveries of an event that the key sees.

    A key without a `when` sees all sinks. Others see no subscription of another key: its rows would
    reveal that there is one, and for which events.
    """
    if access.sees is None:
        return kept.deliveries
    own = {live.name for live in subscriptions if live.stored.key == access.name}
    return [one for one in kept.deliveries if one.sink in own or not one.sink.startswith(PREFIX)]


def shown_error(word: str | None, sink: str, access: Access) -> str | None:
    """Return the word for an error of a sink.

    For a subscription, only `admin` sees `dns`: the difference from `blocked` would reveal which
    internal names there are.
    """
    is_hidden = word == "dns" and sink.startswith(PREFIX) and not access.may("admin")
    return BLOCKED if is_hidden else word


def shown_delivery(
    kept: StoredDelivery, states: DeliveryStates, identity: Identity, access: Access
) -> ShownDelivery:
    return ShownDelivery(
        id=identity.delivery_id(kept.id),
        sink=kept.sink,
        state=states.state(kept),
        waits_for=states.waits_for(kept),
        attempts=[ShownAttempt(**fields) for fields, _ in _attempts(kept, access)],
        next_at=utc(states.next_at(kept)),
    )


def shown_answer(answer: bytes | None, access: Access) -> str | None:
    if answer is None:
        return None
    return answer.decode(errors="replace") if access.may("codes:read") else _MASK


def _attempts(kept: StoredDelivery, access: Access) -> Iterator[tuple[dict[str, Any], Attempt]]:
    """Yield the fields to show of each attempt and probe, with the attempt."""
    number = 1
    for attempt in kept.attempts:
        yield (
            {
                "number": number,
                "at": utc(attempt.at),
                "outcome": attempt.outcome,
                "status": attempt.status,
                "error": shown_error(attempt.error, kept.sink, access),
                "took_ms": attempt.took_ms,
                "probe": attempt.probes > 0,
                "count": attempt.probes or 1,
            },
            attempt,
        )
        number += not attempt.probes
