"""The orders that an event may belong to, in memory: looked up before it is routed."""

from collections.abc import Iterable

import msgspec

from .order import (
    BY_NUMBER,
    REMEMBERED,
    Order,
    OrderState,
    Told,
    is_numbered,
    merged,
    nearest,
)


class Book:
    """Kept by the one process that has the journal; about 1.5 kilobytes an order.

    Those that ended are kept as long as a backfill may still bring their SMS.
    """

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._orders: dict[str, Order] = {}
        #: The last of each name.
        self._named: dict[tuple[str, str, str], str] = {}
        self._numbered: dict[tuple[str, str], tuple[str, ...]] = {}
        for order in orders:
            self.put(order)

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def of_source(self, source: str) -> list[Order]:
        return [order for order in self._orders.values() if order.source == source]

    def find(self, source: str, told: Told) -> Order | None:
        """The order that an event of that source belongs to."""
        if not self._orders:
            return None
        for kind, name in told.names:
            id_ = self._named.get((source, kind, name))
            if id_ is not None:
                return self._orders[id_]
        if told.number is None:
            return None
        ids = self._numbered.get((source, told.number), ())
        fitting = [o for o in map(self._orders.__getitem__, ids) if is_numbered(o, told)]
        return nearest(fitting, told)

    def known(self, given: Order) -> Order | None:
        """The order that is given once more; a number that was an order's may be one anew."""
        id_ = self._named.get((given.source, given.kind, given.name))
        order = None if id_ is None else self._orders[id_]
        if order is not None and given.kind == BY_NUMBER and order.is_over(given.created_at):
            return None
        return order

    def foresee(self, given: Order, end: float | None) -> Order:
        """Put what the journal will make of it: events that come from now on belong to it.

        They are recorded after it, whichever is durable first.
        """
        known = self.known(given)
        order = given if known is None else merged(known, given, end)[0]
        self.put(order)
        return order

    def put(self, order: Order) -> None:
        self.drop(order.id)
        self._orders[order.id] = order
        self._named[_name(order)] = order.id
        if order.number is not None:
            number = (order.source, order.number)
            self._numbered[number] = (*self._numbered.get(number, ()), order.id)

    def drop(self, order_id: str) -> None:
        order = self._orders.pop(order_id, None)
        if order is None:
            return
        if self._named.get(_name(order)) == order_id:
            del self._named[_name(order)]
        if order.number is not None:
            number = (order.source, order.number)
            left = tuple(one for one in self._numbered[number] if one != order_id)
            if left:
                self._numbered[number] = left
            else:
                del self._numbered[number]

    def received(self, order_id: str) -> None:
        """What it waited for came."""
        order = self._orders.get(order_id)
        if order is not None and order.state in (OrderState.WAITING, OrderState.EXPIRED):
            received = msgspec.structs.replace(order, state=OrderState.RECEIVED)
            self._orders[order_id] = received

    def forget(self, now: float) -> None:
        """Drop what ended so long ago that nothing comes of it any more."""
        ended = [
            order.id
            for order in self._orders.values()
            if order.expires_at <= now - REMEMBERED and order.state is not OrderState.WAITING
        ]
        for order_id in ended:
            self.drop(order_id)


def _name(order: Order) -> tuple[str, str, str]:
    return order.source, order.kind, order.name
