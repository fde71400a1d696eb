"""Commitments of the audit log to what events said.

A commitment proves the bytes of an event while its key lives. Afterwards it is noise: a plain hash
would stay a test for each guessed code.
"""

from typing import Protocol

from .audit.lines import commitment, commitment_key
from .seal import Kind


class CodeKeys(Protocol):
    """The keys of codes: see `PeriodKeys`."""

    def current(self, kind: Kind, at: float) -> tuple[int, bytes]: ...


class Commitments:
    """Commits to events. Calls come from the thread that writes."""

    def __init__(self, keys: CodeKeys) -> None:
        self._keys = keys

    def commit(self, event_id: str, body: bytes, at: float) -> str:
        """Return the commitment to an event that was recorded at `at`.

        Raises Unavailable if a key is missing and cannot be written.
        """
        _, key = self._keys.current(Kind.CODES, at)
        return commitment(commitment_key(key, event_id), body)
