"""Replays events and retries deliveries when a person asks."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence

import msgspec

from core.delivery import State
from journal import Journal
from journal.reads import EventById
from journal.records import BriefDelivery, Replayed, StoredDelivery, StoredEvent
from journal.seal import Opening, Reason
from journal.writes import Guard, ReplayEvent, RetryDeliveries, RetryDelivery, unguarded
from sinks.worker import Worker

from .subscriptions import PREFIX, LiveSubscriptions

#: Deliveries of one write: some milliseconds in the thread that writes.
_AT_ONCE = 100


class UnknownSinks(Exception):
    """Some of the named sinks are not configured."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


def check_sinks(names: Sequence[str], known: Container[str]) -> None:
    """Raise UnknownSinks if some of the names are not known."""
    if unknown := [name for name in names if name not in known]:
        raise UnknownSinks(unknown)


class Unsubscribed(Exception):
    """The subscription of the delivery was deleted."""


class BeingSent(Exception):
    """An attempt of the delivery is under way."""


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """What a retry of several deliveries did, or would do."""

    #: Those that are due, with their states before.
    due: Sequence[BriefDelivery]
    #: How many are not, by the reason: `being_sent`, `delivered` or `unsubscribed`.
    left_out: Mapping[str, int]


class Redelivery:
    """Creates new deliveries of old events, and makes old deliveries due."""

    def __init__(
        self,
        journal: Journal,
        workers: Mapping[str, Worker],
        subscriptions: LiveSubscriptions,
        now: Callable[[], float],
    ) -> None:
        self._journal, self._workers, self._now = journal, workers, now
        self._subscriptions = subscriptions

    async def replay(
        self, kept: StoredEvent, sinks: Sequence[str] | None, guard: Guard = unguarded
    ) -> Replayed:
        """Create a new delivery of the event to each sink; return the ids of the deliveries.

        None: the sinks of the first deliveries, as far as they are still configured. Raises
        UnknownSinks, and creates nothing.
        """
        event = msgspec.json.decode(kept.body)

        def may_get(name: str) -> bool:
            return name in self._workers and self._subscriptions.sees(name, event)

        if sinks is None:
            first = [delivery.sink for delivery in kept.deliveries if not delivery.replay]
            sinks = list(filter(may_get, first))
        names = list(dict.fromkeys(sinks))
        check_sinks(names, list(filter(may_get, names)))
        owed = tuple(self._workers[name].plan_delivery(event) for name in names)
        write = ReplayEvent(event["id"], owed, at=self._now())
        replayed = await self._journal.submit(guard(write))
        return Replayed(ids=()) if replayed is None else replayed

    async def send(self, found: Sequence[BriefDelivery], to: str, *, dry_run: bool) -> int:
        """Create a new delivery to a sink for the event of each of these deliveries.

        Return the number of events. The given deliveries do not change. `dry_run`: only count.

        Raises UnknownSinks and Unavailable. Before Unavailable, a part of the events may be sent.
        """
        # Subscriptions are left out: each may not see all events.
        check_sinks([to], [name for name in self._workers if not name.startswith(PREFIX)])
        worker, events = self._workers[to], [*dict.fromkeys(one.event_id for one in found)]
        for begin in range(0, 0 if dry_run else len(events), _AT_ONCE):
            some = events[begin : begin + _AT_ONCE]
            bodies = await asyncio.gather(*(self._planned_by(worker, one) for one in some))
            # Together, for one commit, and in the order of `found`: the sink may be ordered.
            await asyncio.gather(
                *(
                    self._journal.submit(
                        ReplayEvent(event_id, (worker.plan_delivery(event),), at=self._now())
                    )
                    for event_id, event in zip(some, bodies, strict=True)
                )
            )
        return len(events)

    async def _planned_by(self, worker: Worker, event_id: str) -> Mapping[str, object]:
        """Return the event for the plan of its delivery; empty if the sink is not ordered."""
        if not worker.is_ordered:
            return {}
        opening = Opening(tuple(worker.plans_by), Reason.REPLAY)
        kept = await self._journal.ask(EventById(event_id, opening))
        event: Mapping[str, object] = {} if kept is None else msgspec.json.decode(kept.body)
        return event

    async def retry_all(self, found: Sequence[BriefDelivery], *, dry_run: bool) -> Retried:
        """Make these deliveries due now, as `retry` does. `dry_run`: change nothing.

        Raises Unavailable; those before it are due.
        """
        due: list[BriefDelivery] = []
        left_out: dict[str, int] = {}
        for begin in range(0, len(found), _AT_ONCE):
            able = []
            for one in found[begin : begin + _AT_ONCE]:
                why_not = self._why_not(one)
                if why_not is None:
                    able.append(one)
                else:
                    left_out[why_not] = left_out.get(why_not, 0) + 1
            due += able if dry_run else await self._retry(able)
        if ended := len(found) - len(due) - sum(left_out.values()):
            left_out["delivered"] = left_out.get("delivered", 0) + ended
        return Retried(due=due, left_out=left_out)

    def _why_not(self, one: BriefDelivery) -> str | None:
        worker = self._workers.get(one.sink)
        if worker is None and one.sink.startswith(PREFIX):
            return "unsubscribed"
        if worker is not None and worker.is_under_way(one.id):
            return "being_sent"
        return "delivered" if one.state is State.DELIVERED else None

    async def _retry(self, able: Sequence[BriefDelivery]) -> Sequence[BriefDelivery]:
        for one in able:
            if (worker := self._workers.get(one.sink)) is not None:
                worker.put_back(one.id)
        ids = tuple(one.id for one in able)
        return await self._journal.submit(RetryDeliveries(ids, self._now())) if ids else ()

    async def retry(
        self,
        delivery_id: int,
        sink: str,
        guard: Guard = unguarded,
        opening: Opening | None = None,
    ) -> StoredDelivery | None:
        """Make a delivery due now and return it; a delivered one does not change.

        `opening` is for the answers of its attempts.

        Raises BeingSent and Unsubscribed. Returns None if there is no such delivery.
        """
        worker = self._workers.get(sink)
        if worker is None and sink.startswith(PREFIX):
            raise Unsubscribed
        if worker is not None:
            if worker.is_under_way(delivery_id):
                raise BeingSent
            # The worker reads it again, with its schedule from the start.
            worker.put_back(delivery_id)
        return await self._journal.submit(guard(RetryDelivery(delivery_id, self._now(), opening)))
