"""Makes the spans of accepted events."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Final

from journal import Journal
from journal.records import Planned, Recorded
from receiver.callback import Callback

from ..tracing import AcceptedSpan, SpanContext, Tracer

_NO_TRACES: Final[Mapping[str, str | None]] = MappingProxyType({})


class AcceptTraces:
    """Makes a span for each new event of a commit. `now` returns seconds since the epoch."""

    def __init__(self, tracer: Tracer, journal: Journal, now: Callable[[], float]) -> None:
        self._tracer, self._journal, self._now = tracer, journal, now
        #: The last commit with a traced event, and when it was durable.
        self._durable = -1, 0.0

    def begin(self) -> float | None:
        """Return the time at which a write begins to wait.

        0: the queue of spans is full. None: traces are off.
        """
        if not self._tracer.is_on:
            return None
        return 0.0 if self._tracer.exporter.is_full else self._now()

    def record(
        self,
        plans: Sequence[Planned],
        outcome: Recorded,
        waited: float | None,
        callback: Callback | None,
    ) -> Mapping[str, str | None]:
        """Make the spans of the new events of a write. Return the id of each trace by event id.

        `waited` is the result of `begin`; 0 counts the spans as dropped. `callback` is None for
        events that had no callback.
        """
        if waited is None:
            return _NO_TRACES
        if not waited:
            for planned in compress(plans, outcome.new):
                self._tracer.skip(planned.event.id, received=callback is not None)
            return _NO_TRACES
        traces: dict[str, str | None] = {}
        commit = self._journal.meters.commits
        if self._durable[0] != commit:
            self._durable = commit, self._now()
        received = origin = None
        if callback is not None:
            received = callback.received.timestamp()
            origin = callback.header("traceparent")
        for planned in compress(plans, outcome.new):
            event = planned.event
            accepted = AcceptedSpan(
                event_id=event.id,
                source=event.source,
                type=event.type,
                received=received,
                planned=planned.at,
                waited=waited,
                durable=self._durable[1],
                commit=commit,
                origin=None if origin is None else SpanContext.of_header(origin),
            )
            traces[event.id] = self._tracer.accept(accepted)
        return traces
