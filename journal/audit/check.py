"""Checks the lines of an audit log against its signed states, a part at a time.

It does what the program of auditors does (`server/cli/audit_verify.py`), with faster cryptography.
"""

import json
from collections.abc import Iterable

from .export import Beginning
from .lines import ERASED, leaf_of
from .note import Checkpoint, Note, VerifierKey
from .tree import Frontier, is_included, leaf_hash

#: What the lines hold that a check reads: `audit.epoch`, `audit.erased` and `audit.pruned`.
_READ = b'"do":"audit.'


class Changed(Exception):
    """The log was changed. The text names the first place, and nothing that the lines say."""


class LogCheck:
    """A check of one log, from its first line that is left.

    `first` is the key of its first epoch; `beginning` is what is left of the lines before.
    """

    def __init__(self, origin: str, first: VerifierKey, beginning: Beginning) -> None:
        self.origin = origin
        #: The keys of the epochs so far, and where the present one began.
        self._keys, self._begun = [first], 0
        self._next: VerifierKey | None = None
        for epoch in beginning.epochs:
            self._skip(epoch.n, epoch.line, epoch.checkpoint, epoch.proof)
        self._tree = Frontier(beginning.size, beginning.frontier)
        #: The lines that are left out, and those that a line says were pruned.
        self.start, self.pruned_to = beginning.size, 0
        #: How many lines are proved by a signed state.
        self.covered = 0
        self._notes: dict[int, list[str]] = {}
        self._erased: set[int] = set()
        self._named: set[int] = set()

    @property
    def size(self) -> int:
        """How many lines were read, with those before the beginning."""
        return self._tree.size

    @property
    def unnamed(self) -> set[int]:
        """The erased lines that no line `audit.erased` names so far."""
        return self._erased - self._named

    def expect(self, notes: Iterable[str]) -> None:
        """Compare signed states with the lines as soon as there are as many. Raises Changed.

        They come oldest first. Those of fewer lines than were read are left out.
        """
        for note in notes:
            try:
                size = Checkpoint.parse(Note.parse(note).text).size
            except ValueError:
                raise Changed("a checkpoint is damaged") from None
            if size >= self.size:
                self._notes.setdefault(size, []).append(note)
        self._compare()

    def take(self, lines: Iterable[bytes]) -> None:
        """Read the next lines. Raises Changed."""
        for line in lines:
            try:
                self._take(line)
            except (KeyError, TypeError, ValueError):
                raise Changed(f"line {self.size} is damaged") from None

    def meets(self, state: Checkpoint, name: str) -> None:
        """Compare the lines so far with a state that needs no signature. Raises Changed."""
        if (state.size, state.root) != (self.size, self._tree.root()):
            raise Changed(f"the {self.size} lines are not those of {name}")

    def _take(self, line: bytes) -> None:
        n = self.size
        if line.startswith(ERASED):
            self._erased.add(n)
        elif not line.startswith(b'{"n":%d,"at":"' % n):
            raise Changed(f"another line is in the place of line {n}")
        elif _READ in line:
            fact = json.loads(line)
            if fact["do"] == "audit.erased":
                self._named.add(int(fact["of"]))
            elif fact["do"] == "audit.pruned":
                self.pruned_to = max(self.pruned_to, int(fact["to"]))
            elif fact["do"] == "audit.epoch" and n:  # the first key is known from elsewhere
                self._next = VerifierKey.parse(fact["key"])
        self._tree.append(leaf_of(line))
        if n + 1 in self._notes:
            self._compare()

    def _compare(self) -> None:
        for text in self._notes.pop(self.size, ()):
            note = Note.parse(text)
            state, lines = Checkpoint.parse(note.text), f"lines {self.covered} to {self.size - 1}"
            if (state.origin, state.root) != (self.origin, self._tree.root()):
                raise Changed(f"{lines} are not those of the checkpoint of {self.size} lines")
            # The last state of an epoch may be signed again, with the next key.
            keys = self._keys[-2:] if self.size == self._begun else self._keys[-1:]
            if not any(_is_signed(note, key) for key in keys):
                raise Changed(f"{lines}: the key of their epoch did not sign their checkpoint")
            self.covered = self.size
            if self._next is not None:
                self._keys.append(self._next)
                self._begun, self._next = self.size, None

    def _skip(self, n: int, line: bytes, checkpoint: str, proof: tuple[bytes, ...]) -> None:
        """Take a line of the missing part. It names the key of the next epoch."""
        note, fact = Note.parse(checkpoint), json.loads(line)
        state = Checkpoint.parse(note.text)
        proved = is_included(leaf_hash(line), n, state.size, state.root, proof)
        if not proved or fact["do"] != "audit.epoch" or not _is_signed(note, self._keys[-1]):
            raise Changed(f"line {n}, of those that are left out, did not end its epoch")
        self._keys.append(VerifierKey.parse(fact["key"]))
        self._begun = state.size


def _is_signed(note: Note, key: VerifierKey) -> bool:
    try:
        return note.verify(key) is not None
    except ValueError:
        return False
