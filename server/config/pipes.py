"""Reads of small files that may be pipes: nobody may write to a pipe, and it can be read once."""

import errno
import os
import select
import stat
from pathlib import Path

#: Seconds to wait for data of a pipe. A program that decrypts a configuration needs some.
PATIENCE = 10.0


def read_file(path: Path | str, size: int, *, patience: float = PATIENCE) -> bytes:
    """Return the first `size` bytes of a file. Raises OSError, also for a pipe without data."""
    # A plain open of a pipe waits for its writer, without an end.
    with open(path, "rb", buffering=0, opener=_open) as file:
        waiting = select.poll()
        waiting.register(file, select.POLLIN)
        data = b""
        while len(data) < size:
            if not waiting.poll(patience * 1000):
                raise OSError(errno.ETIMEDOUT, "a pipe to which nobody writes")
            part = file.read(size - len(data))
            if not part:
                break
            data += part
        if not data and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ENODATA, "a pipe without data; it was perhaps read before")
        return data


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
