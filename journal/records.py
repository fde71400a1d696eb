"""Records that the journal keeps and returns."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from core.copies import Copy
from core.delivery import Attempt, State
from core.event import Event
from core.order import Order

from .seal import Kind


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as it arrived."""

    source: str
    channel: str
    #: The fingerprint of the source's token that the request had.
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
    #: Its value of `ordered_by`; None: it waits for no other delivery.
    ordering: str | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its deliveries, before it is recorded."""

    event: Event
    #: When it was accepted: its `recordedtime` as seconds since the epoch.
    at: float
    #: The event as it will be sent, encoded once.
    body: bytes
    #: The dedupe keys: each a growing prefix and a keyed hash.
    keys: tuple[bytes, ...]
    #: The same with keys of former months: a stored event may have them.
    older_keys: tuple[bytes, ...] = ()
    #: Its content, to find a copy that came the other way, by callback or poll. None: compare the
    #: keys only.
    copy: Copy | None = None
    #: Names of the routes that matched.
    routes: tuple[str, ...]
    owed: tuple[Owed, ...]
    #: The id of the order that it belongs to.
    order: str | None = None
    #: The fields of `order.REPLACEABLE` that it took from that order.
    taken: tuple[str, ...] = ()
    #: The order that it names, as the provider describes it. The order is stored and joined with
    #: the event; `order` is its future id.
    named_order: Order | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of recording one callback: it is durable."""

    #: In the callback's order. A duplicate has the id of the stored event.
    ids: tuple[str, ...]
    #: For each id, whether the event is new.
    new: tuple[bool, ...]
    #: The orders that its new events name, as they are now.
    orders: tuple[Order, ...] = ()
    #: For each id, the number of its line in the audit log, if it has one. Empty: none has one.
    leaves: Sequence[int | None] = ()


class Settled(msgspec.Struct, frozen=True):
    """The result of storing an outcome: it is durable."""

    #: The number of its first line in the audit log: that of the attempt, if one was made. A given
    #: up delivery has another one after it. None: there is no line.
    leaf: int | None = None


class BriefDelivery(msgspec.Struct, frozen=True):
    """A delivery without its attempts."""

    id: int
    event_id: str
    sink: str
    state: State
    #: Seconds since the epoch: the `recordedtime` of its event.
    recorded_at: float


class OldestDelivery(NamedTuple):
    """The pending delivery of a sink that was accepted first."""

    accepted_at: float
    id: int


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """New deliveries of a stored event."""

    #: One for each sink, in the requested order.
    ids: tuple[int, ...]


class ReplayState(enum.StrEnum):
    """The state of a replay of many events: running -> done | cancelled."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class StoredReplay(msgspec.Struct, frozen=True, kw_only=True):
    """A replay of many events. Times are seconds since the epoch."""

    id: str
    #: The id of the API key that started it; of a configured key its name.
    key: str
    state: ReplayState
    #: The events to replay: on `recordedtime`; no types or sources means any.
    since: float | None
    until: float | None
    types: tuple[str, ...]
    sources: tuple[str, ...]
    #: The sinks to replay to; None: those of each event's first deliveries.
    sinks: tuple[str, ...] | None
    #: The place of the newest event when it started: later events are left out.
    last: int
    #: The events up to this place are done.
    place: int
    #: The number of events when it started.
    matched: int
    #: The number of events that are done, and of new deliveries.
    replayed: int
    created: int
    created_at: float
    #: When it was done or cancelled.
    ended_at: float | None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    #: False: the same bytes were stored before; their count grew.
    new: bool
    #: The number of its line in the audit log, if it has one.
    leaf: int | None = None


class QuarantinedCallback(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic callback that was not understood, byte for byte."""

    seq: int
    id: str
    source: str
    reason: str
    detail: str
    peer: str
    at: float
    #: The number of times that these bytes arrived.
    count: int
    last_at: float
    token: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: Headers and body are erased.
    is_erased: bool = False


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Counted requests that the door rejected for one reason."""

    reason: str
    #: Empty if the request named no configured source.
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
    #: When the event was accepted, or the delivery was retried or replayed.
    accepted_at: float
    #: When the next attempt is due; None: it is finished, or waits for another of its `ordering`.
    due_at: float | None
    #: The start of the process that sends it; None: no process does.
    owner: int | None = None
    attempts: tuple[Attempt, ...]


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its duplicates and deliveries. Sealed answers of sinks are masked."""

    seq: int
    body: bytes
    routes: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]
    deliveries: tuple[StoredDelivery, ...]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The result of registering an order."""

    order: Order
    #: False: it was registered before.
    new: bool
    #: Fields that contradict the stored order. If there are any, nothing was changed.
    conflicts: tuple[str, ...]


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order with its newest events, as they would be sent, oldest first."""

    order: Order
    events: tuple[bytes, ...]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    #: Since the journal was made.
    events: int
    duplicates: int
    #: Callbacks in quarantine now.
    quarantine: int
    #: By state.
    deliveries: Mapping[str, int]


