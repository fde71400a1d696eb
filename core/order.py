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


#: Seconds until an order ends that says no other end: providers keep an activation for 20 minutes.
_ACTIVATION_LASTS, _OTHERS_LAST = 1200.0, 2 * 86400.0


def lasting(kind: str) -> float:
    """Seconds until an order of that kind ends, unless it says otherwise."""
    return _ACTIVATION_LASTS if kind == "activation_id" else _OTHERS_LAST


class OrderState(enum.StrEnum):
    """Where an order stands.

    waiting -> received | expired | cancelled; expired -> received; received, expired -> cancelled
    """

    WAITING = "waiting"
    RECEIVED = "received"  # an SMS or a call came, in time or not
    EXPIRED = "expired"  # it ended, and none had come
    CANCELLED = "cancelled"  # whoever made it wants no more of it


class RegisteredBy(enum.StrEnum):
    """Who named an order first, or registered it later: then it is the user's."""

    USER = "user"  # registered with the API
    PROVIDER = "provider"  # listed by the provider, or named by a number.assigned event


#: The reason of an order that ended because its time was up.
TIME_UP = "expired"


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
    #: The duration, in seconds, that `expires_at` was made of: then it moves with the wall clock
    #: when that is set. None: the user named an instant, or it is not known.
    lasts: float | None = None
    state: OrderState = OrderState.WAITING
    origin: RegisteredBy = RegisteredBy.USER
    #: The fields whose value the provider said: what a user registers replaces it.
    provided: tuple[str, ...] = ()
    #: Why it ended: `expired` (its time was up), or the provider's word: `cancelled`, `finished`,
    #: `rejected`, `revoked`, `failed`, `expired`. None: it has not ended, or without an event.
    reason: str | None = None
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

    @property
    def is_ended_by_provider(self) -> bool:
        """The provider said that it is over, in another word than `expired`."""
        return self.reason not in (None, TIME_UP)

    @property
    def is_unannounced(self) -> bool:
        """Its time was up, and no event said so: nobody had registered it."""
        return self.state is OrderState.EXPIRED and self.reason is None


#: What may be added to an order that lacks it.
_SAID = ("number", "service", "country", "price", "reference", "labels")


def merged(known: Order, given: Order, end: float | None) -> tuple[Order, tuple[str, ...]]:
    """Merge an order into the stored one; return it with the names of conflicting fields.

    A user's value fills a gap or replaces what the provider said; another value than the user's
    own is a conflict, and nothing is changed. A provider's value fills gaps only. `end` is the
    `expires_at` that the user asked for.
    """
    if given.origin is RegisteredBy.PROVIDER:
        return _listed(known, given), ()
    return _registered(known, given, end)


def _registered(known: Order, given: Order, end: float | None) -> tuple[Order, tuple[str, ...]]:
    said = _said(given)
    own = {name for name in said if getattr(known, name) and name not in known.provided}
    conflicts = tuple(name for name in said if name in own and getattr(known, name) != said[name])
    if conflicts:
        return known, conflicts
    changes = said | {
        "origin": RegisteredBy.USER,
        "provided": tuple(name for name in known.provided if name not in said),
    }
    moved = {"expires_at": given.expires_at, "lasts": given.lasts}
    if known.origin is RegisteredBy.PROVIDER:
        # The user's time counts from now on, and its end is announced.
        if known.is_unannounced:
            changes |= moved | {"state": OrderState.WAITING}
        elif known.reason is None and known.state is not OrderState.CANCELLED:
            changes |= moved
    elif end is not None and _may_move(known):
        changes |= moved | {"expires_at": end}
    return msgspec.structs.replace(known, **changes), ()


def _may_move(known: Order) -> bool:
    if known.state is OrderState.RECEIVED:
        return not known.is_ended_by_provider
    return known.state is OrderState.WAITING


def _listed(known: Order, given: Order) -> Order:
    """The first word of a provider stands: two of its lists may write one price differently."""
    changes = {name: value for name, value in _said(given).items() if not getattr(known, name)}
    if changes:
        changes["provided"] = tuple(sorted({*known.provided, *changes}))
    lasts = given.expires_at - given.created_at
    is_over = known.reason is not None or known.state is OrderState.CANCELLED
    # Once in half its time, so that a round in which nothing changed writes nothing.
    if (
        known.origin is RegisteredBy.PROVIDER
        and not is_over
        and known.expires_at < given.created_at + lasts / 2
    ):
        changes |= {"expires_at": given.expires_at, "lasts": given.lasts}
        if known.state is OrderState.EXPIRED:
            changes["state"] = OrderState.WAITING
    return msgspec.structs.replace(known, **changes) if changes else known


def provided(given: Order) -> Order:
    """Mark all that the order says as said by the provider."""
    return msgspec.structs.replace(given, provided=tuple(sorted(_said(given))))


