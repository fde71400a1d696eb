"""Deliveries that were given up, until they are reported."""

import msgspec

from core.delivery import State

#: Ids of events that one report names.
MOST_IDS = 20


class GivenUpDeliveries(msgspec.Struct, kw_only=True):
    """The deliveries of one sink that were given up since the last report."""

    count: int = 0
    #: The ids of the first MOST_IDS events.
    events: list[str] = []
    states: set[State] = set()


class GivenUpCounts:
    """Counts deliveries that were given up, by sink."""

    def __init__(self) -> None:
        self._sinks: dict[str, GivenUpDeliveries] = {}

    def add(self, sink: str, event_id: str, state: State) -> None:
        """Count a delivery. `state` is DEAD or EXPIRED."""
        known = self._sinks.setdefault(sink, GivenUpDeliveries())
        known.count += 1
        known.states.add(state)
        if len(known.events) < MOST_IDS:
            known.events.append(event_id)

    def sinks(self) -> tuple[str, ...]:
        return tuple(self._sinks)

    def take(self, sink: str) -> GivenUpDeliveries:
        """Return the deliveries of a sink, and count from 0 again."""
        return self._sinks.pop(sink)
