"""A day of deliveries in virtual time: each wait has its documented length."""

import asyncio
import itertools
import random
import sqlite3

import pytest
from contracts.journal import NOW
from virtual import VirtualLoop
from worlds import VirtualWorld

from core.clock import WallClock
from core.delivery import State
from core.units import Duration, Rate
from journal.reads import EventById, JournalStats, SinkRecords
from server.runtime.clock_jumps import ClockJumps, watch_clock
from sinks.attempt import real_clock
from sinks.retry import Retry
from sinks.sink import Failed, PauseAfter, Receipt, Sink
from sinks.worker import Worker

MINUTE, HOUR = 60.0, 3600.0
DAY = 24 * HOUR
#: The waits of the contract, section 6.
SCHEDULE = (0, 1, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 10800, 28800, 86400)


class Day(VirtualWorld):
    def __init__(self, path, loop):
        super().__init__(path, loop, random.Random(7).random)  # the same day each time

    def worker(self, name, **options):
        return Worker(name, Sink(**options), self.journal, self.clock)


class Answers:
    """A destination with answers by time. It keeps the time and event id of each request."""

    def __init__(self, day, answer):
        self.day, self.answer = day, answer
        self.asked = []

    async def send(self, outgoing):
        at = self.day.loop.time()
        self.asked.append((at, outgoing.event_id))
        return self.answer(at)

    @property
    def times(self):
        return [at for at, _ in self.asked]


def fails(_at):
    raise Failed("refused")


def down_until(end, answer=fails):
    return lambda at: answer(at) if at < end else Receipt(status=200)


def run(story, folder, kind):
    loop = VirtualLoop()
    day = kind(folder / "smshook.db", loop)

    async def lived():
        await day.start()
        try:
            return await story(day)
        finally:
            await day.end()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(lived())


@pytest.fixture
def live(tmp_path):
    """Run a coroutine function in a day of its own: `live(story)`."""
    return lambda story: run(story, tmp_path, Day)


@pytest.fixture
def rare_steps(monkeypatch):
    """Let a worker look each half minute whether a probe is due: a day has 43,200 looks else."""
    monkeypatch.setattr("sinks.recovery.PROBE_EVERY", 30.0)


async def kept(day, event_id):
    [delivery] = (await day.journal.ask(EventById(event_id))).deliveries
    return delivery


def counted(delivery):
    """Return its attempts without probes."""
    return [attempt for attempt in delivery.attempts if not attempt.probes]


def gaps(attempts):
    """Return the seconds from each attempt to the next. Attempts take no time here."""
    return [b.at - a.at for a, b in itertools.pairwise(attempts)]


@pytest.mark.uncounted
@pytest.mark.usefixtures("rare_steps")
def test_probes_use_up_no_attempt_of_the_schedule(live):
    """Mutants: a probe counts; a wait is shorter than in the schedule; a due time is forgotten."""

    async def story(day):
        worker = day.worker("log")
        day.go(worker, Answers(day, fails))
        event_id = await day.accept(worker)
        await asyncio.sleep(sum(SCHEDULE) * 1.2 + 60)
        return await kept(day, event_id)

    delivery = live(story)

    assert (delivery.state, len(counted(delivery))) == (State.DEAD, 15)
    assert any(attempt.probes for attempt in delivery.attempts)
    for gap, wait in zip(gaps(counted(delivery)), SCHEDULE[1:], strict=True):
        assert wait <= gap <= wait * 1.2 + 0.1


def test_failed_deliveries_are_retried_apart(live):
    """Mutant: no jitter."""

    async def story(day):
        worker = day.worker("log", retry=Retry(schedule=(Duration(0), Duration(HOUR))))
        day.go(worker, Answers(day, fails))
        ids = [await day.accept(worker) for _ in range(100)]
        await asyncio.sleep(2 * HOUR)
        return [await kept(day, event_id) for event_id in ids]

    seconds = [gaps(counted(delivery))[0] for delivery in live(story)]

    assert min(seconds) >= HOUR
    assert max(seconds) <= HOUR * 1.2 + 0.1
    assert max(seconds) - min(seconds) > HOUR * 0.15
    assert len({round(wait) for wait in seconds}) > 80


def test_later_retry_after_beats_the_schedule(live):
    """Mutants: only the schedule counts; a probe before the time that the sink named."""

    def busy(_at):
        raise Failed("status", status=503, retry_after=10 * MINUTE)

    async def story(day):
        worker, there = day.worker("log"), Answers(day, down_until(5 * MINUTE, busy))
        day.go(worker, there)
        await day.accept(worker)
        await asyncio.sleep(HOUR)
        return there.times

    first, second = live(story)

    assert first < 1
    assert second - first == pytest.approx(10 * MINUTE, abs=0.1)


