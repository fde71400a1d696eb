"""How steady the machine is: what a program that only counts sees of it."""

import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

#: Steps of one count: a fifth of a millisecond on a slow machine.
_STEPS = 2000
#: A count that takes so many times the median was held up by something else.
_SLOW = 5.0


class Stalls(msgspec.Struct, frozen=True, kw_only=True):
    #: Of the time, in which a processor that was busy got next to nothing done.
    share: float
    #: Milliseconds, the longest without a count between that was as fast as others.
    longest: float


def watched(seconds: float, *, clock: Callable[[], float] = time.perf_counter) -> Stalls:
    """Count for so long, and look at how long each count took."""
    took, until = [], clock() + seconds
    while (began := clock()) < until:
        _count()
        took.append(clock() - began)
    return stalls(took)


def stalls(took: Sequence[float]) -> Stalls:
    """Of the seconds that counts took, one after the other."""
    usual = statistics.median(took)
    longest = current = lost = 0.0
    for one in took:
        current = current + one if one > _SLOW * usual else 0.0
        lost += one - usual if current else 0.0
        longest = max(longest, current)
    return Stalls(share=lost / sum(took), longest=longest * 1000)


def _count() -> int:
    counted = 0
    for step in range(_STEPS):
        counted += step
    return counted
