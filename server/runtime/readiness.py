"""Whether the service takes callbacks, and the reasons why not."""

from collections.abc import Mapping, Sequence

from journal import Journal, JournalHealth

from .free_space import FreeSpace

#: Callbacks that may wait for their commit. If more wait, the door answers 503 at once.
MOST_WAITING = 2000
#: The reasons by the health of the journal. They go to everybody, so they name no file.
_OF_JOURNAL: Mapping[JournalHealth, str] = {
    JournalHealth.FAILING: "the journal cannot be written; the log has the error",
    JournalHealth.STALLED: "the disk of the journal does not answer",
    JournalHealth.BROKEN: "the journal failed, and the service ends; the log has the error",
}


class Readiness:
    """Whether the service takes callbacks: until `drain` is called, and while the journal works."""

    def __init__(self, journal: Journal, space: FreeSpace) -> None:
        self._journal, self._space, self._draining = journal, space, False

    def drain(self) -> None:
        """Take no more callbacks: the service ends."""
        self._draining = True

    def draining(self) -> bool:
        return self._draining

    def closed(self) -> bool:
        """Whether a callback is refused at once. A journal that fails for now is tried."""
        journal = self._journal
        return (
            self._draining
            or self._space.is_low
            or journal.failure is not None
            or journal.waiting >= MOST_WAITING
        )

    def __call__(self) -> bool:
        return not self.reasons()

    def reasons(self) -> Sequence[str]:
        """Return the reasons why the service is not ready; empty: it is."""
        reasons = []
        if self._draining:
            reasons.append("the service is stopping")
        if self._journal.health in _OF_JOURNAL:
            reasons.append(_OF_JOURNAL[self._journal.health])
        if self._space.is_low:
            reasons.append("the disk of the journal has less free space than journal.min_free")
        return reasons
