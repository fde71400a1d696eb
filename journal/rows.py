"""The rows that a batch needs, finds and changes."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from core.delivery import Delivery, State
from core.erasure import CONTENT_NAMES
from core.order import Mention, Order

from .records import (
    AccountBalance,
    Arrival,
    Planned,
    Rejection,
    StoredCondition,
    StoredReplay,
)
from .seal import StoredBody
from .writes import CreateKey, QuarantineCallback, RegisterOrder, RevokeKey


class EventRow(msgspec.Struct, kw_only=True):
    """An event, stored or new. `decide` changes it."""

    seq: int
    id: str
    source: str
    type: str
    subject: str
    #: A second subject: an SMS of a request may name its rental.
    also: str | None
    #: When it was recorded: seconds since the epoch.
    at: float
    #: In clear, where its keys exist.
    body: str
    #: The channel of its arrival.
    channel: str
    #: The id of its order, and the fields of REPLACEABLE that it took from an order.
    order: str | None = None
    taken: tuple[str, ...] = ()
    #: The times of its copies in seconds, by their form.
    forms: dict[str, float | None] = {}
    #: The number of its stored copies, and whether a poll brought one of them.
    duplicates: int = 0
    polled: bool = False
    #: The order and number in `body`; None: not read yet.
    mention: Mention | None = None
    #: The reference in `body`, if the event is new or changed.
    reference: str | None = None
    #: The stored event, if it is stored.
    stored: StoredBody | None = None
    #: Its content is erased: nothing fills it again.
    erased: bool = False


class NewEvent(msgspec.Struct, frozen=True):
    """An event as it was planned, with its place."""

    seq: int
    #: The id of its callback, and the channel of that.
    callback: int
    channel: str
    plan: Planned
    #: A second subject, as in EventRow.
    also: str | None

    def row(self) -> EventRow:
        event = self.plan.event
        return EventRow(
            seq=self.seq,
            id=event.id,
            source=event.source,
            type=event.type,
            subject=event.subject,
            also=self.also,
            at=self.plan.at,
            body=self.plan.body.decode(),
            channel=self.channel,
            reference=event.data.reference,
        )


class NewDelivery(msgspec.Struct, frozen=True):
    id: int
    event: int
    sink: str
    state: State
    due_at: float | None
    owner: int | None
    accepted_at: float
    ordering: str | None
    replay: bool


class Needs(msgspec.Struct, frozen=True):
    """The rows that `decide` needs."""

    #: Keys of events, as (source, key).
    keys: set[tuple[str, bytes]] = set()
    #: Plans that may be copies of stored events. For each are needed the newest events with its
    #: subject, and with a type that `ALIKE` allows. A plan with a known key needs no event.
    copies: list[Planned] = []
    #: Ids of events.
    events: set[str] = set()
    #: Registrations by (source, kind, name). For each are needed the newest order of that name, and
    #: the events that it may take by its subject or number.
    registered: dict[tuple[str, str, str], list[RegisterOrder]] = {}
    #: Names in `registered` that an event of the batch joins. All events of the order are needed.
    joined: set[tuple[str, str, str]] = set()
    #: Ids of orders.
    orders: set[str] = set()
    #: (sink, ordering) of deliveries that wait for each other.
    orderings: set[tuple[str, str]] = set()
    #: (source, fingerprint), and ids, of quarantined callbacks.
    fingerprints: set[tuple[str, bytes]] = set()
    quarantined: set[str] = set()
    #: (reason, source, peer).
    rejections: set[tuple[str, str, str]] = set()
    #: Sources.
    balances: set[str] = set()
    #: Ids of replays.
    replays: set[str] = set()
    #: Ids and names of API keys.
    api_keys: set[str] = set()


class LookedUp(msgspec.Struct, kw_only=True):
    """The rows that were found. More rows than needed do no harm. `decide` changes it."""

    #: The last used numbers.
    last_event: int
    last_callback: int
    last_delivery: int
    #: The place of an event by (source, key).
    keys: dict[tuple[str, bytes], int] = {}
    #: The ids of removed events, by place: their keys still recognize copies.
    pruned: dict[int, str] = {}
    #: By place, in ascending order. Their orders are in `orders`.
    events: dict[int, EventRow] = {}
    #: By id, without `received_at`.
    orders: dict[str, Order] = {}
    #: The newest id by (source, kind, name).
    named: dict[tuple[str, str, str], str] = {}
    #: (place, recorded at) of the first awaited event, by the id of its order.
    received: dict[str, tuple[int, float]] = {}
    #: (sink, ordering) with a delivery that is pending or being sent.
    unfinished: set[tuple[str, str]] = set()
    #: The id by (source, fingerprint).
    quarantined: dict[tuple[str, bytes], str] = {}
    #: Stored (reason, source, peer), and the number of all stored rows.
    rejections: set[tuple[str, str, str]] = set()
    rejections_kept: int = 0
    #: Sources with a low last balance.
    low: set[str] = set()
    #: By id.
    replays: dict[str, StoredReplay] = {}
    #: The name of each API key, by its id.
    api_keys: dict[str, str] = {}


class Changes(msgspec.Struct):
    """Rows to write. `may exist`: the row replaces a stored one, or adds to it."""

    callbacks: list[tuple[int, Arrival]] = []
    events: list[NewEvent] = []
    #: (source, key, place).
    keys: list[tuple[str, bytes, int]] = []
    #: Events with another body, by place: stored ones, and those of `events`.
    changed: dict[int, EventRow] = {}
    #: (event, n, at, channel, peer).
    duplicates: list[tuple[int, int, float, str, str]] = []
    #: (event, form, second).
    copies: list[tuple[int, str, float | None]] = []
    deliveries: list[NewDelivery] = []
    #: New deliveries that wait in line: the times before which they are not sent, and their ids.
    not_before: list[tuple[float, int]] = []
    #: The due ones of `deliveries`.
    due: list[Delivery] = []
    #: New orders, and changed ones; both by id.
    new_orders: dict[str, Order] = {}
    orders: dict[str, Order] = {}
    #: Events with a new order, or with new fields of it: may exist.
    links: dict[int, EventRow] = {}
    #: (order, event) if a copy of the event named a second order: may exist.
    order_copies: list[tuple[str, int]] = []
    #: Ids to remove, before anything is added.
    dismissed: set[str] = set()
    #: By the id that stores the same bytes: may exist.
    quarantine: dict[str, list[QuarantineCallback]] = {}
    new_rejections: list[Rejection] = []
    #: Counts to add to stored rejections, after the new ones were written.
    rejections: list[Rejection] = []
    #: By (source, token), as (callbacks, last at): may exist, then the callbacks are added.
    token_uses: dict[tuple[str, str], tuple[int, float]] = {}
    #: By source, and by name: may exist.
    balances: dict[str, AccountBalance] = {}
    #: By name; None: it is removed.
    moments: dict[str, float | None] = {}
    #: By (name, subject): may exist. Those that were cleared before a time are removed.
    conditions: dict[tuple[str, str], StoredCondition] = {}
    forget_conditions: float = 0.0
    #: By id: may exist.
    replays: dict[str, StoredReplay] = {}
    #: New and removed API keys, in the order of their writes.
    api_keys: list[CreateKey | RevokeKey] = []
    #: By name: may exist.
    key_uses: dict[str, float] = {}
    #: The changes of counters, by name.
    counts: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))


def change_data(row: EventRow, body: dict[str, Any], news: Mapping[str, Any], to: Changes) -> None:
    """Add `news` to the data of an event; `body` is its decoded body. Erased fields stay null."""
    if row.erased:
        news = {name: value for name, value in news.items() if name not in CONTENT_NAMES}
    if not news:
        return
    body["data"] |= news
    row.body = msgspec.json.encode(body).decode()
    row.reference = body["data"].get("reference")
    row.mention = None
    to.changed[row.seq] = row
