"""Counts rejected requests in the journal, and logs a sample of them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
import structlog

from core.errors import Unavailable
from core.log_sampler import LogSampler
from journal import Journal
from journal.records import Rejection
from journal.writes import CountRejections

from .audit import AuditFacts

#: Counters kept between two writes. After that many, the peers of a reason share one counter.
MOST_REJECTIONS = 1000
#: Seconds between two writes.
_EVERY = 1.0
#: Seconds of a step of the figures of the last day, and its steps.
_STEP, _STEPS = 3600.0, 24

log = structlog.get_logger()


class RecentRejections(msgspec.Struct, frozen=True, kw_only=True):
    """The rejections of a source for one reason in the last day, since the start."""

    reason: str
    count: int
    #: None: there were several.
    peer: str | None
    #: Seconds since the epoch.
    last_at: float

    def __add__(self, other: "RecentRejections") -> "RecentRejections":
        return RecentRejections(
            reason=self.reason,
            count=self.count + other.count,
            peer=self.peer if self.peer == other.peer else None,
            last_at=max(self.last_at, other.last_at),
        )


class RejectionCounter:
    """Counts rejections in memory by reason, source and peer, and writes them each second.

    `now` returns seconds since the epoch, `ticks` seconds that only go forward.
    """

    def __init__(
        self,
        journal: Journal,
        facts: AuditFacts,
        *,
        now: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self._journal, self._facts, self._now = journal, facts, now
        self._sampled = LogSampler(ticks)
        #: All since the start, by reason and source: for the metrics, which name no peer.
        self.totals: dict[tuple[str, str], int] = defaultdict(int)
        #: The reason and the peer of the last one, by source.
        self.latest: dict[str, tuple[str, str]] = {}
        self._counts: dict[tuple[str, str, str], Rejection] = {}
        #: By the step of time, then by source and reason.
        self._recent: dict[int, dict[tuple[str, str], RecentRejections]] = {}
        self._writing = asyncio.Lock()

    def add(self, reason: str, source: str, peer: str, request_id: str) -> None:
        """Count a rejected request. `source` is empty for an unknown source."""
        self.totals[reason, source] += 1
        self.latest[source] = (reason, peer)
        self._facts.count("callback.rejected", reason, source, peer)
        unlogged = self._sampled.take(reason)
        if unlogged is not None:
            log.warning(
                "callback.rejected",
                request_id=request_id,
                source=source or None,
                peer=peer,
                reason=reason,
                unlogged=unlogged or None,
            )
        at = self._now()
        self._count(
            Rejection(reason=reason, source=source, peer=peer, count=1, first_at=at, last_at=at)
        )
        step = self._recent.setdefault(int(at // _STEP), {})
        one = RecentRejections(reason=reason, count=1, peer=peer, last_at=at)
        known = step.get((source, reason))
        step[source, reason] = one if known is None else known + one

    def recent(self, source: str) -> Sequence[RecentRejections]:
        """Return the rejections of a source in the last day, by reason: 23 to 24 hours."""
        self._forget()
        found: dict[str, RecentRejections] = {}
        for step in self._recent.values():
            for (name, reason), one in step.items():
                if name == source:
                    found[reason] = found[reason] + one if reason in found else one
        return sorted(found.values(), key=lambda one: -one.count)

    def recent_sources(self) -> Sequence[str]:
        """Return the sources with rejections in the last day.

        The last one is empty if a path named no source.
        """
        self._forget()
        found = {source for step in self._recent.values() for source, _ in step}
        return sorted(found, key=lambda source: (not source, source))

    def _forget(self) -> None:
        first = int(self._now() // _STEP) - _STEPS + 1
        self._recent = {at: step for at, step in self._recent.items() if at >= first}

    def _count(self, more: Rejection) -> None:
        key = (more.reason, more.source, more.peer)
        if key not in self._counts and len(self._counts) >= MOST_REJECTIONS:
            key = (more.reason, more.source, "*")
        known = self._counts.get(key)
        self._counts[key] = Rejection(
            reason=more.reason,
            source=more.source,
            peer=key[2],
            count=more.count + (known.count if known else 0),
            first_at=min(more.first_at, known.first_at) if known else more.first_at,
            last_at=max(more.last_at, known.last_at) if known else more.last_at,
        )

    async def write(self) -> None:
        """Move the counts into the journal. They are kept if the journal is unavailable."""
        # The lock makes a second caller wait for the counts that the first is writing.
        async with self._writing:
            counts, self._counts = self._counts, {}
            if not counts:
                return
            try:
                await self._journal.submit(CountRejections(tuple(counts.values())))
            except Unavailable:
                for count in counts.values():
                    self._count(count)

    def log_unlogged(self) -> None:
        """Log how many rejections had no log line of their own."""
        for reason, unlogged in self._sampled.take_omitted().items():
            log.warning("callback.rejected", reason=reason, unlogged=unlogged)

    async def run(self) -> None:
        """Log and write each second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            self.log_unlogged()
            await self.write()
