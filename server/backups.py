"""Backs up the journal into one file, and restores it."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.clock import WallClock
from journal.lock import Lock
from journal.sqlite.backup import Contents, check, copy
from journal.sqlite.schema import begin_generation

from .config.files import BESIDE_JOURNAL, ERASED_IDS, is_same, reserved_files
from .config.options import Config
from .durable import put_new, sync_file, sync_folder, unfinished
from .runtime.identity import Chance, Identity
from .service import open_journal
from .service import restore as restore_parts

#: The first bytes of a database (sqlite.org/fileformat2.html, 1.3).
_MAGIC = b"SQLite format 3\0"
_STATES = [end for end in BESIDE_JOURNAL if end != ".lock"]
#: Takes the copied pages and all pages.
Progress = Callable[[int, int], None]


class WrongPath(Exception):
    """A file is in the way, or missing. Nothing was written."""


def back_up(config: Path, journal: Path, target: Path, progress: Progress) -> Contents:
    """Write a checked copy of the journal, with mode 0600. An earlier backup is replaced.

    `config` is the path of the configuration. Raises WrongPath, NotABackup, Unavailable, OSError.
    """
    for path, what in reserved_files(config, journal).items():
        if is_same(target, path):
            raise WrongPath(f"{target} {what}; name another file")
    if os.path.lexists(target) and not _is_database(target):
        raise WrongPath(f"{target} exists and is no backup; name another file")
    with unfinished(target) as temporary:
        contents = _copied(journal, temporary, progress)
        temporary.rename(target)
        sync_folder(target.parent)
    return contents


def stream(journal: Path, out: BinaryIO, progress: Progress) -> Contents:
    """Write a checked copy of the journal to a stream, from a temporary file beside the journal.

    Raises NotABackup, Unavailable and OSError.
    """
    with unfinished(journal.with_name(f"{journal.name}.backup")) as temporary:
        contents = _copied(journal, temporary, progress)
        with temporary.open("rb") as made:
            shutil.copyfileobj(made, out)
    out.flush()
    return contents


def restore(backup: BinaryIO, config: Config, *, without_erasures: bool = False) -> Contents:
    """Restore the journal from a backup, as a new generation. The file appears when it is complete.

    Content that was erased on request is erased again: the file of these ids must be there, unless
    `without_erasures`. Raises WrongPath if it is not, or if there is a journal; Held, NotABackup,
    WrongJournal, Unavailable and OSError.
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
            contents = check(temporary)
            erased = journal.with_name(ERASED_IDS)
            if not without_erasures:
                if contents.knows_erasures and not erased.exists():
                    raise WrongPath(
                        f"there is no {erased}: content that was erased since the backup would "
                        "come back. Put the file there, or give --without-erasures"
                    )
                if erased.exists() and erased.stat().st_size:
                    asyncio.run(_erase_again(config, temporary))
            secret = config.server.secret.reveal()
            begin_generation(temporary, seal=Identity(secret, Chance()).seal)
            sync_file(temporary)
            put_new(temporary, journal)
    return contents


async def _erase_again(config: Config, journal: Path) -> None:
    """Erase content in a journal as the service would, and close it."""
    options = msgspec.structs.replace(config.journal, url=f"sqlite:///{journal}")
    config = msgspec.structs.replace(config, journal=options)
    identity, clock = Identity(config.server.secret.reveal(), Chance()), WallClock()
    opened = await open_journal(config, identity, now=clock.now())
    try:
        parts = await restore_parts(config, opened, identity, clock=clock)
        await parts.erasures.erase_again()
    finally:
        await opened.close()


def _copied(journal: Path, temporary: Path, progress: Progress) -> Contents:
    if not journal.exists():
        raise WrongPath(f"there is no journal at {journal}")
    copy(journal, temporary, progress)
    return check(temporary)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
