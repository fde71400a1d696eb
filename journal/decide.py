"""The changes that a batch of writes makes. Pure: every database shares it.

A database calls `find_needs`, looks those rows up with one query a kind, calls `decide`, and
writes the changes. All of it happens in one transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from core.copies import Copy, PossibleCopy, match
from core.delivery import Delivery, State
from core.event import SUBJECTS, Event
from core.order import (
    AWAITED,
    GRACE,
    REPLACEABLE,
    Order,
    OrderState,
    RegisteredBy,
    Registration,
    gained,
    is_named,
    is_numbered,
    is_same,
    merged,
    told_by,
    told_in,
)

from .records import (
    AccountBalance,
    Arrival,
    Owed,
    Planned,
    Quarantined,
    Recorded,
    Registered,
    Rejection,
    Replayed,
)
from .writes import (
    CancelOrder,
    CountRejections,
    DismissQuarantined,
    ExpireOrder,
    LapseOrder,
    MoveOrders,
    QuarantineCallback,
    Record,
    RegisterOrder,
    ReplayEvent,
    SetBalance,
    SetMoment,
)

Decided = (
    Record
    | QuarantineCallback
    | DismissQuarantined
    | CountRejections
    | SetMoment
    | RegisterOrder
    | CancelOrder
    | ExpireOrder
    | LapseOrder
    | MoveOrders
    | SetBalance
    | ReplayEvent
)
Decision = Recorded | Quarantined | Registered | Replayed | Order | bool | None

CALLBACK, POLL = "callback", "poll"
#: The channel that is stored for an event without a callback.
NO_CALLBACK = "none"
#: All copies of an event are counted; this many are stored with time and peer.
DUPLICATES_KEPT = 100
#: All peers together; rejections of further peers are counted under the peer `*`.
REJECTIONS_KEPT = 10_000
#: Events of one order that a copy is compared with, the newest first.
COMPARED = 200
#: An SMS and a call are copies of each other: a callback does not say that its code was spoken.
ALIKE = {"sms.received": "call.received", "call.received": "sms.received"}
#: Fields that a stored event takes from its copy where it has none of its own.
_FILLED = ("to", "from", "country", "service", "price", "text", "code")
_PENDING, _SENDING = f"deliveries.{State.PENDING}", f"deliveries.{State.SENDING}"


class EventRow(msgspec.Struct, kw_only=True):
    """An event as the batch sees it, stored or new. `decide` changes it."""

    seq: int
    id: str
    source: str
    type: str
    subject: str
    #: A second subject: an SMS of a request may name its rental.
    also: str | None
    #: When it was recorded: seconds since the epoch.
    at: float
    body: str
    #: The channel of the arrival that brought it.
    channel: str
    #: The id of its order, and the fields of REPLACEABLE that it took from an order.
    order: str | None = None
    taken: tuple[str, ...] = ()
    #: The seconds that its copies said, by their form.
    forms: dict[str, float | None] = {}
    #: How many of its copies are stored, and whether a poll brought one of them.
    duplicates: int = 0
    polled: bool = False
    #: The rest is set for new events only.
    reference: str | None = None
    callback: int = 0
    routes: tuple[str, ...] = ()
    #: What `body` says of its number, once it was asked for.
    registration: Registration | None = None


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
    """The rows that `decide` must know, named by what leads to them."""

    #: Keys of events, as (source, key).
    keys: set[tuple[str, bytes]] = set()
    #: Plans that may be copies of stored events. Needed are the events that `ALIKE` allows, if
    #: none of the plan's keys is known.
    copies: list[Planned] = []
    #: Ids of events.
    events: set[str] = set()
    #: Orders that are registered, by (source, kind, name). Needed are the newest of that name and
    #: the free events that it may take: by its subject, and by its number.
    registered: dict[tuple[str, str, str], list[RegisterOrder]] = {}
    #: Of these, the orders of which all events are needed, because the batch joins one to it.
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


class LookedUp(msgspec.Struct, kw_only=True):
    """The rows that were needed. More of them do no harm. `decide` changes it."""

    #: The highest numbers that were ever given.
    last_event: int
    last_callback: int
    last_delivery: int
    #: The place of an event by (source, key).
    keys: dict[tuple[str, bytes], int] = {}
    #: By place, in ascending order. Their orders are in `orders`.
    events: dict[int, EventRow] = {}
    #: By id, without `received_at`.
    orders: dict[str, Order] = {}
    #: The newest id by (source, kind, name).
    named: dict[tuple[str, str, str], str] = {}
    #: The first of its awaited events by the order's id, as (place, recorded at).
    received: dict[str, tuple[int, float]] = {}
    #: (sink, ordering) of which a delivery is pending or being sent.
    unfinished: set[tuple[str, str]] = set()
    #: The id by (source, fingerprint).
    quarantined: dict[tuple[str, bytes], str] = {}
    #: The (reason, source, peer) that are stored, and the number of all that are.
    rejections: set[tuple[str, str, str]] = set()
    rejections_kept: int = 0
    #: Sources of which the last balance was low.
    low: set[str] = set()


class Changes(msgspec.Struct):
    """Rows to write. Where a row may be there already, its comment says so."""

    callbacks: list[tuple[int, Arrival]] = []
    events: list[EventRow] = []
    #: (source, key, place).
    keys: list[tuple[str, bytes, int]] = []
    #: Events that were there, with another body.
    changed: dict[int, EventRow] = {}
    #: (event, n, at, channel, peer).
    duplicates: list[tuple[int, int, float, str, str]] = []
    #: (event, form, second).
    copies: list[tuple[int, str, float | None]] = []
    deliveries: list[NewDelivery] = []
    #: New orders, and orders that were there; both by id.
    new_orders: dict[str, Order] = {}
    orders: dict[str, Order] = {}
    #: Events whose order is another, or that took another field of it: may be there.
    links: dict[int, EventRow] = {}
    #: (order, event): a copy of the event named the order. May be there.
    order_copies: list[tuple[str, int]] = []
    #: Ids to remove, before anything is added.
    dismissed: set[str] = set()
    #: By the id under which the same bytes are stored, which may be there.
    quarantine: dict[str, list[QuarantineCallback]] = {}
    new_rejections: list[Rejection] = []
    #: To count with those that are there, once the new ones are.
    rejections: list[Rejection] = []
    #: By (source, token), as [callbacks, last at]: may be there, counted together.
    token_uses: dict[tuple[str, str], list[float]] = {}
    #: By source, and by name: may be there.
    balances: dict[str, AccountBalance] = {}
    moments: dict[str, float] = {}
    #: What counters gain, by name.
    counts: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))


def find_needs(writes: Iterable[Decided]) -> Needs:
    """Return what must be looked up before these writes are decided."""
    needs = Needs()
    for write in writes:
        _KINDS[type(write)].need(needs, write)
    return needs


def _need_record(needs: Needs, write: Record) -> None:
    for plan in write.plans:
        source = plan.event.source
        needs.keys.update([(source, key) for key in plan.keys])
        if plan.twin is not None:
            needs.copies.append(plan)
        _need_plan(needs, plan)
    if write.replaces is not None:
        needs.quarantined.add(write.replaces)


def _need_plan(needs: Needs, plan: Planned) -> None:
    if plan.order is not None:
        needs.orders.add(plan.order)
    if plan.tells is not None:
        _need_order(needs, RegisterOrder(plan.tells, None))
        needs.joined.add(_name(plan.tells))
    _need_orderings(needs, plan.owed)


def _need_order(needs: Needs, write: RegisterOrder) -> None:
    needs.registered.setdefault(_name(write.order), []).append(write)


def _need_orderings(needs: Needs, owed: Iterable[Owed]) -> None:
    for one in owed:
        if one.ordering is not None:
            needs.orderings.add((one.sink, one.ordering))


def _need_replay(needs: Needs, write: ReplayEvent) -> None:
    needs.events.add(write.event_id)
    _need_orderings(needs, write.owed)


def _need_balance(needs: Needs, write: SetBalance) -> None:
    needs.balances.add(write.balance.source)
    if write.plan is not None:
        _need_plan(needs, write.plan)


def _need_rejections(needs: Needs, write: CountRejections) -> None:
    for one in write.rejections:
        needs.rejections.add((one.reason, one.source, one.peer))
        needs.rejections.add((one.reason, one.source, "*"))


def may_change(known: Order, registered: Iterable[RegisterOrder]) -> bool:
    """Return whether one of these registrations changes what is known."""
    return any(
        is_same(known, write.order) and merged(known, write.order, write.end)[0] != known
        for write in registered
    )


def decide(
    writes: Sequence[Decided], looked_up: LookedUp, *, owner: int
) -> tuple[Changes, list[Decision]]:
    """Return the rows to write, and one result a write, in their order.

    `looked_up` holds at least the rows of `find_needs(writes)`, and is used up. `owner` is the
    start of the process that takes deliveries.
    """
    batch = _Batch(looked_up, owner)
    return batch.changes, [_KINDS[type(write)].decide(batch, write) for write in writes]


class _Batch:
    """The rows as the writes before have left them, and the changes so far."""

    def __init__(self, looked_up: LookedUp, owner: int) -> None:
        self.changes = Changes()
        self._counts = self.changes.counts
        self._owner = owner
        self._stored = looked_up.last_event
        self._rows = looked_up
        self._keys, self._events = looked_up.keys, looked_up.events
        self._orders = looked_up.orders
        #: The events of a subject, by (source, subject), in ascending order.
        self._of_subject: dict[tuple[str, str], list[EventRow]] = {}
        for row in self._events.values():
            self._of_subject.setdefault((row.source, row.subject), []).append(row)

    # --- events ---------------------------------------------------------------------------

    def record(self, write: Record) -> Recorded:
        arrival = write.arrival
        ids: list[str] = []
        new: list[bool] = []
        deliveries: list[Delivery] = []
        orders: list[Order] = []
        callback = 0
        for plan in write.plans:
            known = self._find(plan)
            if known is None:
                callback = callback or self._add_callback(arrival)
                self._add_event(plan, callback, arrival.channel, deliveries, orders)
            else:
                self._add_copy(known, plan, arrival)
            ids.append(plan.event.id if known is None else known.id)
            new.append(known is None)
        if write.replaces is not None:
            self._dismiss(write.replaces)
        else:
            self._count_use(arrival)
        return Recorded(
            ids=tuple(ids), new=tuple(new), deliveries=tuple(deliveries), orders=tuple(orders)
        )

    def _find(self, plan: Planned) -> EventRow | None:
        """Return the event that has one of the plan's keys, or the one that it is a copy of."""
        source = plan.event.source
        for key in plan.keys:
            seq = self._keys.get((source, key))
            if seq is not None:
                return self._events[seq]
        return None if plan.twin is None else self._find_original(plan.event, plan.twin)

    def _find_original(self, event: Event, copy: Copy) -> EventRow | None:
        rows = [
            row
            for row in self._of_subject.get((event.source, event.subject), ())
            if row.type in (event.type, ALIKE.get(event.type)) and copy.form not in row.forms
        ]
        possible = [
            PossibleCopy(seq=row.seq, id=row.id, twin=stored)
            for row in rows[-COMPARED:]
            # Old events have no forms: two callbacks have keys that tell them apart.
            if not (stored := _read_copy(row)).form == copy.form == CALLBACK
        ]
        found = match(copy, possible)
        return None if found is None else self._events[found.seq]

    def _add_event(
        self,
        plan: Planned,
        callback: int,
        channel: str,
        deliveries: list[Delivery],
        orders: list[Order],
    ) -> None:
        """Store the event with its deliveries; `orders` gains the one that it names."""
        event, rows, changes = plan.event, self._rows, self.changes
        source = event.source
        rows.last_event = seq = rows.last_event + 1
        for key in dict.fromkeys(plan.keys):
            self._keys[source, key] = seq
            changes.keys.append((source, key, seq))
        row = EventRow(
            seq=seq,
            id=event.id,
            source=source,
            type=event.type,
            subject=event.subject,
            also=_other_subject(event),
            at=plan.at,
            body=plan.body.decode(),
            channel=channel,
            reference=event.data.reference,
            callback=callback,
            routes=plan.routes,
        )
        self._events[seq] = row
        self._of_subject.setdefault((source, event.subject), []).append(row)
        changes.events.append(row)
        self._counts["events"] += 1
        if plan.tells is not None:
            orders.append(self._register_with(plan.tells, row, plan.taken))
        elif plan.order is not None:
            self._link(row, plan.order, plan.taken)
        if plan.twin is not None:
            self._note_form(row, plan.twin)
        self._add_deliveries(row, plan.body, plan.at, plan.owed, deliveries)

    def _add_callback(self, arrival: Arrival) -> int:
        self._rows.last_callback += 1
        self.changes.callbacks.append((self._rows.last_callback, arrival))
        return self._rows.last_callback

    def _add_copy(self, row: EventRow, plan: Planned, arrival: Arrival) -> None:
        for key in plan.keys:
            # All keys of a copy lead to the event from now on: a chain of retries stays one.
            name = (row.source, key)
            if name not in self._keys:
                self._keys[name] = row.seq
                self.changes.keys.append((*name, row.seq))
        if plan.twin is not None:
            self._note_form(row, plan.twin)
        if plan.twin is not None or plan.event.data.channel == POLL:
            self._fill_gaps(row, plan.event)
        polled = arrival.channel == POLL
        # Each poll brings an event again: only the first is a duplicate.
        if not (polled and (row.polled or row.channel == POLL)):
            self._counts["duplicates"] += 1
            if row.duplicates < DUPLICATES_KEPT:
                row.duplicates += 1
                row.polled = row.polled or polled
                self.changes.duplicates.append(
                    (row.seq, row.duplicates, arrival.at, arrival.channel, arrival.peer)
                )
        if plan.order is not None and (order := self._orders.get(plan.order)) is not None:
            self._join_copy(row, order, plan)

    def _note_form(self, row: EventRow, copy: Copy) -> None:
        if copy.form not in row.forms:
            row.forms[copy.form] = copy.second
            self.changes.copies.append((row.seq, copy.form, copy.second))

    def _fill_gaps(self, row: EventRow, event: Event) -> None:
        """Add what a copy says and the event does not."""
        body = msgspec.json.decode(row.body)
        data, offered = body["data"], msgspec.to_builtins(event.data)
        news = {
            name: offered[name]
            for name in _FILLED
            if data.get(name, "") is None and offered.get(name) is not None
        }
        if "text" in news:
            news["urls"] = offered["urls"]
        if news:
            self._change_data(row, body, news)

    def _change_data(self, row: EventRow, body: dict[str, Any], news: Mapping[str, Any]) -> None:
        body["data"] |= news
        row.body = msgspec.json.encode(body).decode()
        row.reference = body["data"].get("reference")
        row.registration = None
        if row.seq <= self._stored:
            self.changes.changed[row.seq] = row

    def _count_use(self, arrival: Arrival) -> None:
        if arrival.channel != POLL:
            use = self.changes.token_uses.setdefault((arrival.source, arrival.token), [0, 0.0])
            use[0] += 1
            use[1] = max(use[1], arrival.at)

    def _record_uncalled(self, plan: Planned) -> Recorded:
        """Store an event that no callback brought."""
        arrival = Arrival(
            source=plan.event.source,
            channel=NO_CALLBACK,
            token="",
            peer="",
            at=plan.at,
            headers=(),
            body=b"",
        )
        deliveries: list[Delivery] = []
        self._add_event(plan, self._add_callback(arrival), NO_CALLBACK, deliveries, [])
        return Recorded(ids=(plan.event.id,), new=(True,), deliveries=tuple(deliveries))

    # --- deliveries -----------------------------------------------------------------------

    def replay(self, write: ReplayEvent) -> Replayed | None:
        row = next((row for row in self._events.values() if row.id == write.event_id), None)
        if row is None:
            return None
        deliveries: list[Delivery] = []
        first = self._rows.last_delivery + 1
        self._add_deliveries(row, row.body.encode(), write.at, write.owed, deliveries, replay=True)
        ids = range(first, self._rows.last_delivery + 1)
        return Replayed(ids=tuple(ids), deliveries=tuple(deliveries))

    def _add_deliveries(
        self,
        row: EventRow,
        body: bytes,
        at: float,
        owed: Sequence[Owed],
        taken: list[Delivery],
        *,
        replay: bool = False,
    ) -> None:
        """Add a delivery a sink; `taken` gains those that a worker sends at once."""
        for one in owed:
            self._rows.last_delivery = number = self._rows.last_delivery + 1
            waits = False
            if one.ordering is not None:
                waits = (one.sink, one.ordering) in self._rows.unfinished
                self._rows.unfinished.add((one.sink, one.ordering))
            takes = one.taken and not waits
            self.changes.deliveries.append(
                NewDelivery(
                    number,
                    row.seq,
                    one.sink,
                    State.SENDING if takes else State.PENDING,
                    None if takes or waits else at + one.wait,
                    self._owner if takes else None,
                    at,
                    one.ordering,
                    replay,
                )
            )
            self._counts[_SENDING if takes else _PENDING] += 1
            if takes:
                taken.append(
                    Delivery(
                        id=number,
                        event_id=row.id,
                        body=body,
                        sink=one.sink,
                        attempts=0,
                        accepted_at=at,
                        ordering=one.ordering,
                        replay=replay,
                    )
                )

    # --- orders ---------------------------------------------------------------------------

    def place(self, write: RegisterOrder) -> Registered:
        order, new, conflicts = self._register(write)
        if not conflicts:
            self._join_all(order.id)
        return Registered(order=self._show(order.id), new=new, conflicts=conflicts)

    def _register(self, write: RegisterOrder) -> tuple[Order, bool, tuple[str, ...]]:
        """Store the order or add to the stored one; say whether it is new, and what conflicts."""
        given = write.order
        known = self._orders.get(self._rows.named.get(_name(given), ""))
        if known is None or not is_same(known, given):
            self._orders[given.id] = self.changes.new_orders[given.id] = given
            self._rows.named[_name(given)] = given.id
            return given, True, ()
        order, conflicts = merged(known, given, write.end)
        if not conflicts and order != known:
            self._change(order)
            self._gain_all(order)
        return order, False, conflicts

    def _register_with(self, given: Order, row: EventRow, taken: tuple[str, ...]) -> Order:
        """Store the order that an event names, with that event."""
        order, _, _ = self._register(RegisterOrder(given, None))
        self._link(row, order.id, taken)
        self._gain_all(order)
        self._join_all(order.id)
        return self._show(order.id)

    def cancel(self, write: CancelOrder) -> Order | None:
        order = self._orders.get(write.id)
        if order is None:
            return None
        if order.state is not OrderState.CANCELLED:
            ends = min(order.expires_at, write.at)
            self._change(order, state=OrderState.CANCELLED, expires_at=ends)
        return self._show(write.id)

    def expire(self, write: ExpireOrder) -> Recorded | None:
        order, at = self._orders.get(write.plan.order or ""), write.plan.at
        if order is None:
            return None
        if not write.at_once:
            if not (
                order.state is OrderState.WAITING
                and order.origin is RegisteredBy.USER
                and order.expires_at <= at
            ):
                return None
            self._change(order, state=OrderState.EXPIRED, reason=write.reason)
            return self._record_uncalled(write.plan)
        if order.reason is not None or order.state is OrderState.CANCELLED:
            return None
        ends = min(order.expires_at, at)
        if order.state is OrderState.RECEIVED:
            self._change(order, reason=write.reason, expires_at=ends)
            return None
        self._change(order, state=OrderState.EXPIRED, reason=write.reason, expires_at=ends)
        return self._record_uncalled(write.plan)

    def lapse(self, write: LapseOrder) -> Order | None:
        order = self._orders.get(write.id)
        if order is None:
            return None
        if (
            order.state is OrderState.WAITING
            and order.origin is RegisteredBy.PROVIDER
            and order.expires_at <= write.at
        ):
            self._change(order, state=OrderState.EXPIRED)
        return self._show(write.id)

    def move(self, write: MoveOrders) -> None:
        for was, to in write.moved:
            order = self._orders.get(was.id)
            if (
                order is not None
                and order.state is OrderState.WAITING
                and (order.created_at, order.expires_at) == (was.created_at, was.expires_at)
            ):
                self._change(order, created_at=to.created_at, expires_at=to.expires_at)

    def _change(self, order: Order, **fields: Any) -> None:
        order = msgspec.structs.replace(order, **fields)
        self._orders[order.id] = order
        new = order.id in self.changes.new_orders
        (self.changes.new_orders if new else self.changes.orders)[order.id] = order

    def _show(self, order_id: str) -> Order:
        order, received = self._orders[order_id], self._rows.received.get(order_id)
        return (
            order if received is None else msgspec.structs.replace(order, received_at=received[1])
        )

    def _link(self, row: EventRow, order_id: str, taken: tuple[str, ...]) -> None:
        """Join an event that was accepted with what its order knows."""
        if order_id in self._orders:
            row.order, row.taken = order_id, taken
            self.changes.links[row.seq] = row
            self._receive(order_id, row)

    def _join_copy(self, row: EventRow, order: Order, plan: Planned) -> None:
        """A copy of the event was accepted with that order."""
        if self._join(row, order):
            return
        # One number may be that of several orders: only an id shows that the event answers both.
        # The time does not matter for ids.
        said = told_by(plan.event.data, time=None, at=plan.at)
        if is_named(order, said) and row.type in AWAITED:
            self.changes.order_copies.append((order.id, row.seq))
            self._receive(order.id, row)

    def _join_all(self, order_id: str) -> None:
        """Join the events that came before their order."""
        for row in list(self._events.values()):
            order = self._orders[order_id]
            if row.source != order.source:
                continue
            if row.registration is None:
                row.registration = told_in(msgspec.json.decode(row.body), at=row.at)
            said = row.registration
            by_number = (
                order.number is not None
                and said.number == order.number
                and row.at >= order.created_at - GRACE
            )
            if (by_number or order.subject in (row.subject, row.also)) and (
                is_named(order, said) or is_numbered(order, said)
            ):
                self._join(row, order)

    def _join(self, row: EventRow, order: Order) -> bool:
        """Return whether the event is the order's from now on: users' orders come first."""
        owner = None if row.order is None else self._orders[row.order]
        if owner is not None and (
            owner.origin is order.origin or order.origin is RegisteredBy.PROVIDER
        ):
            return owner.id == order.id
        row.order = order.id
        self.changes.links[row.seq] = row
        if owner is not None and self._rows.received.get(owner.id, (0,))[0] == row.seq:
            its = [one for one in self._events.values() if one.order == owner.id]
            first = next((one for one in its if one.type in AWAITED), None)
            del self._rows.received[owner.id]
            if first is not None:
                self._rows.received[owner.id] = (first.seq, first.at)
        self._gain(row, order)
        self._receive(order.id, row)
        return True

    def _gain_all(self, order: Order) -> None:
        for row in self._events.values():
            if row.order == order.id:
                self._gain(row, order)

    def _gain(self, row: EventRow, order: Order) -> None:
        """Add what the order knows to its event."""
        body = msgspec.json.decode(row.body)
        news = gained(body["data"], order, row.taken)
        if news:
            row.taken = tuple(name for name in REPLACEABLE if name in news or name in row.taken)
            self.changes.links[row.seq] = row
            self._change_data(row, body, news)

    def _receive(self, order_id: str, row: EventRow) -> None:
        if row.type not in AWAITED:
            return
        order = self._orders[order_id]
        if order.state in (OrderState.WAITING, OrderState.EXPIRED):
            self._change(order, state=OrderState.RECEIVED)
        first = self._rows.received.get(order_id)
        if first is None or row.seq < first[0]:
            self._rows.received[order_id] = (row.seq, row.at)

    # --- what is no event -----------------------------------------------------------------

    def set_balance(self, write: SetBalance) -> Recorded | None:
        balance, low = write.balance, self._rows.low
        fell = balance.low and balance.source not in low
        (low.add if balance.low else low.discard)(balance.source)
        self.changes.balances[balance.source] = balance
        return self._record_uncalled(write.plan) if fell and write.plan is not None else None

    def keep(self, write: QuarantineCallback) -> Quarantined:
        self._count_use(write.arrival)
        name = (write.arrival.source, write.fingerprint)
        id_ = self._rows.quarantined.setdefault(name, write.id)
        new = id_ == write.id
        self._counts["quarantine" if new else "duplicates"] += 1
        self.changes.quarantine.setdefault(id_, []).append(write)
        return Quarantined(id=id_, new=new)

    def dismiss(self, write: DismissQuarantined) -> bool:
        return self._dismiss(write.id)

    def _dismiss(self, quarantine_id: str) -> bool:
        known = self._rows.quarantined
        name = next((name for name, id_ in known.items() if id_ == quarantine_id), None)
        if name is None:
            return False
        del known[name]
        self.changes.quarantine.pop(quarantine_id, None)
        self.changes.dismissed.add(quarantine_id)
        self._counts["quarantine"] -= 1
        return True

    def reject(self, write: CountRejections) -> None:
        rows, changes = self._rows, self.changes
        for one in write.rejections:
            name = (one.reason, one.source, one.peer)
            if name not in rows.rejections and rows.rejections_kept >= REJECTIONS_KEPT:
                name = (one.reason, one.source, "*")
            counted = msgspec.structs.replace(one, peer=name[2])
            if name in rows.rejections:
                changes.rejections.append(counted)
            else:
                rows.rejections.add(name)
                rows.rejections_kept += 1
                changes.new_rejections.append(counted)

    def note(self, write: SetMoment) -> None:
        self.changes.moments[write.name] = write.at


