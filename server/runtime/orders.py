"""Orders while the service runs: registered, listed by providers, joined to events, ended."""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Sequence

import msgspec

from core.clock import boot_ticks
from core.errors import Broken, InvalidRow, Unavailable
from core.event import Price
from core.order import (
    REMEMBERED,
    TIME_UP,
    Order,
    OrderState,
    RegisteredBy,
    lasting,
    merged,
    provided,
)
from journal import Journal
from journal.order_book import OrderBook
from journal.reads import OpenOrders, OrderById
from journal.records import Registered
from journal.writes import CancelOrder, LapseOrder, MoveOrders, RegisterOrder
from receiver.polling.questions import Ended, ListedOrder
from receiver.source_state import SourceState

from .accept import Pipeline

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
    """What the API and providers say of orders, and a task that ends what is due."""

    def __init__(
        self,
        *,
        journal: Journal,
        book: OrderBook,
        pipeline: Pipeline,
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        """`now` gives seconds since the epoch, `ticks` seconds that only go forward."""
        self._journal, self._book, self._pipeline, self._now = journal, book, pipeline, now
        self._ticks = ticks
        self._moving: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        book.noticed = self._noticed
        #: (when it ends, id); what is not so any more is passed over.
        self._ends: list[tuple[float, str]] = []
        self._awake = asyncio.Event()
        self._forget_at = ticks() + FORGET_EVERY

    async def load(self) -> None:
        """Before the first callback: whatever may still get an event. Raises Unavailable."""
        orders = await self._journal.ask(OpenOrders(since=self._now() - REMEMBERED))
        for order in orders:
            self._book.put(order)
        await self._moved([(one, self._clamped(one)) for one in orders if _waits(one)])

    def _clamped(self, order: Order) -> Order:
        """The clock may have been set back while nobody was there to see by how much."""
        now = self._now()
        if order.lasts is None or order.expires_at <= now + order.lasts:
            return order
        return msgspec.structs.replace(
            order, created_at=min(order.created_at, now), expires_at=now + order.lasts
        )

    def follow_clock(self, by: float) -> None:
        """Move what waits: the wall clock jumped by so many seconds.

        An end that is a duration moves, one that the user gave as an instant does not.
        """
        moved = [(order, _shifted(order, by)) for order in self._book.waiting()]
        task = asyncio.get_running_loop().create_task(self._follow(moved))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)
        for _, order in moved:
            self._book.put(order)
        self._awake.set()

    async def _follow(self, moved: Sequence[tuple[Order, Order]]) -> None:
        while True:
            try:
                await self._moved(moved)
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _moved(self, moved: Sequence[tuple[Order, Order]]) -> None:
        """Raises Unavailable."""
        moved = [(before, after) for before, after in moved if before != after]
        if not moved:
            return
        await self._journal.submit(MoveOrders(tuple(moved)))
        for before, after in moved:
            # What was being written when the clock jumped came back with the times of before.
            current = self._book.get(after.id)
            if current is not None and _times(current) == _times(before):
                self._book.put(
                    msgspec.structs.replace(
                        current, created_at=after.created_at, expires_at=after.expires_at
                    )
                )

    async def place(self, order: Order, end: float | None) -> Registered:
        """Keep it, or add to the one that is there. `end` is when it ends, if that was asked for.

        Events belong to it from now on; if it cannot be kept, Unavailable or Unfit is raised, and
        the next ones do not.
        """
        before = self._book.known(order)
        foreseen = self._book.foresee(order, end)

        def then(outcome: Registered | Exception) -> None:
            self._book.take_back(foreseen, before)
            if isinstance(outcome, Registered):
                self._book.put(outcome.order)

        return await self._journal.submit(RegisterOrder(order, end), then=then)

    async def cancel(self, order_id: str) -> Order | None:
        """Expect nothing more of it; None: there is none."""
        cancelling = self._journal.submit(CancelOrder(order_id, at=self._now()))
        cancelling.add_done_callback(self._note_cancelled)
        return await asyncio.shield(cancelling)  # it is noted, whether its caller waits or not

    def _note_cancelled(self, cancelling: "asyncio.Future[Order | None]") -> None:
        order = None if cancelling.exception() else cancelling.result()
        if order is not None and self._book.get(order.id) is not None:
            self._book.put(order)

    # --- what providers say -------------------------------------------------------------------

    async def listed(self, gate: SourceState, listed: ListedOrder) -> None:
        """Keep what the provider lists as active, if that is new. Raises Unavailable or Unfit."""
        at = round(self._now(), 6)
        order = provided(
            Order(
                id=self._pipeline.new_id(at),
                source=gate.name,
                provider=str(type(gate.source).__struct_config__.tag),
                kind=listed.kind,
                name=listed.name,
                number=listed.number,
                service=listed.service,
                country=listed.country,
                price=_price(listed.price, gate.source.currency),
                created_at=at,
                expires_at=at + lasting(listed.kind),
                lasts=lasting(listed.kind),
                origin=RegisteredBy.PROVIDER,
            )
        )
        known = self._book.known(order)
        # A list says the same each round: only what changes is written.
        if known is None or merged(known, order, None)[0] != known:
            await self.place(order, None)

    async def ended(self, gate: SourceState, ended: Ended) -> None:
        """End an order at once, with the provider's reason. Raises Unavailable or Unfit."""
        order = self._book.named(gate.name, ended.kind, ended.name)
        # A provider says it each round.
        if order is None or order.reason is not None or order.state is OrderState.CANCELLED:
            return
        await self._pipeline.expire(order, ended.reason, at_once=True)
        await self._read_again(order)

    async def _read_again(self, order: Order) -> None:
        kept = await self._journal.ask(OrderById(order.id))
        if kept is not None:
            self._book.put(kept.order)

    def open(
        self, source: str, *, since: float | None = None, wide: bool = True
    ) -> Sequence[Order]:
        """The orders a backfill asks for: not cancelled, not over at `since` (default: now).

        Without `wide`, none that the provider said is over. Reaches back two days, as orders are
        remembered. Costs no look at the disk.
        """
        begin = self._now() if since is None else since
        found = (
            order
            for order in self._book.of_source(source)
            if order.state is OrderState.WAITING or order.expires_at > begin
        )
        return [
            order
            for order in found
            if order.state is not OrderState.CANCELLED and (wide or not order.is_ended_by_provider)
        ]

    def is_ended(self, source: str, kind: str, name: str) -> bool:
        """Whether the provider said that the order of that name is over."""
        order = self._book.named(source, kind, name)
        return order is not None and order.is_ended_by_provider

    def waiting_since(self, source: str) -> float | None:
        """When the oldest order that waits for longer than codes take was registered."""
        limit = self._now() - SLOW
        waiting = (
            order.created_at
            for order in self._book.of_source(source)
            if _waits(order) and order.origin is RegisteredBy.USER
        )
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
            if self._ticks() >= self._forget_at:
                self._book.forget(self._now())
                self._forget_at = self._ticks() + FORGET_EVERY

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
        due: dict[str, Order] = {}
        now = self._now()
        while self._ends and self._ends[0][0] <= now and len(due) < ENDED_AT_ONCE:
            at, order_id = heapq.heappop(self._ends)
            order = self._book.get(order_id)
            if order is not None and _waits(order) and order.expires_at == at:
                due[order_id] = order
        return list(due.values())

    async def _end(self, order: Order) -> bool:
        try:
            if order.origin is RegisteredBy.PROVIDER:
                lapsed = await self._journal.submit(LapseOrder(order.id, at=self._now()))
                ended = lapsed is not None and lapsed.state is OrderState.EXPIRED
            else:
                ended = await self._pipeline.expire(order)
            # Something else became of it: an SMS came by a copy, or its end was moved.
            kept = None if ended else await self._journal.ask(OrderById(order.id))
        except (Unavailable, InvalidRow):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            return False
        current = self._book.get(order.id)
        if kept is not None:
            self._book.put(kept.order)
        elif current is not None and _waits(current):
            self._book.put(
                _ended(current, lapsed=order.origin is RegisteredBy.PROVIDER, ended=ended)
            )
        return True

    def _noticed(self, order: Order) -> None:
        if _waits(order):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            self._awake.set()


def _times(order: Order) -> tuple[float, float]:
    return order.created_at, order.expires_at


def _shifted(order: Order, by: float) -> Order:
    end = order.expires_at if order.lasts is None else order.expires_at + by
    return msgspec.structs.replace(order, created_at=order.created_at + by, expires_at=end)


def _waits(order: Order) -> bool:
    return order.state is OrderState.WAITING


def _ended(order: Order, *, lapsed: bool, ended: bool) -> Order:
    """`ended` is false where the journal does not have the order at all."""
    state = OrderState.EXPIRED if ended else OrderState.CANCELLED
    reason = TIME_UP if ended and not lapsed else None
    return msgspec.structs.replace(order, state=state, reason=reason)


def _price(price: Price | None, currency: str | None) -> Price | None:
    """A list may leave the currency to the source's `currency`."""
    if price is None or price.currency is not None:
        return price
    return Price(amount=price.amount, currency=currency)
