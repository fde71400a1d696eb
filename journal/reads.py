"""Reads of the journal: each is a Struct that names its result."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec

from core.delivery import State
from core.order import Order, OrderState

from .audit.export import Beginning
from .records import (
    AccountBalance,
    Arrival,
    BriefDelivery,
    MadeCall,
    OldestDelivery,
    QuarantinedCallback,
    Rejection,
    Retained,
    RowsByKey,
    RowsInClear,
    SinkRecord,
    Stats,
    StoredCondition,
    StoredConsumer,
    StoredDelivery,
    StoredEvent,
    StoredKey,
    StoredOrder,
    StoredReplay,
    StoredSubscription,
    TokenUse,
    Unsealed,
)
from .seal import Kind, Opening, Reason

T = TypeVar("T")
Answer = TypeVar("Answer")


class Read(msgspec.Struct, Generic[Answer], frozen=True):
    """A question that `Journal.ask` answers with an `Answer`."""

    #: Seconds until the answer must be there, including the wait for a thread.
    within: ClassVar[float] = 5.0


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The requested events. An empty tuple matches any value."""

    id: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    #: E.164.
    number: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    activation_id: tuple[str, ...] = ()
    rental_id: tuple[str, ...] = ()
    telephone_id: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    code: bool | None = None
    #: Seconds since the epoch, on `recordedtime`: `since` is included, `until` is not.
    since: float | None = None
    until: float | None = None


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The requested deliveries. An empty tuple matches any value."""

    state: tuple[State, ...] = ()
    #: Beside those states: pending and sending ones that had an attempt.
    failing: bool = False
    #: Ids of pending deliveries with an attempt under way: their state is `sending`.
    under_way: tuple[int, ...] = ()
    sink: tuple[str, ...] = ()
    #: Events without a delivery to this sink, in any state; None: any event.
    without: str | None = None
    #: Ids of events.
    event: tuple[str, ...] = ()
    #: The source of the event.
    source: tuple[str, ...] = ()
    #: Seconds since the epoch, on `recordedtime` of the event, as in EventFilter.
    since: float | None = None
    until: float | None = None


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The requested orders. An empty tuple matches any value."""

    state: tuple[OrderState, ...] = ()
    source: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    #: E.164.
    number: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    activation_id: tuple[str, ...] = ()
    rental_id: tuple[str, ...] = ()


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows in the order of commits, and the place where the search ended."""

    #: (place, row).
    items: tuple[tuple[int, T], ...]
    #: The place to continue from, also on an empty page.
    next_seq: int
    has_more: bool
    #: The place before the first row of the page that `until` left out. Rows after it follow in
    #: time, because the clock was corrected. The reader returns to it after the last page:
    #: `next_seq` of that page is this place.
    again: int | None = None


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The rows at places of a list."""

    #: By requested place: the place of the row there, or of the row before it in reading order;
    #: and a text that differs for each row.
    beside: Mapping[int, tuple[int, str]]
    #: The newest place of all rows that ever were in the list.
    newest: int


class PageRead(Read[Answer], frozen=True, kw_only=True):
    """A read of one page of a list, from the place `after` on."""

    after: int | None = None
    limit: int = 100
    #: Newest first.
    desc: bool = False


class MarksAt(Read[Marks], frozen=True):
    """The rows at these places of a list."""

    #: `events`, `deliveries`, `orders`, `subscriptions`, `quarantine`, `rejections` or `audit`.
    list: str
    places: tuple[int, ...]
    desc: bool = False


class JournalStats(Read[Stats], frozen=True):
    """The counters of the journal."""


class Counters(Read[Mapping[str, int]], frozen=True):
    """The counters by source and type of event, and by sink.

    Names are `events/SOURCE/TYPE` and `unrouted/SOURCE/TYPE`, `pending/SINK` (deliveries now), and
    `delivered/SINK`, `dead/SINK` and `expired/SINK` (each time a delivery ended so). Subscriptions
    share the last three: see `records.group_of`. The journal counts them since it was made, or
    since it was upgraded to the version that has them.
    """


