"""Orders, and the rules by which an event belongs to one.

The rules are pure and run twice: before an event is routed (`journal/order_book.py`), and in the
transaction that stores an order, for the events that came before it.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from .event import SUBJECTS, Data, Price

#: The kinds of id that an order can have, and the fields of an event that hold such an id. A
#: renewed rental has a new id, and its events name the former one.
NAMES: Mapping[str, tuple[str, ...]] = {
    "request_id": ("request_id",),
    "activation_id": ("activation_id",),
    "rental_id": ("rental_id", "first_rental_id", "previous_rental_id"),
}
BY_NUMBER = "number"
KINDS = (*NAMES, BY_NUMBER)
_SUBJECT = {name: kind for kind, name in SUBJECTS.items()} | {BY_NUMBER: "number"}
#: The types of events that an order waits for.
AWAITED = frozenset({"sms.received", "call.received"})
#: Seconds before an order and after its end in which an SMS to its number still belongs to it.
#: Later the provider may give the number to another customer.
GRACE = 600.0
#: Seconds for which the router still knows an order after its end: as far as a backfill reaches.
REMEMBERED = 2 * 86400.0

#: Seconds. Providers keep an activation for 20 minutes.
_ACTIVATION_LASTS, _OTHERS_LAST = 1200.0, 2 * 86400.0


def default_lifetime(kind: str) -> float:
    """Return the seconds after which an order of that kind ends, if its end is not given."""
    return _ACTIVATION_LASTS if kind == "activation_id" else _OTHERS_LAST


class OrderState(enum.StrEnum):
    """The state of an order.

    waiting -> received | expired | cancelled; expired -> received; received, expired -> cancelled
    """

    WAITING = "waiting"
    RECEIVED = "received"  # it has an SMS or a call, in time or not
    EXPIRED = "expired"  # it ended without one
    CANCELLED = "cancelled"  # the user needs it no longer


class RegisteredBy(enum.StrEnum):
    """The origin of an order. A user who registers a provider's order takes it over."""

    USER = "user"  # registered with the API
    PROVIDER = "provider"  # listed by the provider, or named by a number.assigned event


#: The reason of an order that ended because its time was up.
TIME_UP = "expired"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was taken, known by the provider's id or by the number itself."""

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
    #: The duration, in seconds, that `expires_at` was computed from: if the wall clock is set,
    #: `expires_at` moves with it. None: the user gave an instant, or it is unknown.
    lasts: float | None = None
    state: OrderState = OrderState.WAITING
    origin: RegisteredBy = RegisteredBy.USER
    #: The fields with a value from the provider. A user's value replaces it.
    provided: tuple[str, ...] = ()
    #: Why it ended: `expired` (its time was up), or as the provider says: `cancelled`, `finished`,
    #: `rejected`, `revoked`, `failed`, `expired`. None: it has not ended, or without an event.
    reason: str | None = None
    #: When the first event that it waits for was accepted; None: there is no such event. It is
    #: stored with the events, and read together with the order.
    received_at: float | None = None

    @property
    def subject(self) -> str:
        """The subject of its events: `request/10000001`, `number/+18503814729`."""
        return f"{_SUBJECT[self.kind]}/{self.name}"

    def is_over(self, at: float) -> bool:
        """Whether it expects no more events."""
        return self.expires_at <= at or self.state in (OrderState.EXPIRED, OrderState.CANCELLED)

    @property
    def is_ended_by_provider(self) -> bool:
        """Whether the provider ended it with another reason than `expired`."""
        return self.reason not in (None, TIME_UP)

    @property
    def is_unannounced(self) -> bool:
        """Whether its time was up without an event, because it was not registered."""
        return self.state is OrderState.EXPIRED and self.reason is None


#: The fields that a later registration may add.
_OPEN = ("number", "service", "country", "price", "reference", "labels")


def merge(known: Order, given: Order, end: float | None) -> tuple[Order, tuple[str, ...]]:
    """Merge an order into the stored one; return it with the names of conflicting fields.

    A user's value fills a gap or replaces the provider's value. A value that differs from the
    user's own former value is a conflict, and nothing is changed. A provider's value fills gaps
    only. `end` is the `expires_at` that the user asked for.
    """
    if given.origin is RegisteredBy.PROVIDER:
        return _merge_listed(known, given), ()
    values = _values(given)
    own = {name for name in values if getattr(known, name) and name not in known.provided}
    conflicts = tuple(
        name for name in values if name in own and values[name] != getattr(known, name)
    )
    if conflicts:
        return known, conflicts
    changes = values | {
        "origin": RegisteredBy.USER,
        "provided": tuple(name for name in known.provided if name not in values),
    }
    moved = {"expires_at": given.expires_at, "lasts": given.lasts}
    if known.origin is RegisteredBy.PROVIDER:
        # From now on the user's end counts, and it is announced.
        if known.is_unannounced:
            changes |= moved | {"state": OrderState.WAITING}
        elif known.reason is None and known.state is not OrderState.CANCELLED:
            changes |= moved
    elif end is not None and (
        known.state is OrderState.WAITING
        or (known.state is OrderState.RECEIVED and not known.is_ended_by_provider)
    ):
        changes |= moved | {"expires_at": end}
    return msgspec.structs.replace(known, **changes), ()


