"""The time of an attempt ends it, with one timer for all attempts at a sink."""

import asyncio

from core.units import Duration
from sinks.attempt import Attempts, Clock
from sinks.sink import Receipt, Sink

CLOCK = Clock(now=lambda: 0.0, ticks=lambda: 0.0, chance=lambda: 0.5)


def attempts(timeout):
    return Attempts("log", Sink(timeout=Duration(timeout)), CLOCK)


async def made(maker, seconds):
    async def send(_outgoing):
        await asyncio.sleep(seconds)
        return Receipt()

    tried = await maker.make(send, "e", b"{}", number=1, replay=False)
    return tried.attempt.error


async def test_each_late_attempt_ends_in_its_own_time():
    """Mutants: the timer is not set again for the second; it ends all that are under way."""
    maker, loop = attempts(0.4), asyncio.get_running_loop()
    began = loop.time()
    first = asyncio.create_task(made(maker, 10))
    await asyncio.sleep(0.2)
    second = asyncio.create_task(made(maker, 10))

    assert await first == "timeout"
    assert not second.done()
    assert await second == "timeout"
    assert loop.time() - began >= 0.59


async def test_attempt_after_a_finished_one_has_its_whole_time():
    """Mutants: the first timer ends it; no timer is left for it; an attempt that ended is ended."""
    maker = attempts(0.4)
    assert await made(maker, 0) is None
    await asyncio.sleep(0.3)
    assert await made(maker, 0.2) is None  # the timer of the first one fires meanwhile
    assert await made(maker, 10) == "timeout"
    assert await made(maker, 10) == "timeout"  # the timer had ended: nothing was under way
    assert await made(maker, 0) is None
    await asyncio.sleep(0.6)  # nothing cancels this task any more