#: Before the name of a sink: the moment that `throttled_until` returns.
THROTTLED = "throttled/"


class SinkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a sink's name, configured or not. Times are seconds since the epoch."""

    name: str
    #: `operator`, or `failing` for an automatic pause; None: it is not paused.
    paused: str | None = None
    paused_at: float | None = None
    #: When its failures began; None: the last attempt succeeded, or there was no attempt.
    failing_since: float | None = None
    last_success_at: float | None = None
    last_error_at: float | None = None
    last_error: str | None = None
    last_status: int | None = None
    #: Whether a delivery waits because of an outage.
    held: bool = False
    #: The end of a Retry-After of a 429, which may be over; None: there is none.
    throttled_until: float | None = None


class Retained(enum.StrEnum):
    """A kind of stored data with a retention of its own."""

    #: Whole events, with all that belongs to them, except their dedupe keys.
    EVENTS = "events"
    #: Texts, codes and links, the answers of sinks, and the callbacks that hold them.
    CODES = "codes"
    #: Phone numbers, and the callbacks that hold them.
    PEOPLE = "people"
    #: Callbacks as they arrived.
    RAW = "raw"
    #: Attempts of deliveries.
    ATTEMPTS = "attempts"
    #: Callbacks in quarantine.
    QUARANTINE = "quarantine"
    #: Ended orders without a stored event.
    ORDERS = "orders"
    #: The numbers of ended orders.
    ORDER_NUMBERS = "order_numbers"


class HeldDelivery(NamedTuple):
    """A pending delivery of an event that was erased."""

    sink: str
    id: int
    event_id: str
    #: The number of the line in the audit log that says that it expired.
    leaf: int | None = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one step of pruning."""

    #: Rows of the kind that were removed or erased.
    count: int
    #: The place to continue from.
    place: int
    #: Whether later rows may be old enough.
    more: bool
    #: The pending deliveries that expired, because they need erased content.
    expired: tuple[HeldDelivery, ...] = ()


class PrunedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one step of pruning dedupe keys."""

    count: int
    #: The key to continue from, as (source, key); None: all keys were looked at.
    place: tuple[str, bytes] | None


class Unsealed(enum.StrEnum):
    """A table with rows that may be stored in clear, although new rows are sealed."""

    EVENTS = "events"
    CALLBACKS = "callbacks"
    QUARANTINE = "quarantine"
    ORDERS = "orders"
    #: The answers of sinks, and values of `ordered_by`.
    DELIVERIES = "deliveries"


#: The tables whose sealed parts have keys of their own: an answer has that of its event.
SEALED_TABLES = (Unsealed.EVENTS, Unsealed.CALLBACKS, Unsealed.QUARANTINE, Unsealed.ORDERS)


