import asyncio
import contextlib
import itertools
import sqlite3
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest
import structlog
from contracts.journal import NOW, stats
from worlds import SOON, Destination, Watched, World, is_idle, until

from core.clock import WallClock
from core.delivery import Attempt, State, Turn
from core.errors import Broken, Unavailable
from core.units import Duration, Rate
from journal.reads import JournalStats, SinkRecords
from journal.records import StoredDelivery
from journal.writes import (
    BringForward,
    Probe,
    Reorder,
    ReplayEvent,
    RetryDelivery,
    SetMoment,
    Settle,
    Take,
)
from sinks import feed, health, recovery
from sinks import worker as module
from sinks.attempt import Clock, real_clock
from sinks.pace import Pace
from sinks.retry import Retry
from sinks.sink import Failed, PauseAfter, Receipt, Refused, Sink
from sinks.worker import Worker


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Look at the clock often: a clock that is moved by hand wakes no task."""
    monkeypatch.setattr(feed, "LONGEST_SLEEP", 0.01)
    for part in (feed, module, recovery):
        monkeypatch.setattr(part, "PAUSE", 0.01)
    monkeypatch.setattr(recovery, "PROBE_EVERY", 3600.0)


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path / "smshook.db")
    await world.start()
    yield world
    await world.end()


# New deliveries


async def test_committed_event_is_sent_without_a_read(world):
    """Mutant: a worker that polls."""
    journal, destination = Watched(world.journal), Destination()
    worker = await world.run(destination, journal=journal)
    journal.asked.clear()

    event_id = await world.accept(worker)
    await world.until(delivered=1)

    assert destination.arrived == [event_id]
    assert destination.attempts == [1]
    assert set(journal.asked) == {Settle}
    assert (await world.delivery(event_id)) == StoredDelivery(
        id=1,
        event_id=event_id,
        sink="log",
        replay=False,
        accepted_at=NOW,
        state=State.DELIVERED,
        due_at=None,
        attempts=(Attempt(at=NOW, outcome="delivered", status=200, took_ms=1000.0),),
    )


async def test_delivery_without_room_is_read_later(world, monkeypatch):
    monkeypatch.setattr(module, "CAPACITY", 3)
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, concurrency=2)
    accepted = [await world.accept(worker) for _ in range(10)]
    await world.until(taken=10)
    await asyncio.sleep(0.05)
    queued = len(worker._lanes.fresh.queue)
    destination.open.set()
    await world.until(delivered=10)

    assert queued == 3
    assert Counter(destination.arrived) == dict.fromkeys(accepted, 1)
    assert destination.most_inside == 2


@pytest.mark.parametrize("count", [2_500, pytest.param(10_000, marks=pytest.mark.nightly)])
@pytest.mark.uncounted
async def test_thousands_of_events_arrive_once_each(world, count):
    destination = Destination()
    worker = await world.run(destination)

    accepted = await asyncio.gather(*(world.accept(worker) for _ in range(count)))
    await world.until(delivered=count)
    await until(lambda: not worker._feed._known)

    assert Counter(destination.arrived) == dict.fromkeys(accepted, 1)
    assert module.CAPACITY == 1000


async def test_new_delivery_waits_behind_unread_ones(world, monkeypatch):
    """Mutant: a new delivery is queued whenever there is room."""
    monkeypatch.setattr(module, "CAPACITY", 4)
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, concurrency=1)

    accepted = [await world.accept(worker) for _ in range(20)]
    destination.open.set()
    accepted += [await world.accept(worker) for _ in range(20)]
    await world.until(delivered=40)

    assert destination.arrived == accepted


async def test_new_event_does_not_wait_for_a_large_replay(world):
    """A replay fills neither memory nor all slots.

    Mutants: replays are queued as new deliveries; they take all slots; a commit hands them over.
    """
    destination = Destination()
    worker = await world.run(destination, concurrency=2)
    old = await world.accept(worker)
    await world.until(delivered=1)
    destination.open.clear()

    again = (worker.plan_delivery({}),)
    await asyncio.gather(*(world.journal.submit(ReplayEvent(old, again, NOW)) for _ in range(500)))
    await until(lambda: worker._lanes[Turn.REPLAYED].next_due is not None and worker.under_way)
    new = await world.accept(worker)
    await until(lambda: len(worker.under_way) == 2)
    held = len(worker._feed._known)
    destination.open.set()
    await world.until(delivered=502)

    assert held <= module.REPLAYED + 2
    assert Counter(destination.arrived) == {old: 501, new: 1}
    assert destination.arrived.index(new) <= 2


async def test_paused_sink_is_probed_by_a_replay(world, monkeypatch):
    """Mutant: only failed and new deliveries probe, so that nothing ever resumes the sink."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    destination = Destination()
    worker = await world.run(destination, pause_after=PauseAfter(failing_for=Duration(60)))
    old = await world.accept(worker)
    await world.until(delivered=1)
    await worker.pause(health.Pause.FAILING)

    await world.journal.submit(ReplayEvent(old, (worker.plan_delivery({}),), NOW))
    await world.until(delivered=2)
    await until(lambda: worker.paused is None)


