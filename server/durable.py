"""Writes whole files: a power cut leaves the complete file or no file."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def write_new(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a new file of UTF-8 text, and make its folder if needed.

    An existing file is not changed: it raises FileExistsError. After an OSError or UnicodeError no
    file is left.
    """
    make_folder(path.parent)
    with _temporary(path, text, mode) as temporary:
        try:
            path.hardlink_to(temporary)  # a rename would replace an existing file
        except FileExistsError:
            raise
        except OSError:
            # This file system has no links (FAT, and some that containers mount).
            if os.path.lexists(path):
                raise FileExistsError(path) from None
            temporary.rename(path)
    sync_folder(path.parent)


def replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file of UTF-8 text, and replace an existing one. Raises OSError."""
    path = path.resolve()  # a symbolic link stays a link
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")  # a terminal or pipe, such as /dev/stdout
        return
    with _temporary(path, text, mode) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder and its parents, each on disk in its parent. Raises OSError."""
    if folder.is_dir():
        return
    if os.path.lexists(folder.parent) and not folder.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Write the names of its files to disk: the fsync of a new file does not write its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path, text: str, mode: int) -> Iterator[Path]:
    """Write the text to disk beside `path`, and remove that file afterwards."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    data = text.encode()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a Path cannot be opened with a mode
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