def _said(given: Order) -> dict[str, Any]:
    return {name: value for name in _SAID if (value := getattr(given, name))}


def is_same(known: Order, given: Order) -> bool:
    """Whether `given` is the order `known`, the newest with the same source, kind and name.

    An id is one order forever. A number may be taken again once its order is over.
    """
    if given.kind != BY_NUMBER:
        return True
    if given.origin is RegisteredBy.PROVIDER:
        # Still listed: also where the user expects nothing more of it.
        return given.created_at < known.expires_at + REMEMBERED
    return not known.is_over(given.created_at)


class Registration(NamedTuple):
    """What an event says of the number that it is about."""

    #: (kind, id), the likeliest first.
    names: tuple[tuple[str, str], ...]
    number: str | None
    #: When it came to its number: as the provider said, with its zone, else when it was accepted.
    at: float


def told_by(data: Data, *, time: str | None, at: float) -> Registration:
    """Of an event that is about to be accepted `at`."""
    said = time if _is_said(data.time_from) else None
    return _told(lambda name: getattr(data, name, None), said, at)


def told_in(event: Mapping[str, Any], *, at: float) -> Registration:
    """Of an event as plain JSON values, that was accepted `at`."""
    data = event["data"]
    said = event["time"] if _is_said(data["time_from"]) else None
    return _told(data.get, said, at)


def _is_said(time_from: str) -> bool:
    # A configured zone may be wrong by hours.
    return time_from == "provider"


def _told(get: Callable[[str], str | None], time: str | None, at: float) -> Registration:
    names = [
        (kind, id_)
        for n in range(max(map(len, NAMES.values())))
        for kind, fields in NAMES.items()
        if n < len(fields) and (id_ := get(fields[n])) is not None
    ]
    number = get("to")
    # By an id it is found whenever it was.
    happened = datetime.fromisoformat(time).timestamp() if time and number else at
    return Registration(names=tuple(names), number=number, at=happened)


def is_named(order: Order, told: Registration) -> bool:
    """The event says the order's own id."""
    return (order.kind, order.name) in told.names


def is_numbered(order: Order, told: Registration) -> bool:
    """The event came to the order's number, in its time, and to no other order of its kind.

    One number may be taken several times: an event with another request's id is that request's.
    """
    if order.number is None or order.number != told.number:
        return False
    if order.kind in (kind for kind, _ in told.names):
        return False
    return order.created_at - GRACE <= told.at < order.expires_at + GRACE


def chosen(named: Sequence[Order], numbered: Sequence[Order], told: Registration) -> Order | None:
    """The order of an event, among those it names and those of its number.

    A user's order comes first: what the provider lists must not take its events.
    """
    for origin in (RegisteredBy.USER, RegisteredBy.PROVIDER):
        its = next((order for order in named if order.origin is origin), None)
        its = its or nearest([order for order in numbered if order.origin is origin], told)
        if its is not None:
            return its
    return None


def nearest(orders: Sequence[Order], told: Registration) -> Order | None:
    """Of several of one number: the last that was made before the event, else the first after."""
    before = [order for order in orders if order.created_at <= told.at]
    if before:
        return max(before, key=lambda order: order.created_at)
    return min(orders, key=lambda order: order.created_at, default=None)


#: What an event takes from its order and a later registration may replace.
REPLACEABLE = ("to", "price")


def joined(data: Data, order: Order) -> tuple[Data, tuple[str, ...]]:
    """An event's data with what its order knows besides, and which REPLACEABLE fields it took."""
    # The default is a value: what a type of event does not have is not missing there.
    news = _gained(lambda name: getattr(data, name, ""), order, ())
    if not news:
        return data, ()
    taken = tuple(name for name in REPLACEABLE if name in news)
    return msgspec.structs.replace(data, **news), taken


def gained(data: Mapping[str, Any], order: Order, taken: Sequence[str] = ()) -> dict[str, Any]:
    """The same of data as plain JSON values: the fields that change.

    `taken` are those of REPLACEABLE that the event has from an order, not from its provider's
    message.
    """
    news: dict[str, Any] = msgspec.to_builtins(
        _gained(lambda name: data.get(name, ""), order, taken)
    )
    return {name: value for name, value in news.items() if value != data.get(name)}


def _gained(get: Callable[[str], Any], order: Order, taken: Sequence[str]) -> dict[str, Any]:
    offered = {"to": order.number, "price": order.price, "reference": order.reference}
    news: dict[str, Any] = {
        name: value
        for name, value in offered.items()
        if value is not None and (get(name) is None or name in taken)
    }
    labels = {**get("labels"), **order.labels}
    return news if labels == get("labels") else news | {"labels": labels}