async def test_unsettled_delivery_is_not_sent_again(world):
    """Its outcome is not written yet, so the journal still has it as due.

    Mutant: the journal is asked for it again and again until the outcome is written.
    """
    journal, destination = Watched(world.journal), Destination()
    worker = await world.run(destination, journal=journal)
    journal.failures = {Settle: [Unavailable("SQLITE_BUSY")]}

    event_id = await world.accept(worker)
    await until(lambda: journal.failures == {Settle: []})
    journal.asked.clear()
    worker.look_again()
    await world.until(delivered=1)
    await until(lambda: journal.asked.count(Take) >= len(Turn))

    assert destination.arrived == [event_id]
    assert journal.asked.count(Take) == len(Turn)


async def test_duplicate_is_not_handed_to_a_worker(world):
    """Mutant: each planned delivery is handed over, recorded or not."""
    destination = Destination()
    worker = await world.run(destination)

    for _ in range(10):
        await world.accept(worker, 1)
    await world.until(delivered=1)
    await until(lambda: is_idle(worker))

    assert not worker._feed._known
    assert len(destination.arrived) == 1


async def test_unrecorded_event_is_not_handed_to_a_worker(world):
    destination = Destination()
    worker = await world.run(destination)

    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as shell:
        shell.execute("begin immediate")
        with pytest.raises(Unavailable):
            await world.accept(worker)

    assert not worker._feed._known


async def test_event_of_a_cancelled_caller_is_sent(world):
    """Mutant: the delivery is handed over where the caller waits, not by the commit."""
    destination = Destination()
    worker = await world.run(destination)

    caller = asyncio.create_task(world.accept(worker))
    await asyncio.sleep(0)
    caller.cancel()
    await world.until(delivered=1)
    await until(lambda: not worker._feed._known)

    assert len(destination.arrived) == 1


async def test_hanging_sink_delays_no_other(world):
    """Mutant: one queue for all sinks."""
    stuck, works = Destination(), Destination()
    stuck.open.clear()
    slow = await world.run(stuck, name="slow")
    quick = await world.run(works, name="quick")

    for _ in range(20):
        await world.accept(slow)
        await world.accept(quick)
    await world.until(taken=20, delivered=20)

    assert len(works.arrived) == 20


async def test_redacted_fields_do_not_reach_the_sink(world):
    destination = Destination()
    worker = await world.run(destination, redact="codes")

    await world.accept(worker, code="123456", to="+18503814729")
    await world.until(delivered=1)

    data = destination.bodies[0]["data"]
    assert (data["code"], data["to"]) == ("***", "+18503814729")


# Retries


async def test_failed_delivery_is_retried_when_due(world):
    destination = Destination(Failed("refused"), Failed("http", status=503, retry_after=90.0))
    worker = await world.run(destination)

    event_id = await world.accept(worker)
    await world.until(pending=1)
    waiting = [(await world.delivery(event_id)).due_at]
    await asyncio.sleep(0.03)
    before_due = len(destination.arrived)
    world.hands.at += 1
    await until(lambda: len(destination.arrived) == 2)
    await world.until(pending=1)
    waiting.append((await world.delivery(event_id)).due_at)
    world.hands.at += 90
    await world.until(delivered=1)

    kept = await world.delivery(event_id)
    assert (waiting, before_due) == ([NOW + 1, NOW + 91], 1)
    assert destination.attempts == [1, 2, 3]
    assert [(one.at, one.outcome, one.status, one.error) for one in kept.attempts] == [
        (NOW, "failed", None, "refused"),
        (NOW + 1, "failed", 503, "http"),
        (NOW + 91, "delivered", 200, None),
    ]


async def test_success_brings_failed_deliveries_forward(world):
    """Mutant: each waits for its schedule: another hour after an hour's outage."""
    down = [Failed("refused")] * 3
    destination = Destination(*down)
    worker = await world.run(destination, concurrency=1, retry=Retry(first_wait=Duration(3600)))
    waiting = [await world.accept(worker) for _ in range(3)]
    await world.until(pending=3)

    last = await world.accept(worker)
    await world.until(delivered=4)

    assert destination.arrived == [*waiting, last, *waiting]
    assert world.hands.at == NOW


async def test_timeout_after_recovery_is_retried_at_once(world):
    """Mutant: only a success brings forward. A delivery that fails after the last one waits."""
    fails, delivered = asyncio.Event(), []
    events = []

    async def send(outgoing):
        events.append(outgoing.event_id)
        if len(events) == 1:
            raise Failed("refused")
        if len(events) == 2:
            await fails.wait()
            raise Failed("timeout")
        delivered.append(outgoing.event_id)
        return Receipt()

    worker = await world.run(SimpleNamespace(send=send), retry=Retry(first_wait=Duration(3600)))
    first = await world.accept(worker)
    await world.until(pending=1)
    hung = await world.accept(worker)
    await until(lambda: len(events) == 2)
    last = await world.accept(worker)
    await until(lambda: delivered == [last, first])
    await world.until(delivered=2, taken=1)
    fails.set()
    await world.until(delivered=3)

    assert delivered == [last, first, hung]
    assert world.hands.at == NOW


