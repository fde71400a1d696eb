"""Makes sample events to test a sink."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from receiver.callback import Callback
from receiver.door import read_happenings
from receiver.source_state import SourceState

from .planner import Planner

#: The number of different samples of one kind.
_SAMPLES = 100_000_000


class NoSampleSource(Exception):
    """No configured source has samples."""


class SampleEvents:
    """Makes events as the first configured source would. They are not recorded."""

    def __init__(
        self, sources: Mapping[str, SourceState], planner: Planner, now: Callable[[], float]
    ) -> None:
        self._sources, self._planner, self._now = sources, planner, now

    def make(self) -> tuple[str, bytes]:
        """Return the id and the body of a new sample event. Raises NoSampleSource."""
        state = next((one for one in self._sources.values() if one.source.kinds), None)
        if state is None:
            raise NoSampleSource
        at = round(self._now(), 6)
        source, now = state.source, datetime.fromtimestamp(at, UTC)
        number = secrets.randbelow(_SAMPLES)
        sample = source.sample(source.kinds[0], source.usual_encoding, number=number, now=now)
        callback = Callback(headers=(), body=sample.body, peer="", received=now, sample=True)
        [happening] = read_happenings(state, callback)
        planned = self._planner.plan(state.name, happening, at)
        return planned.event.id, planned.body
