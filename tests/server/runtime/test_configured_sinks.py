"""Sinks whose options change while they deliver: a real journal, and destinations of the tests."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from contracts.journal import NOW, planned, record
from worlds import SOON, Destination, World, is_idle, until

from core.secret import Secret
from core.units import Duration, Rate
from journal.reads import SinkRecords
from journal.writes import PauseSink, Reorder
from server.runtime import configured_sinks as module
from server.runtime.configured_sinks import ConfiguredSinks, read_options
from server.runtime.supervisor import Supervisor
from sinks import feed
from sinks.health import Pause
from sinks.retry import Retry
from sinks.sink import Failed, PauseAfter, Sink
from sinks.worker import Worker

#: The destination of each place, and the places in the order of their opening and closing.
DESTINATIONS, OPENED, CLOSED = {}, [], []


class Placed(Sink, tag="placed", frozen=True, kw_only=True):
    """A sink that sends to the destination of its place."""

    place_: str = "one"
    file: str | None = None
    reads: str | None = None

    def written_files(self):
        return {} if self.file is None else {"file": Path(self.file)}

    def read_files(self):
        return {} if self.reads is None else {("reads",): Path(self.reads)}

    def urls(self):
        return {"place": Secret(self.place_)}

    @contextlib.asynccontextmanager
    async def open(self):
        OPENED.append(self.place_)
        try:
            yield DESTINATIONS.setdefault(self.place_, Destination()).send
        finally:
            CLOSED.append(self.place_)


class Sinks(World):
    """The configured sinks of a world, running."""

    async def begin_with(self, **sinks):
        self.workers, self.stopped = {}, []
        self.supervisor = Supervisor(lambda: self.stopped.append(True))
        self.sinks = ConfiguredSinks(
            read_options(sinks),
            journal=self.journal,
            workers=self.workers,
            make_worker=lambda name, sink, record: Worker(
                name, sink, self.journal, self.clock, record
            ),
            clock=self.clock,
            records=await self.journal.ask(SinkRecords()),
        )
        for name, sink in sinks.items():
            await module.adapt(self.journal, name, sink, now=self.hands.at)
        self.sinks.start(self.supervisor)
        self.tasks = self.supervisor.tasks
        await until(lambda: all(one.paused or is_idle(one) for one in self.workers.values()))

    async def use(self, **sinks):
        """Reload."""
        self.sinks.use(read_options(sinks), await self.journal.ask(SinkRecords()))

    async def accept(self, worker, *, to=None, sender=None):
        one = worker.plan_delivery({"data": {"to": to, "from": sender}})
        plan = planned(owed=[one], at=self.hands.at, to=to, from_=sender)
        await record(self.journal, plan)
        return plan.event.id

    async def send(self, count=1, *, name="log"):
        return [await self.accept(self.workers[name]) for _ in range(count)]


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "LONGEST_SLEEP", 0.01)
    DESTINATIONS.clear()
    OPENED.clear()
    CLOSED.clear()
    world = Sinks(tmp_path / "smshook.db")
    await world.start()
    yield world
    for destination in DESTINATIONS.values():
        destination.open.set()
    await world.end()


def blocked(place):
    destination = DESTINATIONS.setdefault(place, Destination())
    destination.open.clear()
    return destination


async def test_only_a_changed_sink_is_opened_again(world):
    """Mutants: all sinks are opened again; an order of the mapping counts as a change."""
    other = Placed(place_="other")
    await world.begin_with(log=Placed(), other=other)
    first, *_ = workers = [world.workers["log"], world.workers["other"]]

    await world.use(other=other, log=Placed(place_="two"))
    await until(lambda: "two" in OPENED)
    await world.send(name="other")
    [event_id] = await world.send()
    await world.until(delivered=2)

    assert (OPENED, CLOSED) == (["one", "other", "two"], ["one"])
    assert DESTINATIONS["two"].arrived == [event_id]
    assert [world.workers["log"], world.workers["other"]] == workers
    assert first.meters.attempts, "its figures go on"


async def test_attempts_end_at_the_old_sink_and_others_go_to_the_new(world):
    """Nothing is sent twice. Mutants: attempts cut; queued deliveries lost until a restart."""
    old = blocked("one")
    await world.begin_with(log=Placed(concurrency=3))
    sent = await world.send(20)
    await until(lambda: old.inside == 3)

    await world.use(log=Placed(place_="two", concurrency=5))
    later = await world.send(5)
    await asyncio.sleep(0.05)
    begun = list(OPENED)
    old.open.set()
    await world.until(delivered=25)

    assert begun == ["one"], "concurrency holds for both together"
    assert old.arrived == sent[:3]
    assert sorted(DESTINATIONS["two"].arrived) == sorted([*sent[3:], *later])
    assert DESTINATIONS["two"].most_inside <= 5


async def test_hanging_attempt_is_cut_and_made_again(world, monkeypatch):
    """An operator replaces a URL because it hangs. Mutant: the sink waits for its timeout."""
    monkeypatch.setattr(module, "GRACE", 0.1)
    old = blocked("one")
    await world.begin_with(log=Placed())
    [event_id] = await world.send()
    await until(lambda: old.inside)

    await world.use(log=Placed(place_="two"))
    await world.until(delivered=1)

    assert (old.arrived, DESTINATIONS["two"].arrived) == ([event_id], [event_id])
    assert DESTINATIONS["two"].attempts == [1], "a cut attempt does not count"


async def test_deliveries_of_a_removed_sink_wait_for_its_return(world):
    """Mutants: the worker of a removed sink goes on; its deliveries end."""
    await world.begin_with(log=Placed())
    [sent] = await world.send()
    await world.until(delivered=1)
    worker = world.workers["log"]

    await world.use()
    await until(lambda: not world.workers)
    waiting = await world.accept(worker)  # as from a replay that named it before
    await asyncio.sleep(0.05)
    kept = (await world.delivery(waiting)).state
    await world.use(log=Placed(place_="two"))
    await world.until(delivered=2)

    assert kept == "pending"
    assert (DESTINATIONS["one"].arrived, DESTINATIONS["two"].arrived) == ([sent], [waiting])


async def test_sink_that_comes_back_while_it_ends_goes_on(world):
    """Mutant: its task ends and removes the worker of the new one."""
    old = blocked("one")
    await world.begin_with(log=Placed())
    await world.send()
    await until(lambda: old.inside)

    await world.use()
    await asyncio.sleep(0.02)
    await world.use(log=Placed(place_="two"))
    await asyncio.sleep(0.02)
    old.open.set()
    await world.send()
    await world.until(delivered=2)

    assert OPENED == ["one", "two"]
    assert list(world.workers) == ["log"]
    assert len(world.supervisor.tasks) == 1


async def test_last_of_several_changes_counts(world):
    """Mutant: a change during a change is lost."""
    old = blocked("one")
    await world.begin_with(log=Placed())
    await world.send()
    await until(lambda: old.inside)

    for place in ("two", "three", "two", "four"):
        await world.use(log=Placed(place_=place))
        await asyncio.sleep(0)
    old.open.set()
    await world.send()
    await world.until(delivered=2)

    assert OPENED == ["one", "four"]


@pytest.mark.parametrize(
    ("before", "after"), [(None, "data.to"), ("data.to", "data.from"), ("data.to", None)]
)
async def test_changed_order_holds_for_queued_deliveries(world, before, after):
    """Mutants: `Reorder` leaves out deliveries of this start; the queue keeps the old order.

    Each value of the new path has its deliveries in the order of acceptance, one at a time.
    """
    old = blocked("one")
    await world.begin_with(log=Placed(concurrency=4, ordered_by=before))
    worker = world.workers["log"]
    numbers = {"to": ["+11", "+12"], "from": ["1", "2", "3"]}

    async def send(count):
        return [
            await world.accept(worker, to=numbers["to"][i % 2], sender=numbers["from"][i % 3])
            for i in range(count)
        ]

    sent = await send(12)
    await until(lambda: old.inside >= 2)
    inside = old.inside
    await world.use(log=Placed(place_="two", concurrency=4, ordered_by=after))
    sent += await send(12)
    old.open.set()
    await world.until(delivered=24)

    new = DESTINATIONS["two"]
    assert sorted(old.arrived + new.arrived) == sorted(sent)
    assert len(old.arrived) == inside
    if after is not None:
        field = after.removeprefix("data.")
        for value in numbers[field]:
            arrived = [
                body["id"] for body in old.bodies + new.bodies if body["data"][field] == value
            ]
            accepted = [event_id for event_id in sent if event_id in arrived]
            assert new_part(arrived, old) == new_part(accepted, old)


async def test_event_that_comes_between_has_the_new_order(world):
    """The journal has changed the stored ones. Mutant: the worker changes after the journal."""
    await world.begin_with(log=Placed())
    worker, submit = world.workers["log"], world.journal.submit

    async def reordered(write):
        await submit(write)
        await world.accept(worker, to="+11")

    def submitted(write, **answering):
        if isinstance(write, Reorder):
            return asyncio.ensure_future(reordered(write))
        return submit(write, **answering)

    world.journal.submit = submitted
    await world.use(log=Placed(place_="two", ordered_by="data.to"))
    await world.until(delivered=1)

    [(ordering,)] = await world.journal._reader.ask(
        lambda conn: conn.execute("select ordering from deliveries").fetchall()
    )
    assert ordering == '"+11"'


def new_part(ids, old):
    return [event_id for event_id in ids if event_id not in old.arrived]


async def test_two_sinks_never_write_one_file_at_once(world, tmp_path):
    """A sink gets another name, or two exchange their files. Mutant: no lock of the file."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    old = blocked("old")
    await world.begin_with(log=Placed(place_="old", file=one), audit=Placed(place_="b", file=two))
    await world.send()
    await until(lambda: old.inside)

    await world.use(audit=Placed(place_="c", file=one), log=Placed(place_="d", file=two))
    await asyncio.sleep(0.05)
    held = list(OPENED)
    old.open.set()
    await until(lambda: len(OPENED) == 4)

    assert held == ["old", "b"], "`old` still writes the file of `c`"
    assert sorted(OPENED[2:]) == ["c", "d"]