async def test_sink_that_is_down_is_probed_with_its_oldest_delivery(world, monkeypatch):
    """A failed probe is no attempt. Mutant: probes count, and it is dead in half a minute."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    monkeypatch.setattr(health, "PROBE_FOR", 3600.0)
    destination = Destination(*[Failed("refused")] * 25)
    worker = await world.run(destination, concurrency=1, retry=Retry(first_wait=Duration(3600)))

    first, second = await world.accept(worker), await world.accept(worker)
    await world.until(delivered=2)

    assert destination.arrived == [first, second, *[first] * 24, second]
    kept = await world.delivery(first)
    assert [(one.outcome, one.probes) for one in kept.attempts] == [
        ("failed", 0),
        ("failed", 23),
        ("delivered", 0),
    ]


async def test_first_probe_comes_at_a_moment_of_chance(world, monkeypatch):
    """Sinks that fail together are probed apart. Mutant: all wait for the whole time."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 1000.0)
    monkeypatch.setattr(health, "PROBE_FOR", 3600.0)
    world.clock = msgspec.structs.replace(world.clock, chance=lambda: 0.9995)
    destination = Destination(Failed("refused"))
    worker = await world.run(destination, retry=Retry(first_wait=Duration(3600)))

    await world.accept(worker)
    await world.until(delivered=1)


