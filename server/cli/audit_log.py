"""Reads the audit log of a journal file, also while a service uses it."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from journal.audit.note import VerifierKey
from journal.audit.tree import TILE_WIDTH, HashesAt
from journal.keyring import FoundKeys, KeyFile, UnknownRoot
from journal.reads import AuditLog, AuditLogs, Checkpoints, LogBeginning, StoredCheckpoint
from journal.reads import HashesAt as ReadHashes
from journal.sqlite import audit_lines
from journal.sqlite.read_only import open_read_only
from journal.sqlite.schema import errors_named

from ..config.options import Config
from ..config.roots import root_keys
from .audit_export import ExportedLog, WrongExport


def found_keys(config: Config) -> FoundKeys:
    """Return the keys that open stored events. Raises NoRootKey, UnknownRoot and Damaged.

    Without a key file, everything counts as erased.
    """
    seal, secret = config.seal, config.server.secret
    roots, file = root_keys(seal, config.path.parent), KeyFile.read(seal.path) or KeyFile()
    unknown = file.unknown_roots(roots, secret)
    if unknown:
        raise UnknownRoot(seal.path, unknown)
    return FoundKeys(seal.path, file, roots, secret)


class LogFile:
    """The present audit log in one state of a journal file."""

    def __init__(self, conn: sqlite3.Connection, found: AuditLog) -> None:
        self.conn, self._log = conn, found
        #: The verifier key of its first epoch, and its origin. None: it is not signed yet.
        self.key, self.signer, self.origin = found.key, found.signer, found.origin

    def export(self, *, since: float | None = None, until: float | None = None) -> ExportedLog:
        """Return the log from the first bundle of `since` to a checkpoint after `until`.

        Raises WrongExport.
        """
        log, signer = self._log, self._log.signer
        stored = audit_lines.checkpoints(self.conn, Checkpoints(log.first))
        if signer is None or not stored:
            raise WrongExport("the log is not signed yet: start the service once")
        last = next((one for one in stored if until is not None and one.at >= until), stored[-1])
        if until is not None:
            last = self._with_erasures(last, stored)
        start = log.pruned
        if since is not None:
            place = audit_lines.place_at(self.conn, since, log.first + log.size)
            start = max(start, (place - log.first) // TILE_WIDTH * TILE_WIDTH)
        start = min(start, last.size // TILE_WIDTH * TILE_WIDTH)
        begin = log.first + start
        return ExportedLog(
            key=VerifierKey.parse(signer),
            beginning=audit_lines.beginning(self.conn, LogBeginning(log.first, start)),
            lines=(
                line for _, line in audit_lines.lines_at(self.conn, begin, log.first + log.size)
            ),
            checkpoints=tuple(one.note for one in stored if start <= one.size <= last.size),
            checkpoint=last.note,
        )

    def _with_erasures(
        self, last: StoredCheckpoint, stored: Sequence[StoredCheckpoint]
    ) -> StoredCheckpoint:
        """Return `last`, or the first later checkpoint that names all its erased lines."""
        first, end = self._log.first, self._log.first + self._log.size
        naming = [
            (place - first, json.loads(line)["of"])
            for place, line in audit_lines.lines_at(self.conn, first + last.size, end)
            if b'"do":"audit.erased"' in line
        ]
        for n, of in naming:
            if of < last.size <= n:
                last = next((one for one in stored if one.size > n), stored[-1])
        return last

    @property
    def hashes(self) -> HashesAt:
        """Read the roots of full tiles."""
        log = self._log.first
        return lambda level, n, count: audit_lines.hashes(
            self.conn, ReadHashes(log, level, n, count)
        )


@contextlib.contextmanager
def open_log(journal: Path) -> Iterator[LogFile]:
    """Open the audit log of a journal, to read it. Raises Unavailable and WrongJournal."""
    with errors_named(journal), contextlib.closing(open_read_only(journal)) as conn:
        # The first read determines the state; what is written later is not seen.
        conn.execute("begin")
        yield LogFile(conn, audit_lines.logs(conn, AuditLogs())[-1])
