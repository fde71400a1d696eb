"""The states of deliveries: stored ones, with the attempts that workers have under way."""

from collections.abc import Mapping

from core.delivery import State, WaitsFor
from journal.records import Stats, StoredDelivery
from sinks.worker import Worker


class DeliveryStates:
    """Returns the current state of deliveries that the journal has stored."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def under_way(self) -> tuple[int, ...]:
        """Return the ids of all deliveries with an attempt under way."""
        return tuple(id_ for worker in self._workers.values() for id_ in worker.under_way)

    def state(self, kept: StoredDelivery) -> State:
        """Return its state: `sending` only while an attempt is under way."""
        worker = self._workers.get(kept.sink)
        if kept.state is State.PENDING and worker is not None and worker.is_under_way(kept.id):
            return State.SENDING
        return kept.state

    def waits_for(self, kept: StoredDelivery) -> WaitsFor | None:
        """Return the reason that it waits for; None: it is not pending."""
        if self.state(kept) is not State.PENDING:
            return None
        worker = self._workers.get(kept.sink)
        return WaitsFor.PAUSE if worker is None else worker.waits_for(kept)

    def next_at(self, kept: StoredDelivery) -> float | None:
        """Return the time of the next attempt; None: it is unknown, or an attempt is under way."""
        worker = self._workers.get(kept.sink)
        return None if worker is not None and worker.holds(kept.id) else kept.due_at

    def counted(self, stats: Stats, under_way: int) -> Mapping[str, int]:
        """Return the deliveries by state.

        `under_way` is their number before `stats` was read.
        """
        pending = stats.deliveries[State.PENDING]
        sending = min(under_way, pending)
        return {**stats.deliveries, State.PENDING: pending - sending, State.SENDING: sending}