class SealedStep(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one step of sealing rows that were stored in clear."""

    #: The table of the rows; None: there were none.
    table: Unsealed | None = None
    sealed: int = 0
    #: Rows whose key was destroyed already: at least a part of them is erased.
    erased: int = 0
    #: Whether rows are left to look at.
    more: bool


class RowsInClear(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a count of rows in clear."""

    count: int
    #: The place to continue from; None: there are no more rows.
    next_place: int | None


#: The keys that the sealed parts of a row need, as (kind, period).
SealedParts = tuple[tuple[Kind, int], ...]


class RowsByKey(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a count of sealed rows."""

    #: The number of rows by the keys that they need. Rows without sealed parts need none.
    counts: Mapping[SealedParts, int]
    #: Of these, the rows with a part that does not open, although there is a key of its period.
    unfit: Mapping[SealedParts, int]
    #: By kind, a time in seconds since the epoch. No row needs a key of an earlier period, now or
    #: later. An event, or a row in clear, may still get a part under the key of its time.
    oldest: Mapping[Kind, float]
    #: The place to continue from; None: there are no more rows.
    next_place: int | None

    def count_lost(self, lacks: Callable[[Kind, int], bool]) -> int:
        """Return the number of rows with a part that cannot be opened. `lacks` tests for a key."""

        def is_lost(parts: SealedParts) -> bool:
            return any(lacks(*part) for part in parts)

        return sum(count for parts, count in self.counts.items() if is_lost(parts)) + sum(
            count for parts, count in self.unfit.items() if not is_lost(parts)
        )


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """The result of erasing the content of events."""

    #: The ids of the stored events among them.
    events: tuple[str, ...]
    #: Their places.
    places: tuple[int, ...]
    #: Their pending deliveries, and those of them that expired.
    deliveries: tuple[HeldDelivery, ...]
    expired: tuple[HeldDelivery, ...]
    #: Orders that lost their number.
    orders: int = 0
    #: Callbacks that left quarantine.
    quarantine: int = 0


class ErasedNumber(msgspec.Struct, frozen=True, kw_only=True):
    """The result of erasing a number from orders and from quarantine."""

    orders: int
    #: Callbacks that left quarantine.
    quarantine: int


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that signs deliveries, encrypted."""

    #: In base64.
    sealed: str
    #: It signs until then, in seconds since the epoch; None: it is the current one.
    until: float | None = None


class StoredSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that a service subscribed by the API."""

    id: str
    #: The name of the API key that made it.
    key: str
    url: str
    #: Its `when`, as JSON; None: the default of routes.
    filter: str | None
    #: A `format` of http sinks.
    format: str
    #: The current one first.
    secrets: tuple[SealedSecret, ...]
    created_at: float


class StoredCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that was reported. Times are seconds since the epoch."""

    #: Such as `sink_failing`.
    name: str
    #: Such as `sink/crm`.
    subject: str
    since: float
    #: 0: while it was raised, the alert was switched off, or its subject was removed.
    raised_at: float
    #: None: it holds.
    cleared_at: float | None = None
    #: The highest that was reported.
    severity: str
    #: The id of the event that reported it.
    event: str
    #: The details of that event, as JSON.
    data: str


class AccountBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The last known balance of a source's account."""

    source: str
    #: Decimal digits.
    amount: str
    currency: str | None
    #: When the provider reported it: seconds since the epoch.
    at: float
    #: Whether it is below the source's `low_balance`.
    low: bool


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key that was made while the service ran."""

    id: str
    name: str
    #: The SHA-256 of the key, which is stored nowhere.
    digest: bytes
    scopes: tuple[str, ...]
    #: Its `when`, as JSON; None: it sees all events.
    filter: str | None
    #: Seconds since the epoch; None: it does not expire.
    expires_at: float | None
    #: As written: `600/m`; None: no limit.
    rate: str | None
    created_at: float
    #: The most events in clear, as written: `600/h`; None: no limit.
    reads: str | None = None
    #: `required`: it must give a reason to reveal a code.
    reason: str | None = None


class LineErasure(enum.StrEnum):
    """The result of an erasure of a line of the audit log."""

    DONE = "done"
    #: There is no such line, or it is erased.
    MISSING = "missing"
    #: A verifier needs the line.
    NEEDED = "needed"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The stored part of a call's answer: the ids of the things it made, never content."""

    #: The HTTP status.
    status: int
    #: In JSON.
    answer: bytes


class MadeCall(msgspec.Struct, frozen=True, kw_only=True):
    """A stored call with an `Idempotency-Key`."""

    #: The digest of its request.
    request: bytes
    made: Made


class StoredConsumer(msgspec.Struct, frozen=True, kw_only=True):
    """A named reader of the API. Times are seconds since the epoch."""

    #: The name of the key that it belongs to.
    key: str
    name: str
    #: It has read the events up to this place; 0: it begins at the oldest.
    place: int
    created_at: float
    #: When its place was last set.
    moved_at: float


class TokenUse(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    token: str
    callbacks: int
    last_at: float


def group_of(sink: str) -> str:
    """Return the name under which the finished deliveries of a sink are counted.

    Subscriptions, `sub:ID`, share `sub:*`: there may be many, and each may be deleted.
    """
    kind, colon, _ = sink.partition(":")
    return f"{kind}:*" if colon else sink


def owed_in(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the number of pending deliveries of each sink that has some. It takes `Counters`.

    A sink may have a million of them, which `PendingBySink` would read.
    """
    begin = "pending/"
    return {
        name.removeprefix(begin): count
        for name, count in counters.items()
        if count > 0 and name.startswith(begin)
    }
