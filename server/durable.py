"""Writes whole files: a power cut leaves the complete file or no file."""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from journal.links import follow_links


def write_new(path: Path, text: str) -> None:
    """Write a new file of UTF-8 text with mode 0600, and make its folder if needed.

    An existing file is not changed: it raises FileExistsError. After an OSError or UnicodeError no
    file is left.
    """
    make_folder(path.parent)
    with _temporary(path, text, 0o600) as temporary:
        put_new(temporary, path)


def replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file of UTF-8 text, and replace an existing one. Raises OSError."""
    path = follow_links(path)  # a symbolic link stays a link
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")  # a terminal or pipe, such as /dev/stdout
        return
    with _temporary(path, text, mode) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def put_new(temporary: Path, path: Path) -> None:
    """Give a file another name in its folder. Raises FileExistsError if that exists."""
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


@contextlib.contextmanager
def unfinished(path: Path, beside: Iterable[str] = ()) -> Iterator[Path]:
    """Yield the path of an empty file in the folder of `path`, to write and then rename.

    It has mode 0600. It is removed at the end unless it was renamed, and so are files with its name
    and an ending of `beside`. A killed process leaves them for the next call. Raises
    BlockingIOError while another process writes this file, and names `path` in each OSError.
    """
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        with _held(path, temporary, beside):
            yield temporary
    except OSError as exc:
        if exc.filename == str(temporary):
            exc.filename = str(path)
        raise


@contextlib.contextmanager
def _held(path: Path, temporary: Path, beside: Iterable[str]) -> Iterator[None]:
    others = [temporary.with_name(temporary.name + end) for end in beside]
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink > 1:
                # A process was killed in `put_new`: this is a second name of the finished file.
                temporary.unlink()
                os.close(descriptor)
                descriptor = os.open(temporary, flags, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = "another process is writing it"
            raise BlockingIOError(errno.EAGAIN, text, str(path)) from None
        try:
            for left in others:
                left.unlink(missing_ok=True)
            os.ftruncate(descriptor, 0)
            yield
        finally:
            for left in others:
                left.unlink(missing_ok=True)
            # After a rename, the name may already belong to another process.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(temporary.lstat(), os.fstat(descriptor)):
                    temporary.unlink()
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder and its parents, each on disk in its parent. Raises OSError."""
    if folder.is_dir():
        return
    if os.path.lexists(folder.parent) and not folder.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
