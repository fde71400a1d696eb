"""Sending again what was accepted, because a person asks."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from journal import Journal
from journal.records import StoredDelivery, StoredEvent
from journal.writes import ReplayEvent, RetryDelivery
from sinks.worker import Worker


class UnknownSinks(Exception):
    """Some of those that were named are not configured."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


class BeingSent(Exception):
    """An attempt of the delivery is under way."""


class Redelivery:
    """Makes new deliveries of old events, and old deliveries due."""

    def __init__(
        self, journal: Journal, workers: Mapping[str, Worker], now: Callable[[], float]
    ) -> None:
        self._journal, self._workers, self._now = journal, workers, now

    async def replay(self, kept: StoredEvent, sinks: Sequence[str] | None) -> tuple[int, ...]:
        """Owe the event once more to each of these; their deliveries' ids.

        None: to those that it was owed to at acceptance and that are still configured. Raises
        UnknownSinks, and makes nothing.
        """
        names = self._owed_first(kept) if sinks is None else list(dict.fromkeys(sinks))
        unknown = [name for name in names if name not in self._workers]
        if unknown:
            raise UnknownSinks(unknown)
        event = msgspec.json.decode(kept.body)
        owed = tuple(self._workers[name].plan_delivery(event) for name in names)
        replayed = await self._journal.submit(ReplayEvent(event["id"], owed, at=self._now()))
        return replayed.ids if replayed else ()

    def _owed_first(self, kept: StoredEvent) -> list[str]:
        first = (delivery.sink for delivery in kept.deliveries if not delivery.replay)
        return [name for name in dict.fromkeys(first) if name in self._workers]

    async def retry(self, delivery_id: int, sink: str) -> StoredDelivery | None:
        """Make a delivery due now, and return it as it is then; a delivered one stays as it is.

        Raises BeingSent. None: there is no such delivery.
        """
        worker = self._workers.get(sink)
        if worker is not None:
            if worker.is_under_way(delivery_id):
                raise BeingSent
            # The worker reads it again, with its schedule from the start.
            worker.put_back(delivery_id)
        return await self._journal.submit(RetryDelivery(delivery_id, now=self._now()))
