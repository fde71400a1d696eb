"""What makes sources be asked: the service began, was not ready, or was asleep."""

import asyncio
import contextlib

import pytest

from journal.reads import Moment
from journal.sqlite.journal import SQLiteJournal
from journal.writes import SetMoment
from server.runtime.backfill import Backfilling, Why

BEGIN = 1_790_000_000.0


class Asked:
    """What a source is told, and from when on."""

    name = "tellabot"

    def __init__(self):
        self.told = []

    async def run(self):
        await asyncio.Event().wait()

    def start(self, why, since=None):
        self.told.append((why, since))


class World:
    """Whether the service is ready, and its clock, as a test says."""

    def __init__(self, journal):
        self.journal, self.is_ready, self.at, self.asked = journal, True, BEGIN, Asked()
        #: The wall clock, ahead of seconds that only go forward.
        self.ahead = 0.0
        self.backfilling = Backfilling(
            [self.asked],
            journal=journal,
            ready=lambda: self.is_ready,
            now=lambda: self.at + self.ahead,
            ticks=lambda: self.at,
        )

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.backfilling.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def told(self, times):
        async with asyncio.timeout(10):
            while len(self.asked.told) < times:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        return self.asked.told

    async def noted(self):
        async with asyncio.timeout(10):
            while await self.journal.ask(Moment("alive")) is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


@pytest.fixture
async def journal(tmp_path):
    opened = await SQLiteJournal.open(tmp_path / "j.db", seal="s", now=BEGIN, version="0")
    yield opened
    await opened.close()


async def test_what_came_while_we_were_away_is_asked_for_from_our_last_sign_of_life(journal):
    """Mutant: at the start no further back than the last round."""
    await journal.submit(SetMoment("alive", BEGIN - 5000))
    world = World(journal)
    async with world.running():
        told = await world.told(1)
        await asyncio.sleep(0.2)

    assert told == [(Why.START, BEGIN - 5600)]
    assert await journal.ask(Moment("alive")) == BEGIN


async def test_when_it_is_ready_again_it_asks_for_what_came_meanwhile(journal):
    """Mutants: while it is not ready; from when it was ready again."""
    world = World(journal)
    async with world.running():
        await world.noted()
        world.is_ready, world.at = False, BEGIN + 5
        await asyncio.sleep(1.5)
        before = list(world.asked.told)
        world.is_ready, world.at = True, BEGIN + 25
        told = await world.told(1)

    assert (before, told) == ([], [(Why.GAP, BEGIN - 600)])


async def test_a_machine_that_was_asleep_is_a_gap(journal):
    """Mutant: only readiness looked at."""
    world = World(journal)
    async with world.running():
        await world.noted()
        world.at = BEGIN + 3600
        told = await world.told(1)

    assert told == [(Why.GAP, BEGIN - 600)]


async def test_clock_step_is_no_gap(journal):
    """Mutant: the gap by the wall clock."""
    world = World(journal)
    async with world.running():
        await world.noted()
        world.ahead = 3600
        world.is_ready, world.at = False, BEGIN + 5
        await asyncio.sleep(1.5)
        world.is_ready = True
        told = await world.told(1)

    # The one that is told is of not being ready, from a moment before, by the clock of now.
    assert told == [(Why.GAP, BEGIN + 3600 - 600)]


async def test_without_a_source_that_can_be_asked_nothing_is_noted(journal):
    await Backfilling((), journal=journal, ready=lambda: True, now=lambda: BEGIN).run()

    assert await journal.ask(Moment("alive")) is None