def test_file_is_the_same_by_a_link(tmp_path):
    """Mutant: two sinks write one file, which each names in another way."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    options = read_options({"log": Placed(file=str(tmp_path / "link"))})

    assert options["log"].written == (tmp_path / "file",)


async def test_replaced_certificate_opens_the_sink_again(world, tmp_path):
    """Mutant: only options are compared."""
    certificate = tmp_path / "client.pem"
    certificate.write_text("one")
    sink = Placed(reads=str(certificate))
    await world.begin_with(log=sink)
    await world.use(log=sink)
    await asyncio.sleep(0.05)
    same = list(OPENED)

    certificate.write_text("another")
    await world.use(log=sink)
    await until(lambda: len(OPENED) == 2)

    assert same == ["one"]


async def test_pause_of_the_operator_stays(world):
    """Mutant: a changed sink begins active."""
    await world.begin_with(log=Placed())
    await world.workers["log"].pause(Pause.OPERATOR)

    await world.use(log=Placed(place_="two"))
    await world.send()
    await until(lambda: "two" in OPENED)
    await asyncio.sleep(0.05)

    assert world.workers["log"].paused is Pause.OPERATOR
    assert DESTINATIONS["two"].arrived == []


async def test_paused_sink_that_is_removed_and_added_stays_paused(world):
    """Mutant: a sink that comes back begins active."""
    await world.begin_with(log=Placed())
    await world.workers["log"].pause(Pause.OPERATOR)

    await world.use()
    await until(lambda: not world.workers)
    await world.use(log=Placed())

    assert world.workers["log"].paused is Pause.OPERATOR


async def test_automatic_pause_ends_without_pause_after(world):
    """Nothing else would ever resume it. Mutant: it stays paused."""
    await world.journal.submit(PauseSink("log", by="failing", at=NOW))
    await world.begin_with(log=Placed(pause_after=PauseAfter(failing_for=Duration(60))))
    paused = world.workers["log"].paused

    await world.use(log=Placed())
    await world.send()
    await world.until(delivered=1)

    assert paused is Pause.FAILING


async def test_shorter_schedule_holds_for_waiting_deliveries(world):
    """Mutant: a delivery waits as long as the old schedule said."""
    DESTINATIONS["one"] = Destination(Failed("status", status=500))
    long, short = (
        Retry(schedule=(Duration(0), Duration(wait), Duration(wait))) for wait in (3600, 0.01)
    )
    await world.begin_with(log=Placed(retry=long))
    await world.send()
    await until(lambda: DESTINATIONS["one"].attempts)

    await world.use(log=Placed(retry=short))
    await until(lambda: len(OPENED) == 2)
    world.hands.at += 1
    await world.until(delivered=1)


async def test_new_destination_is_not_kept_waiting(world):
    """Retry-After belongs to the old one. Mutant: an hour of silence at another URL."""
    DESTINATIONS["one"] = Destination(Failed("status", status=429, retry_after=3600.0))
    await world.begin_with(log=Placed())
    await world.send()
    await until(lambda: world.workers["log"]._health.throttled_for)

    await world.use(log=Placed(timeout=Duration(9)))
    await until(lambda: len(OPENED) == 2)
    still = world.workers["log"]._health.throttled_for
    await world.use(log=Placed(place_="two"))
    await world.send()
    await world.until(delivered=1, pending=1)

    assert still > 0


async def test_changed_rate_and_concurrency_hold(world):
    """Mutants: the slots of the first start; the old bucket."""
    await world.begin_with(log=Placed(concurrency=1, rate=Rate(count=1, per=3600)))
    await world.send(2)
    await until(lambda: DESTINATIONS["one"].arrived)

    new = blocked("one")
    await world.use(log=Placed(concurrency=4))
    await world.send(5)
    await until(lambda: new.inside == 4)


async def test_end_of_the_process_begins_no_attempt(world):
    """The service stops while a sink changes. Mutant: the new one sends its queue."""
    old = blocked("one")
    await world.begin_with(log=Placed(concurrency=1))
    await world.send(3)
    await until(lambda: old.inside)
    await world.use(log=Placed(place_="two"))

    closing = asyncio.create_task(world.workers["log"].close())
    await asyncio.sleep(0.02)
    old.open.set()
    async with asyncio.timeout(SOON):
        await closing
    await asyncio.sleep(0.1)

    assert DESTINATIONS.get("two", Destination()).arrived == []
    await world.until(delivered=1, taken=2)


async def test_fault_of_a_change_ends_the_service(world, monkeypatch):
    """A service that delivers nothing must not look healthy. Mutant: the task is not supervised."""
    await world.begin_with(log=Placed())
    monkeypatch.setattr(world.workers["log"], "change", None)

    await world.use(log=Placed(place_="two"))
    await until(lambda: world.stopped)
