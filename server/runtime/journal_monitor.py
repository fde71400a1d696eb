"""Logs when failures of the journal begin and end, and tests whether it works again."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from core.errors import Broken, Unavailable
from journal import Journal, JournalHealth
from journal.commit import STALLED
from journal.writes import Touch

#: Seconds between two looks, and between two log lines about a failing journal.
_EVERY = 1.0

log = structlog.get_logger()


class JournalMonitor:
    """Logs failures of `journal` and tests whether it works again.

    `ticks` returns seconds that only go forward.
    """

    def __init__(self, journal: Journal, *, ticks: Callable[[], float]) -> None:
        self._journal, self._ticks = journal, ticks
        self._logged_at = float("-inf")

    def log_error(self, error: Unavailable) -> None:
        """Log a failed write, at most once a second.

        A full disk fails thousands of writes a second.
        """
        if self._ticks() - self._logged_at < _EVERY and not isinstance(error, Broken):
            return
        self._logged_at = self._ticks()
        log.error("journal.error", error=str(error))

    async def run(self) -> None:
        """Look at the journal each second, until cancelled."""
        was_stalled = False
        while True:
            await asyncio.sleep(_EVERY)
            stalled = self._journal.health is JournalHealth.STALLED
            if stalled and not was_stalled:
                log.error("journal.error", error=STALLED)
            elif was_stalled and not stalled:
                log.warning("journal.recovered")
            was_stalled = stalled
            if self._journal.health is JournalHealth.FAILING:
                # Only a write can show that the journal works again. The next callback may never
                # come: a proxy sends it elsewhere while this service is not ready.
                with contextlib.suppress(Unavailable):
                    await self._journal.submit(Touch())
