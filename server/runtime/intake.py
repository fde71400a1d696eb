"""Takes callbacks from the door: accepts, quarantines or rejects them."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from core.meters import Histogram
from journal.records import Recorded
from receiver.callback import Callback, Happening, Malformed
from receiver.intake import Caller
from receiver.samples import SampleSigner

from .accept import Recorder
from .credentials import HeaderCredentials
from .identity import Identity
from .quarantine import QuarantineKeeper
from .readiness import Readiness
from .rejections import RejectionCounter


class CallbackIntake:
    """Takes callbacks from the door, until `drain` is called. See `receiver.intake.Intake`."""

    def __init__(
        self,
        *,
        readiness: Readiness,
        identity: Identity,
        signer: SampleSigner,
        recorder: Recorder,
        quarantine: QuarantineKeeper,
        rejections: RejectionCounter,
        credentials: HeaderCredentials,
        ticks: Callable[[], float],
    ) -> None:
        self.closed, self.draining, self.drain = (
            readiness.closed,
            readiness.draining,
            readiness.drain,
        )
        self._accept, self._quarantine, self._reject = (
            recorder.accept,
            quarantine.add,
            rejections.add,
        )
        self._ticks = ticks
        #: By source and outcome: accepted, duplicate, quarantined, rejected, unavailable.
        self.outcomes: dict[tuple[str, str], int] = defaultdict(int)
        #: Seconds to store a callback, by source.
        self.seconds: dict[str, Histogram] = defaultdict(Histogram)
        #: Why the last callback of a source went to quarantine.
        self.quarantined: dict[str, str] = {}
        self.hide_credentials = credentials.hide
        self.is_sample, self.request_id = signer.is_sample, identity.request_id

    def accept(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        done: Callable[[Recorded | Exception], None],
    ) -> None:
        """Record the happenings of a callback; call `done` when they are durable."""
        began = self._ticks()

        def stored(outcome: Recorded | Exception) -> None:
            if not isinstance(outcome, Exception):
                source, word = caller.source, "accepted" if True in outcome.new else "duplicate"
                self.outcomes[source, word] += 1
                self.seconds[source].add(self._ticks() - began)
            done(outcome)

        self._accept(caller, callback, happenings, stored)

    def quarantine(
        self,
        caller: Caller,
        callback: Callback,
        malformed: Malformed,
        done: Callable[[str | Exception], None],
    ) -> None:
        """Keep a callback that was not understood; call `done` with its id or the error."""
        began = self._ticks()

        def stored(outcome: str | Exception) -> None:
            # A callback from another address is stored and rejected.
            if not isinstance(outcome, Exception) and malformed.reason != "address":
                self.outcomes[caller.source, "quarantined"] += 1
                self.seconds[caller.source].add(self._ticks() - began)
                self.quarantined[caller.source] = malformed.reason
            done(outcome)

        self._quarantine(caller, callback, malformed, stored)

    def reject(self, reason: str, source: str, peer: str, request_id: str) -> None:
        """Count a rejected request."""
        self.outcomes[source, "rejected"] += 1
        self._reject(reason, source, peer, request_id)

    def count_unavailable(self, source: str) -> None:
        """Count a callback that was answered 503."""
        self.outcomes[source, "unavailable"] += 1
