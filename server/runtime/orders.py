"""Registers, lists and ends orders while the service runs."""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from core.clock import boot_ticks
from core.errors import InvalidRow, Unavailable
from core.event import OrderExpired, Price, Service
from core.meters import Histogram
from core.order import (
    BY_NUMBER,
    REMEMBERED,
    TIME_UP,
    Order,
    OrderState,
    RegisteredBy,
    default_lifetime,
    mark_provided,
    merge,
)
from journal import Journal
from journal.order_book import OrderBook
from journal.reads import OpenOrders, OrderById
from journal.records import Registered
from journal.writes import (
    CancelOrder,
    ExpireOrder,
    Guard,
    LapseOrder,
    LineNumber,
    MoveOrders,
    RegisterOrder,
    RenewOrders,
    unguarded,
)
from receiver.callback import Happening, Key
from receiver.fields.services import service
from receiver.polling.questions import Ended, ListedOrder
from receiver.source import Source
from receiver.source_state import SourceState

from ..log.fields import event_fields
from .accept import Recorder
from .identity import Identity
from .supervisor import finish

#: Seconds between two looks at the clock: it may jump over the end of an order.
LONGEST_SLEEP = 30.0
#: Seconds until a failed write is tried again.
PAUSE = 1.0
#: Orders that end in one step: each is a write that waits in memory.
ENDED_AT_ONCE = 100
#: Seconds in which a code usually arrives.
SLOW = 600.0
#: Seconds between two cleanings of the order book.
FORGET_EVERY = 3600.0

log = structlog.get_logger()


