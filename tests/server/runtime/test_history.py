"""Figures over time: counted every ten seconds, kept by minute over restarts."""

import msgspec
import pytest
from contracts.journal import owed as owed_to
from contracts.journal import planned, record
from services import assembled, clock_of, configured

from core.delivery import Attempt
from core.meters import Histogram
from journal.reads import KeptFigures
from server.runtime.history import EVERY, SPANS, Figures, History, Ring, SinkFigures
from sinks.file.sink import File

NOW = 1_790_000_000
WEEK = SPANS["7d"][0]


class World:
    """A service whose clock and whose counts of codes tests set."""

    def __init__(self, parts):
        self.parts, self.at, self.read = parts, float(NOW), {}
        self.took = Histogram()
        self.begin()

    def begin(self):
        """Start again: what was counted in memory is gone."""
        self.history = History(
            self.parts.journal,
            workers=self.parts.workers,
            codes_read=lambda: self.read,
            code_seconds=lambda: [self.took],
            now=lambda: self.at,
        )

    async def count(self, seconds=EVERY):
        self.at += seconds
        await self.history.count()


@pytest.fixture
async def world(tmp_path):
    config = configured(tmp_path, sinks={"log": File(path=str(tmp_path / "log"))})
    async with assembled(config, clock_of(lambda: float(NOW))) as parts:
        made = World(parts)
        await made.history.count()
        yield made


def attempted(*, delivered):
    error = None if delivered else "timeout"
    outcome = "delivered" if delivered else "failed"
    return Attempt(at=NOW + 2.0, outcome=outcome, error=error, took_ms=500)


async def test_points_have_what_came_since_the_last_count(world):
    """Mutants: totals in place of what is new; the reader without `how`."""
    meters = world.parts.workers["log"].meters
    await record(world.parts.journal, planned(owed=(owed_to("log"),)), planned())
    meters.add(attempted(delivered=True), accepted_at=NOW)
    meters.add(attempted(delivered=False), accepted_at=NOW)
    world.read["ana", "stream"] = 2
    await world.count()
    await record(world.parts.journal, planned(owed=(owed_to("log"),)))
    world.read["ana", "stream"] = 5
    await world.count(30)

    first, second = world.history.points("1h")

    assert (first.at, first.seconds, first.accepted) == (NOW + 10, 10, 2)
    assert (second.at, second.seconds, second.accepted) == (NOW + 40, 30, 1)
    log = first.sinks["log"]
    assert (log.owed, log.delivered, log.failed, sum(log.lag)) == (1, 0, 1, 1)
    assert second.sinks["log"] == SinkFigures(owed=2)
    assert (first.read, second.read) == ({"stream/ana": 2}, {"stream/ana": 3})


async def test_minutes_outlive_a_restart(world):
    """Mutant: the minute is stored twice, or not begun anew."""
    for _ in range(13):
        await record(world.parts.journal, planned())
        await world.count()
    # A start loses what it counted since the last full minute.
    lost = int(world.at) % 60 // EVERY
    before = sum(point.accepted for point in world.history.points("1h"))

    world.begin()
    await world.history.load()

    assert before == 13
    assert sum(point.accepted for point in world.history.points("1h")) == 13 - lost
    assert sum(point.accepted for point in world.history.points("7d")) == 13 - lost


async def test_figures_of_eight_days_ago_are_removed(world):
    await world.count(60)
    await world.count(WEEK - 120)
    assert len(await world.parts.journal.ask(KeptFigures())) == 2

    await world.count(180)

    kept = await world.parts.journal.ask(KeptFigures())
    found = [msgspec.msgpack.decode(counted, type=Figures).at for counted in kept]
    assert found == [NOW + WEEK - 60, NOW + WEEK + 120]


async def test_clock_that_is_set_back_gives_no_negative_figures(world):
    await record(world.parts.journal, planned())
    await world.count()
    await world.count(-3600)
    await record(world.parts.journal, planned())
    await world.count()

    (point,) = world.history.points("1h")

    assert (point.at, point.seconds, point.accepted) == (NOW - 3580, 10, 1)


def test_sink_that_begins_anew_counts_from_zero():
    """A reload replaces a worker, and its counts begin at 0."""
    before = Figures(at=0, seconds=0, sinks={"log": SinkFigures(failed=7, lag=(0, 4))})
    after = Figures(at=10, seconds=0, sinks={"log": SinkFigures(failed=2, lag=(0, 1))})

    assert after.since(before).sinks["log"] == SinkFigures(failed=2, lag=(0, 1))


def test_ring_keeps_one_span():
    """Mutants: a point more; a point for the second after its end."""
    ring = Ring(60, 20)
    for at in range(10, 210, 10):
        ring.add(Figures(at=at, seconds=10, accepted=1))

    assert [(point.at, point.accepted) for point in ring.points()] == [
        (160, 2),
        (180, 2),
        (200, 2),
    ]
