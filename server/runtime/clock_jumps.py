"""Moves pending deliveries when the wall clock jumps."""

import asyncio
from collections.abc import Mapping

from core.clock import WallClock
from core.errors import Broken, Unavailable
from journal import Journal
from journal.writes import Shift
from sinks.worker import Worker

#: Seconds between two looks at the wall clock.
LOOK_EVERY = 1.0
#: Deliveries examined in one transaction.
MOVED_AT_ONCE = 10_000
#: Seconds until the next try if the journal is unavailable.
PAUSE = 1.0


async def watch_clock(clock: WallClock) -> None:
    """Check the clock each second, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        clock.check()


class ClockJumps:
    """Moves pending deliveries in the journal and in the workers when the wall clock jumps."""

    def __init__(self, journal: Journal, workers: Mapping[str, Worker]) -> None:
        self._journal, self._workers = journal, workers
        self._number = 0
        self._moving: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive

    def follow_clock(self, by: float) -> None:
        """Move the deliveries: the wall clock jumped by `by` seconds."""
        self._number += 1
        # At once: later calls of the journal use the new time.
        first = self._shift(self._number, by)
        task = asyncio.get_running_loop().create_task(self._move(first, self._number, by))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    def _shift(self, number: int, by: float) -> "asyncio.Future[bool]":
        return self._journal.submit(Shift(number, by, limit=MOVED_AT_ONCE))

    async def _move(self, step: "asyncio.Future[bool]", number: int, by: float) -> None:
        more = True
        while more:
            try:
                more = await step
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
            if more:
                step = self._shift(number, by)
        for worker in tuple(self._workers.values()):
            worker.look_again()