def test_429_holds_all_deliveries_of_its_sink(live):
    """Mutant: a 429 holds only its own delivery."""

    def too_many(_at):
        raise Failed("status", status=429, retry_after=30.0)

    async def story(day):
        worker = day.worker("log", concurrency=1)
        there = Answers(day, down_until(20, too_many))
        day.go(worker, there)
        ids = [await day.accept(worker) for _ in range(20)]
        await asyncio.sleep(10)
        ids.append(await day.accept(worker))
        await asyncio.sleep(10 * MINUTE)
        return there.asked, ids, (await day.journal.ask(JournalStats())).deliveries["delivered"]

    asked, ids, delivered = live(story)

    assert [at for at, _ in asked if at < 29] == [asked[0][0]]
    assert all(30 <= at < 32 for at, _ in asked[1:])
    assert {event_id for _, event_id in asked} == set(ids)
    assert (len(asked), delivered) == (22, 21)


def test_delivery_expires_while_its_sink_is_down(live):
    """Mutant: it expires at the next attempt, hours later."""

    async def story(day):
        worker = day.worker("log", expire_after=Duration(15 * MINUTE))
        day.go(worker, Answers(day, down_until(HOUR)))
        early = await day.accept(worker)
        await asyncio.sleep(15 * MINUTE - 1)
        before = (await kept(day, early)).state
        await asyncio.sleep(2)
        after = (await kept(day, early)).state
        await asyncio.sleep(HOUR)
        late = await day.accept(worker)
        await asyncio.sleep(1)
        return before, after, (await kept(day, late)).state

    assert live(story) == (State.PENDING, State.EXPIRED, State.DELIVERED)


@pytest.mark.usefixtures("rare_steps")
def test_failing_sink_is_paused_and_resumed_by_a_probe(live):
    """Mutants: a pause without end; a probe every 2 s; attempts continue beside the probes."""

    async def story(day):
        worker = day.worker("log", pause_after=PauseAfter(failing_for=Duration(HOUR)))
        there = Answers(day, down_until(5 * HOUR))
        day.go(worker, there)
        ids = [await day.accept(worker) for _ in range(5)]
        await asyncio.sleep(4.5 * HOUR)
        paused = (await day.journal.ask(SinkRecords()))["log"].paused, worker.paused
        ids.append(await day.accept(worker))
        probes = [at for at in there.times if 4 * HOUR <= at < 4.4 * HOUR]
        await asyncio.sleep(0.5 * HOUR + 2 * MINUTE)
        delivered = (await day.journal.ask(JournalStats())).deliveries["delivered"]
        return paused, probes, delivered, worker.paused, len(ids)

    paused, probes, delivered, still, owed = live(story)

    assert paused == ("failing", "failing")
    assert all(59 <= b - a <= 63 for a, b in itertools.pairwise(probes))
    assert (delivered, still) == (owed, None)


@pytest.mark.uncounted
@pytest.mark.usefixtures("rare_steps")
def test_sink_down_for_a_day_gets_everything(live):
    """It gets them at its rate. Mutants: one queue for all sinks; a backlog ignores the rate."""

    async def story(day):
        down, up = Answers(day, down_until(DAY)), Answers(day, lambda _at: Receipt(status=200))
        a = day.worker("a", rate=Rate(2, 1), retry=Retry(schedule=(Duration(0), *_HOURS)))
        b = day.worker("b")
        day.go(a, down)
        day.go(b, up)
        accepted = {}
        for _ in range(100):
            await day.accept(a)
            accepted[await day.accept(b)] = day.loop.time()
            await asyncio.sleep(DAY / 100)
        await asyncio.sleep(2 * HOUR)
        states = dict(_states(day.path))
        return down, up, accepted, states

    down, up, accepted, states = live(story)

    late = [at - accepted[event_id] for at, event_id in up.asked]
    assert states == {("a", "delivered"): 100, ("b", "delivered"): 100}
    assert (len(late), max(late) < 1) == (100, True)
    after = sorted(at for at in down.times if at >= DAY)
    # Two at once, then two a second: the twelfth comes five seconds after the first.
    assert len(after) > 66
    assert all(b - a >= 4.99 for a, b in zip(after, after[11:], strict=False))


