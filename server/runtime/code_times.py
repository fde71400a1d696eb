"""Measures the time from an order to its code."""

from collections.abc import Sequence

from core.meters import Histogram
from core.order import AWAITED
from journal.order_book import OrderBook
from journal.records import Planned

#: Upper bounds of the seconds that a code may take.
CODE_SECONDS = (1, 2.5, 5, 10, 15, 30, 45, 60, 90, 120, 180, 300, 600, 1200)


class CodeTimes:
    """Measures the time from the registration of an order to its first SMS or call."""

    def __init__(self, order_book: OrderBook) -> None:
        self._order_book = order_book
        #: Seconds, by source.
        self.seconds: dict[str, Histogram] = {}

    def measure(self, plans: Sequence[Planned], new: Sequence[bool]) -> None:
        """Add the times of the planned events of a write. `new` says which of them were new."""
        for index, planned in enumerate(plans):
            if planned.order is None or not new[index] or planned.event.type not in AWAITED:
                continue
            received = self._order_book.received(planned.order)
            if received is not None:
                histogram = self.seconds.setdefault(received.source, Histogram(CODE_SECONDS))
                histogram.add(max(0.0, planned.at - received.created_at))