class OldestPending(Read[Mapping[str, OldestDelivery]], frozen=True):
    """The time of acceptance of the oldest pending delivery, for each of these sinks with one."""

    sinks: tuple[str, ...]


class Moment(Read[float | None], frozen=True):
    """The time set by `SetMoment`; None: it was never set."""

    name: str


class Moments(Read[Mapping[str, float]], frozen=True):
    """All times set by `SetMoment` under names with one beginning. The beginning is cut off."""

    beginning: str


class KeptFigures(Read[Sequence[bytes]], frozen=True):
    """What `KeepFigures` kept, in order of time."""


# --- events -------------------------------------------------------------------------------------


class Events(PageRead[Page[bytes]], frozen=True):
    """A page of events."""

    filter: EventFilter = EventFilter()
    #: The sealed parts that are opened; None: no part.
    opening: Opening | None = None


class VisibleEvents(PageRead[Page[bytes] | None], frozen=True):
    """A page of the events that an API key's filter shows; None: they are not indexed yet.

    The work, the places and `has_more` do not depend on hidden events.
    """

    #: The digest of the key's filter.
    shown_to: str
    filter: EventFilter = EventFilter()
    opening: Opening | None = None


class IsVisible(Read[bool | None], frozen=True):
    """Whether an API key's filter shows the event; None: it is not indexed yet.

    A hidden event takes the same work as one that does not exist.
    """

    #: The digest of the key's filter.
    shown_to: str
    event_id: str


class EventById(Read[StoredEvent | None], frozen=True):
    """An event with all that belongs to it; None: there is no such event."""

    id: str
    opening: Opening | None = None


class CallbackOfEvent(Read[Arrival | None], frozen=True):
    """The callback of an event, as it arrived; None: there is no callback, or it is erased."""

    event_id: str
    #: Reason it is opened; None: a sealed one comes without headers and body.
    why: Reason | None = None
    #: An erased one comes, too, without headers and body.
    erased: bool = False


# --- retention and erasure ------------------------------------------------------------------------


class PrunableCount(Read["Prunable"], frozen=True):
    """The number of rows that `Prune` would remove or erase; a part of them is counted."""

    kind: Retained
    before: float
    #: Now.
    at: float
    #: None: from the stored place.
    after: int | None = None