@pytest.mark.parametrize(
    ("failure", "lasts"), [(Failed("refused"), 0), (Failed("http", status=503, retry_after=60), 60)]
)
async def test_probes_end_after_a_minute_and_obey_retry_after(world, monkeypatch, failure, lasts):
    """Mutants: probes without end; probes of a sink that sent Retry-After."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    monkeypatch.setattr(health, "PROBE_FOR", lasts)
    destination = Destination(failure, Receipt())
    worker = await world.run(destination, retry=Retry(first_wait=Duration(3600)))

    await world.accept(worker)
    await world.until(pending=1)
    await asyncio.sleep(0.1)

    assert destination.attempts == [1]


async def test_probing_survives_an_unavailable_journal(world, monkeypatch):
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    journal = Watched(world.journal)
    journal.failures = {Probe: [Unavailable("busy"), Broken("io")]}
    destination = Destination(*[Failed("refused")] * 9)
    worker = await world.run(destination, journal=journal, retry=Retry(first_wait=Duration(3600)))

    await world.accept(worker)
    await until(lambda: journal.asked.count(Probe) == 2)
    await asyncio.sleep(0.1)

    assert (journal.asked.count(Probe), worker._feed._known) == (2, set())


async def test_recovery_survives_an_unavailable_journal(world):
    """Mutant: deliveries that the journal could not bring forward wait for their schedule."""
    journal = Watched(world.journal)
    journal.failures = {BringForward: [Unavailable("busy")]}
    destination = Destination(Failed("refused"))
    worker = await world.run(
        destination, journal=journal, concurrency=1, retry=Retry(first_wait=Duration(3600))
    )
    await world.accept(worker)
    await world.until(pending=1)

    await world.accept(worker)
    await world.until(delivered=2)

    assert journal.asked.count(BringForward) >= 2


async def test_given_up_delivery_and_last_failure_are_known(world):
    """Mutant: a delivery that is tried again counts as given up."""
    destination = Destination(Failed("status", status=503), Refused("gone", status=410))
    worker, given_up = await world.run(destination, retry=Retry(schedule=(Duration(0),) * 2)), []
    worker.gave_up = lambda *what: given_up.append(what)
    event_id = await world.accept(worker)
    await world.until(dead=1)
    await until(lambda: given_up)

    assert given_up == [(event_id, State.DEAD)]
    assert (worker.last_failure.error, worker.last_failure.status) == ("gone", 410)


@pytest.mark.parametrize(
    ("said", "offset"),
    [("Mon, 21 Sep 2026 14:13:20 GMT", 0.0), ("Mon, 21 Sep 2026 14:13:08 GMT", 12.0), ("x", None)],
)
async def test_clock_is_compared_with_the_date_of_the_sink(world, said, offset):
    """The attempt takes a second. Mutants: its begin counts; the next attempt is measured, too."""
    other = "Mon, 21 Sep 2020 14:13:20 GMT"
    destination = Destination(Receipt(status=200, date=said), Receipt(status=200, date=other))
    world.hands.at = 1_790_000_000.0
    worker = await world.run(destination)
    await world.accept(worker)
    await world.until(delivered=1)
    assert worker.clock_offset == offset
    await world.accept(worker)
    await world.until(delivered=2)

    assert offset is None or worker.clock_offset == offset


async def test_refused_delivery_is_dead_at_once(world):
    destination = Destination(Refused("gone", status=410))
    worker = await world.run(destination)

    with structlog.testing.capture_logs() as logs:
        event_id = await world.accept(worker)
        await world.until(dead=1)
        await until(lambda: not worker._feed._known)

    kept = await world.delivery(event_id)
    assert [(one.outcome, one.status, one.error) for one in kept.attempts] == [
        ("refused", 410, "gone")
    ]
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("delivery.attempted", "info"),
        ("delivery.dead", "warning"),
    ]
    assert (logs[0]["attempt"], logs[0]["state"], logs[0]["delivery_id"]) == (1, "dead", "1")
    # Mutant: `describe` left out, and after a restart the log for people shows an id alone.
    assert [(line["type"], line["source"]) for line in logs] == [("sms.received", "tellabot")] * 2


async def test_fifteenth_failure_is_the_last(world):
    destination = Destination(*[Failed("refused") for _ in range(15)])
    worker = await world.run(destination)

    event_id = await world.accept(worker)
    for attempts in range(1, 15):
        await until(lambda attempts=attempts: len(destination.attempts) == attempts)
        await world.until(pending=1)
        world.hands.at = (await world.delivery(event_id)).due_at
    await world.until(dead=1)

    kept = await world.delivery(event_id)
    waits = [later.at - one.at for one, later in itertools.pairwise(kept.attempts)]
    assert waits == [1, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 10800, 28800, 86400]
    assert destination.attempts == list(range(1, 16))


async def test_attempt_beyond_its_timeout_fails(world):
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, timeout=Duration(0.05), retry=Retry(attempts=1))

    event_id = await world.accept(worker)
    await world.until(dead=1)

    kept = await world.delivery(event_id)
    assert [(one.outcome, one.error) for one in kept.attempts] == [("failed", "timeout")]
    assert destination.inside == 0


async def test_timeout_ends_with_its_attempt(world):
    """Mutant: the timer goes on, and ends the sender while it waits for the next delivery."""
    worker = await world.run(Destination(), concurrency=1, timeout=Duration(0.05))

    await world.accept(worker)
    await world.until(delivered=1)
    await asyncio.sleep(0.1)
    await world.accept(worker)

    await world.until(delivered=2)


class _Stubborn(Destination):
    """It takes the first event although its time is up."""

    async def send(self, outgoing):
        if not self.arrived:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        return await super().send(outgoing)


async def test_sink_that_ignores_its_timeout_costs_no_sender(world):
    """Mutant: the task stays cancelled. A CancelledError that the sink raises later ends it."""
    destination = _Stubborn(Receipt(status=200), asyncio.CancelledError())
    worker = await world.run(destination, concurrency=1, timeout=Duration(0.05))

    late, faulty = await world.accept(worker), await world.accept(worker)
    await until(lambda: destination.arrived[:2] == [late, faulty] and not worker._feed._known)
    sound = await world.accept(worker)
    await until(lambda: sound in destination.arrived and not worker._feed._known)

    assert (await world.delivery(late)).attempts[0].outcome == "delivered"
    assert (await world.delivery(faulty)).attempts[0].error == "fault"
    assert (await world.delivery(sound)).state is State.DELIVERED


@pytest.mark.parametrize(
    ("nonsense", "recorded"),
    [
        (ValueError("+18503814729"), ("failed", None, "fault")),
        (ExceptionGroup("several", [ValueError("+18503814729")]), ("failed", None, "fault")),
        (asyncio.CancelledError(), ("failed", None, "fault")),
        (TimeoutError(), ("failed", None, "fault")),
        (None, ("failed", None, "fault")),
        ("202 Accepted", ("failed", None, "fault")),
        (SimpleNamespace(status=500), ("failed", None, "fault")),
        (Failed("\ud800"), ("failed", None, "fault")),
        (Failed("http", status=2**70), ("failed", None, "fault")),
        (Refused("http", status="410 Gone"), ("refused", None, "fault")),
        (Receipt(status=2**70), ("delivered", None, "fault")),
        (Failed("http", status=503, retry_after="soon"), ("failed", 503, "http")),
        (Failed("http", status=503, retry_after=float("nan")), ("failed", 503, "http")),
    ],
    ids=lambda one: ascii(one)[:40] if not isinstance(one, tuple) else "",
)
async def test_nonsense_of_a_sink_costs_one_attempt(world, nonsense, recorded):
    """Mutants: a CancelledError that the sink raises ends one of its eight senders for good; a
    library's response is taken for a receipt; a word that cannot be stored leaves its delivery
    `sending` and its slot taken."""
    destination = Destination(nonsense)
    worker = await world.run(destination, concurrency=1)

    with structlog.testing.capture_logs() as logs:
        event_id = await world.accept(worker)
        sound = await world.accept(worker)
        # If the first delivery failed, the success of the second makes it due again.
        await until(
            lambda: destination.arrived[:2] == [event_id, sound] and not worker._feed._known
        )

    attempt = (await world.delivery(event_id)).attempts[0]
    assert (attempt.outcome, attempt.status, attempt.error) == recorded
    assert (await world.delivery(sound)).state is State.DELIVERED
    assert "8503814729" not in str(logs)


async def test_undelivered_event_expires_on_time(world):
    destination = Destination(Failed("refused"))
    worker = await world.run(
        destination, expire_after=Duration(60), retry=Retry(first_wait=Duration(3600))
    )

    with structlog.testing.capture_logs() as logs:
        event_id = await world.accept(worker)
        await world.until(pending=1)
        due_at = (await world.delivery(event_id)).due_at
        world.hands.at += 60
        await world.until(expired=1)
        await until(lambda: not worker._feed._known)

    # Mutant: it expires at its next attempt, an hour later.
    assert due_at == NOW + 60
    assert destination.attempts == [1]
    assert len((await world.delivery(event_id)).attempts) == 1
    assert [line["event"] for line in logs] == ["delivery.attempted", "delivery.expired"]


@pytest.mark.parametrize(
    ("held_by", "left"),
    [
        ("pause", {"expired": 4, "pending": 1}),
        ("retry-after", {"expired": 5, "pending": 1}),
        ("rate", {"expired": 4, "delivered": 1, "taken": 1}),
    ],
)
async def test_delivery_expires_on_time_while_nothing_is_sent(world, monkeypatch, held_by, left):
    """Mutants: it expires when the pause, the Retry-After or the rate lets it go, days later."""
    monkeypatch.setattr(module, "EXPIRE_EVERY", 0.01)
    answers = [Failed("status", status=429, retry_after=86400)] if held_by == "retry-after" else []
    options = {"rate": Rate(1, 86400)} if held_by == "rate" else {}
    worker = await world.run(
        Destination(*answers), expire_after=Duration(60), ordered_by="data.to", **options
    )
    if held_by == "pause":
        await worker.pause(health.Pause.OPERATOR)
    else:
        await world.accept(worker)
        await until(lambda: not worker._feed._known)

    for to in ("+18503814729", "+18503814729", "+18503814730", "+18503814730"):
        await world.accept(worker, to=to)
    world.hands.at += 59
    young = await world.accept(worker, to="+18503814729")
    await asyncio.sleep(0.05)
    early = await world.journal.ask(JournalStats())
    world.hands.at += 1
    await world.until(**left)
    await asyncio.sleep(0.05)

    assert early.deliveries["expired"] == 0
    assert (await world.delivery(young)).state is State.PENDING


@pytest.mark.parametrize(("status", "is_held"), [(429, True), (503, False)])
async def test_retry_after_of_a_429_holds_the_sink_over_a_restart(world, status, is_held):
    """Mutants: it is forgotten with the process; or that of a 503 holds the others, too."""
    answer = Failed("status", status=status, retry_after=3600)
    worker = await world.run(Destination(answer))
    await world.accept(worker)
    await world.until(pending=1)
    await world.end()
    await world.start()
    record = (await world.journal.ask(SinkRecords()))["log"]
    again, destination = Worker("log", Sink(), world.journal, world.clock, record), Destination()
    world.go(again, destination)

    fresh = await world.accept(again)
    await asyncio.sleep(0.05)
    early = list(destination.arrived)
    world.hands.at += 3600
    again._health.forget_retry_after()  # the ticks of this world are not its clock
    again.look_again()
    await world.until(delivered=2)

    assert early == ([] if is_held else [fresh])


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({"retry": Retry(schedule=(Duration(0),))}, {"dead": 1}),
        ({"expire_after": Duration(60)}, {"pending": 1}),
        ({"retry": Retry(first_wait=Duration(7200))}, {"pending": 1}),
    ],
    ids=["the last attempt", "expires before", "a longer schedule"],
)
async def test_sink_is_held_over_a_restart_as_long_as_it_asked_for(world, options, state):
    """No delivery waits until that time. Mutant: the hold is that of a pending delivery.

    Mutants: the times of the journal are not those of a clock that jumped; a resume leaves it.
    """
    worker = await world.run(Destination(Failed("status", status=429, retry_after=3600)), **options)
    await world.accept(worker)
    await world.until(**state)

    async def kept():
        await world.journal.submit(SetMoment("now", 0.0))  # all earlier writes are stored
        return (await world.journal.ask(SinkRecords()))["log"].throttled_until

    held = await kept()
    world.hands.at += 60  # the wall clock jumps; the hold does not
    worker.look_again()
    moved = await kept()
    await worker.resume()

    assert (held, moved) == (pytest.approx(NOW + 3600, abs=20), pytest.approx(NOW + 3660, abs=20))
    assert await kept() is None


async def test_expired_delivery_is_not_sent(world):
    await world.accept(Worker("log", Sink(), world.journal, world.clock))
    await world.end()
    world.hands.at += 61
    await world.start()

    destination = Destination()
    world.begin(destination, expire_after=Duration(60))
    await world.until(expired=1)

    assert destination.arrived == []


async def test_first_attempt_waits_for_its_schedule(world):
    destination = Destination()
    worker = await world.run(destination, retry=Retry(schedule=(Duration(5), Duration(5))))

    event_id = await world.accept(worker)
    await asyncio.sleep(0.03)
    early = (len(destination.arrived), (await world.delivery(event_id)).due_at)
    world.hands.at += 5
    await world.until(delivered=1)

    assert early == (0, NOW + 5)
    assert (destination.arrived, destination.attempts) == ([event_id], [1])


# A journal that is unavailable


async def test_outcome_is_written_when_the_journal_is_back(world):
    """Mutant: the outcome is submitted once, and the event is sent again at the next start."""
    destination = Destination()
    worker = await world.run(destination)
    destination.open.clear()
    event_id = await world.accept(worker)
    await until(lambda: destination.arrived == [event_id])

    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as shell:
        shell.execute("begin immediate")
        destination.open.set()
        await asyncio.sleep(1.2)
        assert (await world.delivery(event_id)).owner is not None
    await world.until(delivered=1)

    assert destination.arrived == [event_id]
    assert len((await world.delivery(event_id)).attempts) == 1


async def test_delivery_is_found_after_an_unavailable_journal(world):
    """Mutants: the due time is forgotten before the journal answers; the error ends the feed."""
    await world.accept(Worker("log", Sink(), world.journal, world.clock))
    await world.end()
    journal, destination = Watched(await world.start()), Destination()
    world.hands.at -= 1  # not due yet: asking is the only way to know of it
    journal.failures[Take] = [Unavailable("SQLITE_IOERR_READ")]

    worker = world.begin(destination, journal=journal)
    await until(lambda: journal.failures == {Take: []})
    world.hands.at += 1
    await world.until(delivered=1)
    await until(lambda: not worker._feed._known)

    assert len(destination.arrived) == 1


async def test_broken_journal_ends_settling(world):
    destination = Destination()
    journal = Watched(world.journal)
    journal.failures = {Settle: [Broken("SQLITE_IOERR_FSYNC")]}
    worker = await world.run(destination, journal=journal)

    await world.accept(worker)
    await until(lambda: destination.arrived)
    async with asyncio.timeout(SOON):
        await worker.close()

    await world.until(taken=1)
    assert journal.asked.count(Settle) == 1


async def test_feed_of_a_broken_journal_ends(world):
    journal = Watched(world.journal)
    journal.failures = {Take: [Broken("SQLITE_CORRUPT")]}

    world.begin(Destination(), journal=journal)
    await asyncio.sleep(0.05)

    assert journal.asked == [Take]


# The end, and the next start


async def test_close_settles_attempts_and_keeps_the_queue(world):
    """Mutants: close waits for the whole queue; queued deliveries are sent after it."""
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, concurrency=2)
    accepted = [await world.accept(worker) for _ in range(5)]
    await until(lambda: len(destination.arrived) == 2)

    closing = asyncio.create_task(worker.close())
    await asyncio.sleep(0.02)
    ended_early = closing.done()
    late = await world.accept(worker)
    destination.open.set()
    async with asyncio.timeout(SOON):
        await closing
    await world.until(delivered=2, taken=4)

    assert not ended_early
    assert destination.arrived == accepted[:2]
    await world.end()
    await world.start()
    rest = Destination()
    world.begin(rest)
    await world.until(delivered=6)
    assert sorted(rest.arrived) == [*accepted[2:], late]
    assert rest.attempts == [1, 1, 1, 1]


async def test_close_of_an_idle_worker_takes_no_time(world):
    worker = await world.run(Destination())

    async with asyncio.timeout(1):
        await worker.close()


async def test_late_outcome_of_an_earlier_start_is_ignored(world):
    """It was sent twice (at least once), and the outcome of its owner is kept."""
    late, ours = Destination(Failed("refused")), Destination()
    late.open.clear()
    worker = await world.run(late, name="log")
    event_id = await world.accept(worker)
    await until(lambda: late.arrived)

    await world.start()
    world.begin(ours, name="log")
    await world.until(delivered=1)
    late.open.set()
    await until(lambda: worker._busy == 0)

    assert ours.arrived == late.arrived == [event_id]
    assert [one.outcome for one in (await world.delivery(event_id)).attempts] == ["delivered"]
    assert await world.journal.ask(JournalStats()) == stats(events=1, delivered=1)


async def test_reopened_sink_gets_interrupted_deliveries_again(world):
    """Mutant: a delivery whose sender is cancelled has no owner until a restart."""
    destination = Destination()
    destination.open.clear()
    worker = Worker("log", Sink(concurrency=2), world.journal, world.clock)
    running = world.go(worker, destination)
    accepted = [await world.accept(worker) for _ in range(3)]
    await until(lambda: len(destination.arrived) == 2)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    destination.open.set()
    world.go(worker, destination)
    await world.until(delivered=3)
    await until(lambda: not worker._feed._known)

    assert Counter(destination.arrived) == Counter(accepted + accepted[:2])
    assert set(destination.attempts) == {1}


def test_real_clock_sees_jumps():
    wall = WallClock()

    clock = real_clock(lambda: 0.5, wall)

    assert (clock.now, clock.ticks, clock.jumped) == (wall.now, wall.ticks, wall.jumped)
    assert clock.chance() == 0.5


# Order, pace, pauses


async def test_failure_holds_later_deliveries_of_its_value(world):
    """Mutants: the next one is not looked for; another with the same value overtakes."""
    destination = Destination(Failed("refused"))
    worker = await world.run(
        destination, ordered_by="data.to", retry=Retry(schedule=(Duration(0), Duration(60)))
    )

    alike = [await world.accept(worker, to="+11") for _ in range(3)]
    await world.until(pending=3)
    before = list(destination.arrived)
    world.hands.at += 60
    await world.until(delivered=3)

    assert before == alike[:1]
    assert destination.arrived[1:] == alike
    await until(lambda: not worker._feed._known)


class AskedPace(Pace):
    asked = 0

    def is_free(self):
        self.asked += 1
        return super().is_free()


async def test_working_sink_waits_for_no_pace(world):
    """Mutants: each attempt asks the pace; none asks; only a new worker asks."""
    destination = Destination(Failed("refused"), Failed("refused"))
    worker = await world.run(destination, retry=Retry(schedule=(Duration(0),) * 3))
    worker._pace = pace = AskedPace()

    await world.accept(worker)
    await world.until(delivered=1)
    asked = pace.asked
    for _ in range(5):
        await world.accept(worker)
    await world.until(delivered=6)

    assert asked >= 3
    assert pace.asked == asked


async def test_ordered_deliveries_arrive_in_order(world):
    destination = Destination(*([Failed("refused")] * 5))
    worker = await world.run(
        destination,
        ordered_by="data.to",
        retry=Retry(schedule=(Duration(0), Duration(0), Duration(0), Duration(0))),
    )

    accepted = {f"+1{n}": [] for n in range(5)}
    for _ in range(40):
        for to, ids in accepted.items():
            ids.append(await world.accept(worker, to=to))
    await world.until(delivered=200)

    arrived = {to: [] for to in accepted}
    for body in destination.bodies:
        arrived[body["data"]["to"]].append(body["id"])
    assert {to: list(dict.fromkeys(ids)) for to, ids in arrived.items()} == accepted
    assert sum(map(len, arrived.values())) == 205


async def test_order_survives_a_restart(world):
    """The order is in the journal, not in the queue."""
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, ordered_by="data.to")
    await world.journal.submit(Reorder("log", ordered_by="data.to"))
    accepted = [await world.accept(worker, to="+11") for _ in range(5)]
    await until(lambda: destination.arrived)

    await world.end()
    await world.start()
    rest = Destination()
    world.begin(rest, ordered_by="data.to")
    await world.until(delivered=5)

    assert rest.arrived == accepted
    assert rest.most_inside == 1


async def test_paused_sink_keeps_its_deliveries_pending(world):
    """Mutants: queued deliveries are sent all the same; new ones are queued all the same."""
    destination = Destination()
    destination.open.clear()
    worker = await world.run(destination, concurrency=1)
    accepted = [await world.accept(worker) for _ in range(3)]
    await until(lambda: destination.arrived)

    with structlog.testing.capture_logs() as logs:
        await worker.pause(health.Pause.OPERATOR)
        accepted.append(await world.accept(worker))
        destination.open.set()
        await world.until(taken=3, delivered=1)
        await asyncio.sleep(0.05)
        arrived = list(destination.arrived)
        await worker.resume()
        await world.until(delivered=4)

    assert arrived == accepted[:1]
    assert destination.arrived == accepted
    assert destination.attempts == [1] * 4
    steered = [line for line in logs if line["event"].startswith("sink.")]
    assert [(line["event"], line["sink"], line.get("reason")) for line in steered] == [
        ("sink.paused", "log", "operator"),
        ("sink.resumed", "log", None),
    ]
    await until(lambda: not worker._feed._known)


async def test_pause_survives_a_restart(world):
    destination = Destination()
    worker = await world.run(destination)
    await worker.pause(health.Pause.OPERATOR)
    await world.accept(worker)
    await world.end()

    await world.start()
    record = (await world.journal.ask(SinkRecords()))["log"]
    again = Worker("log", Sink(), world.journal, world.clock, record)
    world.go(again, destination)
    await asyncio.sleep(0.05)
    held = list(destination.arrived)
    await again.resume()
    await world.until(delivered=1)

    assert (held, again.paused) == ([], None)


async def test_retry_restarts_the_schedule_but_not_the_count(world):
    """Mutant: the schedule continues, and the first failure is the last."""
    destination = Destination(*[Failed("refused")] * 3)
    worker = await world.run(destination, retry=Retry(schedule=(Duration(0), Duration(5))))
    event_id = await world.accept(worker)
    await world.until(pending=1)
    world.hands.at += 5
    await world.until(dead=1)

    await world.journal.submit(RetryDelivery(1, now=world.hands.at))
    await until(lambda: len(destination.attempts) == 3)
    await world.until(pending=1)
    world.hands.at += 5
    await world.until(delivered=1)

    assert destination.attempts == [1, 2, 3, 4]
    assert len((await world.delivery(event_id)).attempts) == 4


async def test_hanging_slot_does_not_stop_a_probe(world, monkeypatch):
    """Mutant: no probe during an attempt. The recovery is noticed one timeout later."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    monkeypatch.setattr(health, "PROBE_FOR", 1e9)
    arrived, up = [], asyncio.Event()

    async def send(outgoing):
        arrived.append(outgoing.event_id)
        if len(arrived) == 1:
            raise Failed("refused")
        await up.wait()
        return Receipt()

    worker = await world.run(
        SimpleNamespace(send=send), concurrency=2, retry=Retry(first_wait=Duration(3600))
    )
    accepted = await asyncio.gather(world.accept(worker), world.accept(worker))
    await until(lambda: len(arrived) == 3)
    up.set()
    await world.until(delivered=2)

    await until(lambda: not worker.is_failing)
    assert arrived == [*accepted, accepted[0]]


