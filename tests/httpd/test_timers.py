"""Timers of less than a millisecond."""

import asyncio

import pytest

from httpd.timers import call_at


@pytest.mark.parametrize("delay", [-1, 0, 0.0001, 0.0004, 0.002])
async def test_timer_knows_its_time_however_soon_it_is(delay):
    """Of uvloop, a handle of less than half a millisecond has no `when`.

    A stream that began to wait in such a moment ended with an error. Mutant: `loop.call_at(when`.
    """
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    when = loop.time() + delay

    timer = call_at(loop, when, called.set)

    # Its time is a sum, rounded in its last digits.
    assert when - 1e-6 <= timer.when() <= max(when, loop.time()) + 0.01
    async with asyncio.timeout(5):
        await called.wait()


class Delayed:
    """A loop in a process that is stopped for two milliseconds after each look at the clock."""

    def __init__(self, loop):
        self.call_at, self.call_later, self._loop = loop.call_at, loop.call_later, loop

    def time(self):
        return self._loop.time() - 0.002


async def test_timer_of_a_busy_process_knows_its_time():
    """Mutant: `loop.call_at(max(when, loop.time() + _LEAST)`."""
    loop, called = asyncio.get_running_loop(), asyncio.Event()

    timer = call_at(Delayed(loop), loop.time(), called.set)

    assert timer.when() <= loop.time() + 0.01
    async with asyncio.timeout(5):
        await called.wait()