class Orders:
    """Registers, lists, cancels and ends orders, in the journal and in the order book.

    `now` returns seconds since the epoch, `ticks` seconds that only go forward.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        order_book: OrderBook,
        recorder: Recorder,
        identity: Identity,
        sources: Mapping[str, SourceState],
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        self._journal, self._order_book, self._recorder = journal, order_book, recorder
        self._identity, self._sources = identity, sources
        self._now, self._ticks = now, ticks
        self._moving: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        order_book.noticed = self._noticed
        #: (end, id). An entry that no longer holds is skipped.
        self._ends: list[tuple[float, str]] = []
        self._awake = asyncio.Event()
        self._forget_at = ticks() + FORGET_EVERY

    async def load(self) -> None:
        """Fill the order book, before the first callback. Raises Unavailable."""
        now = self._now()
        moved: list[tuple[Order, Order]] = []
        for order in await self._journal.ask(OpenOrders(since=now - REMEMBERED)):
            self._order_book.put(order)
            # The clock may have been set back while the service did not run.
            if _waits(order) and order.lasts is not None and order.expires_at > now + order.lasts:
                created, end = min(order.created_at, now), now + order.lasts
                after = msgspec.structs.replace(order, created_at=created, expires_at=end)
                moved.append((order, after))
        await self._move(moved)

    def follow_clock(self, by: float) -> None:
        """Move the waiting orders: the wall clock jumped by `by` seconds.

        An end that was given as a duration moves. An end that was given as an instant stays.
        """
        moved: list[tuple[Order, Order]] = []
        for order in self._order_book.waiting():
            end = order.expires_at if order.lasts is None else order.expires_at + by
            created = order.created_at + by
            after = msgspec.structs.replace(order, created_at=created, expires_at=end)
            moved.append((order, after))
            self._order_book.put(after)
        self._awake.set()
        task = asyncio.get_running_loop().create_task(finish(lambda: self._move(moved)))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _move(self, moved: Sequence[tuple[Order, Order]]) -> bool:
        """Write orders with new times, given as they were and as they are. Raises Unavailable.

        Returns False: no work is left.
        """
        if not moved:
            return False
        await self._journal.submit(MoveOrders(tuple(moved)))
        for before, after in moved:
            # A write that was under way during the jump may have restored the old times.
            current = self._order_book.get(after.id)
            if current is not None and _times(current) == _times(before):
                self._order_book.put(
                    msgspec.structs.replace(
                        current, created_at=after.created_at, expires_at=after.expires_at
                    )
                )
        return False

    async def place(self, order: Order, end: float | None, guard: Guard = unguarded) -> Registered:
        """Store an order, or add its details to the stored one.

        `end` is the end that the user asked for. Events are assigned to the order from now on,
        until the write fails. Raises Unavailable or InvalidRow.
        """
        before = self._order_book.known(order)
        foreseen = self._order_book.foresee(order, end)

        def then(outcome: Registered | Exception) -> None:
            self._order_book.take_back(foreseen, before)
            if isinstance(outcome, Registered):
                self._order_book.put(outcome.order)

        return await self._journal.submit(guard(RegisterOrder(order, end)), then=then)

    async def cancel(self, order_id: str) -> Order | None:
        """Cancel an order and return it; None: there is no such order."""

        # The order book follows even if the caller is gone.
        def then(outcome: Order | Exception | None) -> None:
            if isinstance(outcome, Order) and self._order_book.get(outcome.id) is not None:
                self._order_book.put(outcome)

        return await self._journal.submit(CancelOrder(order_id, at=self._now()), then=then)

    async def cancel_erased(self, ids: Iterable[str]) -> None:
        """Cancel the open orders among these ids, and forget their numbers. Raises Unavailable.

        Other ids are skipped.
        """
        known = [order for order in map(self._order_book.get, ids) if order is not None]
        for order in known:
            if order.state is OrderState.WAITING:
                await self.cancel(order.id)
            if order.number is not None:
                self.forget_number(order.number)

    def forget_number(self, number: str) -> None:
        """Forget a number in memory: it was erased from the journal."""
        self._order_book.forget_number(number)

    # --- reports of providers -----------------------------------------------------------------

    async def add_listed(self, state: SourceState, listed: ListedOrder) -> None:
        """Store an order that the provider lists as active, unless it is known.

        Raises Unavailable or InvalidRow.
        """
        at, price = round(self._now(), 6), listed.price
        if price is not None and price.currency is None:
            price = Price(amount=price.amount, currency=state.source.currency)
        order = mark_provided(
            Order(
                id=self._identity.event_id(at),
                source=state.name,
                provider=str(type(state.source).__struct_config__.tag),
                kind=listed.kind,
                name=listed.name,
                number=listed.number,
                service=listed.service,
                country=listed.country,
                price=price,
                created_at=at,
                expires_at=at + default_lifetime(listed.kind),
                lasts=default_lifetime(listed.kind),
                origin=RegisteredBy.PROVIDER,
            )
        )
        known = self._order_book.known(order)
        # A provider lists the same orders in each run: only changes are written.
        if known is None or merge(known, order, None)[0] != known:
            await self.place(order, None)

    async def end_listed(self, state: SourceState, ended: Ended) -> None:
        """End an order for the reason that its provider reports.

        Raises Unavailable or InvalidRow.
        """
        order = self._order_book.named(state.name, ended.kind, ended.name)
        # A provider reports the end in each run.
        if order is None or order.reason is not None or order.state is OrderState.CANCELLED:
            return
        await self._expire(order, ended.reason, at_once=True)
        stored = await self._journal.ask(OrderById(order.id))
        if stored is not None:
            self._order_book.put(stored.order)

    @property
    def states(self) -> Mapping[OrderState, int]:
        """The number of orders in memory, by state."""
        return self._order_book.states

    @property
    def code_seconds(self) -> Mapping[str, Histogram]:
        """Seconds from the registration of an order to its first SMS or call, by source."""
        return self._recorder.codes.seconds

    def open(
        self, source: str, *, since: float | None = None, wide: bool = True
    ) -> Sequence[Order]:
        """Return the orders that a backfill asks for: not cancelled, not over at `since`.

        `since` is now by default. `wide` includes orders that the provider ended. The
        order book goes back two days. Nothing is read from the disk.
        """
        begin = self._now() if since is None else since
        return [
            order
            for order in self._order_book.of_source(source)
            if (order.state is OrderState.WAITING or order.expires_at > begin)
            and order.state is not OrderState.CANCELLED
            and (wide or not order.is_ended_by_provider)
        ]

    def is_ended(self, source: str, kind: str, name: str) -> bool:
        """Return whether the provider reported the end of that order."""
        order = self._order_book.named(source, kind, name)
        return order is not None and order.is_ended_by_provider

    def waiting_since(self, source: str) -> float | None:
        """Return when the oldest overdue order of a source was registered; None: there is none."""
        return min(self.overdue(source), default=None)

    def overdue(self, source: str) -> Sequence[float]:
        """Return when the overdue orders of a source were registered.

        An order is overdue if it has waited longer than codes usually take.
        """
        limit = self._now() - SLOW
        waiting = (
            order.created_at
            for order in self._order_book.of_source(source)
            if _waits(order) and order.origin is RegisteredBy.USER
        )
        return [at for at in waiting if at < limit]

    # --- the end of orders ------------------------------------------------------------------

    async def run(self) -> None:
        """End orders when their time is up, until cancelled."""
        while True:
            self._awake.clear()
            first = self._ends[0][0] if self._ends else math.inf
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(0.0, first - self._now()), LONGEST_SLEEP)):
                    await self._awake.wait()
            if not await self.end_due():
                await asyncio.sleep(PAUSE)
            if self._ticks() >= self._forget_at:
                self._order_book.forget(self._now())
                if self._journal.sealer is not None:
                    await finish(lambda: self._journal.submit(RenewOrders(self._now())))
                self._forget_at = self._ticks() + FORGET_EVERY

    async def end_due(self) -> bool:
        """End the orders whose time is up; False: some could not be written and are still due."""
        while True:
            due: dict[str, Order] = {}
            now = self._now()
            while self._ends and self._ends[0][0] <= now and len(due) < ENDED_AT_ONCE:
                at, order_id = heapq.heappop(self._ends)
                order = self._order_book.get(order_id)
                if order is not None and _waits(order) and order.expires_at == at:
                    due[order_id] = order
            if not due:
                return True
            if not all(await asyncio.gather(*map(self._end, due.values()))):
                return False

    async def _end(self, order: Order) -> bool:
        try:
            if order.origin is RegisteredBy.PROVIDER:
                after = await self._journal.submit(LapseOrder(order.id, at=self._now()))
                ended = after is not None and after.state is OrderState.EXPIRED
            else:
                ended = await self._expire(order)
            # An SMS may have come meanwhile, or the end was moved.
            stored = None if ended else await self._journal.ask(OrderById(order.id))
        except (Unavailable, InvalidRow):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            return False
        current = self._order_book.get(order.id)
        if stored is not None:
            self._order_book.put(stored.order)
        elif current is not None and _waits(current):
            # Not ended and not stored: the journal does not have the order.
            state = OrderState.EXPIRED if ended else OrderState.CANCELLED
            reason = TIME_UP if ended and order.origin is RegisteredBy.USER else None
            self._order_book.put(msgspec.structs.replace(current, state=state, reason=reason))
        return True

    async def _expire(self, order: Order, reason: str = TIME_UP, *, at_once: bool = False) -> bool:
        """End an order with an event; False: it ended in another way, or an SMS came.

        `at_once` ends it before its time is up, because its provider ended it.
        """
        state = self._sources.get(order.source)  # None: it is no longer configured
        line = LineNumber()
        planned = await self._recorder.record_own(
            order.source,
            _end_of(order, reason, None if state is None else state.source),
            lambda planned: ExpireOrder(planned, reason=reason, at_once=at_once),
            at=round(self._now(), 6),
            order=order.id,
            line=line,
        )
        if planned is None:
            return False
        its = {"source": order.source, "order_id": order.id, "reason": reason, "leaf": line.n}
        fields = event_fields(planned.event, [owed.sink for owed in planned.owed])
        log.info("order.expired", **its, **fields)
        return True

    def _noticed(self, order: Order) -> None:
        if _waits(order):
            heapq.heappush(self._ends, (order.expires_at, order.id))
            self._awake.set()


def _times(order: Order) -> tuple[float, float]:
    return order.created_at, order.expires_at


def _waits(order: Order) -> bool:
    return order.state is OrderState.WAITING


def _end_of(order: Order, reason: str, source: Source | None) -> Happening:
    """Return the happening of an order's end. `source` is None if it is no longer configured."""
    named: Mapping[str, Any] = {} if order.kind == BY_NUMBER else {order.kind: order.name}
    return Happening(
        subject=order.subject,
        time=None,
        # The journal ends an order only once, so its id is enough for the key.
        keys=(Key(parts=("order.expired", order.id)),),
        data=OrderExpired(
            provider=order.provider,
            channel="callback",
            labels={**(source.labels if source else {}), **order.labels},
            reference=order.reference,
            sample=False,
            time_from="received",
            to=order.number,
            country=order.country or (source.country if source else None),
            service=service_of(source, order.service),
            reason=reason,
            **named,
        ),
    )


def service_of(source: Source | None, id_: str | None) -> Service | None:
    """Return the service with that id, as it is in events of the source."""
    return source.service(id_) if source else service(id_)
