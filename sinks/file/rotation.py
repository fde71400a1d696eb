"""Set a full file aside as `PATH.1`, `PATH.2`, …, and compress it."""

import gzip
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from core.units import Duration, Size

#: The mode of every file that this sink makes.
MODE: Final = 0o600
#: The end of a name: a file set aside, or one on its way there.
_ASIDE = re.compile(r"([1-9][0-9]*)(?:\.gz)?|gz\.unfinished")
_CHUNK = 64 * 1024


class Rotate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a file is set aside as `PATH.1`, and how many are kept."""

    #: Before it would grow beyond this. Only lines that were written together can make a larger
    #: file.
    size: Size = Size(64 * 1024**2)
    #: At the next event after its first one is this old. Unset: by size alone.
    every: Duration | None = None
    #: The number of files kept beside the current one. `PATH.1` is the newest; the oldest is
    #: deleted.
    keep: int = 10
    #: Keep them as `PATH.1.gz`. Deliveries to this sink wait while one is compressed.
    compress: bool = False

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise ValueError("size must be larger than 0")
        if self.every is not None and self.every <= 0:
            raise ValueError("every must be longer than 0s")
        if self.keep < 1:
            raise ValueError("keep must be 1 or more")

    def makes(self, path: Path, name: str) -> bool:
        """Whether rotating `path` makes a file of that name beside it."""
        begin = f"{path.name}."
        found = _ASIDE.fullmatch(name, len(begin)) if name.startswith(begin) else None
        return found is not None and (found[1] is None or int(found[1]) <= self.keep)


class Rotation:
    """The rotation of the file at `path`. `fsync` takes a descriptor."""

    def __init__(self, path: Path, options: Rotate, fsync: Callable[[int], None]) -> None:
        self._path, self._options, self._fsync = path, options, fsync
        #: The path of the newest compressed file until it is whole and on disk.
        self._unfinished = path.with_name(f"{path.name}.gz.unfinished")

    def is_due(self, size: int, age: float) -> bool:
        """`size`: bytes of the file with the lines to come; `age`: seconds of its first event."""
        every = self._options.every
        return size > self._options.size or (every is not None and age >= every)

    def set_aside(self) -> None:
        """Rename the file to `PATH.1`; numbered ones move up, as far as the first gap."""
        keep = self._options.keep
        numbers = range(1, keep + 1)
        free = next((n for n in numbers if not any(p.exists() for p in self._aside(n))), keep)
        for path in self._aside(free):
            path.unlink(missing_ok=True)
        for number in range(free - 1, 0, -1):
            for old, new in zip(self._aside(number), self._aside(number + 1), strict=True):
                with suppress(FileNotFoundError):
                    old.rename(new)
        self._path.rename(self._aside(1)[0])
        fsync_folder(self._path, self._fsync)
        if self._options.compress:
            with suppress(OSError):  # such as a full disk: the plain file stays, nothing is lost
                self._compress_newest()

    def tidy(self) -> None:
        """Finish a compression that a crash interrupted."""
        with suppress(OSError):
            self._unfinished.unlink(missing_ok=True)
        for number in range(1, self._options.keep + 1):
            plain, compressed = self._aside(number)
            with suppress(OSError):  # usually only one of them exists
                length = plain.stat().st_size
                with compressed.open("rb") as file:
                    file.seek(-4, os.SEEK_END)
                    tail = file.read()
                # RFC 1952, 2.3.1: a whole gzip file ends with the length of its plain file. If it
                # differs, the gzip file is unfinished, or that of another file.
                if int.from_bytes(tail, "little") == length % 2**32:
                    plain.unlink()

    def _aside(self, number: int) -> tuple[Path, Path]:
        """Return the name of a file set aside, and its name when it is compressed."""
        plain = self._path.with_name(f"{self._path.name}.{number}")
        return plain, plain.with_name(f"{plain.name}.gz")

    def _compress_newest(self) -> None:
        plain, compressed = self._aside(1)
        self._unfinished.unlink(missing_ok=True)
        fd = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with open(fd, "wb") as raw:  # noqa: PTH123 - a Path cannot be opened exclusively with a mode
            with plain.open("rb") as lines, gzip.GzipFile("", "wb", fileobj=raw) as out:
                shutil.copyfileobj(lines, out, _CHUNK)
            raw.flush()
            self._fsync(fd)
        self._unfinished.rename(compressed)
        fsync_folder(self._path, self._fsync)
        plain.unlink()


def fsync_folder(path: Path, fsync: Callable[[int], None]) -> None:
    """Make the name of a file as durable as its content."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync(fd)
    finally:
        os.close(fd)
