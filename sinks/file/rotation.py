"""One open file: append, mend, set aside, compress."""

import gzip
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from ..sink import Failed
from .rotate import Rotate

log = structlog.get_logger()

#: Never through a symbolic link: it could point at a file that is not ours to write.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


_MODE = 0o600


#: A line is an event of 64 KiB or less, escaped; a longer tail was not written by us.
_LONGEST_LINE = 16 * 1024**2


_CHUNK = 64 * 1024


_RECORDED = re.compile(rb'"recordedtime":"([^"]+)"')


#: What follows the name of a file set aside, or of one on its way there.
_NUMBERED = re.compile(r"([1-9][0-9]*)(?:\.gz)?|gz\.unfinished")


#: Bits of a mode by which somebody else may read.
_OTHERS_READ = 0o044


class _File:
    """A file of lines that stays whole, whatever others and the disk do. For one thread."""

    def __init__(
        self,
        path: str,
        rotate: Rotate | None,
        *,
        fsync: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        self._path, self._rotate = Path(path), rotate
        self._fsync, self._now = fsync, now
        self._fd: int | None = None
        #: When the first event in it came, seconds since the epoch.
        self._began = 0.0
        self._warned = False

    def append(self, lines: Sequence[bytes]) -> None:
        """All of them, on disk; or OSError or Failed, and none of them."""
        data = b"".join(lines)
        try:
            fd = self._with_room_for(len(data))
            self._write(fd, data)
        except BaseException:
            self.close()  # the next one opens, and mends, it again
            raise

    def close(self) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with suppress(OSError):  # what was promised is on disk already
            os.close(fd)

    def _with_room_for(self, coming: int) -> int:
        fd = self._current()
        size = os.fstat(fd).st_size
        if not size:
            self._began = self._now()
        elif self._is_full(size + coming):
            self._set_aside()
            fd = self._open()
        return fd

    def _current(self) -> int:
        """What is at the path counts: others may have renamed or removed what was."""
        if self._fd is not None and _is_at(self._path, self._fd):
            return self._fd
        self.close()
        return self._open()

    def _open(self) -> int:
        self._fd = fd = os.open(self._path, _FLAGS, _MODE)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Failed("not_a_file")
        self._warn_of_readers(fd)
        cut = _mend(fd, self._fsync)
        if cut:
            log.warning("sink.mended", path=str(self._path), bytes=cut)
        self._fsync_folder()
        self._tidy()
        self._began = _first_time(fd, self._now())
        return fd

    def _warn_of_readers(self, fd: int) -> None:
        """Once. Its mode stays: whoever opened it to others may have meant it."""
        if self._warned or not os.fstat(fd).st_mode & _OTHERS_READ:
            return
        self._warned = True
        log.warning("sink.readable_by_others", path=str(self._path))

    def _write(self, fd: int, data: bytes) -> None:
        size = os.fstat(fd).st_size
        # Another program may have written since: its unfinished line must not swallow ours.
        unfinished = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        try:
            rest = memoryview(b"\n" + data if unfinished else data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            self._fsync(fd)
        except BaseException:
            with suppress(OSError):  # else the half line is cut when it is opened next
                os.ftruncate(fd, size)
            raise

    def _is_full(self, size: int) -> bool:
        if self._rotate is None:
            return False
        every = self._rotate.every
        is_old = every is not None and self._now() - self._began >= every
        return is_old or size > self._rotate.size

    def _set_aside(self) -> None:
        """The file becomes `PATH.1`, what has a number gets the next, up to the first gap."""
        self.close()
        keep = self._rotate.keep if self._rotate else 1
        numbers = range(1, keep + 1)
        free = next((n for n in numbers if not any(p.exists() for p in self._aside(n))), keep)
        for path in self._aside(free):
            path.unlink(missing_ok=True)
        for number in range(free - 1, 0, -1):
            self._renumber(number)
        self._path.rename(self._aside(1)[0])
        self._fsync_folder()
        self._compress_newest()

    def _aside(self, number: int) -> tuple[Path, Path]:
        """The name of a file set aside, and the name when it is compressed."""
        plain = self._path.with_name(f"{self._path.name}.{number}")
        return plain, plain.with_name(f"{plain.name}.gz")

    def _renumber(self, number: int) -> None:
        for old, new in zip(self._aside(number), self._aside(number + 1), strict=True):
            with suppress(FileNotFoundError):
                old.rename(new)

    def _compress_newest(self) -> None:
        if self._rotate is None or not self._rotate.compress:
            return
        plain, compressed = self._aside(1)
        with suppress(OSError):  # such as a full disk: it stays as it is, and nothing is lost
            _gzip(plain, self._unfinished, self._fsync)
            self._unfinished.rename(compressed)
            self._fsync_folder()
            plain.unlink()

    def _tidy(self) -> None:
        """Finish what a crash interrupted: `.gz` has its name only when it is whole, on disk."""
        if self._rotate is None:
            return
        with suppress(OSError):
            self._unfinished.unlink(missing_ok=True)
            for number in range(1, self._rotate.keep + 1):
                plain, compressed = self._aside(number)
                if compressed.exists() and _holds(compressed, plain):
                    plain.unlink(missing_ok=True)

    @property
    def _unfinished(self) -> Path:
        return self._path.with_name(f"{self._path.name}.gz.unfinished")

    def _fsync_folder(self) -> None:
        """A file is only as durable as its name."""
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._fsync(fd)
        finally:
            os.close(fd)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _mend(fd: int, fsync: Callable[[int], None]) -> int:
    """End or cut off a last line without its newline. Return how many bytes were cut off.

    A line of ours that a power cut left unfinished is cut off: the delivery is sent again. Some
    file systems leave NUL bytes in place of lost data. Any other line is another program's, and is
    ended. Raises Failed("not_lines"), with the file as it was, where the last whole line is not
    ours: then `path` names a file that was never meant for events.
    """
    size = os.fstat(fd).st_size
    start = _start_of_line(fd, size)
    if start == size:
        return 0
    tail = os.pread(fd, size - start, start)
    written = tail.rstrip(b"\0")
    unfinished = not written or _is_beginning(written)
    if start > 0:
        before = _start_of_line(fd, start - 1)
        ours = _is_event(os.pread(fd, start - before, before))
    else:
        ours = unfinished or _is_event(written)
    if not ours:
        raise Failed("not_lines")
    end = start + len(written)
    if unfinished and not _is_event(written):
        end = start
    os.ftruncate(fd, end)
    if end > start:
        os.write(fd, b"\n")
    fsync(fd)
    return size - end


def _start_of_line(fd: int, end: int) -> int:
    """Return where the line begins that ends before `end`. Raises Failed for an endless one."""
    start = end
    while start > 0:
        if end - start >= _LONGEST_LINE:
            raise Failed("not_lines")
        chunk_start = max(0, start - _CHUNK)
        newline = os.pread(fd, start - chunk_start, chunk_start).rfind(b"\n")
        if newline >= 0:
            return chunk_start + newline + 1
        start = chunk_start
    return 0


#: How each line of this sink begins: `specversion` is the first field of an event.
_BEGINNING = b'{"specversion":'


def _is_beginning(line: bytes) -> bool:
    """Whether it may be the first part of a line of this sink, NUL bytes in its holes."""
    known = line[: len(_BEGINNING)].partition(b"\0")[0]
    return _BEGINNING.startswith(known)


def _is_event(line: bytes) -> bool:
    try:
        event = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(event, dict) and {"specversion", "id", "type"} <= event.keys()


def _first_time(fd: int, now: float) -> float:
    """When the first event in it was accepted, or `now` where that cannot be told."""
    found = _RECORDED.search(os.pread(fd, _CHUNK, 0).partition(b"\n")[0])
    try:
        began = datetime.fromisoformat(found[1].decode()).timestamp() if found else now
    except ValueError:
        return now
    return min(began, now)


def _holds(compressed: Path, plain: Path) -> bool:
    """Whether a whole gzip file is the compressed form of that file, and not of another.

    RFC 1952, 2.3.1: its last four bytes are the length of what it holds.
    """
    with suppress(OSError):
        with compressed.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            length = int.from_bytes(file.read(4), "little")
        return length == plain.stat().st_size % 2**32
    return False


def _gzip(source: Path, target: Path, fsync: Callable[[int], None]) -> None:
    target.unlink(missing_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(fd, "wb") as raw:  # noqa: PTH123 - a Path cannot be opened exclusively with a mode
        with source.open("rb") as lines, gzip.GzipFile(fileobj=raw, mode="wb", filename="") as out:
            shutil.copyfileobj(lines, out, _CHUNK)
        raw.flush()
        fsync(fd)
