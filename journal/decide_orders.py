"""The changes that a batch makes to orders and to their events. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from core.order import (
    AWAITED,
    GRACE,
    REPLACEABLE,
    Order,
    OrderState,
    RegisteredBy,
    changed_fields,
    is_named,
    is_numbered,
    is_same,
    mention_in_data,
    mention_in_event,
    merge,
)

from .records import Planned, Registered
from .rows import Changes, EventRow, LookedUp, change_data
from .writes import CancelOrder, ExpireOrder, LapseOrder, MoveOrders, RegisterOrder


def order_name(order: Order) -> tuple[str, str, str]:
    """Return the key by which an order is registered."""
    return order.source, order.kind, order.name


def may_change(known: Order, registered: Iterable[RegisterOrder]) -> bool:
    """Return whether one of these registrations changes the known order."""
    return any(
        is_same(known, write.order) and merge(known, write.order, write.end)[0] != known
        for write in registered
    )


class OrderChanges:
    """Orders and their events, after the earlier writes of the batch."""

    def __init__(self, found: LookedUp, changes: Changes) -> None:
        self._rows, self._changes = found, changes
        self._events, self._orders = found.events, found.orders

    def register(self, write: RegisterOrder) -> Registered:
        order, new, conflicts = self._store(write)
        if not conflicts:
            self._join_all(order.id)
        return Registered(order=self._read(order.id), new=new, conflicts=conflicts)

    def _store(self, write: RegisterOrder) -> tuple[Order, bool, tuple[str, ...]]:
        """Store the order or add to the stored one; return it, whether it is new, and conflicts."""
        given = write.order
        known = self._orders.get(self._rows.named.get(order_name(given), ""))
        if known is None or not is_same(known, given):
            self._orders[given.id] = self._changes.new_orders[given.id] = given
            self._count(given.source, given.state)
            self._rows.named[order_name(given)] = given.id
            return given, True, ()
        order, conflicts = merge(known, given, write.end)
        if not conflicts and order != known:
            self._change(order)
            self._complete_all(order)
        return order, False, conflicts

    def register_named(self, given: Order, row: EventRow, taken: tuple[str, ...]) -> Order:
        """Store the order that an event names, with that event."""
        order, _, _ = self._store(RegisterOrder(given, None))
        self.link(row, order.id, taken)
        self._complete_all(order)
        self._join_all(order.id)
        return self._read(order.id)

    def cancel(self, write: CancelOrder) -> Order | None:
        order = self._orders.get(write.id)
        if order is None:
            return None
        if order.state is not OrderState.CANCELLED:
            ends = min(order.expires_at, write.at)
            self._change(order, state=OrderState.CANCELLED, expires_at=ends)
        return self._read(write.id)

    def expire(self, write: ExpireOrder) -> bool:
        """End an order; return whether to store its event."""
        order, at = self._orders.get(write.plan.order or ""), write.plan.at
        if order is None:
            return False
        if not write.at_once:
            if not (
                order.state is OrderState.WAITING
                and order.origin is RegisteredBy.USER
                and order.expires_at <= at
            ):
                return False
            self._change(order, state=OrderState.EXPIRED, reason=write.reason)
            return True
        if order.reason is not None or order.state is OrderState.CANCELLED:
            return False
        ends = min(order.expires_at, at)
        if order.state is OrderState.RECEIVED:
            self._change(order, reason=write.reason, expires_at=ends)
            return False
        self._change(order, state=OrderState.EXPIRED, reason=write.reason, expires_at=ends)
        return True

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
        return self._read(write.id)

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
        before, order = order.state, msgspec.structs.replace(order, **fields)
        self._orders[order.id] = order
        if order.state is not before:
            self._count(order.source, order.state)
        new = order.id in self._changes.new_orders
        (self._changes.new_orders if new else self._changes.orders)[order.id] = order

    def _count(self, source: str, state: OrderState) -> None:
        self._changes.counts[f"orders/{source}/{state}"] += 1

    def _read(self, order_id: str) -> Order:
        order, received = self._orders[order_id], self._rows.received.get(order_id)
        return (
            order if received is None else msgspec.structs.replace(order, received_at=received[1])
        )

    def link(self, row: EventRow, order_id: str, taken: tuple[str, ...]) -> None:
        """Join an accepted event with the details of its order."""
        if order_id in self._orders:
            row.order, row.taken = order_id, taken
            self._changes.links[row.seq] = row
            self._mark_received(order_id, row)

    def join_copy(self, row: EventRow, plan: Planned) -> None:
        """Join a stored event with the order of its copy `plan`."""
        order = self._orders.get(plan.order or "")
        if order is None or self._join(row, order):
            return
        # Several orders may have one number: only an id proves that the event answers both. The
        # time does not matter for ids.
        said = mention_in_data(plan.event.data, time=None, at=plan.at)
        if is_named(order, said) and row.type in AWAITED:
            self._changes.order_copies.append((order.id, row.seq))
            self._mark_received(order.id, row)

    def _join_all(self, order_id: str) -> None:
        """Join the events that came before their order."""
        for row in list(self._events.values()):
            order = self._orders[order_id]
            if row.source != order.source:
                continue
            if row.mention is None:
                row.mention = mention_in_event(msgspec.json.decode(row.body), at=row.at)
            said = row.mention
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
        """Join the event with the order; return whether it is the order's. Users' orders win."""
        owner = None if row.order is None else self._orders[row.order]
        if owner is not None and (
            owner.origin is order.origin or order.origin is RegisteredBy.PROVIDER
        ):
            return owner.id == order.id
        row.order = order.id
        self._changes.links[row.seq] = row
        if owner is not None and self._rows.received.get(owner.id, (0,))[0] == row.seq:
            its = [one for one in self._events.values() if one.order == owner.id]
            first = next((one for one in its if one.type in AWAITED), None)
            del self._rows.received[owner.id]
            if first is not None:
                self._rows.received[owner.id] = (first.seq, first.at)
        self._complete(row, order)
        self._mark_received(order.id, row)
        return True

    def _complete_all(self, order: Order) -> None:
        for row in self._events.values():
            if row.order == order.id:
                self._complete(row, order)

    def _complete(self, row: EventRow, order: Order) -> None:
        """Add the order's values to its event."""
        body = msgspec.json.decode(row.body)
        news = changed_fields(body["data"], order, row.taken)
        if news:
            row.taken = tuple(name for name in REPLACEABLE if name in news or name in row.taken)
            self._changes.links[row.seq] = row
            change_data(row, body, news, self._changes)

    def _mark_received(self, order_id: str, row: EventRow) -> None:
        if row.type not in AWAITED:
            return
        order = self._orders[order_id]
        if order.state in (OrderState.WAITING, OrderState.EXPIRED):
            self._change(order, state=OrderState.RECEIVED)
        first = self._rows.received.get(order_id)
        if first is None or row.seq < first[0]:
            self._rows.received[order_id] = (row.seq, row.at)
