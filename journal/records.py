"""Records that the journal keeps and returns."""

from collections.abc import Mapping

import msgspec

from core.copies import Copy
from core.delivery import Attempt, State
from core.event import Event
from core.order import Order


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as it came, for the record."""

    source: str
    channel: str
    #: Which of the source's tokens it came with: its fingerprint.
    token: str
    peer: str
    #: Seconds since the epoch.
    at: float
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    sink: str
    #: Seconds until it is due.
    wait: float = 0
    #: What it is ordered by; None: it waits for no other.
    ordering: str | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An event, what makes it itself, and what it owes."""

    event: Event
    #: When it was accepted: its `recordedtime` as seconds since the epoch.
    at: float
    #: The event as it will be sent, encoded once.
    body: bytes
    #: Each a growing prefix and a keyed hash.
    keys: tuple[bytes, ...]
    #: How it is told apart from what came the other way, by callback or by poll; None: by its keys
    #: alone.
    copy: Copy | None = None
    #: Names of the routes that matched.
    routes: tuple[str, ...]
    owed: tuple[Owed, ...]
    #: The id of the order that it belongs to.
    order: str | None = None
    #: The fields that it has from that order: of `order.REPLACEABLE`.
    taken: tuple[str, ...] = ()
    #: The order that it names, as the provider describes it: kept and joined with it. `order` is
    #: then its id as foreseen.
    named_order: Order | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of one callback, durably."""

    #: In the callback's order; of a duplicate the first one's id.
    ids: tuple[str, ...]
    #: Which of them are new.
    new: tuple[bool, ...]
    #: The orders that its new events name, as they are now.
    orders: tuple[Order, ...] = ()


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """New deliveries of an event that was there."""

    #: One for each sink, in the order they were asked for.
    ids: tuple[int, ...]


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    #: False: the same bytes were there already, and are counted.
    new: bool


class QuarantinedCallback(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic callback that was not understood, byte for byte."""

    seq: int
    id: str
    source: str
    reason: str
    detail: str
    peer: str
    at: float
    #: How often these very bytes came.
    count: int
    last_at: float
    token: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Requests turned away at the door for one reason, counted."""

    reason: str
    #: Empty where none of ours was named.
    source: str
    peer: str
    count: int
    first_at: float
    last_at: float


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    channel: str
    peer: str


class StoredDelivery(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    event_id: str
    sink: str
    state: State
    replay: bool
    #: When the event was accepted, or this delivery asked for again.
    accepted_at: float
    #: When it is tried next; None where it is over or waits for another of its order.
    due_at: float | None
    #: The start of the process that sends it; None: it is not to be sent now.
    owner: int | None = None
    attempts: tuple[Attempt, ...]


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with all that is known of it."""

    seq: int
    body: bytes
    routes: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]
    deliveries: tuple[StoredDelivery, ...]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order that was told."""

    order: Order
    #: False: it was there already.
    new: bool
    #: What is told otherwise than before: nothing was changed.
    conflicts: tuple[str, ...]


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order with its events, as they would be sent: the newest of many, oldest first."""

    order: Order
    events: tuple[bytes, ...]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    #: Since the journal was made.
    events: int
    duplicates: int
    #: What waits there now.
    quarantine: int
    #: By state.
    deliveries: Mapping[str, int]


class SinkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a sink's name, configured or not. Times are seconds since the epoch."""

    name: str
    #: By whom it is paused: `operator`, or `failing`: by itself.
    paused: str | None = None
    paused_at: float | None = None
    #: Since when nothing succeeded there; None: the last attempt did, or there was none.
    failing_since: float | None = None
    last_success_at: float | None = None
    last_error_at: float | None = None
    last_error: str | None = None
    last_status: int | None = None
    #: Something waits because of an outage.
    held: bool = False


class AccountBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The last known balance of a source's account."""

    source: str
    #: Decimal digits.
    amount: str
    currency: str | None
    #: When the provider said so: seconds since the epoch.
    at: float
    #: Whether it is below the source's `low_balance`.
    low: bool


class TokenUse(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    token: str
    callbacks: int
    last_at: float
