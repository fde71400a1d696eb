"""Accepts events: assigns them to orders, routes them, records them with their deliveries."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from core.clock import rfc3339
from core.errors import Unavailable
from core.event import Event, NumberAssigned
from core.meters import Histogram
from core.order import (
    AWAITED,
    Order,
    RegisteredBy,
    complete,
    default_lifetime,
    mark_provided,
    mention_in_data,
)
from journal import Journal
from journal.commit import settle
from journal.order_book import OrderBook
from journal.records import Arrival, Planned, Recorded
from journal.writes import Guard, Record, Write, unguarded
from receiver.callback import Callback, Happening
from receiver.intake import Caller
from receiver.source_state import SourceState
from routes.index import FilterIndex
from routes.table import CompiledRoute, plan
from sinks.sink import Sink
from sinks.worker import Worker

from ..log.frequent import FrequentLines, Received, frequent_lines
from .identity import Identity
from .journal_monitor import JournalMonitor
from .subscriptions import LiveSubscriptions

#: Seconds that a code may take.
_CODE_SECONDS = (1, 2.5, 5, 10, 15, 30, 45, 60, 90, 120, 180, 300, 600, 1200)


def no_entries(_at: float) -> Sequence[bytes]:
    """Return one empty key, for a journal with dedupe keys that need no key file."""
    return (b"",)


class Planner:
    """Turns happenings into events, and plans their deliveries."""

    def __init__(
        self,
        *,
        identity: Identity,
        routes: Sequence[CompiledRoute],
        workers: Mapping[str, Worker],
        subscriptions: LiveSubscriptions | None,
        entries: Callable[[float], Sequence[bytes]] = no_entries,
    ) -> None:
        """`entries` returns the keys of dedupe keys at a time: the one to store first."""
        self._entries = entries
        self._identity, self._workers, self._subscriptions = identity, workers, subscriptions
        self.use(routes)

    def use(self, routes: Sequence[CompiledRoute], sinks: Iterable[Sink] = ()) -> None:
        """Plan by these routes from now on. `sinks`: the options that workers will soon have."""
        self._routes = FilterIndex((route.when, route) for route in routes)
        ordered = any(worker.is_ordered for worker in self._workers.values()) or any(
            sink.ordered_by is not None for sink in sinks
        )
        self._reads_data = ordered or any(route.reads_data for route in routes)

    def plan(
        self,
        source: str,
        happening: Happening,
        at: float,
        *,
        order: str | None = None,
        taken: tuple[str, ...] = (),
        named_order: Order | None = None,
        sinks: tuple[str, ...] = (),
    ) -> Planned:
        """Return the event of a happening at `at`, with its deliveries.

        `order` is the id of its order, `taken` the fields that come from that order. `named_order`
        is an order that the event itself makes known. `sinks` get it beside those of the routes.
        """
        recordedtime = rfc3339(at)
        now, *before = self._entries(at)
        keys = tuple([self._identity.dedupe_key(key, now) for key in happening.keys])
        older = [self._identity.dedupe_key(key, one) for one in before for key in happening.keys]
        event = Event(
            id=self._identity.event_id(at),
            source=source,
            type=happening.data.type,
            subject=happening.subject,
            time=happening.time or recordedtime,
            recordedtime=recordedtime,
            dedupekey=keys[0].hex(),
            data=happening.data,
        )
        # The attributes alone are a quarter of the work.
        whole = self._reads_data or self._subscriptions
        read = msgspec.to_builtins if whole else msgspec.structs.asdict
        fields: Mapping[str, object] = read(event)
        routed = plan(self._routes, fields)
        names = dict.fromkeys((*routed.sinks, *sinks))
        owed = [self._workers[name].plan_delivery(fields) for name in names]
        if self._subscriptions:
            owed += self._subscriptions.plan(fields)
        return Planned(
            event=event,
            at=at,
            body=msgspec.json.encode(event),
            keys=keys,
            older_keys=tuple(older),
            copy=happening.copy,
            order=order,
            taken=taken,
            named_order=named_order,
            routes=routed.routes,
            owed=tuple(owed),
        )


class _Foreseen(NamedTuple):
    """An order that an event makes known. The order book has it before the journal does."""

    given: Order
    #: The order as the book had it; None: the book did not have it.
    before: Order | None
    order: Order


class Recorder:
    """Records events and their deliveries in one transaction.

    `now` returns seconds since the epoch.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        monitor: JournalMonitor,
        planner: Planner,
        identity: Identity,
        order_book: OrderBook,
        sources: Mapping[str, SourceState],
        now: Callable[[], float],
    ) -> None:
        self._journal, self._monitor, self._planner = journal, monitor, planner
        self._identity, self._order_book, self._now = identity, order_book, now
        self._sources = sources
        self._lines = frequent_lines()
        #: Seconds from the registration of an order to its first SMS or call, by source.
        self.code_seconds: dict[str, Histogram] = {}

    def accept(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        done: Callable[[Recorded | Exception], None],
        *,
        replaces: str | None = None,
        guard: Guard = unguarded,
    ) -> None:
        """Record the happenings of a callback; call `done` when they are durable.

        It gets Unavailable or InvalidRow if they cannot be recorded. `replaces` is the id of the
        callback in quarantine.
        """
        # As `recordedtime` has it, to the last digit: `since` and `until` are compared with that.
        at = round(self._now(), 6)
        foreseen = [self._foresee(caller.source, happening, at) for happening in happenings]
        plans = tuple(
            [
                self._plan(caller.source, happening, at, named_order=one and one.given)
                for happening, one in zip(happenings, foreseen, strict=True)
            ]
        )

        def then(outcome: Recorded | Exception) -> None:
            for one in filter(None, reversed(foreseen)):
                self._order_book.take_back(one.order, one.before)
            if isinstance(outcome, Unavailable):
                self._monitor.log_error(outcome)
            if isinstance(outcome, Exception):
                return
            for order in outcome.orders:
                self._order_book.put(order)
            for planned, is_new in zip(plans, outcome.new, strict=True):
                if is_new and planned.order is not None and planned.event.type in AWAITED:
                    self._measure(self._order_book.received(planned.order), planned.at)
            state = self._sources.get(caller.source)  # None: it was removed meanwhile
            is_called = callback.channel == "callback" and replaces is None
            if state is not None and any(outcome.new) and is_called:
                state.health.record(callback, happenings)
            if self._lines is not None:
                self._log_recorded(self._lines, caller, callback, plans, outcome)

        record = Record(arrival_of(caller, callback), plans, replaces=replaces)
        self._journal.put(guard(record), done, then)

    async def record(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        *,
        replaces: str | None = None,
        guard: Guard = unguarded,
    ) -> Recorded:
        """Wait for `accept`. Raises Unavailable or InvalidRow."""
        future: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self.accept(
            *(caller, callback, happenings, partial(settle, future)),
            replaces=replaces,
            guard=guard,
        )
        return await future

    async def record_own(
        self,
        source: str,
        happening: Happening,
        write: Callable[[Planned], Write[Recorded | None]],
        *,
        at: float,
        order: str | None = None,
        sinks: tuple[str, ...] = (),
    ) -> Planned | None:
        """Record an event that no callback brought.

        `write` makes the write of the planned event. `sinks` get it beside those of the routes.
        Returns None if the journal does not record the event. Raises Unavailable.
        """
        planned = self._planner.plan(source, happening, at, order=order, sinks=sinks)
        try:
            recorded = await self._journal.submit(write(planned))
        except Unavailable as exc:
            self._monitor.log_error(exc)
            raise
        return None if recorded is None else planned

    def _foresee(self, source: str, happening: Happening, at: float) -> _Foreseen | None:
        """Put the order that a happening makes known into the order book.

        Later events belong to it at once, because they are recorded after it.
        """
        data = happening.data
        if not isinstance(data, NumberAssigned) or data.request_id is None:
            return None
        if data.provider is None:  # an event of the service itself names no number
            return None
        given = Order(
            id=self._identity.event_id(at),
            source=source,
            provider=data.provider,
            kind="request_id",
            name=data.request_id,
            number=data.to,
            service=None if data.service is None else data.service.id,
            country=data.country,
            price=data.price,
            created_at=at,
            expires_at=at + default_lifetime("request_id"),
            lasts=default_lifetime("request_id"),
            origin=RegisteredBy.PROVIDER,
        )
        given = mark_provided(given)
        before = self._order_book.known(given)
        return _Foreseen(given, before, self._order_book.foresee(given, None))

    def _measure(self, received: Order | None, at: float) -> None:
        if received is not None:
            histogram = self.code_seconds.setdefault(received.source, Histogram(_CODE_SECONDS))
            histogram.add(max(0.0, at - received.created_at))

    def _plan(
        self, source: str, happening: Happening, at: float, *, named_order: Order | None
    ) -> Planned:
        """Plan an event with the details of its order, which routes may use."""
        order = None
        if self._order_book:  # reading the ids costs time
            mention = mention_in_data(happening.data, time=happening.time, at=at)
            order = self._order_book.find(source, mention)
        if order is None:
            return self._planner.plan(source, happening, at, named_order=named_order)
        data, taken = complete(happening.data, order)
        happening = msgspec.structs.replace(happening, data=data)
        return self._planner.plan(
            source, happening, at, order=order.id, taken=taken, named_order=named_order
        )

    def _log_recorded(
        self,
        lines: FrequentLines,
        caller: Caller,
        callback: Callback,
        plans: Sequence[Planned],
        recorded: Recorded,
    ) -> None:
        channel = None if callback.channel == "callback" else callback.channel
        received = Received(
            caller.request_id, caller.source, callback.peer, len(callback.body), channel
        )
        for planned, id_, new in zip(plans, recorded.ids, recorded.new, strict=True):
            if new:
                lines.accepted(planned.event, [owed.sink for owed in planned.owed], received)
            elif channel is None:  # each poll finds the same messages again
                lines.duplicate(id_, received)


def arrival_of(caller: Caller, callback: Callback) -> Arrival:
    """Return the callback as the journal stores it."""
    return Arrival(
        source=caller.source,
        channel=callback.channel,
        token=caller.token,
        peer=callback.peer,
        at=callback.received.timestamp(),
        headers=callback.headers,
        body=callback.body,
    )
