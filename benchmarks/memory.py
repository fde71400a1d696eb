"""Whether memory grows while a process works."""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait

import msgspec

from .meanwhile import meanwhile

#: Seconds between two looks.
_EVERY = 1.0


class Memory(msgspec.Struct, frozen=True):
    #: Seconds since the beginning, and megabytes.
    points: tuple[tuple[float, float], ...]

    @property
    def most(self) -> float:
        """Megabytes."""
        return max(megabytes for _, megabytes in self.points)

    @property
    def slope(self) -> float:
        """Kilobytes a minute over the second half: the first half fills caches."""
        return slope(self.points[len(self.points) // 2 :]) * 1000 * 60


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits best, by least squares."""
    x, y = zip(*points, strict=True)
    return statistics.linear_regression(x, y).slope


def watched(megabytes: Callable[[], float], work: Callable[[], object]) -> Memory:
    """What `megabytes` says each second while `work` is done."""
    began = time.monotonic()
    points = [(0.0, megabytes())]
    with meanwhile(work) as working:
        while not working.done():
            wait([working], _EVERY)
            points.append((time.monotonic() - began, megabytes()))
    return Memory(tuple(points))
