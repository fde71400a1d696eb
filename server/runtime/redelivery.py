"""Sending again what was accepted, because a person asks."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from core.delivery import State
from journal import Journal
from journal.reads import DeliveryById
from journal.records import Replayed, StoredDelivery, StoredEvent
from journal.writes import ReplayEvent, RetryDelivery
from sinks.worker import Worker

from .handover import forget, hand_over


class UnknownSinks(Exception):
    """Some of those that were named are not configured."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


class Retried(NamedTuple):
    """What became of a delivery that somebody wants sent again."""

    #: `pending` where it is due now, else what kept it; None: there is none.
    state: State | None
    #: As it was then.
    kept: StoredDelivery | None


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
        owed = [self._workers[name].owe(event) for name in names]
        at = self._now()

        def then(outcome: Replayed | Exception | None) -> None:
            if isinstance(outcome, Replayed):
                hand_over(self._workers, owed, outcome.deliveries, at=at)
            else:
                forget(self._workers, owed)

        replayed = await self._journal.submit(
            ReplayEvent(event["id"], tuple(owed), at=at), then=then
        )
        return replayed.ids if replayed else ()

    def _owed_first(self, kept: StoredEvent) -> list[str]:
        first = (delivery.sink for delivery in kept.deliveries if not delivery.replay)
        return [name for name in dict.fromkeys(first) if name in self._workers]

    async def retry(self, delivery_id: int, sink: str) -> Retried:
        """Make it due now, where it is neither delivered nor being sent."""
        worker = self._workers.get(sink)
        if worker is not None:
            # What only waits in its queue is pending: in the journal its schedule begins again.
            worker.put_back(delivery_id)
        now = self._now()
        state = await self._journal.submit(RetryDelivery(delivery_id, now=now))
        # Read before its worker hears of it: a moment later it is being sent, or has been.
        try:
            return Retried(state, await self._journal.ask(DeliveryById(delivery_id)))
        finally:
            if state is State.PENDING and worker is not None:
                worker.wake_at(now)
