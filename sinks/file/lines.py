"""One open file of lines: append to it, repair it, and continue after others renamed it."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ..sink import Failed
from .rotation import MODE, Rotate, Rotation, fsync_folder

#: Never through a symbolic link: it could point at another user's file.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
#: A line is an event of 64 KiB or less, escaped. A longer tail is another program's.
_LONGEST_LINE = 16 * 1024**2
_CHUNK = 64 * 1024
#: The bits of a mode that let other users read.
_OTHERS_READ = 0o044

log = structlog.get_logger()


class LineForm(msgspec.Struct, frozen=True):
    """What the lines of a file look like."""

    #: Each line begins with one of these.
    beginnings: tuple[bytes, ...]
    #: Fields that each line has; one of these sets.
    fields: tuple[frozenset[str], ...]
    #: Finds the time of a line, for the rotation.
    time: re.Pattern[bytes]

    def is_line(self, line: bytes) -> bool:
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return isinstance(found, dict) and any(its <= found.keys() for its in self.fields)


#: `specversion` is the first field of an event.
EVENTS: Final = LineForm(
    (b'{"specversion":',),
    (frozenset({"specversion", "id", "type"}),),
    re.compile(rb'"recordedtime":"([^"]+)"'),
)


class LineFile:
    """A file of lines that stays whole, whatever other programs do. For one thread."""

    def __init__(
        self,
        path: str,
        rotate: Rotate | None,
        *,
        fsync: Callable[[int], None],
        now: Callable[[], float],
        form: LineForm = EVENTS,
    ) -> None:
        self._path, self._form = Path(path), form
        self._rotation = None if rotate is None else Rotation(self._path, rotate, fsync)
        self._fsync, self._now = fsync, now
        self._fd: int | None = None
        #: When the first event in it was accepted, seconds since the epoch: for the rotation.
        self._began = 0.0
        self._warned = False

    def append(self, lines: Sequence[bytes]) -> None:
        """Append all lines, and fsync. Raises OSError or Failed; then no line was appended."""
        data = b"".join(lines)
        try:
            fd = self._open()
            size = os.fstat(fd).st_size
            if not size:
                self._began = self._now()
            elif self._rotation and self._rotation.is_due(
                size + len(data), self._now() - self._began
            ):
                self.close()
                self._rotation.set_aside()
                fd = self._open()
            self._write(fd, data)
        except BaseException:
            self.close()  # the next append opens, and mends, it again
            raise

    def close(self) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with suppress(OSError):  # every confirmed line is on disk already
            os.close(fd)

    def _open(self) -> int:
        """Return the open file. Open the path again if another program renamed or removed it."""
        if self._fd is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._path.lstat(), os.fstat(self._fd)):
                    return self._fd
        self.close()
        self._fd = fd = os.open(self._path, _FLAGS, MODE)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise Failed("not_a_file")
        if mode & _OTHERS_READ and not self._warned:
            # The mode stays: its owner may have meant it.
            self._warned = True
            log.warning("sink.readable_by_others", path=str(self._path))
        cut = _mend(fd, self._fsync, self._form)
        if cut:
            log.warning("sink.mended", path=str(self._path), bytes=cut)
        fsync_folder(self._path, self._fsync)
        if self._rotation is not None:
            self._rotation.tidy()
            self._began = now = self._now()
            found = self._form.time.search(os.pread(fd, _CHUNK, 0).partition(b"\n")[0])
            if found:
                with suppress(ValueError):
                    self._began = min(datetime.fromisoformat(found[1].decode()).timestamp(), now)
        return fd

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


def _mend(fd: int, fsync: Callable[[int], None], form: LineForm) -> int:
    """End or cut off a last line without its newline. Return how many bytes were cut off.

    An unfinished line of smshook, as after a power cut, is cut off: it is written again.
    Some file systems leave NUL bytes in place of lost data. A line of another program is ended. If
    the last whole line is not of this form, the file was never meant for such lines: it raises
    Failed("not_lines") and leaves the file alone.
    """
    size = os.fstat(fd).st_size
    start = _start_of_line(fd, size)
    if start == size:
        return 0
    tail = os.pread(fd, size - start, start)
    written = tail.rstrip(b"\0")
    # The first part of a line, perhaps with NUL bytes in its holes.
    unfinished = any(
        begin.startswith(written[: len(begin)].partition(b"\0")[0]) for begin in form.beginnings
    )
    if start > 0:
        before = _start_of_line(fd, start - 1)
        ours = form.is_line(os.pread(fd, start - before, before))
    else:
        ours = unfinished or form.is_line(written)
    if not ours:
        raise Failed("not_lines")
    end = start + len(written)
    if unfinished and not form.is_line(written):
        end = start
    os.ftruncate(fd, end)
    if end > start:
        os.write(fd, b"\n")
    fsync(fd)
    return size - end


def _start_of_line(fd: int, end: int) -> int:
    """Return where the line begins that ends before `end`. Raises Failed for an endless line."""
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
