"""Commitments of the audit log to what events said.

A commitment proves the bytes of an event while its key lives. Afterwards it is noise: a plain hash
would stay a test for each guessed code.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from .audit.lines import commitment, commitment_key, make_commitment
from .seal import Kind


class CodeKeys(Protocol):
    """The keys of codes: see `PeriodKeys`."""

    def current(self, kind: Kind, at: float) -> tuple[int, bytes]: ...

    def get(self, kind: Kind, period: int) -> bytes | None: ...

    def periods(self, kind: Kind) -> Sequence[int]: ...


#: An event's id, its bytes as sent, and when it was recorded: seconds since the epoch.
ToCommit = tuple[str, bytes, float]


class Commitments:
    """Commits to events. Calls come from the thread that writes."""

    def __init__(self, keys: CodeKeys) -> None:
        self._keys = keys
        #: The key of codes that was used last, and what commits with it.
        self._last: tuple[bytes, Callable[[str, bytes], str]] = (b"", make_commitment(b""))

    def commit(self, events: Sequence[ToCommit]) -> Sequence[str]:
        """Return the commitments to events.

        Raises Unavailable if a key is missing and cannot be written.
        """
        times = [at for _, _, at in events]
        _, key = self._keys.current(Kind.CODES, min(times))
        if key != self._keys.current(Kind.CODES, max(times))[1]:  # a period ends between them
            return [c for one in events for c in self.commit((one,))]
        last, commit = self._last
        if key is not last:
            commit = make_commitment(key)
            self._last = key, commit
        return [commit(event_id, body) for event_id, body, _ in events]

    def could_be(self, c: str, event_id: str, body: bytes, at: float) -> bool | None:
        """Return whether `c` commits to the event. None: its key is destroyed."""
        key = self.key(event_id, at)
        return None if key is None else commitment(key, body) == c

    def key(self, event_id: str, at: float) -> bytes | None:
        """Return the key of the commitment to an event. None: it is destroyed."""
        living = [period for period in self._keys.periods(Kind.CODES) if period * 60 <= at]
        key = self._keys.get(Kind.CODES, living[0]) if living else None
        return None if key is None else commitment_key(key, event_id)
