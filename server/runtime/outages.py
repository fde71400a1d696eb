"""Starts backfills: when the service starts, and after a time in which it was not ready."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog

from core.clock import boot_ticks, rfc3339, utc
from core.errors import Unavailable
from journal import Journal
from journal.reads import Moment
from journal.writes import SetMoment
from receiver.source_state import SourceState

from .alerts import Alerts
from .backfill import OVERLAP, Backfiller, Why

#: Seconds between two records that the service is ready.
NOTED_EVERY = 10.0
#: If more seconds lie between two looks, the machine was asleep. A look takes place each second.
_ASLEEP = 30.0
#: Seconds of a gap that is reported. Each restart makes a shorter one.
REPORTED = 60.0
#: The journal's moment at which the service was last ready.
_ALIVE = "alive"

log = structlog.get_logger()


class Backfills:
    """The backfills of all sources, started after each outage.

    `make` makes the backfill of a source. `ready` returns whether the service takes callbacks.
    `now` returns seconds since the epoch, `ticks` seconds that go on while the machine is asleep.
    """

    def __init__(
        self,
        make: Callable[[SourceState], Backfiller],
        *,
        journal: Journal,
        ready: Callable[[], bool],
        alerts: Alerts,
        now: Callable[[], float],
        ticks: Callable[[], float] = boot_ticks,
    ) -> None:
        self._alerts = alerts
        self._make, self._backfillers = make, dict[str, Backfiller]()
        self._journal, self._ready, self._now, self._ticks = journal, ready, now, ticks
        #: While `run` runs.
        self._tasks: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    def use(self, sources: Mapping[str, SourceState]) -> None:
        """Poll these sources from now on. Polling of a known source goes on."""
        polled = {
            name: state for name, state in sources.items() if state.source.backfill is not None
        }
        for name in self._backfillers.keys() - polled.keys():
            del self._backfillers[name]
            if name in self._running:
                self._running.pop(name).cancel()
        for name, state in polled.items():
            if name in self._backfillers:
                self._backfillers[name].change(state)
            else:
                self._backfillers[name] = self._make(state)
                self._begin(name)

    def _begin(self, name: str) -> None:
        if self._tasks is not None:
            self._running[name] = self._tasks.create_task(self._backfillers[name].run())

    def of(self, source: str) -> Backfiller | None:
        """Return the backfill of a source; None: it has no `backfill`, or does not exist."""
        return self._backfillers.get(source)

    async def run(self) -> None:
        """Run all backfills until cancelled."""
        alive = None
        with contextlib.suppress(Unavailable):  # each source goes back to its own last run
            alive = await self._journal.ask(Moment(_ALIVE))
        if alive is not None and alive <= self._now() and self._backfillers:
            for one in self._backfillers.values():
                one.start(Why.START, alive - OVERLAP)
            since = utc(alive)
            log.info("service.gap", since=since.isoformat(timespec="seconds"))
            await self._report(alive)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name in self._backfillers:
                self._begin(name)
            was_ready, last, noted = True, self._ticks(), float("-inf")
            while True:
                ready, at = self._ready(), self._ticks()
                # After a long time between two looks the machine was asleep.
                if ready and (not was_ready or at - last > _ASLEEP):
                    for one in self._backfillers.values():
                        one.start(Why.GAP, self._now() - (at - last) - OVERLAP)
                    await self._report(self._now() - (at - last))
                if ready and self._backfillers and at - noted >= NOTED_EVERY:
                    with contextlib.suppress(Unavailable):
                        await self._journal.submit(SetMoment(_ALIVE, self._now()))
                    noted = at
                was_ready, last = ready, at if ready else last
                await asyncio.sleep(1)

    async def _report(self, since: float) -> None:
        """Report a gap, unless it is short: providers try again after that."""
        now = self._now()
        if self._backfillers and now - since > REPORTED:
            details = {"until": rfc3339(now), "asked": tuple(self._backfillers)}
            await self._alerts.report("gap", "service", details, since=since)

    async def first_runs(self, within: float) -> None:
        """Wait for the first run of each source, at most `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for one in tuple(self._backfillers.values()):
                    await one.ran.wait()
