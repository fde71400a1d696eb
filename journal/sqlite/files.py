"""The files of an open journal. They must stay the files that were opened."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from core.errors import Broken

from ..links import follow_links

#: Seconds between two checks. A file counts as moved if both find it so.
AGAIN = 0.2


class Moved(Broken):
    """A file of the journal was moved, removed or replaced while the service ran."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was moved, removed or replaced while the service ran")


class JournalFiles:
    """The files of the journal, compared by `stat` only.

    Files are never opened for it: POSIX locks belong to the process, and closing any descriptor of
    a file that SQLite has open would drop its locks (sqlite.org/howtocorrupt.html, 2.2).
    """

    def __init__(
        self,
        journal: Path,
        beside: Iterable[Path] = (),
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`beside`: more files that must stay where they are, such as the lock."""
        real = follow_links(journal)
        self._log = str(real.with_name(f"{real.name}-wal"))
        shared = real.with_name(f"{real.name}-shm")
        self._sleep = sleep
        #: Device and inode by path; None: the file was not there. Paths as text: every batch looks
        #: at all files, and a Path takes longer than the system.
        self._known: dict[str, tuple[int, int] | None] = {}
        for path in map(str, (journal, self._log, shared, *beside)):
            self._known[path] = None
            with contextlib.suppress(OSError):
                found = os.stat(path)  # noqa: PTH116 - see above
                self._known[path] = (found.st_dev, found.st_ino)
        #: Bytes of the write-ahead log at the last check.
        self.log_size = 0

    def check(self) -> None:
        """Raise Moved if a file was replaced, and still is a moment later."""
        if self._differing() is None:
            return
        self._sleep(AGAIN)
        path = self._differing()
        if path is not None:
            raise Moved(Path(path))

    def _differing(self) -> str | None:
        for path, known in self._known.items():
            try:
                found = os.stat(path)  # noqa: PTH116 - see above
            except (FileNotFoundError, NotADirectoryError):
                if known is not None:
                    return path
            except OSError:
                continue  # a file that cannot be read may still be in place
            else:
                if path == self._log:
                    self.log_size = found.st_size
                if known != (found.st_dev, found.st_ino):
                    return path
        return None
