"""Files that are on disk when a command says so: a power cut leaves the whole file or none."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def write_new(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a new file of UTF-8 text; its folder is made if need be.

    Raises FileExistsError where there is something of that name, and leaves that alone; OSError
    and UnicodeError where it cannot be written, and leaves nothing behind.
    """
    make_folder(path.parent)
    with _temporary(path, text, mode) as temporary:
        # A link and not a rename: that would replace what is there.
        _link(temporary, path)
    sync_folder(path.parent)


def replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file of UTF-8 text in place of the one that may be there. Raises OSError."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")  # a terminal or pipe, such as /dev/stdout
        return
    with _temporary(path, text, mode) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make it and those above it, each on disk in the one above. Raises OSError."""
    if folder.is_dir():
        return
    if os.path.lexists(folder.parent) and not folder.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Write the names of its files to disk (fsync(2): those of a new file are not with it)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path, text: str, mode: int) -> Iterator[Path]:
    """A file beside `path` with the text in it, on disk; afterwards it is gone."""
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


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # No links on this file system (FAT, some that containers mount).
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        temporary.rename(path)