class _Kind(NamedTuple):
    """How one kind of write says what it needs, and is decided."""

    need: Callable[[Needs, Any], None]
    decide: Callable[[_Batch, Any], Decision]


_KINDS: Mapping[type, _Kind] = {
    Record: _Kind(_need_record, _Batch.record),
    ReplayEvent: _Kind(_need_replay, _Batch.replay),
    RegisterOrder: _Kind(_need_order, _Batch.place),
    CancelOrder: _Kind(lambda needs, write: needs.orders.add(write.id), _Batch.cancel),
    ExpireOrder: _Kind(lambda needs, write: _need_plan(needs, write.plan), _Batch.expire),
    LapseOrder: _Kind(lambda needs, write: needs.orders.add(write.id), _Batch.lapse),
    MoveOrders: _Kind(
        lambda needs, write: needs.orders.update(was.id for was, _ in write.moved), _Batch.move
    ),
    SetBalance: _Kind(_need_balance, _Batch.set_balance),
    QuarantineCallback: _Kind(
        lambda needs, write: needs.fingerprints.add((write.arrival.source, write.fingerprint)),
        _Batch.keep,
    ),
    DismissQuarantined: _Kind(lambda needs, write: needs.quarantined.add(write.id), _Batch.dismiss),
    CountRejections: _Kind(_need_rejections, _Batch.reject),
    SetMoment: _Kind(lambda _needs, _write: None, _Batch.note),
}
#: The kinds of writes that are decided here.
DECIDED = frozenset(_KINDS)


def _name(order: Order) -> tuple[str, str, str]:
    return order.source, order.kind, order.name


class _CopyData(msgspec.Struct, frozen=True):
    channel: str
    time_from: str
    text: str | None = None
    code: str | None = None


class _CopyEvent(msgspec.Struct, frozen=True):
    time: str
    data: _CopyData


_decode_copy = msgspec.json.Decoder(_CopyEvent).decode


def _read_copy(row: EventRow) -> Copy:
    """Return what a stored event says of itself. Without a time it has that of its copies."""
    event = _decode_copy(row.body)
    data = event.data
    if data.time_from != "received":
        second: float | None = datetime.fromisoformat(event.time).timestamp()
    else:
        second = min((one for one in row.forms.values() if one is not None), default=None)
    return Copy(form=data.channel, text=data.text, code=data.code, second=second)


def _other_subject(event: Event) -> str | None:
    """Return what an event happened to beside its subject: an SMS of a request in a rental."""
    for kind, name in SUBJECTS.items():
        id_ = getattr(event.data, name, None)
        if id_ is not None and (subject := f"{kind}/{id_}") != event.subject:
            return subject
    return None