async def test_test_send_is_stored_nowhere(world):
    destination = Destination(Receipt(status=200, answer=b"thanks"), Failed("tls", status=None))
    worker = Worker("log", Sink(redact="codes"), world.journal, world.clock)

    closed = await worker.test("an-id", b'{"id":"an-id","data":{"code":"4711"}}')
    world.go(worker, destination)
    await until(lambda: is_idle(worker))
    await worker.pause(health.Pause.OPERATOR)
    tested = [
        await worker.test("an-id", b'{"id":"an-id","data":{"code":"4711"}}') for _ in range(2)
    ]

    assert (closed.attempt.outcome, closed.attempt.error) == ("failed", "closed")
    assert [(one.attempt.outcome, one.attempt.error) for one in tested] == [
        ("delivered", None),
        ("failed", "tls"),
    ]
    assert tested[0].attempt.answer == b"thanks"
    assert "4711" not in tested[0].request
    assert await world.journal.ask(JournalStats()) == stats()


async def test_first_kibibyte_of_an_answer_is_kept(world):
    destination = Destination(Failed("status", status=500, answer=b"x" * 9999))
    worker = await world.run(destination, retry=Retry(schedule=(Duration(0),)))

    event_id = await world.accept(worker)
    await world.until(dead=1)

    assert (await world.delivery(event_id)).attempts[0].answer == b"x" * 1024


