"""Bring one sink back after failures: probe it, pause and resume it, catch up.

Rules that live here: a failing sink is tried with its oldest delivery; `pause_after`
pauses a sink and probes it; an operator's pause holds until the operator resumes it; held
deliveries are brought forward when `outages.py` says so.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from core.delivery import Attempt, Turn
from core.errors import Broken, Unavailable
from journal import Journal
from journal.writes import (
    BringForward,
    Guard,
    Hold,
    LineNumber,
    PauseSink,
    Probe,
    ResumeSink,
    Take,
    unguarded,
)

from .attempt import Clock
from .feed import PAUSE, Feed
from .health import PROBE_EVERY, Pause, SinkHealth
from .lanes import Lanes
from .outages import Outages, Step
from .sink import GONE, Sink

log = structlog.get_logger()


class Recovery:
    """The steering of one sink that fails, or failed. `outages` gives the numbers."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        journal: Journal,
        clock: Clock,
        *,
        lanes: Lanes,
        health: SinkHealth,
        feed: Feed,
        outages: Outages,
    ) -> None:
        self._name, self.sink, self._journal, self._clock = name, sink, journal, clock
        self._lanes, self._health, self._feed, self._outages = lanes, health, feed, outages
        self._changed = asyncio.Event()
        #: The delivery with which the paused sink was probed last.
        self._probed = 0
        #: Called when the sink was resumed.
        self.on_resume: Callable[[], None] = lambda: None
        #: The sink answered that it is gone, and is not paused yet.
        self._is_gone = False

    # --- pause and resume -----------------------------------------------------------------

    async def pause(self, by: Pause, guard: Guard = unguarded) -> bool:
        """Begin no attempt until `resume`; False: the sink is paused already.

        Raises Unavailable.
        """

        # It is paused even if the caller is gone.
        def then(outcome: object) -> None:
            if outcome is True:
                self._health.paused = by
                log.warning("sink.paused", sink=self._name, reason=by.value, leaf=line.n)

        line = LineNumber()
        write = PauseSink(self._name, by=by, at=self._clock.now())
        return await self._journal.submit(guard(write), then=then, line=line)

    async def resume(self, by: Pause | None = None, guard: Guard = unguarded) -> None:
        """Resume the sink. With `by`, only if `by` paused it. Raises Unavailable."""

        # It is resumed even if the caller is gone.
        def then(outcome: object) -> None:
            if outcome is True or (outcome is False and by is None):
                self._health.reset()
                self._feed.look_again()
                log.info("sink.resumed", sink=self._name, leaf=line.n)
                self.on_resume()

        line = LineNumber()
        await self._journal.submit(guard(ResumeSink(self._name, by=by)), then=then, line=line)

    def learn(self, attempt: Attempt) -> bool:
        """Update the sink's health by a settled attempt; return whether to call `steer`."""
        if attempt.outcome == "delivered":
            self._health.record_success()
            return self._health.paused is Pause.FAILING
        if attempt.outcome == "failed":
            self._health.record_failure()
            return self._health.should_pause
        self._is_gone = attempt.error == GONE and self.sink.stays_paused
        return self._is_gone

    async def steer(self) -> bool:
        """Resume or pause the sink as its health requires; True: it was paused."""
        try:
            if self._is_gone:
                self._is_gone = False
                return await self.pause(Pause.GONE)
            if self._health.should_pause:
                return await self.pause(Pause.FAILING)
            if self._health.paused is Pause.FAILING and not self._health.is_failing:
                await self.resume(by=Pause.FAILING)
        except Unavailable:
            pass  # the next attempt tries again
        return False

    # --- probe ----------------------------------------------------------------------------

    async def probe(self) -> None:
        """Try the oldest delivery of a sink that is down, before its schedule."""
        pause_after = self.sink.pause_after
        every = min(PROBE_EVERY, pause_after.probe_every) if pause_after else PROBE_EVERY
        # Sinks of one host fail together: their probes must not come in one moment.
        wait = every * (1 - self._clock.chance())
        while True:
            await asyncio.sleep(wait)
            wait = every
            if not self._lanes.has_idle_slot() or self._feed.is_ending:
                continue
            if self._health.paused and self.sink.stays_paused:
                continue
            if not self._health.begin_probe(self._outages.down_since):
                continue
            try:
                if not self._health.paused:
                    await self._take_failed(after=0)
                else:
                    await self._probe_paused()
            except Broken:
                return
            except Unavailable:
                continue

    async def _take_paused_probe(self) -> bool:
        found = await self._take_failed(after=self._probed)
        self._probed = found[0] if found else 0
        return bool(found)

    async def _probe_paused(self) -> None:
        """Take another delivery for each probe: one alone may be the reason for the pause."""
        if await self._take_paused_probe():
            return
        # All that failed had their turn: now a newer one, else the first of them again.
        if not (await self._take_new(Turn.FRESH) or await self._take_new(Turn.REPLAYED)):
            await self._take_paused_probe()

    async def _take_new(self, turn: Turn) -> bool:
        now, known = self._clock.now(), self._feed.known
        taking = self._journal.submit(Take(self._name, turn, limit=1, now=now, known=known))
        return bool(await self._feed.fill(taking, probe_of=now))

    async def _take_failed(self, *, after: int) -> Sequence[int]:
        probing = self._journal.submit(Probe(self._name, after=after, known=self._feed.known))
        return [one.id for one in await self._feed.fill(probing)]

    # --- catch up -------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Bring the next ten forward when it is time."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._outages.wait()):
                    await self._changed.wait()
            except TimeoutError:
                count = self._outages.next_ten()
                if count:
                    self._bring_forward(count)

    def follow(self, step: Step) -> None:
        """Do what follows from an attempt. Call it after its outcome went to the journal.

        The journal works in the order of the calls.
        """
        if step.hold:
            # A delivery that could not be held keeps its schedule. The journal reports the error;
            # asyncio must not report it again.
            holding = self._journal.submit(Hold(tuple(step.hold)))
            holding.add_done_callback(lambda done: done.exception())
        if step.bring:
            self._bring_forward(step.bring)
        elif self._outages.wait() is not None:
            self._changed.set()

    def _bring_forward(self, count: int) -> None:
        now = self._clock.now()
        asking = self._journal.submit(BringForward(self._name, limit=count, now=now))

        def found(done: "asyncio.Future[Sequence[int]]") -> None:
            if done.exception() is not None:
                self._outages.postpone(count, again=PAUSE)
            else:
                ids: Collection[int] = done.result()
                self._outages.record_forwarded(count, ids)
            self._changed.set()

        asking.add_done_callback(found)
