"""Spread the attempts at sinks that fail over the turns of the event loop.

Rules that live here: attempts that would begin at once take at most BUDGET seconds of a turn. The
others begin in the next turns, first come, first served. Callbacks are answered between them.
Attempts at a sink that works need no turn: commits of many events would become many small ones.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

#: Seconds of one turn in which attempts may begin. About ten that have to connect fit in.
BUDGET = 0.001
#: The most attempts that are woken for one turn.
AT_ONCE = 32


class Pace:
    """The pace at which the attempts at failing sinks begin. `ticks` is a clock in seconds."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        #: When the time of this turn is over; None: nothing has begun in it.
        self._until: float | None = None
        self._has_next = False  # `_begin_turn` is scheduled
        self._line: deque[asyncio.Future[None]] = deque()
        #: Those that were woken and found no time left. They stay the first.
        self._late: list[asyncio.Future[None]] = []
        #: Attempts that were not let go yet.
        self._waiting = 0

    def is_free(self) -> bool:
        """Return whether an attempt may begin at once; else it must wait for its `turn`."""
        return not self._waiting and self._has_time()

    async def turn(self) -> None:
        """Wait for a turn with time for an attempt."""
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            waiting = loop.create_future()
            self._line.append(waiting)
            self._schedule()
            await waiting
            while not self._has_time():
                waiting = loop.create_future()
                self._late.append(waiting)
                await waiting
        finally:
            self._waiting -= 1

    def _has_time(self) -> bool:
        now = self._ticks()
        if self._until is None:
            self._until = now + BUDGET
            self._schedule()
        return now < self._until

    def _schedule(self) -> None:
        if not self._has_next:
            self._has_next = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._has_next, self._until = False, None
        self._line.extendleft(reversed(self._late))
        self._late.clear()
        woken = 0
        while self._line and woken < AT_ONCE:
            waiting = self._line.popleft()
            if not waiting.done():  # its task was not cancelled
                waiting.set_result(None)
                woken += 1
        if woken:
            self._schedule()  # this turn ends after those that were woken
