"""Long work on the journal in small steps, so that callbacks come first."""

import asyncio

from core.clock import WallClock
from core.errors import Broken, Unavailable
from journal import Journal
from journal.writes import LineNumber, Result, Write

#: Seconds between two steps, at least. A step that took long is followed by as long a pause.
_BETWEEN = 0.01
#: Seconds until a step is tried again if the journal is unavailable.
_AGAIN = 1.0


class Steps:
    """Writes the steps of one long work."""

    def __init__(self, journal: Journal, clock: WallClock) -> None:
        self._journal, self._clock = journal, clock
        #: Whether other writes came during the last step.
        self.is_busy = True
        #: Seconds from the last step to the next one: the step and the pause after it.
        self.period = _BETWEEN
        #: Seconds from step to step while other writes come, at least.
        self.apart = 0.0

    async def write(
        self, write: Write[Result], *, gently: bool, line: LineNumber | None = None
    ) -> Result:
        """Write one step, however long the journal is unavailable, and pause after it.

        Without `gently` there is no pause. `line` is as for `Journal.submit`. Raises Broken.
        """
        while True:
            began, before = self._clock.ticks(), self._journal.meters.operations
            try:
                result = await self._journal.submit(write, line=line)
            except Broken:
                raise
            except Unavailable:
                await asyncio.sleep(_AGAIN)
                continue
            took = self._clock.ticks() - began
            pause = max(_BETWEEN, took, self.apart - took) if self.is_busy else _BETWEEN
            self.period = took + pause
            await asyncio.sleep(pause if gently else 0)
            # One operation since then is the step itself.
            self.is_busy = self._journal.meters.operations > before + 1
            return result
