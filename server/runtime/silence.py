"""Looks after sources: says once what a person should know of each."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from receiver.source_health import WrongZone
from receiver.source_state import SourceState

#: Seconds from one look to the next.
EVERY = 2.0

log = structlog.get_logger()


class Watching:
    """Silence and wrong time zones are logged when they begin, not as long as they last."""

    def __init__(
        self,
        gates: Sequence[SourceState],
        now: Callable[[], float],
        waiting_since: Callable[[str], float | None],
    ) -> None:
        """`waiting_since`: when an order of a source was told that waits for too long."""
        self._gates, self._now, self._waiting_since = gates, now, waiting_since
        self._silent: set[str] = set()
        self._wrong: dict[str, WrongZone] = {}

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(EVERY)

    def silent_since(self, gate: SourceState) -> float | None:
        """Since when nothing came where something should have; None: all is well."""
        waiting = None if gate.source.calls_nobody else self._waiting_since(gate.name)
        return gate.health.silent_since(self._now(), waiting_since=waiting)

    def look(self) -> None:
        now = self._now()
        for gate in self._gates:
            self._look_for_silence(gate, now)
            self._look_at_zone(gate, now)

    def _look_for_silence(self, gate: SourceState, now: float) -> None:
        since = self.silent_since(gate)
        if since is None:
            self._silent.discard(gate.name)
        elif gate.name not in self._silent:
            self._silent.add(gate.name)
            log.warning(
                "source.silent",
                source=gate.name,
                seconds=round(now - since),
                expect_every=gate.source.expect_every,
            )

    def _look_at_zone(self, gate: SourceState, now: float) -> None:
        wrong = gate.health.wrong_zone(now)
        if wrong is None or self._wrong.get(gate.name) == wrong:
            return
        self._wrong[gate.name] = wrong
        log.warning("source.timezone", source=gate.name, detail=str(wrong))