class Prunable(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a count."""

    count: int
    #: The place to continue from; None: there are no more rows.
    next_place: int | None


class UnsealedCount(Read[RowsInClear], frozen=True):
    """The number of rows of a table that are stored in clear; a part of them is counted."""

    table: Unsealed
    #: The place to continue from.
    after: int = 0


class UnsealedTimes(Read[Mapping[Kind, Sequence[float]]], frozen=True):
    """The times of the rows that the next `SealStored` seals, by the kind of their keys."""

    now: float
    limit: int


class SealedRows(Read[RowsByKey], frozen=True):
    """The number of sealed rows of a table by their keys; a part of them is counted."""

    table: Unsealed
    #: The place to continue from.
    after: int = 0
    #: Whether each part is tested. This takes a few microseconds a row.
    tests: bool = False


class EventsNaming(Read["EventsFound"], frozen=True):
    """The events that hold a number, in a number or in a text; a part of them is searched."""

    #: E.164.
    number: str
    after: int = 0


class EventsFound(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the events that hold a number."""

    #: Ids.
    events: tuple[str, ...]
    #: The place to continue from; None: there are no more events.
    next_seq: int | None


class ErasedUpTo(Read[str | None], frozen=True):
    """The last id that `EraseContent` named; None: it named none in this journal."""


class QuarantinedNaming(Read[tuple[str, ...]], frozen=True):
    """The ids of the callbacks in quarantine that hold a number."""

    #: E.164.
    number: str


class StoredSealed(Read[frozenset[str]], frozen=True):
    """The events among these that the journal never held in clear, by their ids."""

    events: tuple[str, ...]


# --- replays ------------------------------------------------------------------------------------


class EventCount(Read["Counted"], frozen=True, kw_only=True):
    """The number of matching events after a place and up to another; a part of them is read."""

    after: int
    upto: int
    filter: EventFilter = EventFilter()


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a count."""

    count: int
    #: The place to continue from; None: there are no more events.
    next_seq: int | None


class ReplayById(Read[StoredReplay | None], frozen=True):
    """A replay; None: there is no such replay."""

    id: str


class RunningReplays(Read[Sequence[StoredReplay]], frozen=True):
    """The replays that are not done or cancelled, oldest first."""


class FirstSinks(Read[Mapping[int, Sequence[str]]], frozen=True):
    """The sinks of the first deliveries of events, by place; replays do not count."""

    places: tuple[int, ...]


class ConsumerByName(Read[StoredConsumer | None], frozen=True):
    """A named reader of a key; None: there is no such reader."""

    key: str
    name: str


class Consumers(Read[Sequence[StoredConsumer]], frozen=True):
    """The named readers of a key, or of all keys (None), by name."""

    key: str | None = None


# --- deliveries ---------------------------------------------------------------------------------


class Deliveries(PageRead[Page[StoredDelivery]], frozen=True):
    """A page of deliveries; their ids are their places."""

    filter: DeliveryFilter = DeliveryFilter()
    #: For the answers of sinks.
    opening: Opening | None = None


class DeliveryById(Read[StoredDelivery | None], frozen=True):
    """A delivery; None: there is no such delivery."""

    id: int
    opening: Opening | None = None


class DeliveriesBriefly(Read[Sequence[BriefDelivery]], frozen=True, kw_only=True):
    """The first deliveries of a filter or with some ids, in their order."""

    filter: DeliveryFilter = DeliveryFilter()
    #: None: all of the filter.
    ids: tuple[int, ...] | None = None
    limit: int


class PendingBySink(Read[Mapping[str, int]], frozen=True):
    """The number of pending deliveries, by sink. It reads them all; `records.owed_in` does not."""


class SinkRecords(Read[Mapping[str, SinkRecord]], frozen=True):
    """The record of each sink, by name; removed sinks are included."""


# --- subscriptions ------------------------------------------------------------------------------


class Subscriptions(Read[Sequence[tuple[int, StoredSubscription]]], frozen=True):
    """All subscriptions with their places in the list, oldest first."""

    # Asked once, before the first callback.
    within: ClassVar[float] = 60.0


# --- orders -------------------------------------------------------------------------------------


class KnownOrders(PageRead[Page[Order]], frozen=True):
    """A page of orders, in the order of their registration."""

    filter: OrderFilter = OrderFilter()


class OrderById(Read[StoredOrder | None], frozen=True):
    """An order with its events; None: there is no such order."""

    id: str
    #: For its events.
    opening: Opening | None = None


class OpenOrders(Read[Sequence[Order]], frozen=True):
    """The orders that end after `since`, and all that are waiting."""

    since: float
    # Asked once, before the first callback.
    within: ClassVar[float] = 60.0


class LastBalances(Read[Mapping[str, AccountBalance]], frozen=True):
    """The last known balance of each source."""


# --- the door -----------------------------------------------------------------------------------


class QuarantinedCallbacks(PageRead[Sequence[QuarantinedCallback]], frozen=True):
    """The callbacks in quarantine."""

    #: None: any.
    source: str | None = None
    reason: str | None = None
    #: Reason they are opened; None: sealed ones come without headers and body.
    why: Reason | None = None


class QuarantinedById(Read[QuarantinedCallback | None], frozen=True):
    """A callback in quarantine; None: there is no such callback."""

    id: str
    #: Reason it is opened; None: a sealed one comes without headers and body.
    why: Reason | None = None


class Rejections(PageRead[Sequence[tuple[int, Rejection]]], frozen=True):
    """The counted rejections, each with its place."""


class TokenUses(Read[Sequence[TokenUse]], frozen=True):
    """The uses of each token of each source."""


# --- the audit log ------------------------------------------------------------------------------


class LineFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The requested lines. An empty tuple matches any value."""

    #: Actions, such as `key.made`. One that ends with a dot means all that begin with it: `key.`.
    do: tuple[str, ...] = ()
    #: Actors, such as `key/ana`.
    by: tuple[str, ...] = ()
    #: The id of an event that the line names.
    event: str | None = None
    #: A text that the line has, such as the name of a sink.
    about: str | None = None
    #: Seconds since the epoch: `since` is included, `until` is not.
    since: float | None = None
    until: float | None = None


class AuditLines(PageRead[Page[bytes]], frozen=True):
    """A page of the lines, as they are stored. A page may be empty although more follow.

    The places go on from log to log, and count from 1: they are not the numbers of the lines.
    """

    filter: LineFilter = LineFilter()
    #: The lines that it looks at, about.
    window: int = 50_000


class LinesFoundBy(Read[Sequence[tuple[int, bytes]]], frozen=True):
    """The lines with one of these names of `facts.events_of`, each with its place, oldest first."""

    names: tuple[str, ...]
    #: Earlier places are left out.
    since: int = 0


class AuditLogs(Read[Sequence["AuditLog"]], frozen=True):
    """The audit log and those before it, oldest first. Only a restore begins a new one."""


class AuditLog(msgspec.Struct, frozen=True, kw_only=True):
    """An audit log of the journal."""

    origin: str
    #: The verifier keys of its first epoch and of the log itself; None: it is not signed yet.
    key: str | None
    signer: str | None
    #: The place of its first line. The number of a line is its place less this one.
    first: int
    #: Its lines, and how many of the first ones are gone.
    size: int
    pruned: int


class LeavesAt(Read[Sequence[bytes]], frozen=True):
    """Lines from a number on, as they are stored; pruned lines are left out."""

    #: The place of the log's first line.
    log: int
    n: int
    count: int


class HashesAt(Read[Sequence[bytes]], frozen=True):
    """The hashes of a level of the tree, which is a multiple of 8, from a number on."""

    log: int
    level: int
    n: int
    count: int


class ConsistencyProof(Read[Sequence[bytes] | None], frozen=True):
    """The proof that the log of `old` lines is the beginning of the one of `size` lines.

    RFC 6962, section 2.1.2. None: lines that it needs are pruned. `old` is not larger than `size`.
    """

    log: int
    old: int
    size: int


class InclusionProof(Read[Sequence[bytes] | None], frozen=True):
    """The proof that line `n` is in the log of `size` lines (RFC 6962, section 2.1.1).

    None: there is no such line, or lines that it needs are pruned.
    """

    log: int
    n: int
    size: int


class Checkpoints(Read[Sequence["StoredCheckpoint"]], frozen=True):
    """The stored notes of a log, oldest first."""

    log: int
    #: Only the newest.
    newest: bool = False


class StoredCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed state of the log."""

    size: int
    #: Seconds since the epoch.
    at: float
    note: str
    #: The last one of its epoch.
    closes: bool


class LogBeginning(Read[Beginning], frozen=True):
    """What verifies a log without its first lines: those before `start` are pruned or left out.

    `start` is a multiple of 256.
    """

    log: int
    start: int


# --- alerts -------------------------------------------------------------------------------------


class Conditions(Read[Sequence[StoredCondition]], frozen=True):
    """The conditions that were reported: those that hold, and those that ended lately."""


# --- the API ------------------------------------------------------------------------------------


class StoredKeys(Read[Sequence[StoredKey]], frozen=True):
    """The API keys that were made while the service ran, oldest first."""


class KeyUses(Read[Mapping[str, float]], frozen=True):
    """The stored last use of each API key, by its name."""


class CallByKey(Read[MadeCall | None], frozen=True):
    """The stored call with an `Idempotency-Key`; None: there is no such call."""

    #: The digest of the key.
    key: bytes
    #: Older calls are left out.
    since: float
