"""Counts what the service does over time, for plots: in memory, and by minute in the journal.

Rules that live here: how long a point of each span is, and how long figures are kept.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from core.errors import Broken, Unavailable
from core.meters import Histogram
from journal import Journal
from journal.reads import Counters, KeptFigures
from journal.records import group_of
from journal.writes import KeepFigures
from sinks.worker import Worker

#: Seconds between two counts.
EVERY = 10
#: The spans that can be seen, in seconds, and the seconds of their points: 120 points each.
SPANS: Mapping[str, tuple[int, int]] = {
    "1h": (3600, 30),
    "3h": (10_800, 90),
    "24h": (86_400, 720),
    "7d": (604_800, 5040),
}
_MINUTE, _KEPT = 60, SPANS["7d"][0]


class SinkFigures(msgspec.Struct, array_like=True):
    """What a sink did, or all subscriptions together."""

    delivered: int = 0
    #: Deliveries that ended without success: dead and expired.
    ended: int = 0
    #: Attempts that did not deliver.
    failed: int = 0
    #: Pending deliveries, at the end.
    owed: int = 0
    #: Seconds from acceptance to delivery: the counts of a histogram of `sinks.meters.LAG`. Empty:
    #: all are 0.
    lag: Sequence[int] = ()


class Figures(msgspec.Struct, array_like=True):
    """What the service did in some seconds, which end at `at`."""

    #: Seconds since the epoch.
    at: int
    seconds: float
    #: New events.
    accepted: int = 0
    sinks: dict[str, SinkFigures] = {}
    #: Orders that got into a state, by the state.
    orders: dict[str, int] = {}
    #: Seconds from an order to its first message: the counts of a histogram of `CODE_SECONDS`.
    took: Sequence[int] = ()
    #: Events whose codes were read in clear, by `HOW/NAME`, the name of the key or of the sink.
    read: dict[str, int] = {}

    @property
    def lag(self) -> Sequence[int]:
        """Seconds from acceptance to delivery, at all sinks: as in SinkFigures."""
        return _sums([sink.lag for sink in self.sinks.values()])

    def add(self, later: "Figures") -> None:
        """Add the figures of the seconds that follow."""
        self.at, self.seconds = later.at, self.seconds + later.seconds
        self.accepted += later.accepted
        for sink, more in later.sinks.items():
            before = self.sinks.get(sink, SinkFigures())
            self.sinks[sink] = SinkFigures(
                delivered=before.delivered + more.delivered,
                ended=before.ended + more.ended,
                failed=before.failed + more.failed,
                owed=more.owed,
                lag=_sums([before.lag, more.lag]),
            )
        self.took = _sums([self.took, later.took])
        for counts, added in ((self.orders, later.orders), (self.read, later.read)):
            for name, count in added.items():
                counts[name] = counts.get(name, 0) + count

    def since(self, before: "Figures") -> "Figures":
        """Return what came since other figures. Both are totals.

        A total that fell began again at 0.
        """
        sinks = {}
        for name, sink in self.sinks.items():
            had = before.sinks.get(name, SinkFigures())
            sinks[name] = SinkFigures(
                delivered=_grown(sink.delivered, had.delivered),
                ended=_grown(sink.ended, had.ended),
                failed=_grown(sink.failed, had.failed),
                owed=sink.owed,
                lag=_all_grown(sink.lag, had.lag),
            )
        return Figures(
            at=self.at,
            seconds=self.at - before.at,
            accepted=_grown(self.accepted, before.accepted),
            sinks=sinks,
            orders=_each_grown(self.orders, before.orders),
            took=_all_grown(self.took, before.took),
            read=_each_grown(self.read, before.read),
        )


class Ring:
    """The points of one span: a point has the figures of `step` seconds."""

    def __init__(self, span: int, step: int) -> None:
        self._span, self._step = span, step
        self._points: dict[int, Figures] = {}

    def add(self, figures: Figures) -> None:
        """Add figures, and drop the points that are older than the span."""
        # Figures that end with a point belong to it.
        place = -(-figures.at // self._step)
        point = self._points.get(place)
        if point is None:
            point = self._points[place] = Figures(at=figures.at, seconds=0)
        point.add(figures)
        # The clock may have been set back: later points are no longer true.
        oldest = place - self._span // self._step
        self._points = {at: one for at, one in self._points.items() if oldest < at <= place}

    def points(self) -> Sequence[Figures]:
        """Return the points in order. They are changed by the next count."""
        return [*self._points.values()]


class History:
    """The figures of a service over the last seven days."""

    def __init__(
        self,
        journal: Journal,
        *,
        workers: Mapping[str, Worker],
        codes_read: Callable[[], Mapping[tuple[str, str], int]],
        code_seconds: Callable[[], Iterable[Histogram]],
        now: Callable[[], float],
    ) -> None:
        """`codes_read` counts codes read since the start, by the name of the reader and `how`.

        `code_seconds` are the seconds from orders to their first messages.
        """
        self._journal, self._workers, self._now = journal, workers, now
        self._codes_read, self._code_seconds = codes_read, code_seconds
        self._rings = {name: Ring(span, step) for name, (span, step) in SPANS.items()}
        self._before: Figures | None = None
        #: What is not stored yet.
        self._minute: Figures | None = None

    def points(self, span: str) -> Sequence[Figures]:
        """Return the points of one of the `SPANS`, in order."""
        return self._rings[span].points()

    async def load(self) -> None:
        """Take the figures of earlier starts from the journal. Raises Unavailable."""
        oldest = self._now() - _KEPT
        for counted in await self._journal.ask(KeptFigures()):
            figures = msgspec.msgpack.decode(counted, type=Figures)
            if figures.at > oldest:
                for ring in self._rings.values():
                    ring.add(figures)

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.count()
            except Broken:
                return  # the service ends
            except Unavailable:
                pass  # the next count has both
            await asyncio.sleep(EVERY)

    async def count(self) -> None:
        """Add what came since the last count. The first one only begins. Raises Unavailable."""
        totals = self._totals(await self._journal.ask(Counters()))
        before, self._before = self._before, totals
        # After the clock was set back, there is nothing to compare with.
        if before is None or totals.at <= before.at:
            return
        new = totals.since(before)
        for ring in self._rings.values():
            ring.add(new)
        if self._minute is None:
            self._minute = Figures(at=new.at, seconds=0)
        self._minute.add(new)
        if totals.at // _MINUTE > before.at // _MINUTE:
            minute, self._minute = self._minute, None
            counted = msgspec.msgpack.encode(minute)
            await self._journal.submit(KeepFigures(totals.at, counted, totals.at - _KEPT))

    def _totals(self, counters: Mapping[str, int]) -> Figures:
        totals = Figures(at=int(self._now()), seconds=0)
        for (name, how), count in self._codes_read().items():
            totals.read[f"{how}/{name}"] = count
        by_kind: dict[str, list[tuple[str, int]]] = {}
        for name, count in counters.items():
            kind, _, rest = name.partition("/")
            by_kind.setdefault(kind, []).append((rest, count))
        totals.took = _sums([histogram.counts for histogram in self._code_seconds()])
        for name, count in by_kind.get("orders", ()):
            state = name.rpartition("/")[2]
            totals.orders[state] = totals.orders.get(state, 0) + count
        totals.accepted = sum(count for _, count in by_kind.get("events", ()))

        def sink(name: str) -> SinkFigures:
            return totals.sinks.setdefault(group_of(name), SinkFigures())

        for name, count in by_kind.get("pending", ()):
            sink(name).owed += count
        for name, count in by_kind.get("delivered", ()):
            sink(name).delivered += count
        for kind in ("dead", "expired"):
            for name, count in by_kind.get(kind, ()):
                sink(name).ended += count
        for name, worker in self._workers.items():
            meters, one = worker.meters, sink(name)
            one.failed += sum(
                count for (outcome, _), count in meters.attempts.items() if outcome != "delivered"
            )
            one.lag = _sums([one.lag, meters.lag.counts])
        return totals


def _grown(now: int, before: int) -> int:
    return now - before if now >= before else now


def _each_grown(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    grown = {name: _grown(count, before.get(name, 0)) for name, count in now.items()}
    return {name: count for name, count in grown.items() if count}


def _all_grown(now: Sequence[int], before: Sequence[int]) -> Sequence[int]:
    grown = tuple(map(_grown, now, before or (0,) * len(now)))
    return grown if any(grown) else ()


def _sums(rows: Sequence[Sequence[int]]) -> Sequence[int]:
    """Return the sums of rows of one length. Empty rows count as zeros."""
    full = [row for row in rows if row]
    return tuple(map(sum, zip(*full, strict=True))) if full else ()
