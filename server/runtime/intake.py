"""Takes callbacks from the door: accepts, quarantines or rejects them."""

from journal import Journal
from receiver.samples import SampleSigner

from .accept import Recorder
from .credentials import HeaderCredentials
from .identity import Identity
from .quarantine import QuarantineKeeper
from .rejections import RejectionCounter

#: Callbacks that may wait for their commit. If more wait, the door answers 503 at once.
MOST_WAITING = 2000


class CallbackIntake:
    """Takes callbacks from the door, until `drain` is called. See `receiver.intake.Intake`."""

    def __init__(
        self,
        *,
        journal: Journal,
        identity: Identity,
        signer: SampleSigner,
        recorder: Recorder,
        quarantine: QuarantineKeeper,
        rejections: RejectionCounter,
        credentials: HeaderCredentials,
    ) -> None:
        self._journal, self._draining = journal, False
        self.accept = recorder.accept
        self.quarantine = quarantine.add
        self.reject = rejections.add
        self.hide_credentials = credentials.hide
        self.is_sample, self.request_id = signer.is_sample, identity.request_id

    def drain(self) -> None:
        """Take no more callbacks: the service ends."""
        self._draining = True

    def draining(self) -> bool:
        return self._draining

    def closed(self) -> bool:
        journal = self._journal
        return self._draining or journal.failure is not None or journal.waiting >= MOST_WAITING
