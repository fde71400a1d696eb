"""Rewrites the key file: at each moment the old version or the new one is whole.

A file that is only replaced stays in free blocks of the disk, with keys that are destroyed later.
So the old version gets a second name, `.dead`, until zeros have overwritten it.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

#: The errors of a file system without hard links, such as FAT.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_CHECKSUM = b"sha256 "


class Damaged(Exception):
    """The key file cannot be read. It is not changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}. Put a copy in its place")


def read(path: Path) -> str | None:
    """Return the lines of the file, without its checksum; None if there is no file.

    Raises Damaged and OSError.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        dead = _dead(path)
        if dead.exists():
            raise Damaged(path, f"it is missing, but {dead.name} exists") from None
        return None
    text, mark, _ = data.rpartition(_CHECKSUM)
    if not mark or data != text + _checksum(text):
        raise Damaged(path, "its checksum is wrong")
    return text.decode("ascii", "replace")


def replace(path: Path, text: str) -> None:
    """Write a new version, with mode 0600. It is on disk when this returns.

    Raises OSError; then the old version or the new one is in use. Call `clean` before and after.
    """
    data, new = text.encode("ascii"), _new(path)
    with _opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
        _write(file, data + _checksum(data))
    try:
        with _opened(path, os.O_RDWR) as old:
            try:
                os.link(path, _dead(path))
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
            _rename(new, path)
            if os.fstat(old).st_nlink == 0:  # this file system has no links
                _overwrite(old)
    except FileNotFoundError:
        _rename(new, path)  # the first version


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file. Raises OSError."""
    # The folder: a rewrite replaces the file, and its lock would go with it.
    with _opened(path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def stamp(path: Path) -> tuple[int, int] | None:
    """Return a value that changes with each version of the file; None: there is no file."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def clean(path: Path) -> None:
    """Overwrite and remove the other versions, which a rewrite has left. Raises OSError.

    Call it only after `read` has succeeded: another version may be the only good one.
    """
    for left in (_new(path), _dead(path)):
        try:
            with _opened(left, os.O_RDWR | os.O_NOFOLLOW) as file:
                # A rewrite that ended before its rename has left two names of the file in use.
                if not _is_at(path, file):
                    _overwrite(file)
        except FileNotFoundError:
            continue
        left.unlink()


def _checksum(text: bytes) -> bytes:
    return _CHECKSUM + hashlib.sha256(text).hexdigest().encode() + b"\n"


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _dead(path: Path) -> Path:
    return path.with_name(f"{path.name}.dead")


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _overwrite(descriptor: int) -> None:
    """Write zeros over the whole file, in place."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    _write(descriptor, bytes(os.fstat(descriptor).st_size))


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _rename(new: Path, path: Path) -> None:
    new.rename(path)
    # Only this makes the new name durable. Before it, the old version must not be overwritten.
    with _opened(path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
        os.fsync(folder)
