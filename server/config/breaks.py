"""Breaks in a long computation of a thread, so that callbacks come first."""

import time
from collections.abc import Callable

#: Seconds of work, and of the break after it. A thread that computes keeps Python's lock for five
#: milliseconds at a time, and each callback needs the lock about ten times.
WORK, BREAK = 0.0005, 0.004
#: Breaks of one computation. A caller waits for the end of a long one, and gives up some time.
MOST = 500


class Breaks:
    """Call it often: it sleeps whenever its thread has worked for a while.

    Make it in the thread that calls it. `worked` returns the seconds that the thread has worked.
    """

    def __init__(
        self,
        worked: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._worked, self._sleep = worked, sleep
        self._until, self._left = worked() + WORK, MOST

    def __call__(self) -> None:
        if self._left and self._worked() >= self._until:
            self._left -= 1
            self._sleep(BREAK)
            self._until = self._worked() + WORK


def no_break() -> None:
    """Take no break."""
