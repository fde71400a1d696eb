"""Orders: list, register, show, cancel."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from core.clock import utc
from core.event import Price
from core.order import KINDS, Order, OrderState
from journal import Journal
from journal.reads import KnownOrders, OrderById, OrderFilter, Page
from journal.records import Registered, StoredOrder
from journal.seal import Reason
from receiver.source_state import SourceState

from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.orders import Orders, service_of
from ..runtime.readers import Readers
from .auth import ApiRequest, needs
from .errors import Problem, not_found
from .events import EventJson, shown
from .idempotency import Calls, MadeId
from .operation import Operation
from .order_body import OrderBody, read_order
from .paging import Cursors, PageAnswer, PageRequest, Paging, journal_list
from .parameters import PhoneNumber, Text, e164, is_uuid
from .router import ApiRouter


class ShownOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it is listed."""

    id: str
    source: str
    #: The `provider` of that source.
    provider: str
    request_id: str | None
    activation_id: str | None
    rental_id: str | None
    number: str | None
    service: str | None
    #: The service's key across providers, as `data.service.key` of events: `google`.
    service_key: str | None
    country: str | None
    price: Price | None
    reference: str | None
    labels: Mapping[str, str]
    #: `user`: registered by the API. `provider`: listed by the provider only.
    origin: str
    #: `waiting`, `received`, `expired` or `cancelled`.
    state: str
    #: The reason of its end: `expired` (its time was up), or as the provider reported: `cancelled`,
    #: `finished`, `rejected`, `revoked`, `failed`, `expired`. Null: it has not ended, or you
    #: cancelled it.
    reason: str | None
    created_at: datetime
    expires: datetime
    #: When its first SMS or call was accepted; null if no SMS or call came.
    received_at: datetime | None


class WholeOrder(ShownOrder, frozen=True, kw_only=True):
    """An order with its events: the newest hundred, oldest first."""

    events: Sequence[EventJson]


class OrderParameters(Paging, frozen=True, kw_only=True):
    """The filter of a list of orders."""

    #: States.
    state: tuple[OrderState, ...] = ()
    #: Names of sources.
    source: tuple[Text, ...] = ()
    #: References.
    reference: tuple[Text, ...] = ()
    #: Numbers, with or without `+`.
    number: tuple[PhoneNumber, ...] = ()
    #: The provider's ids of requests.
    request_id: tuple[Text, ...] = ()
    #: The provider's ids of activations.
    activation_id: tuple[Text, ...] = ()
    #: The provider's ids of rentals.
    rental_id: tuple[Text, ...] = ()


def orders(
    *,
    orders: Orders,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    identity: Identity,
    readers: Readers,
    sources: Mapping[str, SourceState],
    now: Callable[[], float],
) -> ApiRouter:
    async def fetch(given: OrderParameters, asked: PageRequest, _access: Access) -> Page[Order]:
        wanted = OrderFilter(
            state=given.state,
            source=given.source,
            reference=given.reference,
            number=tuple(map(e164, given.number)),
            request_id=given.request_id,
            activation_id=given.activation_id,
            rental_id=given.rental_id,
        )
        return await journal.ask(
            KnownOrders(filter=wanted, after=asked.after, limit=asked.limit, desc=asked.desc)
        )

    listed = journal_list(
        cursors,
        fetch,
        lambda order, _access: ShownOrder(**_fields(order, sources)),
        text="List orders.",
        answer=PageAnswer[ShownOrder],
        parameters=OrderParameters,
    )

    @post(
        "/",
        guards=[needs("subscriptions:write", whole=True)],
        operation=Operation(
            body=OrderBody,
            required=("source",),
            answers={200: ShownOrder, 201: ShownOrder},
            errors=("order_differs", "unknown_source"),
        ),
    )
    async def register(request: ApiRequest) -> Response[ShownOrder]:
        """Register an order.

        Its details are added to matching events. One of `request_id`, `activation_id`, `rental_id`
        and `number` identifies it. The same order again answers 200; new fields are added to it.
        """
        async with calls.begin(request, reread=True) as call:
            if call.made is not None:
                stored = await find(MadeId.of(call.made).id, request.auth)
                again = ShownOrder(**_fields(stored.order, sources))
                return Response(again, status_code=call.made.status)
            body = await request.body()
            order, end = read_order(body, sources, new_id=identity.event_id, now=now())
            placed = await orders.place(order, end, call.guard(_made, _status))
        if placed.conflicts:
            names = ", ".join(placed.conflicts)
            text = "conflicts with the stored order; existing fields cannot be changed"
            raise Problem(409, "order_differs", f"{names}: {text}")
        shown_order = ShownOrder(**_fields(placed.order, sources))
        return Response(shown_order, status_code=_status(placed))

    async def find(order_id: str, access: Access) -> StoredOrder:
        asked = OrderById(order_id, access.opening(Reason.LIST))
        kept = await journal.ask(asked) if is_uuid(order_id) else None
        if kept is None:
            raise not_found("order")
        return kept

    @get(
        "/{order_id:str}",
        guards=[needs("events:read", whole=True)],
        operation=Operation(errors=("reads_limited",)),
    )
    async def one(request: ApiRequest, order_id: FromPath[str]) -> WholeOrder:
        """Get an order.

        The answer has its newest hundred events.
        """
        kept = await find(order_id, request.auth)
        await readers.read_events(request.auth, "order", kept.events)
        events = [shown(request.auth, body, "list") for body in kept.events]
        return WholeOrder(**_fields(kept.order, sources), events=events)

    @delete(
        "/{order_id:str}",
        guards=[needs("subscriptions:write", whole=True)],
        operation=Operation(),
    )
    async def cancel(order_id: FromPath[str]) -> None:
        """Cancel an order."""
        if not is_uuid(order_id) or await orders.cancel(order_id) is None:
            raise not_found("order")

    return ApiRouter("/orders", route_handlers=[listed, register, one, cancel])


def _status(placed: Registered) -> int:
    return 201 if placed.new else 200


def _made(placed: Registered) -> MadeId | None:
    return None if placed.conflicts else MadeId(placed.order.id)


def _fields(order: Order, sources: Mapping[str, SourceState]) -> dict[str, Any]:
    state = sources.get(order.source)
    service = service_of(None if state is None else state.source, order.service)
    ended = OrderState.EXPIRED if order.is_unannounced else None
    ids = {kind: order.name if kind == order.kind else None for kind in KINDS}
    return {
        "id": order.id,
        "source": order.source,
        "provider": order.provider,
        **ids,
        "number": order.number,
        "service": order.service,
        "service_key": service and service.key,
        "country": order.country,
        "price": order.price,
        "reference": order.reference,
        "labels": order.labels,
        "origin": order.origin,
        "state": order.state,
        "reason": order.reason or ended,
        "created_at": utc(order.created_at),
        "expires": utc(order.expires_at),
        "received_at": utc(order.received_at),
    }
