"""Accepts events: assigns them to orders, routes them, records them with their deliveries."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from core.errors import Unavailable
from core.event import Data, NumberAssigned
from core.order import (
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
from journal.writes import Guard, LineNumber, Record, Write, unguarded
from receiver.callback import Callback, Happening
from receiver.intake import Caller
from receiver.source_state import SourceState

from ..log.frequent import FrequentLines, Received, frequent_lines
from .accept_traces import AcceptTraces
from .code_times import CodeTimes
from .identity import Identity
from .journal_monitor import JournalMonitor
from .planner import Planner


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
        traces: AcceptTraces,
    ) -> None:
        self._journal, self._monitor, self._planner = journal, monitor, planner
        self._traces, self.codes = traces, CodeTimes(order_book)
        self._identity, self._order_book, self._now = identity, order_book, now
        self._sources, self._lines = sources, frequent_lines()

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
        at = round(self._now() * 1_000_000) / 1_000_000
        foreseen: list[tuple[_Foreseen | None, Happening]] = []

        def then(outcome: Recorded | Exception) -> None:
            for one, _ in reversed(foreseen):
                if one is not None:
                    self._order_book.take_back(one.order, one.before)
            if isinstance(outcome, Exception):
                if isinstance(outcome, Unavailable):
                    self._monitor.log_error(outcome)
                return
            for order in outcome.orders:
                self._order_book.put(order)
            self.codes.measure(plans, outcome.new)
            is_called = callback.channel == "callback" and replaces is None
            traces = self._traces.record(plans, outcome, waited, callback if is_called else None)
            state = self._sources.get(caller.source)  # None: a reload removed it meanwhile
            if state is not None and is_called and True in outcome.new:
                state.health.record(callback, happenings)
            if self._lines is not None:
                self._log_recorded(self._lines, caller, callback, plans, outcome, traces)

        try:
            foreseen.extend((self._foresee(caller.source, one.data, at), one) for one in happenings)
            plans = tuple(
                [
                    self._plan(caller.source, happening, at, named_order=one and one.given)
                    for one, happening in foreseen
                ]
            )
        except Exception as exc:
            then(exc)
            raise
        record = Record(arrival_of(caller, callback), plans, replaces=replaces)
        waited = self._traces.begin()
        self._journal.put(guard(record), done, then)

    def foretell(self, source: str, happenings: Sequence[Happening]) -> Sequence[Planned]:
        """Return what `accept` would record for happenings of a source. It records nothing."""
        at = self._now()
        return [self._plan(source, one, at, named_order=None) for one in happenings]

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
        done = partial(settle, future)
        self.accept(caller, callback, happenings, done, replaces=replaces, guard=guard)
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
        line: LineNumber | None = None,
    ) -> Planned | None:
        """Record an event that no callback brought.

        `write` makes the write of the planned event. `sinks` get it beside those of the routes.
        Returns None if the journal does not record the event. Raises Unavailable.
        """
        planned = self._planner.plan(source, happening, at, order=order, sinks=sinks)
        waited = self._traces.begin()
        try:
            recorded = await self._journal.submit(write(planned), line=line)
        except Unavailable as exc:
            self._monitor.log_error(exc)
            raise
        if recorded is None:
            return None
        self._traces.record((planned,), recorded, waited, None)
        return planned

    def _foresee(self, source: str, data: Data, at: float) -> _Foreseen | None:
        """Put the order that a happening makes known into the order book.

        Later events belong to it at once, because they are recorded after it.
        """
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
        happening = replace(happening, data=data)
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
        traces: Mapping[str, str | None],
    ) -> None:
        channel = None if callback.channel == "callback" else callback.channel
        for index, planned in enumerate(plans):
            received = Received(
                *(caller.request_id, caller.source, callback.peer, len(callback.body), channel),
                traces.get(planned.event.id),
                recorded.leaves[index] if recorded.leaves else None,
            )
            if recorded.new[index]:
                sinks = [owed.sink for owed in planned.owed] if planned.owed else ()
                lines.accepted(planned.event, sinks, received)
            elif channel is None:  # each poll finds the same messages again
                lines.duplicate(recorded.ids[index], received)


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
