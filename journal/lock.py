"""The lock file of a journal, with the address of the service that holds it."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Self

import msgspec

from .links import follow_links

#: Bytes of the file: enough for two addresses and the longest path.
_LENGTH = 8192


class Held(Exception):
    """Another process holds the journal."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(
            f"{path} is in use by process {pid or 'unknown'}; stop it first, or use another journal"
        )


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds a journal, and the address of its service."""

    pid: int
    #: `http://127.0.0.1:8080`; None until it listens.
    url: str | None = None
    admin_url: str | None = None
    #: The key with which commands on this machine may reload the configuration.
    key: str | None = None
    #: The absolute path of its configuration, and the digest that shows a later edit.
    config: str | None = None
    digest: str | None = None
    #: The fingerprint of the root key that wraps its new keys; None: it has no keys.
    root: str | None = None


class Lock:
    """An exclusive lock of the process. The kernel releases it, even after kill -9.

    The journal file is locked, too. So a second process is refused even after the lock file was
    removed. Both are opened before SQLite opens the journal, and closed after SQLite closed it:
    closing any descriptor of the file would drop SQLite's locks.
    """

    def __init__(self, journal: Path) -> None:
        self.path = _beside(journal)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._journal: int | None = None
        if not _locked(self._fd):
            found = _read(self.path)
            self._close()
            raise Held(journal, found.pid if found else None)
        self._hold(journal, 0)
        self._path = journal
        self.publish(Holder(pid=os.getpid()))

    def is_in_place(self) -> bool:
        """Return whether the lock file is still the one that is locked."""
        with contextlib.suppress(OSError):
            return os.path.samestat(self.path.stat(), os.fstat(self._fd))
        return False

    def hold(self) -> None:
        """Create the journal if it is missing, and lock it. Call it before SQLite opens it."""
        if self._journal is None:
            self._hold(self._path, os.O_CREAT)

    def _hold(self, journal: Path, making: int) -> None:
        with contextlib.suppress(OSError):  # SQLite reports the reason
            self._journal = os.open(journal, os.O_RDWR | os.O_CLOEXEC | making, 0o600)
        if self._journal is not None and not _locked(self._journal):
            pid = _locker(self._journal)
            self._close()
            raise Held(journal, pid)

    def publish(self, holder: Holder) -> None:
        """Write the service's address into the lock file, for the commands."""
        # One write replaces the old content: a concurrent reader must not find half of it. On a
        # full disk an empty file stays empty.
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, msgspec.json.encode(holder).ljust(_LENGTH), 0)

    def release(self) -> None:
        # Overwrite, do not truncate: so the next start succeeds even if the disk is full.
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, b"".ljust(_LENGTH), 0)
        self._close()

    def _close(self) -> None:
        os.close(self._fd)
        if self._journal is not None:
            os.close(self._journal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


def holder(journal: Path) -> Holder | None:
    """Return the process that holds the journal now, or None.

    Raises PermissionError if this user may not know.
    """
    path = _beside(journal)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    else:
        return None  # left behind by a killed process
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    """Lock the file; return whether it worked within a moment.

    `holder` locks it briefly, and a killed process may take a moment to end.
    """
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def _locker(fd: int) -> int | None:
    """Return the pid that locked the file (proc(5), /proc/locks), if it is known."""
    at = os.fstat(fd)
    place = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, pid, where, *_ = line.replace(": ->", ":").split()
            if (kind, where) == ("FLOCK", place):
                return int(pid)
    return None


def _beside(journal: Path) -> Path:
    journal = follow_links(journal)  # a link leads to the same journal
    return journal.with_name(journal.name + ".lock")


def _read(path: Path) -> Holder | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    return None
