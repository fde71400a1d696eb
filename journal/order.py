"""What a downstream service knows of a number that it took, and the events that this belongs to.

Pure, and asked twice with one answer: before an event is routed (`book.py`), and in the
transaction that keeps an order, for events that came before it.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from .event import SUBJECTS, Data, Price

#: The kinds of id that an order may be given by, and which fields of an event are such an id. A
#: rental that was renewed has another id, and names the one before.
NAMES: Mapping[str, tuple[str, ...]] = {
    "request_id": ("request_id",),
    "activation_id": ("activation_id",),
    "rental_id": ("rental_id", "first_rental_id", "previous_rental_id"),
}
BY_NUMBER = "number"
KINDS = (*NAMES, BY_NUMBER)
_SUBJECT = {name: kind for kind, name in SUBJECTS.items()} | {BY_NUMBER: "number"}
#: Events that an order waits for.
AWAITED = frozenset({"sms.received", "call.received"})
#: Seconds before its order and after its end in which an SMS to a number belongs to it: providers
#: give a number to the next customer.
GRACE = 600.0
#: Seconds after its end in which an order is still known before an event is routed: as far as a
#: backfill reaches.
REMEMBERED = 2 * 86400.0


class OrderState(enum.StrEnum):
    """Where an order stands.

    waiting -> received | expired | cancelled; expired -> received; received, expired -> cancelled
    """

    WAITING = "waiting"
    RECEIVED = "received"  # an SMS or a call came, in time or not
    EXPIRED = "expired"  # it ended, and none had come
    CANCELLED = "cancelled"  # whoever made it wants no more of it


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was taken, by the provider's id of it or by itself."""

    id: str
    source: str
    #: The `provider` of that source.
    provider: str
    #: One of KINDS.
    kind: str
    #: The id of that kind.
    name: str
    #: E.164.
    number: str | None = None
    #: As the provider calls it.
    service: str | None = None
    #: ISO 3166-1 alpha-2.
    country: str | None = None
    price: Price | None = None
    reference: str | None = None
    labels: Mapping[str, str] = {}
    #: Seconds since the epoch, as all times here.
    created_at: float
    expires_at: float
    state: OrderState = OrderState.WAITING
    #: When the first of the events that it waits for was accepted; None: none is there. As it was
    #: when the order was read: it is kept with the events, not with the order.
    received_at: float | None = None

    @property
    def subject(self) -> str:
        """As its events have it: `request/10000001`, `number/+18503814729`."""
        return f"{_SUBJECT[self.kind]}/{self.name}"

    def is_over(self, at: float) -> bool:
        """Nothing more is expected of it."""
        return self.expires_at <= at or self.state in (OrderState.EXPIRED, OrderState.CANCELLED)


#: What a second POST may add to an order that has it not yet, and must not change.
_SAID = ("number", "service", "country", "price", "reference", "labels")


def merged(known: Order, given: Order, end: float | None) -> tuple[Order, tuple[str, ...]]:
    """An order that is told again: what is new is added, and its end moved to `end`.

    And the names of what is told otherwise than before: then nothing is changed.
    """
    told = {name: value for name in _SAID if (value := getattr(given, name))}
    conflicts = tuple(n for n, value in told.items() if getattr(known, n) not in (value, None, {}))
    if conflicts:
        return known, conflicts
    if end is not None and known.state in (OrderState.WAITING, OrderState.RECEIVED):
        told["expires_at"] = end
    return msgspec.structs.replace(known, **told), ()


class Told(NamedTuple):
    """What an event says of the number that it is about."""

    #: (kind, id), the likeliest first.
    names: tuple[tuple[str, str], ...]
    number: str | None
    #: When it came to its number: as the provider said, with its zone, else when it was accepted.
    at: float


def told_by(data: Data, *, time: str | None, at: float) -> Told:
    """Of an event that is about to be accepted `at`."""
    said = time if _is_said(data.time_from) else None
    return _told(lambda name: getattr(data, name, None), said, at)


def told_in(event: Mapping[str, Any], *, at: float) -> Told:
    """Of an event as plain JSON values, that was accepted `at`."""
    data = event["data"]
    said = event["time"] if _is_said(data["time_from"]) else None
    return _told(data.get, said, at)


def _is_said(time_from: str) -> bool:
    # A configured zone may be wrong by hours.
    return time_from == "provider"


def _told(get: Callable[[str], str | None], time: str | None, at: float) -> Told:
    names = [
        (kind, id_)
        for n in range(max(map(len, NAMES.values())))
        for kind, fields in NAMES.items()
        if n < len(fields) and (id_ := get(fields[n])) is not None
    ]
    number = get("to")
    # By an id it is found whenever it was.
    happened = datetime.fromisoformat(time).timestamp() if time and number else at
    return Told(names=tuple(names), number=number, at=happened)


def is_named(order: Order, told: Told) -> bool:
    """The event says the order's own id."""
    return (order.kind, order.name) in told.names


def is_numbered(order: Order, told: Told) -> bool:
    """The event came to the order's number, in its time, and to no other order of its kind.

    One number may be taken several times: an event with another request's id is that request's.
    """
    if order.number is None or order.number != told.number:
        return False
    if order.kind in (kind for kind, _ in told.names):
        return False
    return order.created_at - GRACE <= told.at < order.expires_at + GRACE


def nearest(orders: Sequence[Order], told: Told) -> Order | None:
    """Of several of one number: the last that was made before the event, else the first after."""
    before = [order for order in orders if order.created_at <= told.at]
    if before:
        return max(before, key=lambda order: order.created_at)
    return min(orders, key=lambda order: order.created_at, default=None)


def joined(data: Data, order: Order) -> Data:
    """An event's data, with what its order knows besides."""
    # The default is a value: what a type of event does not have is not missing there.
    news = _gained(lambda name: getattr(data, name, ""), order)
    return msgspec.structs.replace(data, **news) if news else data


def gained(data: Mapping[str, Any], order: Order) -> dict[str, Any]:
    """The same of data as plain JSON values: the fields that change."""
    news: dict[str, Any] = msgspec.to_builtins(_gained(lambda name: data.get(name, ""), order))
    return news


def _gained(get: Callable[[str], Any], order: Order) -> dict[str, Any]:
    offered = {"to": order.number, "price": order.price, "reference": order.reference}
    news: dict[str, Any] = {
        name: value for name, value in offered.items() if value is not None and get(name) is None
    }
    labels = {**get("labels"), **order.labels}
    return news if labels == get("labels") else news | {"labels": labels}
