"""A backfill starts at a start, after a time of not being ready, after a sleep of the machine."""

import asyncio
import contextlib

import pytest

from core.clock import rfc3339
from core.secret import Secret
from journal.reads import Moment
from journal.sqlite.journal import SQLiteJournal
from journal.writes import SetMoment
from receiver.polling.options import Backfill
from receiver.providers.tellabot.callbacks import TellABot
from receiver.source_state import SourceState
from server.runtime.backfill import Why
from server.runtime.outages import Backfills

BEGIN = 1_790_000_000.0


class Asked:
    """A backfill that keeps the cause and the time of each start."""

    name = "tellabot"

    def __init__(self):
        self.started = []

    async def run(self):
        await asyncio.Event().wait()

    def start(self, why, since=None):
        self.started.append((why, since))


class World:
    """A service with a clock and a readiness that tests set."""

    def __init__(self, journal):
        self.journal, self.is_ready, self.at, self.asked = journal, True, BEGIN, Asked()
        #: Seconds by which the wall clock is ahead of `ticks`.
        self.ahead = 0.0
        self.reported = []
        self.backfills = Backfills(
            lambda _state: self.asked,
            alerts=self,
            journal=journal,
            ready=lambda: self.is_ready,
            now=lambda: self.at + self.ahead,
            ticks=lambda: self.at,
        )
        source = TellABot(tokens=(), backfill=Backfill(user="u", api_key=Secret("k")))
        self.backfills.use({"tellabot": SourceState("tellabot", source, lambda: self.at)})

    async def report(self, name, subject, details, *, since):
        self.reported.append((name, subject, details, since))

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.backfills.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def started(self, times):
        async with asyncio.timeout(10):
            while len(self.asked.started) < times:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)
        return self.asked.started

    async def noted(self):
        async with asyncio.timeout(10):
            while await self.journal.ask(Moment("alive")) is None:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)


@pytest.fixture
async def journal(tmp_path):
    opened = await SQLiteJournal.open(tmp_path / "j.db", seal="s", now=BEGIN, version="0")
    yield opened
    await opened.close()


async def test_start_asks_from_the_last_sign_of_life(journal):
    """The gap is reported.

    Mutants: the start asks only back to the last run; the gap ends where it began.
    """
    await journal.submit(SetMoment("alive", BEGIN - 5000))
    world = World(journal)
    async with world.running():
        started = await world.started(1)
        await asyncio.sleep(0.2)

    assert started == [(Why.START, BEGIN - 5600)]
    until = {"until": rfc3339(BEGIN), "asked": ("tellabot",)}
    assert world.reported == [("gap", "service", until, BEGIN - 5000)]
    assert await journal.ask(Moment("alive")) == BEGIN


async def test_end_of_an_outage_starts_a_backfill(journal):
    """Mutants: started while it is not ready; asks back to the time when it was ready again; a
    short gap is reported.
    """
    world = World(journal)
    async with world.running():
        await world.noted()
        world.is_ready, world.at = False, BEGIN + 5
        await asyncio.sleep(1.5)
        before = list(world.asked.started)
        world.is_ready, world.at = True, BEGIN + 25
        started = await world.started(1)

    assert (before, started) == ([], [(Why.GAP, BEGIN - 600)])
    assert world.reported == []  # a restart takes as long


async def test_sleep_of_the_machine_starts_a_backfill(journal):
    """Mutant: only readiness counts."""
    world = World(journal)
    async with world.running():
        await world.noted()
        world.at = BEGIN + 3600
        started = await world.started(1)

    assert started == [(Why.GAP, BEGIN - 600)]


async def test_clock_step_starts_no_backfill(journal):
    """Mutant: the gap is measured by the wall clock."""
    world = World(journal)
    async with world.running():
        await world.noted()
        world.ahead = 3600
        world.is_ready, world.at = False, BEGIN + 5
        await asyncio.sleep(1.5)
        world.is_ready = True
        started = await world.started(1)

    # The only start is for the time of not being ready, by the new clock.
    assert started == [(Why.GAP, BEGIN + 3600 - 600)]


async def test_without_backfills_no_sign_of_life_is_stored(journal):
    """Mutant: a service that polls nobody writes each ten seconds."""
    world = World(journal)
    world.backfills.use({})
    async with world.running():
        await asyncio.sleep(0.2)

    assert await journal.ask(Moment("alive")) is None