async def test_refused_event_of_a_working_sink_keeps_its_schedule(world):
    """Mutants: each success makes it due; each attempt after a success counts."""
    ticks = SimpleNamespace(at=0.0)
    world.clock = Clock(now=world.hands.now, ticks=lambda: ticks.at, chance=lambda: 0.0)
    arrived = []

    async def send(outgoing):
        arrived.append(outgoing.event_id)
        if outgoing.event_id == arrived[0]:
            raise Failed("status", status=404)
        return Receipt()

    worker = await world.run(SimpleNamespace(send=send))
    bad = await world.accept(worker)
    await world.until(pending=1)
    for number in range(20):
        await world.accept(worker)
        await world.until(pending=1, delivered=number + 1)

    assert arrived.count(bad) == 2  # only the first success made it due
    assert [one.probes for one in (await world.delivery(bad)).attempts] == [0, 1]


async def test_failed_probe_keeps_its_due_time(world):
    """Mutant: the probe counts, and a bad event is dead after fifteen successes of others."""
    bad = []

    async def send(outgoing):
        bad.append(outgoing.event_id)
        if outgoing.event_id == bad[0]:
            raise Failed("status", status=400)
        return Receipt()

    worker = await world.run(SimpleNamespace(send=send), retry=Retry(first_wait=Duration(3600)))
    event_id = await world.accept(worker)  # each look at this clock is a second later
    await world.until(pending=1)
    due_at = (await world.delivery(event_id)).due_at
    await world.accept(worker)
    await until(lambda: bad.count(event_id) == 2)
    await world.until(pending=1, delivered=1)

    kept = await world.delivery(event_id)
    assert [one.probes for one in kept.attempts] == [0, 1]
    assert kept.due_at == due_at


