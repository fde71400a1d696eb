"""Backs up the journal into one file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from journal import key_file
from journal.keyring import KEY_FILE
from journal.sqlite.backup import Contents, check, copy

from .config.files import DATABASE, begins, is_same, key_files, reserved_files
from .durable import sync_file, sync_folder, unfinished

_HAS_KEYS = "has the keys of `seal`"
#: Takes the copied pages and all pages.
Progress = Callable[[int, int], None]


class WrongPath(Exception):
    """A file is in the way, or missing. Nothing was written."""


def back_up(
    config: Path, journal: Path, target: Path, progress: Progress, *, keys: Path | None = None
) -> Contents:
    """Write a checked copy of the journal, with mode 0600. An earlier backup is replaced.

    `config` is the path of the configuration, `keys` that of the key file. Raises WrongPath,
    NotABackup, Unavailable, OSError.
    """
    if "\0" in str(target):
        raise WrongPath("no name of a file has NUL; name another file")
    beside = () if keys is None else key_files(keys)
    reserved = {**reserved_files(config, journal), **dict.fromkeys(beside, _HAS_KEYS)}
    for path, what in reserved.items():
        if is_same(target, path):
            raise WrongPath(f"{target} {what}; name another file")
    _check_folder(target)
    if os.path.lexists(target) and not begins(target, DATABASE):
        raise WrongPath(f"{target} exists and is not a backup; name another file")
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


def check_keys(keys: Path, target: Path) -> None:
    """Check that `back_up_keys` can write to `target`. Raises WrongPath, Damaged and OSError."""
    if is_same(target, keys):
        raise WrongPath(f"{target} is the key file; name another file")
    # The next change of the key file would overwrite it with zeros.
    if any(is_same(target, beside) for beside in key_files(keys)):
        raise WrongPath(f"{target} {_HAS_KEYS}; name another file")
    _check_folder(target)
    if os.path.lexists(target) and not begins(target, KEY_FILE.encode()):
        raise WrongPath(f"{target} exists and is not a copy of the keys; name another file")
    if key_file.read(keys) is None:
        raise WrongPath(f"there is no key file at {keys}")


def back_up_keys(keys: Path, target: Path) -> None:
    """Write a copy of the key file, with mode 0600. An earlier copy is replaced.

    Call it after `back_up`: then it has the keys of every sealed row. Raises WrongPath, Damaged and
    OSError.
    """
    check_keys(keys, target)
    with unfinished(target) as temporary:
        temporary.write_bytes(keys.read_bytes())
        key_file.read(temporary)  # the service may have replaced it meanwhile
        sync_file(temporary)
        temporary.rename(target)
        sync_folder(target.parent)


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise WrongPath(f"there is no folder {target.parent}; make it (mkdir -p), or name another")


def _copied(journal: Path, temporary: Path, progress: Progress) -> Contents:
    if not journal.exists():
        raise WrongPath(f"there is no journal at {journal}")
    copy(journal, temporary, progress)
    return check(temporary)
