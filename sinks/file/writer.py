"""A thread that appends lines, many with one fsync."""

import asyncio
import errno
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from ..sink import Failed
from .lines import EVENTS, LineFile, LineForm
from .rotation import Rotate

_WORDS: Final = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EROFS: "read_only",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ELOOP: "symlink",
    errno.EISDIR: "not_a_file",
    errno.ENXIO: "not_a_file",
}


@asynccontextmanager
async def appending(
    path: str,
    rotate: Rotate | None = None,
    *,
    fsync: Callable[[int], None] = os.fsync,
    now: Callable[[], float] = time.time,
    form: LineForm = EVENTS,
) -> AsyncIterator[Callable[[bytes], "asyncio.Future[None]"]]:
    """Yield a function that appends one line and returns a future, done after an fsync.

    Lines that arrive while one fsync runs share the next. A cancelled future only stops the
    wait: its line is written all the same. `form` is that of the lines. It fails with Failed and
    one of `disk_full`, `permission`, `read_only`, `missing`, `symlink`, `not_a_file`, `not_lines`,
    `closed`, `io`.
    """
    file = LineFile(path, rotate, fsync=fsync, now=now, form=form)
    writer = _Writer(file, asyncio.get_running_loop())
    try:
        yield writer.append
    finally:
        await writer.close()


def word_of(error: OSError) -> str:
    """Return smshook's word for an error of a file."""
    return _WORDS.get(error.errno or 0, "io")


class _Writer:
    """One thread that writes, and the callers that wait for it."""

    def __init__(self, file: LineFile, loop: asyncio.AbstractEventLoop) -> None:
        self._file, self._loop = file, loop
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None]
        self._lines = queue.SimpleQueue()
        self._closed = False
        self._ended = loop.create_future()
        # A daemon: a disk that never answers must not keep the process from ending.
        threading.Thread(target=self._run, name="file-sink", daemon=True).start()

    def append(self, line: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if self._closed:  # the queue has no reader any more
            future.set_exception(Failed("closed"))
        else:
            self._lines.put((line, future))
        return future

    async def close(self) -> None:
        """Write the queued lines, then end."""
        self._closed = True
        self._lines.put(None)
        await self._ended

    def _run(self) -> None:
        self._write([])  # mend at once; an error is reported to the next append
        closing = False
        while not closing:
            item = self._lines.get()
            batch = []
            with suppress(queue.Empty):
                while item is not None:
                    batch.append(item)
                    item = self._lines.get_nowait()
            closing = item is None
            if batch:
                error = self._write([line for line, _ in batch])
                with suppress(RuntimeError):  # the loop is closed: no caller waits
                    futures = [future for _, future in batch]
                    self._loop.call_soon_threadsafe(_answer, futures, error)
        self._file.close()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_answer, [self._ended], None)

    def _write(self, lines: Sequence[bytes]) -> Exception | None:
        try:
            self._file.append(lines)
        except OSError as error:
            return Failed(word_of(error))
        except Exception as error:  # noqa: BLE001 - a thread that ended would answer no caller
            return error
        return None


def _answer(futures: Sequence["asyncio.Future[None]"], error: Exception | None) -> None:
    for future in futures:
        if future.done():  # its caller was cancelled; the other callers still wait
            continue
        if error is None:
            future.set_result(None)
        elif isinstance(error, Failed):  # one for each: an exception gathers the frames it passes
            future.set_exception(Failed(error.word))
        else:
            future.set_exception(error)
