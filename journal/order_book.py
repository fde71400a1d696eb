"""Orders in memory: each event is joined with its order before it is routed."""

from collections.abc import Callable, Iterable

import msgspec

from core.order import (
    BY_NUMBER,
    REMEMBERED,
    Mention,
    Order,
    OrderState,
    choose_order,
    is_numbered,
    is_same,
    merge,
)

from .decide_orders import order_name


class OrderBook:
    """The orders in memory, about 1.5 kilobytes each.

    An ended order stays while a backfill may still bring its SMS.
    """

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._orders: dict[str, Order] = {}
        #: The newest id by (source, kind, name).
        self._named: dict[tuple[str, str, str], str] = {}
        self._numbered: dict[tuple[str, str], tuple[str, ...]] = {}
        #: The number of orders in memory, by state.
        self.states: dict[OrderState, int] = dict.fromkeys(OrderState, 0)
        #: Called with each order that `put` adds.
        self.noticed: Callable[[Order], None] = lambda _order: None
        for order in orders:
            self.put(order)

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def of_source(self, source: str) -> list[Order]:
        return [order for order in self._orders.values() if order.source == source]

    def waiting(self) -> list[Order]:
        return [order for order in self._orders.values() if order.state is OrderState.WAITING]

    def find(self, source: str, mention: Mention) -> Order | None:
        """Return the order that an event of that source belongs to."""
        if not self._orders:
            return None
        ids = (self._named.get((source, *name)) for name in mention.names)
        named = [self._orders[id_] for id_ in ids if id_ is not None]
        same = () if mention.number is None else self._numbered.get((source, mention.number), ())
        numbered = [o for o in map(self._orders.__getitem__, same) if is_numbered(o, mention)]
        return choose_order(named, numbered, mention)

    def known(self, given: Order) -> Order | None:
        """Return the stored order if `given` is the same order."""
        order = self.named(given.source, given.kind, given.name)
        return order if order is not None and is_same(order, given) else None

    def named(self, source: str, kind: str, name: str) -> Order | None:
        """Return the newest order of that name."""
        id_ = self._named.get((source, kind, name))
        return None if id_ is None else self._orders[id_]

    def foresee(self, given: Order, end: float | None) -> Order:
        """Put the order as the journal will store it, and return it. Later events join it.

        The journal records those events after the order, in the same batch or a later one.
        """
        known = self.known(given)
        order = given if known is None else merge(known, given, end)[0]
        self.put(order)
        return order

    def put(self, order: Order) -> None:
        self.drop(order.id)
        self._orders[order.id] = order
        self.states[order.state] += 1
        self._named[order_name(order)] = order.id
        if order.number is not None:
            number = (order.source, order.number)
            self._numbered[number] = (*self._numbered.get(number, ()), order.id)
        self.noticed(order)

    def take_back(self, foreseen: Order, before: Order | None) -> None:
        """Undo `foresee`: the journal stored the order, or failed to.

        An earlier order that changed meanwhile stays as it is.
        """
        if before is None:
            self.drop(foreseen.id)
        elif self._orders.get(foreseen.id) is foreseen:
            self.put(before)

    def drop(self, order_id: str) -> None:
        order = self._orders.pop(order_id, None)
        if order is None:
            return
        self.states[order.state] -= 1
        if self._named.get(order_name(order)) == order_id:
            del self._named[order_name(order)]
        if order.number is not None:
            number = (order.source, order.number)
            left = tuple(one for one in self._numbered[number] if one != order_id)
            if left:
                self._numbered[number] = left
            else:
                del self._numbered[number]

    def received(self, order_id: str) -> Order | None:
        """Mark an order as received: its SMS or call came. Return it if it waited until now."""
        order = self._orders.get(order_id)
        if order is not None and order.state in (OrderState.WAITING, OrderState.EXPIRED):
            received = msgspec.structs.replace(order, state=OrderState.RECEIVED)
            self._orders[order_id] = received
            self.states[order.state] -= 1
            self.states[OrderState.RECEIVED] += 1
            return order if order.state is OrderState.WAITING else None
        return None

    def forget(self, now: float) -> None:
        """Drop orders that ended so long ago that no event joins them."""
        ended = [
            order.id
            for order in self._orders.values()
            if order.expires_at <= now - REMEMBERED and order.state is not OrderState.WAITING
        ]
        for order_id in ended:
            self.drop(order_id)

    def forget_number(self, number: str) -> None:
        """Remove a number from all orders. Those that are known by it are dropped."""
        for order in [one for one in self._orders.values() if one.number == number]:
            if order.kind == BY_NUMBER:
                self.drop(order.id)
            else:
                self.put(msgspec.structs.replace(order, number=None))
