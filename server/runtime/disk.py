"""Measures the disk of the journal, and estimates when it will be full."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from .free_space import free_bytes

_DAY = 86_400.0
#: Seconds between two samples of the free space, the samples kept, and the fewest for an estimate.
_SAMPLED, _SAMPLES, _ENOUGH_SAMPLES = 3600.0, 24, 6


class Disk(msgspec.Struct, frozen=True):
    """The disk of the journal, in bytes."""

    free: int
    total: int
    journal: int


def read_disk(journal: Path) -> Disk:
    """Measure the disk of a journal. Raises OSError."""
    disk = os.statvfs(journal.parent)
    size = 0
    for path in (journal, journal.with_name(f"{journal.name}-wal")):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return Disk(free_bytes(journal.parent), disk.f_blocks * disk.f_frsize, size)


class DiskMonitor:
    """The last figures of the disk of a journal. `ticks` returns monotonic seconds."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self.read = read_disk
        #: None: not measured yet.
        self.last: Disk | None = None
        #: The free space of each hour of the last day, and when it was measured, in ticks.
        self._free: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    async def look(self, journal: Path) -> None:
        """Measure the disk. If that fails, the last figures stay."""
        with contextlib.suppress(OSError):
            # In a thread, as the disk may hang.
            self.last = disk = await asyncio.to_thread(self.read, journal)
            ticks = self._ticks()
            if not self._free or ticks - self._free[-1][0] >= _SAMPLED:
                self._free.append((ticks, disk.free))

    @property
    def knows_pace(self) -> bool:
        """Whether there are enough samples to estimate when the disk is full."""
        return len(self._free) >= _ENOUGH_SAMPLES

    def days_left(self) -> float | None:
        """Return the days until the disk is full, at the pace of the last day.

        None: there are too few samples, or the free space does not shrink.
        """
        if self.last is None or not self.knows_pace:
            return None
        at, free = self._free[0]
        passed, used = self._ticks() - at, free - self.last.free
        return self.last.free / used * passed / _DAY if used > 0 else None
