"""The record the stages share: what happened, and what is still owed to whom."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from core.copies import Copy
from core.delivery import Attempt, Delivery, State
from core.event import Event
from core.order import TIME_UP, Order, OrderState

from .reads import DeliveryFilter, EventFilter, Marks, OrderFilter, Page
from .records import (
    AccountBalance,
    Arrival,
    Duplicate,
    Owed,
    Placed,
    Planned,
    Quarantine,
    Quarantined,
    Recorded,
    Rejection,
    Replayed,
    SinkRecord,
    Stats,
    StoredDelivery,
    StoredEvent,
    StoredOrder,
    TokenUse,
)

#: The filters of API keys: by digest, a predicate over an event as plain JSON values. The digest
#: changes whenever the predicate may answer differently.
Filters = Mapping[str, Callable[[Mapping[str, Any]], bool]]


class Journal(Protocol):
    """Where events and what they owe are kept. Every back end passes `contracts/journal.py`.

    Futures are done when what they stand for is durable; cancelling one only stops the waiting.
    They fail with `Unavailable` (try again later), `Broken` (the process must end) or `Unfit`.
    """

    #: Another for each journal that was ever made: cursors of one mean nothing to another.
    identity: str

    @property
    def waiting(self) -> int:
        """Operations that are not yet in a transaction."""
        ...

    @property
    def broken(self) -> bool:
        """Nothing can be written until a restart."""
        ...

    @property
    def failure(self) -> str | None:
        """Why nothing can be written until a restart; None: it can."""
        ...

    @property
    def stalled(self) -> bool:
        """A commit has been under way for too long: the disk does not answer."""
        ...

    @property
    def working(self) -> bool:
        """Whether the last that was to be written could be, and none takes too long."""
        ...

    async def hide_credentials(
        self,
        hidden: Callable[[str, tuple[tuple[str, str], ...]], tuple[tuple[str, str], ...]],
        *,
        limit: int = 1000,
    ) -> bool:
        """Replace secrets in the headers of so many stored callbacks; whether work is left.

        `hidden` takes a source and headers, and returns what may be stored of them. Raises
        Unavailable: ask again.
        """
        ...

    async def index_visible(self, *, limit: int = 500) -> bool:
        """Index `limit` stored events for the filters of API keys; return whether work is left.

        Rows of filters that are no longer configured are removed, `limit` at a time. Raises
        Unavailable: ask again.
        """
        ...

    def touch(self) -> "asyncio.Future[None]":
        """Write something that changes nothing, to learn whether it can be."""
        ...

    def record(
        self,
        arrival: Arrival,
        plans: Sequence[Planned],
        *,
        then: Callable[[Recorded | Exception], None],
        replaces: str | None = None,
    ) -> "asyncio.Future[Recorded]":
        """Keep events and what they owe, all or none; `replaces` leaves quarantine with it."""
        ...

    def quarantine(
        self, arrival: Arrival, *, new_id: str, fingerprint: bytes, reason: str, detail: str
    ) -> "asyncio.Future[Quarantined]":
        """Keep the bytes, once for each source and fingerprint."""
        ...

    def dismiss(self, quarantine_id: str) -> "asyncio.Future[bool]":
        """Drop it from quarantine; False: it was not there."""
        ...

    def settle(
        self,
        delivery: Delivery,
        attempt: Attempt | None,
        state: State,
        *,
        due_at: float | None,
        asked: bool = False,
        fixed: bool = False,
        held: bool = False,
    ) -> "asyncio.Future[bool]":
        """Write down how an attempt went; False: the delivery is no longer ours.

        `asked`: the sink named the time itself, and no success brings it forward; `fixed`: by a
        date, which a step of the clock does not move. `held`: it waits because of an outage, and
        `bring_forward` finds it.
        """
        ...

    def take(
        self, sink: str, *, fresh: bool, limit: int, now: float
    ) -> "asyncio.Future[Sequence[Delivery]]":
        """Make due deliveries to that sink ours, oldest first.

        `fresh`: those that were never tried; else those that were.
        """
        ...

    def probe(self, sink: str, *, after: int = 0) -> "asyncio.Future[Sequence[Delivery]]":
        """Make the oldest delivery that failed at that sink ours, due or not: one, or none.

        `after`: the oldest of those with a later id.
        """
        ...

    def bring_forward(
        self, sink: str, *, limit: int, now: float
    ) -> "asyncio.Future[Sequence[int]]":
        """Make so many held deliveries of that sink due now, the lowest ids first; their ids.

        They are held no more, and taken as probes: before their time.
        """
        ...

    def hold(self, ids: Sequence[int]) -> "asyncio.Future[bool]":
        """Mark deliveries that failed: they wait because of an outage."""
        ...

    def shift(
        self,
        number: int,
        by: float,
        *,
        limit: int,
        then: Callable[[bool | Exception], None] = lambda _outcome: None,
    ) -> "asyncio.Future[bool]":
        """Move what is pending or being sent by `by` seconds: the wall clock jumped by that.

        Call it at once when the clock jumps, and again with the same `number` until it returns
        False. It looks at `limit` deliveries at a time. From the first call on, all instants that
        are passed in and handed out are those of the clock of now, whichever rows are moved yet.
        `then` is called in the order of results: what was handed out before it is of the clock
        of before, also where that first call failed.
        """
        ...

    def clamp(
        self, sink: str, *, now: float, longest: float, asked: float
    ) -> "asyncio.Future[int]":
        """Make due `longest` seconds from now, at the latest, what is pending for that sink.

        `asked` seconds where the sink named the time itself. Returns how many were brought back.
        """
        ...

    def replay(
        self,
        event_id: str,
        owed: Sequence[Owed],
        *,
        at: float,
        then: Callable[[Replayed | Exception | None], None],
    ) -> "asyncio.Future[Replayed | None]":
        """Owe a kept event to these sinks once more; None: there is no such event."""
        ...

    def retry(self, delivery_id: int, *, now: float) -> "asyncio.Future[State | None]":
        """Make it due now, its schedule from the start; its state then.

        `delivered` and `sending` are left as they are; None: there is no such delivery.
        """
        ...

    def pause(self, sink: str, *, by: str, at: float) -> "asyncio.Future[bool]":
        """Write down that the sink is left alone, whatever is started when.

        False: it is already, and `by` the operator it stays.
        """
        ...

    def resume(self, sink: str, *, by: str | None = None) -> "asyncio.Future[bool]":
        """Only where it is paused, and by `by` if that is given; False: it is not."""
        ...

    def arrange(self, sink: str, *, ordered_by: str | None) -> "asyncio.Future[int]":
        """Put what is owed to the sink in order, where it was in another; how much that was.

        Before anything is taken: what is being sent is left out.
        """
        ...

    def place(
        self,
        order: Order,
        end: float | None,
        *,
        then: Callable[[Placed | Exception], None] = lambda _outcome: None,
    ) -> "asyncio.Future[Placed]":
        """Keep an order, once for each source and id; events that came before it are joined to it.

        `end` is its `expires_at` where that was asked for. What is operated on before it is joined
        too, however soon.
        """
        ...

    def cancel(self, order_id: str, *, at: float) -> "asyncio.Future[Order | None]":
        """Nothing more is expected of it: the order as it is then; None: there is none."""
        ...

    def expire(
        self,
        planned: Planned,
        *,
        reason: str = TIME_UP,
        at_once: bool = False,
        then: Callable[[Recorded | Exception | None], None],
    ) -> "asyncio.Future[Recorded | None]":
        """End an order and keep the event that says so, in one transaction.

        `at_once` is for the provider's word: the order's time need not be up, and an order that
        ended without an event gets one now. An order that was received keeps its state, and notes
        `reason`. None: no event was kept. Without `at_once`, only a user's waiting order ends.
        """
        ...

    def lapse(self, order_id: str, *, at: float) -> "asyncio.Future[Order | None]":
        """End a provider's order whose time is up, without an event; the order as it is then."""
        ...

    def move_orders(self, moved: Sequence[tuple[Order, Order]]) -> "asyncio.Future[None]":
        """Change the times of waiting orders, each from those of its first to those of its second.

        An order that changed meanwhile is left as it is, so the same call may be made again.
        """
        ...

    def set_balance(
        self,
        balance: AccountBalance,
        planned: Planned | None,
        *,
        then: Callable[[Recorded | Exception | None], None] = lambda _outcome: None,
    ) -> "asyncio.Future[Recorded | None]":
        """Keep the balance, and `planned` with it if the last one was not low. None: no event."""
        ...

    async def balances(self) -> Mapping[str, AccountBalance]:
        """By source."""
        ...

    def reject(self, rejections: Sequence[Rejection]) -> "asyncio.Future[None]":
        """Add to the counts of what was turned away."""
        ...

    def note(self, moment: str, at: float) -> "asyncio.Future[None]":
        """Write down when something was last so."""
        ...

    async def moment(self, name: str) -> float | None:
        """When it last was; None: never."""
        ...

    async def next_due(self, sink: str, *, fresh: bool) -> float | None:
        """When the first pending delivery to that sink is due, of those tried never, or before."""
        ...

    async def stats(self) -> Stats: ...

    async def owed(self) -> Mapping[str, int]:
        """How many deliveries each sink's name is still owed."""
        ...

    async def events(
        self, wanted: EventFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[bytes]:
        """The events a reader asks for, from a place on."""
        ...

    async def visible_events(
        self, shown_to: str, wanted: EventFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[bytes] | None:
        """Those of `events` that the filter of that digest shows; None: it is not indexed yet.

        The work, the places and `has_more` depend on no other event.
        """
        ...

    async def is_visible(self, shown_to: str, event_id: str) -> bool | None:
        """Whether the filter of that digest shows the event; None: it is not indexed yet.

        A hidden event takes the same work as one that does not exist.
        """
        ...

    async def marks(self, kind: str, places: Sequence[int], *, desc: bool) -> Marks:
        """What stands at these places of a list.

        `kind`: `events`, `deliveries`, `orders`, `quarantine` or `rejections`.
        """
        ...

    async def event(self, event_id: str) -> StoredEvent | None: ...

    async def deliveries(
        self, wanted: DeliveryFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[StoredDelivery]:
        """The deliveries a reader asks for, from a place on: their ids are their places."""
        ...

    async def delivery(self, delivery_id: int) -> StoredDelivery | None: ...

    async def sinks(self) -> Mapping[str, SinkRecord]:
        """By name, also those that are not configured any more."""
        ...

    async def orders(
        self, wanted: OrderFilter, *, after: int | None, limit: int, desc: bool
    ) -> Page[Order]:
        """The orders a reader asks for, from a place on, as they were made."""
        ...

    async def order(self, order_id: str) -> StoredOrder | None: ...

    async def open_orders(self, *, since: float) -> Sequence[Order]:
        """Those that end after `since`, and all that still wait."""
        ...

    async def callback(self, event_id: str) -> Arrival | None:
        """The callback that brought the event, as it came; None: none did, or it is not kept."""
        ...

    async def quarantined(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[Quarantine]: ...

    async def quarantined_one(self, quarantine_id: str) -> Quarantine | None: ...

    async def rejections(
        self, *, after: int | None, limit: int, desc: bool
    ) -> Sequence[tuple[int, Rejection]]: ...

    async def token_uses(self) -> Sequence[TokenUse]: ...

    async def close(self) -> None:
        """Write what waits, then let go."""
        ...


__all__ = [
    "AccountBalance",
    "Arrival",
    "Attempt",
    "Copy",
    "Delivery",
    "DeliveryFilter",
    "Duplicate",
    "Event",
    "EventFilter",
    "Filters",
    "Journal",
    "Marks",
    "Order",
    "OrderFilter",
    "OrderState",
    "Owed",
    "Page",
    "Placed",
    "Planned",
    "Quarantine",
    "Quarantined",
    "Recorded",
    "Rejection",
    "Replayed",
    "SinkRecord",
    "State",
    "Stats",
    "StoredDelivery",
    "StoredEvent",
    "StoredOrder",
    "TokenUse",
]
