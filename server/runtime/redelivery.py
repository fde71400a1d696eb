"""Replays events and retries deliveries when a person asks."""

from collections.abc import Callable, Container, Mapping, Sequence

import msgspec

from journal import Journal
from journal.records import Replayed, StoredDelivery, StoredEvent
from journal.seal import Opening
from journal.writes import Guard, ReplayEvent, RetryDelivery, unguarded
from sinks.worker import Worker

from .subscriptions import PREFIX, LiveSubscriptions


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
