import asyncio
from contextlib import asynccontextmanager, suppress

from contracts.sink import outgoing

from server.runtime.sink_runner import SinkRunner
from sinks.sink import Failed, Receipt, Sink, Unusable


class Ticks:
    """A clock that the test moves, in seconds."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Faulty(Sink, frozen=True, kw_only=True):
    """A sink that raises the next error of `opens` or `sends`, as long as there is one."""

    opens: list
    sends: list

    @asynccontextmanager
    async def open(self):
        if self.opens:
            raise self.opens.pop(0)

        async def send(_outgoing):
            error = self.sends.pop(0) if self.sends else None
            if error is not None:
                raise error
            return Receipt()

        yield send


class Sending:
    """A worker that sends `times` deliveries, one each 25 s by the test's clock."""

    name = "s"

    def __init__(self, ticks, times):
        self.ticks, self.times = ticks, times
        self.done = asyncio.Event()

    async def run(self, send):
        for _ in range(self.times):
            self.ticks.now += 25
            with suppress(Failed, Unusable):
                await send(outgoing())
        self.done.set()
        await asyncio.Event().wait()


async def given_up(sends):
    """Return the number of times that the runner gave up."""
    ticks, given_up = Ticks(), []
    worker = Sending(ticks, len(sends))
    runner = SinkRunner(
        Faulty(opens=[], sends=list(sends)),
        worker,
        ticks=ticks,
        give_up=lambda: given_up.append(ticks.now),
    )
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(10):
        await worker.done.wait()
    task.cancel()
    await asyncio.wait([task])
    return len(given_up)


async def test_broken_machinery_ends_the_service_after_a_minute():
    """Mutants: no patience at all; the first failure is forgotten at the second."""
    assert await given_up([Unusable()] * 3) == 0
    assert await given_up([Unusable()] * 4) == 1


async def test_reported_failure_shows_that_the_machinery_works():
    """Mutant: only a delivery resets it, and an outage of the destination ends the service."""
    for answer in (Failed("refused"), None):
        assert await given_up([Unusable(), Unusable(), answer, Unusable(), Unusable()]) == 0


async def test_two_breakdowns_far_apart_are_two():
    """Mutant: the time without any attempt counts as broken."""
    ticks, given_up = Ticks(), []
    runner = SinkRunner(
        Faulty(opens=[], sends=[]),
        Sending(ticks, 0),
        ticks=ticks,
        give_up=lambda: given_up.append(1),
    )
    for _ in range(3):
        with suppress(Unusable):
            await runner._send(_unusable, outgoing())
        ticks.now += 3600

    assert given_up == []


async def _unusable(_outgoing):
    raise Unusable


async def test_sink_that_cannot_be_opened_ends_the_service():
    """Mutant: only `Unusable` counts, and a thread that cannot be started is tried for ever."""
    ticks, gave_up = Ticks(), asyncio.Event()

    class Unopened(Sink, frozen=True, kw_only=True):
        def open(self):
            ticks.now += 25
            raise RuntimeError("can't start new thread")

    runner = SinkRunner(Unopened(), Sending(ticks, 0), ticks=ticks, give_up=gave_up.set, reopen=0)
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(10):
        await gave_up.wait()
    task.cancel()
    await asyncio.wait([task])

    assert ticks.now == 1000 + 4 * 25
