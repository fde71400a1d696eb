"""Small honest audit logs, for tests that export and change them."""

import hashlib

from journal.audit.export import Beginning, begin_at, end_epoch
from journal.audit.lines import Fact, encode, erased_line, line_erased, next_epoch, restored
from journal.audit.note import Algorithm, Checkpoint, Note, SigningKey
from journal.audit.tree import Frontier, leaf_hash, node_hash
from server.cli.audit_export import ExportedLog, write_export

IDENTITY = "7f3a9c52e1d04b6c"
#: Seconds since the epoch: the first line.
BEGIN = 1_764_460_800.0
#: Seconds between two lines.
STEP = 60.0


def seed(name):
    return hashlib.sha256(name.encode()).digest()


class HonestLog:
    """A log that is written as the service writes it. Each line is a minute after the other."""

    def __init__(self, origin=f"smshook/{IDENTITY}", *, owner="honest"):
        self.origin, self._owner = origin, owner
        self.log_key = SigningKey(origin, Algorithm.ED25519, seed(f"{owner} log"))
        self.epoch = 0
        self.first = self.epoch_key(0).verifier
        self.lines, self.frontier = [], Frontier()
        self.hashes = {}
        #: The kept checkpoints, and the newest one.
        self.checkpoints, self.newest = [], None
        self.ended = []
        self.pruned = 0

    def epoch_key(self, number):
        """The key of an epoch. The service has destroyed all but the newest one."""
        return SigningKey(
            f"{self.origin}/epoch", Algorithm.COSIGNATURE, seed(f"{self._owner} epoch {number}")
        )

    @property
    def now(self):
        return BEGIN + STEP * len(self.lines)

    def add(self, fact):
        """Append a fact; return its line."""
        line = encode(len(self.lines), self.now, fact)
        n, hash_ = len(self.lines), leaf_hash(line)
        self.lines.append(line)
        self.frontier.append(hash_)
        self.hashes[0, n] = hash_
        level = 0
        while n & 1:
            hash_ = node_hash(self.hashes[level, n - 1], hash_)
            level, n = level + 1, n >> 1
            self.hashes[level, n] = hash_
        return line

    def grow(self, count):
        """Append ordinary lines, and a kept checkpoint."""
        for _ in range(count):
            n = len(self.lines)
            self.add(Fact("code.read", {"by": "key/ana", "event": f"event-{n}", "reason": f"r{n}"}))
        self.checkpoint()

    def state(self):
        return Checkpoint(self.origin, self.frontier.size, self.frontier.root())

    def sign(self):
        return self.state().sign([self.log_key, self.epoch_key(self.epoch)], self.now)

    def checkpoint(self, *, keep=True):
        self.newest = str(self.sign())
        if keep:
            self.checkpoints.append(self.newest)
        return self.newest

    def end_epoch(self):
        """Name the next key, close the epoch with the old key, and use the next one."""
        line = self.add(next_epoch(self.epoch_key(self.epoch + 1).verifier))
        closed = self.checkpoint()
        self.ended.append(end_epoch(len(self.lines) - 1, line, closed, self.hash_at))
        self.epoch += 1

    def hash_at(self, level, n):
        return self.hashes[level, n]

    def hashes_at(self, level, first, count):
        return [self.hashes[level, n] for n in range(first, first + count)]

    def erase(self, n, *, name=True):
        self.lines[n] = erased_line(self.hashes[0, n])
        if name:
            self.add(line_erased(n, by="cli/0", reason="address of a person"))
            self.checkpoint()

    def prune(self, size):
        """Leave out the lines before `size`."""
        self.pruned = size

    @property
    def beginning(self):
        return begin_at(self.pruned, self.ended, self.hash_at) if self.pruned else Beginning()

    def export(self, folder):
        write_export(
            folder,
            ExportedLog(
                self.log_key.verifier,
                self.beginning,
                self.lines[self.pruned :],
                tuple(self.checkpoints),
                self.newest,
            ),
        )
        return folder


def week(**options):
    """Return a log of three whole epochs and a part of the fourth, with 12 kept checkpoints."""
    log = HonestLog(**options)
    for _ in range(3):
        for count in (100, 70, 41):
            log.grow(count)
        log.end_epoch()
    log.grow(90)
    return log


def continued(old, *, generation=2):
    """Return the log after a restore of `old`."""
    log = HonestLog(f"smshook/{IDENTITY}/{generation}", owner="restored")
    log.add(restored(old.state(), by="cli/0"))
    log.grow(50)
    log.end_epoch()
    log.grow(20)
    return log


def sizes(notes):
    return [Checkpoint.parse(Note.parse(note).text).size for note in notes]
