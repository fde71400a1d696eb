"""Keeps callbacks that were not understood byte for byte, and replays them on request."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from core.clock import utc
from core.delivery import ERASED
from core.errors import Unavailable
from journal import Journal
from journal.records import Planned, Quarantined, QuarantinedCallback
from journal.writes import Guard, QuarantineCallback, unguarded
from receiver.callback import Callback, Happening, Malformed
from receiver.door import SAMPLE_HEADER, read_happenings
from receiver.intake import Accepted, Caller
from receiver.samples import SampleSigner
from receiver.source_state import SourceState

from .accept import Recorder, arrival_of
from .identity import Identity
from .journal_monitor import JournalMonitor

#: The use of the key that hashes quarantined callbacks.
_FINGERPRINTS = "fingerprints of quarantine"

log = structlog.get_logger()


class SourceGone(Exception):
    """The source of a quarantined callback is no longer configured."""


class QuarantineKeeper:
    """Puts callbacks into quarantine and replays them."""

    def __init__(
        self,
        *,
        journal: Journal,
        monitor: JournalMonitor,
        identity: Identity,
        signer: SampleSigner,
        recorder: Recorder,
        sources: Mapping[str, SourceState],
        now: Callable[[], float],
    ) -> None:
        self._journal, self._monitor, self._identity = journal, monitor, identity
        self._signer, self._recorder = signer, recorder
        self._sources, self._now = sources, now

    def add(
        self,
        caller: Caller,
        callback: Callback,
        malformed: Malformed,
        done: Callable[[str | Exception], None],
    ) -> None:
        """Keep the bytes of a callback; call `done` with its id, Unavailable or InvalidRow."""

        def answer(outcome: Quarantined | Exception) -> None:
            done(outcome if isinstance(outcome, Exception) else outcome.id)

        def then(outcome: Quarantined | Exception) -> None:
            if isinstance(outcome, Unavailable):
                self._monitor.log_error(outcome)
            if isinstance(outcome, Exception):
                return
            log.warning(
                "callback.quarantined",
                request_id=caller.request_id,
                source=caller.source,
                peer=callback.peer,
                bytes=len(callback.body),
                reason=malformed.reason,
                detail=malformed.detail,
                quarantine_id=outcome.id,
                new=outcome.new,
                leaf=outcome.leaf,
            )

        # A journal from before its key file keeps its hashes, and knows copies by them.
        seals = self._journal.seals_dedupe
        key = self._journal.opener.derive(_FINGERPRINTS) if seals else None
        write = QuarantineCallback(
            arrival_of(caller, callback),
            id=self._identity.event_id(self._now()),
            fingerprint=self._identity.fingerprint(callback.body, key),
            reason=malformed.reason,
            detail=malformed.detail,
        )
        self._journal.put(write, answer, then)

    async def replay(
        self, kept: QuarantinedCallback, request_id: str, guard: Guard = unguarded
    ) -> Accepted:
        """Read a callback again. If it is understood now, its events replace it.

        Raises the same as `foretell`.
        """
        callback, happenings = self._read(kept)
        caller = Caller(source=kept.source, token=kept.token, request_id=request_id)
        recorded = await self._recorder.record(
            caller, callback, happenings, replaces=kept.id, guard=guard
        )
        return Accepted.of(recorded)

    def foretell(self, kept: QuarantinedCallback) -> Sequence[Planned]:
        """Return the events that a replay would make, and their deliveries.

        Raises Malformed if it is still not understood or its bytes are erased, and SourceGone if
        its source is not configured.
        """
        return self._recorder.foretell(kept.source, self._read(kept)[1])

    def _read(self, kept: QuarantinedCallback) -> tuple[Callback, Sequence[Happening]]:
        if kept.is_erased:
            raise Malformed(ERASED, "its bytes are erased")
        state = self._sources.get(kept.source)
        if state is None:
            raise SourceGone(kept.source)
        callback = Callback(
            headers=kept.headers,
            body=kept.body,
            peer=kept.peer,
            received=utc(kept.at),
        )
        signature = callback.header(SAMPLE_HEADER)
        if self._signer.is_sample(kept.source, kept.body, signature):
            callback = msgspec.structs.replace(callback, sample=True)
        return callback, read_happenings(state, callback)
