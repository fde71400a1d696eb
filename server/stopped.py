"""Prunes, seals and restores the journal of a stopped service."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.clock import WallClock
from core.errors import Unavailable
from journal.actor import ACTING, Actor
from journal.audit.lines import Fact
from journal.facts import AuditOptions
from journal.keyring import KeyFile, Keyring
from journal.lock import Lock
from journal.records import Retained
from journal.seal import MissingKeys, PeriodKeys
from journal.sqlite.audit import goes_on
from journal.sqlite.backup import Contents, check
from journal.sqlite.read_only import open_read_only
from journal.sqlite.schema import WrongJournal, begin_generation, is_current
from journal.writes import RecordFacts

from .backups import WrongPath
from .config.files import BESIDE_JOURNAL, ERASED_IDS
from .config.load import Loaded
from .config.options import Config
from .config.roots import root_keys
from .durable import put_new, sync_file, unfinished
from .runtime.identity import Chance, Identity
from .runtime.parts import Parts
from .runtime.period_keys import make_keys, warn_of_missing_keys
from .runtime.retention import Pruner
from .runtime.sealing import SealRun
from .service import audit_options, open_journal
from .service import restore as restore_parts

_STATES = [end for end in BESIDE_JOURNAL if end != ".lock"]
#: Seconds between two reports of the progress.
_LOOK = 0.3


def prune(
    config: Config, *, dry_run: bool, progress: Callable[[Mapping[str, int]], None]
) -> Mapping[str, int]:
    """Prune the journal, or only count with `dry_run`; return the rows of each kind.

    `progress` gets the rows so far. Raises journal.lock.Held, WrongJournal, Unavailable, and the
    errors of the key file.
    """
    _need_journal(config.journal.path)
    with Lock(config.journal.path) as lock:
        lock.hold()
        return asyncio.run(_prune(config, dry_run=dry_run, progress=progress))


async def _prune(
    config: Config, *, dry_run: bool, progress: Callable[[Mapping[str, int]], None]
) -> Mapping[str, int]:
    warn_of_missing_keys(config, config.journal.path)
    async with _opened(config, makes_keys=not dry_run) as parts:
        if dry_run:
            return _named(parts.pruner, await parts.pruner.count())
        pruning = asyncio.create_task(parts.pruner.prune(gently=False))
        while not pruning.done():
            await asyncio.wait([pruning], timeout=_LOOK)
            if parts.pruner.last is not None:
                progress(_named(parts.pruner, parts.pruner.last.counts))
        return _named(parts.pruner, pruning.result().counts)


def _need_journal(path: Path) -> None:
    """Raise Unavailable if there is none: a new one would be in the way of a restore."""
    if not path.exists():
        raise Unavailable(f"there is no journal at {path}")


def _named(pruner: Pruner, counts: Mapping[Retained, int]) -> Mapping[str, int]:
    return {kind.value: counts.get(kind, 0) for kind in pruner.limits}


def seal(config: Config, *, progress: Callable[[SealRun], None]) -> SealRun:
    """Seal the rows that were stored in clear; return the run. Raises as `prune` does.

    `progress` gets the run under way.
    """
    _need_journal(config.journal.path)
    with Lock(config.journal.path) as lock:
        lock.hold()
        return asyncio.run(_seal(config, progress=progress))


async def _seal(config: Config, *, progress: Callable[[SealRun], None]) -> SealRun:
    warn_of_missing_keys(config, config.journal.path)
    async with _opened(config) as parts:
        sealing = asyncio.create_task(parts.row_sealer.seal(gently=False))
        while not sealing.done():
            await asyncio.wait([sealing], timeout=_LOOK)
            if parts.row_sealer.last is not None:
                progress(parts.row_sealer.last)
        return sealing.result()


def record(config: Config, fact: Fact) -> None:
    """Add a line to the audit log, on behalf of the command line. Raises as `prune` does.

    A journal is not changed if another log would have to begin: it is of another version, or a
    restored one has replaced it. Raises WrongJournal then.
    """
    path = config.journal.path
    with Lock(path) as lock:
        lock.hold()
        if not is_current(path):
            raise WrongJournal(f"{path} is of another version of smshook")
        asyncio.run(_record(config, fact))


async def _record(config: Config, fact: Fact) -> None:
    async with _opened(config, makes_keys=False, begins_log=False) as parts:
        named = Fact(fact.do, {**ACTING.get().fields, **fact.fields})
        await parts.journal.submit(RecordFacts((named,)))


def restore(backup: BinaryIO, config: Config, *, without_erasures: bool = False) -> Contents:
    """Restore the journal from a backup, as a new generation. The file appears when it is complete.

    Content that was erased on request is erased again: the file of these ids must be there, unless
    `without_erasures`. Raises WrongPath if it is not, or if there is a journal; Held, NotABackup,
    WrongJournal, Unavailable, OSError and the errors of the key file.
    """
    journal = config.journal.path
    with Lock(journal):
        for path in (journal, *(journal.with_name(journal.name + end) for end in _STATES)):
            if os.path.lexists(path):
                raise WrongPath(
                    f"{path} exists; nothing was restored. Move it to another folder first"
                )
        with unfinished(journal, _STATES) as temporary:
            with temporary.open("wb") as made:
                shutil.copyfileobj(backup, made)
            # Before any change: another kind of database would become an empty journal.
            contents = check(temporary, "the backup")
            warn_of_missing_keys(config, temporary)
            erased = journal.with_name(ERASED_IDS)
            if not (without_erasures or erased.exists()) and contents.knows_erasures:
                raise WrongPath(
                    f"there is no {erased}: content that was erased since the backup would "
                    "come back. Put the file there, or give --without-erasures"
                )
            secret = config.server.secret.reveal()
            seal = Identity(secret, Chance()).seal
            begin_generation(temporary, seal=seal, now=WallClock().now(), actor=command_line())
            if not without_erasures and erased.exists() and erased.stat().st_size:
                # Its lines belong to the new audit log: the old one has other lines at their place.
                asyncio.run(_erase_again(config, temporary))
            sync_file(temporary)
            put_new(temporary, journal)
    return contents


def command_line() -> Actor:
    """Return the actor of a command on this machine."""
    return Actor(f"cli/{os.getuid()}")


async def _erase_again(config: Config, journal: Path) -> None:
    """Erase content in a journal as the service would, and close it."""
    options = msgspec.structs.replace(config.journal, url=f"sqlite:///{journal}")
    config = msgspec.structs.replace(config, journal=options)
    async with _opened(config) as parts:
        await parts.erasures.erase_again()


@contextlib.asynccontextmanager
async def _opened(
    config: Config, *, makes_keys: bool = True, begins_log: bool = True
) -> AsyncIterator[Parts]:
    """Open the journal, and put its service together without running it.

    Without `makes_keys`, a missing key file stays missing. Without `begins_log`, it raises
    WrongJournal if other keys have signed the audit log, so that another one would begin.
    """
    identity, clock = Identity(config.server.secret.reveal(), Chance()), WallClock()
    loaded = Loaded(config=config, warnings=())
    roots = root_keys(config.seal, config.path.parent)
    keys: Keyring | None = None
    sealing: PeriodKeys | None = MissingKeys() if roots else None
    audit: AuditOptions | None = None
    if makes_keys or KeyFile.read(config.seal.path) is not None:
        keys = make_keys(config.seal, roots, now=clock.now(), secret=config.server.secret)
        audit = audit_options(config, identity, clock, keys)
        if not (begins_log or _goes_on(config.journal.path, audit)):
            raise WrongJournal(f"other keys than those of {config.seal.path} signed its audit log")
        sealing = keys if roots else None
    journal = await open_journal(config, identity, now=clock.now(), keys=sealing, audit=audit)
    acting = ACTING.set(command_line())
    try:
        parts = await restore_parts(
            *(config, journal, identity),
            clock=clock,
            load=lambda: loaded,
            period_keys=keys,
            audit=audit,
        )
        if parts.audit is not None:
            parts.audit.follow_keys()
        yield parts
        if parts.audit is not None:
            await parts.audit.record_keys()
    finally:
        ACTING.reset(acting)
        await journal.close()


def _goes_on(journal: Path, audit: AuditOptions) -> bool:
    """Return whether the audit log of a journal goes on with the keys at hand."""
    with contextlib.closing(open_read_only(journal)) as conn:
        return goes_on(conn, audit)