async def test_retry_after_is_not_brought_forward(world):
    """Mutant: Retry-After counts only until the next success."""
    destination = Destination(Failed("status", status=503, retry_after=60.0))
    worker = await world.run(destination)

    await world.accept(worker)
    await world.until(pending=1)
    for _ in range(3):
        await world.accept(worker)
    await world.until(pending=1, delivered=3)
    await asyncio.sleep(0.05)

    assert len(destination.arrived) == 4


async def test_one_bad_event_does_not_keep_a_sink_paused(world, monkeypatch):
    """Mutant: the probe is always the oldest delivery."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    arrived, up = [], asyncio.Event()

    async def send(outgoing):
        arrived.append(outgoing.event_id)
        if outgoing.event_id == arrived[0] or not up.is_set():
            raise Failed("status", status=400)
        return Receipt()

    pause = PauseAfter(failing_for=Duration(1), probe_every=Duration(0.01))
    worker = await world.run(
        SimpleNamespace(send=send), pause_after=pause, retry=Retry(first_wait=Duration(3600))
    )
    await world.accept(worker)
    await until(lambda: worker.paused)
    for _ in range(3):
        await world.accept(worker)
    up.set()
    await world.until(pending=1, delivered=3)

    assert set(arrived[-3:]) != {arrived[0]}


async def test_only_the_operator_resumes_an_operators_pause(world):
    """Mutants: a success or a failure after it turns it into a pause by `pause_after`."""
    worker = await world.run(Destination())
    await worker.pause(health.Pause.OPERATOR)

    await worker.pause(health.Pause.FAILING)
    await worker.resume(by=health.Pause.FAILING)

    assert worker.paused is health.Pause.OPERATOR
    assert (await world.journal.ask(SinkRecords()))["log"].paused == "operator"


async def test_expired_delivery_uses_no_rate_token(world):
    """Mutant: the delivery waits for the rate, and then it has expired."""
    slow = Rate(1, 3600)
    destination = Destination()
    worker = await world.run(destination, rate=slow, expire_after=Duration(60))
    await worker.pause(health.Pause.OPERATOR)
    for _ in range(3):
        await world.accept(worker)
    await world.until(taken=3)
    world.hands.at += 61
    fresh = await world.accept(worker)
    await worker.resume()

    await world.until(expired=3, delivered=1)
    assert destination.arrived == [fresh]


async def test_failed_probe_is_logged_as_a_probe(world, monkeypatch):
    """Mutants: the log shows it as an attempt of the schedule; or not at all."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.01)
    monkeypatch.setattr(health, "PROBE_FOR", 3600.0)
    destination = Destination(*[Failed("refused")] * 3)
    worker = await world.run(destination, retry=Retry(first_wait=Duration(3600)))

    with structlog.testing.capture_logs() as logs:
        await world.accept(worker)
        await world.until(delivered=1)
        await until(lambda: not worker._feed._known)

    said = [(one["attempt"], one.get("probe"), one["outcome"]) for one in logs]
    assert said == [
        (1, None, "failed"),
        (2, True, "failed"),
        (2, True, "failed"),
        (2, None, "delivered"),
    ]


async def test_events_without_a_value_have_no_order(world):
    """Mutant: with `ordered_by: data.to`, a source without `to` stops at its first failure."""
    destination = Destination(Failed("status", status=400))
    worker = await world.run(
        destination, ordered_by="data.to", retry=Retry(first_wait=Duration(3600))
    )

    refused = await world.accept(worker, to=None)
    await world.until(pending=1)
    others = [await world.accept(worker, to=None) for _ in range(2)]
    await until(lambda: set(others) <= set(destination.arrived))

    assert destination.arrived[0] == refused