def _merge_listed(known: Order, given: Order) -> Order:
    """Keep the provider's first values: two of its lists may write one price differently."""
    changes = {name: value for name, value in _values(given).items() if not getattr(known, name)}
    if changes:
        changes["provided"] = tuple(sorted({*known.provided, *changes}))
    lasts = given.expires_at - given.created_at
    is_over = known.reason is not None or known.state is OrderState.CANCELLED
    # Once in half its lifetime, so that a round without changes writes nothing.
    if (
        known.origin is RegisteredBy.PROVIDER
        and not is_over
        and known.expires_at < given.created_at + lasts / 2
    ):
        changes |= {"expires_at": given.expires_at, "lasts": given.lasts}
        if known.state is OrderState.EXPIRED:
            changes["state"] = OrderState.WAITING
    return msgspec.structs.replace(known, **changes) if changes else known


def mark_provided(given: Order) -> Order:
    """Mark all values of the order as the provider's."""
    return msgspec.structs.replace(given, provided=tuple(sorted(_values(given))))


def _values(given: Order) -> dict[str, Any]:
    return {name: value for name in _OPEN if (value := getattr(given, name))}


def is_same(known: Order, given: Order) -> bool:
    """Whether `given` is the order `known`, the newest with the same source, kind and name.

    An id belongs to one order forever. A number may be taken again once its order is over.
    """
    if given.kind != BY_NUMBER:
        return True
    if given.origin is RegisteredBy.PROVIDER:
        # The provider still lists it, even if the user expects no more events.
        return given.created_at < known.expires_at + REMEMBERED
    return not known.is_over(given.created_at)


class Mention(NamedTuple):
    """The ids and the number in an event, by which its order is found."""

    #: (kind, id), the most specific first.
    names: tuple[tuple[str, str], ...]
    number: str | None
    #: When it happened: the provider's time if it has a zone, else when it was accepted.
    at: float


def mention_in_data(data: Data, *, time: str | None, at: float) -> Mention:
    """Read the ids and number of an event that is about to be accepted `at`."""
    # A configured zone may be wrong by hours.
    zoned = time if data.time_from == "provider" else None
    return _mention(lambda name: getattr(data, name, None), zoned, at)


def mention_in_event(event: Mapping[str, Any], *, at: float) -> Mention:
    """Read the ids and number of an event, as plain JSON values, that was accepted `at`."""
    data = event["data"]
    zoned = event["time"] if data["time_from"] == "provider" else None
    return _mention(data.get, zoned, at)


def _mention(get: Callable[[str], str | None], time: str | None, at: float) -> Mention:
    names = [
        (kind, id_)
        for n in range(max(map(len, NAMES.values())))
        for kind, fields in NAMES.items()
        if n < len(fields) and (id_ := get(fields[n])) is not None
    ]
    number = get("to")
    # The time matters for orders with the number only: an id is found whenever it was.
    happened = datetime.fromisoformat(time).timestamp() if time and number else at
    return Mention(names=tuple(names), number=number, at=happened)


def is_named(order: Order, mention: Mention) -> bool:
    """Whether the event has the order's id."""
    return (order.kind, order.name) in mention.names


def is_numbered(order: Order, mention: Mention) -> bool:
    """Whether the event has the order's number, in its time, and no other id of its kind.

    One number may be taken several times: an event with another request's id is that request's.
    """
    if order.number is None or order.number != mention.number:
        return False
    if order.kind in (kind for kind, _ in mention.names):
        return False
    return order.created_at - GRACE <= mention.at < order.expires_at + GRACE


def choose_order(
    named: Sequence[Order], numbered: Sequence[Order], mention: Mention
) -> Order | None:
    """Return the order of an event, among those with its id and those with its number.

    A user's order comes first: an order that the provider lists must not take its events.
    """
    for origin in (RegisteredBy.USER, RegisteredBy.PROVIDER):
        its = next((order for order in named if order.origin is origin), None)
        its = its or nearest_order([order for order in numbered if order.origin is origin], mention)
        if its is not None:
            return its
    return None


def nearest_order(orders: Sequence[Order], mention: Mention) -> Order | None:
    """Return the last order made before the event, else the first one made after it."""
    before = [order for order in orders if order.created_at <= mention.at]
    if before:
        return max(before, key=lambda order: order.created_at)
    return min(orders, key=lambda order: order.created_at, default=None)


#: The fields that an event takes from its order and that a later registration may replace.
REPLACEABLE = ("to", "price")


def complete(data: Data, order: Order) -> tuple[Data, tuple[str, ...]]:
    """Return an event's data with the order's values, and the REPLACEABLE fields it took."""
    # The default is a value, so that a field which the type does not have is not filled.
    changes = _changes(lambda name: getattr(data, name, ""), order, ())
    if not changes:
        return data, ()
    taken = tuple(name for name in REPLACEABLE if name in changes)
    return msgspec.structs.replace(data, **changes), taken


def changed_fields(
    data: Mapping[str, Any], order: Order, taken: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields that `complete` changes in data given as plain JSON values.

    `taken` are the REPLACEABLE fields that the event has from an order, not from its message.
    """
    changes: dict[str, Any] = msgspec.to_builtins(
        _changes(lambda name: data.get(name, ""), order, taken)
    )
    return {name: value for name, value in changes.items() if value != data.get(name)}


def _changes(get: Callable[[str], Any], order: Order, taken: Sequence[str]) -> dict[str, Any]:
    offered = {"to": order.number, "price": order.price, "reference": order.reference}
    changes: dict[str, Any] = {
        name: value
        for name, value in offered.items()
        if value is not None and (get(name) is None or name in taken)
    }
    labels = {**get("labels"), **order.labels}
    return changes if labels == get("labels") else changes | {"labels": labels}
