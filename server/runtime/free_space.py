"""Watches the free space on the journal's disk, so that callbacks stop before the disk is full.

Rules that live here: `journal.min_free`, and how much more must be free until callbacks are taken
again.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

#: Seconds between two looks.
_EVERY = 1.0
#: Bytes above the limit that end the shortage, at most; else a tenth of the limit. Otherwise the
#: log that a checkpoint empties would end and begin it all the time.
_MOST_ABOVE = 64 << 20

log = structlog.get_logger()


def free_bytes(folder: Path) -> int:
    """Return the bytes on the disk of a folder that this process may use. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class FreeSpace:
    """Whether the disk of a folder has less free space than `limit` bytes; 0: it is not watched."""

    def __init__(self, folder: Path, limit: int, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder, self._limit, self._free = folder, limit, free
        self.is_low = False
        self.look()

    def look(self) -> None:
        """Compare the free space with the limit, and log a change."""
        if not self._limit:
            return
        try:
            free = self._free(self._folder)
        except OSError:
            return  # writes to the journal show whether its disk works
        enough = self._limit + min(self._limit // 10, _MOST_ABOVE) * self.is_low
        was_low, self.is_low = self.is_low, free < enough
        if self.is_low and not was_low:
            log.error("disk.low", free=free, min_free=self._limit, then="503 until there is room")
        elif was_low and not self.is_low:
            log.warning("disk.recovered", free=free, min_free=self._limit)

    async def run(self) -> None:
        """Look each second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            self.look()