_HOURS = tuple(Duration(wait) for wait in (MINUTE, HOUR, 3 * HOUR, 8 * HOUR, DAY, DAY))


def _states(path):
    with sqlite3.connect(path) as conn:
        rows = conn.execute("select sink, state, count(*) from deliveries group by 1, 2").fetchall()
    conn.close()
    return [((sink, state), count) for sink, state, count in rows]


# Clock jumps


class Jumping(Day):
    """A day in which the wall clock can jump. The workers are notified as in a service."""

    def __init__(self, path, loop):
        super().__init__(path, loop)
        self.ahead = 0.0
        self.wall = WallClock(wall=lambda: NOW + loop.time() + self.ahead, ticks=loop.time)
        self.clock = real_clock(lambda: 0.0, self.wall)

    def now(self):
        return self.wall.now()

    def watched(self, *workers):
        self.wall.listen(
            ClockJumps(self.journal, {worker.name: worker for worker in workers}).follow_clock
        )
        self.tasks.append(asyncio.create_task(watch_clock(self.wall)))


@pytest.fixture
def jumping(tmp_path):
    return lambda story: run(story, tmp_path, Jumping)


@pytest.mark.parametrize("by", [HOUR, -HOUR, 30 * DAY])
def test_clock_jump_does_not_move_a_retry(jumping, by):
    """Mutants: the retry is an hour late; or at once."""

    async def story(day):
        worker = day.worker("log", retry=Retry(schedule=(Duration(0), Duration(300))))
        there = Answers(day, down_until(200))
        day.go(worker, there)
        day.watched(worker)
        await day.accept(worker)
        await asyncio.sleep(100)
        day.ahead = by
        await asyncio.sleep(HOUR)
        return there.times

    times = jumping(story)

    assert times[-1] == pytest.approx(300, abs=1)
    assert [at for at in times if 65 < at < 299] == []


@pytest.mark.parametrize("by", [HOUR, -HOUR])
@pytest.mark.parametrize("back", [False, True])
def test_clock_jump_does_not_move_an_expiry(jumping, by, back):
    """Mutant: the clock jumps forward, and a delivery expires that could be delivered."""

    async def story(day):
        worker = day.worker("log", expire_after=Duration(15 * MINUTE))
        day.go(worker, Answers(day, fails))
        day.watched(worker)
        event_id = await day.accept(worker)
        await asyncio.sleep(10)
        day.ahead = by
        await asyncio.sleep(5 * MINUTE)
        day.ahead = 0.0 if back else by
        await asyncio.sleep(9.5 * MINUTE)
        before = (await kept(day, event_id)).state
        await asyncio.sleep(MINUTE)
        return before, (await kept(day, event_id)).state

    assert jumping(story) == (State.PENDING, State.EXPIRED)


def test_clock_jump_does_not_expire_a_queued_delivery(jumping):
    """It was taken before the jump and waits for a slot. Mutant: only rows are moved."""

    async def story(day):
        worker = day.worker("log", concurrency=1, expire_after=Duration(15 * MINUTE))
        hangs = Slow(day, 20)
        day.go(worker, hangs)
        day.watched(worker)
        ids = [await day.accept(worker) for _ in range(3)]
        await asyncio.sleep(5)
        day.ahead = HOUR
        await asyncio.sleep(5 * MINUTE)
        return [(await kept(day, event_id)).state for event_id in ids]

    assert jumping(story) == [State.DELIVERED] * 3


class Slow(Answers):
    def __init__(self, day, seconds):
        super().__init__(day, lambda _at: Receipt(status=200))
        self.seconds = seconds

    async def send(self, outgoing):
        await asyncio.sleep(self.seconds)
        return await super().send(outgoing)


@pytest.mark.parametrize(("by_date", "waits"), [(False, 600), (True, 600 - 120)])
def test_clock_jump_does_not_move_a_date_of_retry_after(jumping, by_date, waits):
    """Our clock was two minutes slow when the date was read. Mutant: the date moves, too."""

    def busy(_at):
        raise Failed("status", status=503, retry_after=600.0, by_date=by_date)

    async def story(day):
        worker, there = day.worker("log"), Answers(day, down_until(MINUTE, busy))
        day.go(worker, there)
        day.watched(worker)
        await day.accept(worker)
        await asyncio.sleep(30)
        day.ahead = 120.0
        await asyncio.sleep(HOUR)
        return there.times

    first, second = jumping(story)

    assert second - first == pytest.approx(waits, abs=1.5)
