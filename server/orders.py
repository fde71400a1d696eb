"""Orders while the service runs: told, joined to events, ended in time, looked after."""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Sequence

import msgspec

from journal import Journal, Order, OrderState, Placed
from journal.book import Book
from journal.commit import Unavailable, Unfit
from journal.order import REMEMBERED

from .pipeline import Pipeline

#: Seconds between looks at the clock: a wall clock that jumps must not leave what is due asleep.
LONGEST_SLEEP = 30.0
#: Seconds until what could not be written is tried again.
PAUSE = 1.0
#: Orders that are ended at once: each holds places in the queues of sinks until it is recorded.
ENDED_AT_ONCE = 100
#: Seconds after which an order has waited longer than codes take.
SLOW = 600.0
#: Seconds between two times that the book forgets what ended long ago.
FORGET_EVERY = 3600.0


class Orders:
    """What the API asks, and a task that ends what is due. It alone changes the book's orders."""

    def __init__(
        self, *, journal: Journal, book: Book, pipeline: Pipeline, now: Callable[[], float]
    ) -> None:
        self._journal, self._book, self._pipeline, self._now = journal, book, pipeline, now
        #: (when it ends, id); what is not so any more is passed over.
        self._ends: list[tuple[float, str]] = []
        self._awake = asyncio.Event()
        self._forget_at = now() + FORGET_EVERY

    async def load(self) -> None:
        """Before the first callback: whatever may still get an event. Raises Unavailable."""
        for order in await self._journal.open_orders(since=self._now() - REMEMBERED):
            self._put(order)

    async def place(self, order: Order, end: float | None) -> Placed:
        """Keep it, or add to the one that is there. `end` is when it ends, if that was asked for.

        Events belong to it from now on; if it cannot be kept, Unavailable or Unfit is raised, and
        the next ones do not.
        """
        before = self._book.known(order)
        foreseen = self._book.foresee(order, end)

        def then(outcome: Placed | Exception) -> None:
            if isinstance(outcome, Placed):
                self._put(outcome.order)
            elif before is None:
                self._book.drop(foreseen.id)
            else:
                self._book.put(before)

        return await self._journal.place(order, end, then=then)

    async def cancel(self, order_id: str) -> Order | None:
        """Nothing more is expected of it; None: there is none."""
        cancelling = self._journal.cancel(order_id, at=self._now())
        cancelling.add_done_callback(self._note_cancelled)
        return await asyncio.shield(cancelling)  # it is noted, whether its caller waits or not

    def _note_cancelled(self, cancelling: "asyncio.Future[Order | None]") -> None:
        order = None if cancelling.exception() else cancelling.result()
        if order is not None and self._book.get(order.id) is not None:
            self._put(order)

    def open(self, source: str, *, since: float | None = None) -> Sequence[Order]:
        """What a backfill looks after: not cancelled, and not over at `since`; None: by now.

        As far back as orders are remembered: two days. Costs no look at the disk.
        """
        begin = self._now() if since is None else since
        found = (
            order
            for order in self._book.of_source(source)
            if order.state is OrderState.WAITING or order.expires_at > begin
        )
        return [order for order in found if order.state is not OrderState.CANCELLED]

    def waiting_since(self, source: str) -> float | None:
        """When the oldest order of that source was told that waits for longer than codes take."""
        limit = self._now() - SLOW
        waiting = (o.created_at for o in self._book.of_source(source) if _waits(o))
        return min((at for at in waiting if at < limit), default=None)

    # --- their end --------------------------------------------------------------------------

    async def watch(self) -> None:
        """End what is due, when it is due, until cancelled."""
        while True:
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._awake.wait()
            if not await self.end_due():
                await asyncio.sleep(PAUSE)
            if self._now() >= self._forget_at:
                self._book.forget(self._now())
                self._forget_at = self._now() + FORGET_EVERY

    def _until_next(self) -> float:
        first = self._ends[0][0] if self._ends else math.inf
        return min(max(0.0, first - self._now()), LONGEST_SLEEP)

    async def end_due(self) -> bool:
        """End what is due now; False: some of it could not be written, and is due still."""
        while due := self._due():
            outcomes = await asyncio.gather(*map(self._end, due))
            if not all(outcomes):
                return False
        return True

    def _due(self) -> list[Order]:
        due: list[Order] = []
        now = self._now()
        while self._ends and self._ends[0][0] <= now and len(due) < ENDED_AT_ONCE:
            at, order_id = heapq.heappop(self._ends)
            order = self._book.get(order_id)
            if order is not None and _waits(order) and order.expires_at == at:
                due.append(order)
        return due

    async def _end(self, order: Order) -> bool:
        try:
            ended = await self._pipeline.expire(order)
            # Something else became of it: an SMS came by a copy, or its end was moved.
            kept = None if ended else await self._journal.order(order.id)
        except (Unavailable, Unfit):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            return False
        current = self._book.get(order.id)
        if kept is not None:
            self._put(kept.order)
        elif current is not None and _waits(current):
            state = OrderState.EXPIRED if ended else OrderState.CANCELLED
            self._book.put(msgspec.structs.replace(current, state=state))
        return True

    def _put(self, order: Order) -> None:
        self._book.put(order)
        if _waits(order):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            self._awake.set()


def _waits(order: Order) -> bool:
    return order.state is OrderState.WAITING
