"""Makes sample events to test a sink, and sends samples of a source."""

import secrets
from collections.abc import Callable, Mapping

from core.clock import utc
from journal.writes import Guard, unguarded
from receiver.callback import Callback
from receiver.door import SAMPLE_HEADER, read_happenings
from receiver.intake import Accepted, Caller
from receiver.samples import SampleSigner
from receiver.source_state import SourceState

from .accept import Recorder
from .planner import Planner

#: The number of different samples of one kind.
_SAMPLES = 100_000_000


class NoSampleSource(Exception):
    """No configured source has samples."""


class SampleEvents:
    """Makes events as a configured source would."""

    def __init__(
        self,
        sources: Mapping[str, SourceState],
        planner: Planner,
        recorder: Recorder,
        signer: SampleSigner,
        now: Callable[[], float],
    ) -> None:
        self._sources, self._planner, self._now = sources, planner, now
        self._recorder, self._signer = recorder, signer

    def make(self) -> tuple[str, bytes]:
        """Return the id and the body of a new sample event. It is not recorded.

        It is one of the first source with samples. Raises NoSampleSource.
        """
        state = next((one for one in self._sources.values() if one.source.kinds), None)
        if state is None:
            raise NoSampleSource
        callback = self._callback(state, "")
        [happening] = read_happenings(state, callback)
        at = callback.received.timestamp()
        planned = self._planner.plan(state.name, happening, at)
        return planned.event.id, planned.body

    async def send(
        self, state: SourceState, *, peer: str, request_id: str, guard: Guard = unguarded
    ) -> Accepted:
        """Record a sample of a source, as if `smshook send` had sent it from `peer`.

        Raises NoSampleSource and Unavailable.
        """
        if not state.source.kinds or not state.source.tokens:
            raise NoSampleSource
        callback = self._callback(state, peer)
        caller = Caller(source=state.name, token=state.tokens.fingerprint(0), request_id=request_id)
        happenings = read_happenings(state, callback)
        return Accepted.of(await self._recorder.record(caller, callback, happenings, guard=guard))

    def _callback(self, state: SourceState, peer: str) -> Callback:
        source, now = state.source, utc(round(self._now(), 6))
        number = secrets.randbelow(_SAMPLES)
        sample = source.sample(source.kinds[0], source.usual_encoding, number=number, now=now)
        signature = self._signer.sign(state.name, sample.body)
        return Callback(
            headers=(("content-type", sample.content_type), (SAMPLE_HEADER, signature)),
            body=sample.body,
            peer=peer,
            received=now,
            sample=True,
        )
