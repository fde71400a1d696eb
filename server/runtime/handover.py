"""From the journal's transaction to the sinks' queues."""

from collections.abc import Iterable, Mapping, Sequence

from core.delivery import Delivery
from journal.records import Owed
from sinks.worker import Worker


def hand_over(
    workers: Mapping[str, Worker],
    owed: Iterable[Owed],
    deliveries: Sequence[Delivery],
    *,
    at: float,
) -> None:
    """What one event owes was recorded `at`; `deliveries` are those of it that are taken."""
    for delivery in deliveries:
        workers[delivery.sink].hand(delivery)
    handed = {delivery.sink for delivery in deliveries}
    for one in owed:
        worker = workers[one.sink]
        if not one.taken:
            worker.wake_at(at + one.wait, fresh=True)
        elif one.sink not in handed:
            worker.forget(one)  # it waits for another of its order


def forget(workers: Mapping[str, Worker], owed: Iterable[Owed]) -> None:
    """It was not recorded: the places that were kept are free."""
    for one in owed:
        workers[one.sink].forget(one)
