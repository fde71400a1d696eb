"""Logs sources that fall silent or have a wrong time zone, once each."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from receiver.source_health import WrongZone
from receiver.source_state import SourceState

#: Seconds between two looks.
EVERY = 2.0

log = structlog.get_logger()


class SourceMonitor:
    """Logs when a source falls silent or its time zone is wrong.

    `waiting_since` returns when the oldest overdue order of a source was registered.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceState],
        now: Callable[[], float],
        waiting_since: Callable[[str], float | None],
    ) -> None:
        self._sources, self._now, self._waiting_since = sources, now, waiting_since
        self._silent: set[str] = set()
        self._wrong: dict[str, WrongZone] = {}

    async def run(self) -> None:
        """Look at all sources every two seconds, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY)

    def silent_since(self, state: SourceState) -> float | None:
        """Return the time at which a source fell silent; None: it is not silent."""
        waiting = None if state.source.sends_no_callbacks else self._waiting_since(state.name)
        return state.health.silent_since(self._now(), waiting_since=waiting)

    def look(self) -> None:
        """Log each source that fell silent, and each with a new problem of its time zone."""
        now = self._now()
        for state in self._sources.values():
            since = self.silent_since(state)
            if since is None:
                self._silent.discard(state.name)
            elif state.name not in self._silent:
                self._silent.add(state.name)
                log.warning(
                    "source.silent",
                    source=state.name,
                    seconds=round(now - since),
                    expect_every=state.source.expect_every,
                )
            wrong = state.health.wrong_zone(now)
            if wrong is not None and self._wrong.get(state.name) != wrong:
                self._wrong[state.name] = wrong
                log.warning("source.timezone", source=state.name, detail=str(wrong))
