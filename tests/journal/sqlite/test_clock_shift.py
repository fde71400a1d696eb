"""The instants of the journal when the wall clock jumps."""

import asyncio
import contextlib
import random
import sqlite3

import pytest
from contracts.journal import NOW, attempt, handed, owed, planned, record

from core.delivery import State, Turn
from core.errors import Unavailable
from journal.reads import DeliveryById
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.outbox import FIRST_UNFINISHED
from journal.sqlite.schema import migrate
from journal.writes import BringForward, Clamp, Probe, RetryDelivery, Settle, Shift, Take

HOUR = 3600.0


@pytest.fixture
async def journal(path):
    journal = await SQLiteJournal.open(path, seal="seal", now=NOW, version="0.1.0")
    yield journal
    await journal.close()


async def shift(journal, number, by, *, limit=10):
    while await journal.submit(Shift(number, by, limit=limit)):
        pass


async def failed(journal, *, due_at, asked=False, fixed=False):
    """Make a delivery that failed once and waits; return its id."""
    (delivery,) = await handed(journal, planned(owed=[owed()]))
    held = not asked
    await journal.submit(
        Settle(
            delivery, attempt(), State.PENDING, due_at=due_at, asked=asked, fixed=fixed, held=held
        )
    )
    return delivery.id


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_jump_moves_unfinished_deliveries_only(journal, by):
    """Mutants: `accepted_at` stays, so that it expires at once; finished ones move, too."""
    waiting = await failed(journal, due_at=NOW + 10)
    (sending,) = await handed(journal, planned(owed=[owed()]))
    (over,) = await handed(journal, planned(owed=[owed()]))
    await journal.submit(Settle(over, attempt(), State.DEAD, due_at=None))

    await shift(journal, 1, by)

    kept = [await journal.ask(DeliveryById(id_)) for id_ in (waiting, sending.id, over.id)]
    assert [(one.due_at, one.accepted_at) for one in kept] == [
        (NOW + 10 + by, NOW + by),
        (NOW + by, NOW + by),
        (None, NOW),
    ]


async def test_time_that_a_sink_named_moves_too(journal):
    """A `Retry-After` in seconds moves with the clock."""
    id_ = await failed(journal, due_at=NOW + 60, asked=True)

    await shift(journal, 1, HOUR)
    moved = await journal.submit(BringForward("log", limit=9, now=NOW + HOUR + 1))

    assert moved == ()
    assert (await journal.ask(DeliveryById(id_))).due_at == NOW + HOUR + 60


class Model:
    """A model of the instants, for a journal that moves a few rows at a time."""

    def __init__(self, journal, seed):
        self.journal, self.chance = journal, random.Random(seed)
        self.now, self.jumps, self.jumped = NOW, [], 0
        #: By id: `due_at` of pending deliveries, and `accepted_at` of all.
        self.due, self.accepted = {}, {}
        self.held = []

    async def accept(self):
        plan = planned(owed=[owed()], at=self.now)
        (delivery,) = await handed(self.journal, plan)
        self.accepted[delivery.id] = self.now
        self.held.append(delivery)

    async def settle(self):
        if self.held:
            delivery = self.held.pop(self.chance.randrange(len(self.held)))
            self.due[delivery.id] = due_at = self.now + self.chance.randrange(1, 5000)
            await self.journal.submit(Settle(delivery, attempt(), State.PENDING, due_at=due_at))

    async def take(self):
        known = tuple(one.id for one in self.held)
        probe = Probe("log", after=self.chance.choice([0, *self.due]), known=known)
        for delivery in await self.journal.submit(probe):
            assert delivery.accepted_at == self.accepted[delivery.id]
            assert delivery.due_at == self.due.pop(delivery.id)
            self.held.append(delivery)

    async def retry(self):
        if self.due:
            id_ = self.chance.choice(list(self.due))
            retried = await self.journal.submit(RetryDelivery(id_, now=self.now))
            assert retried.state is State.PENDING
            self.due[id_] = self.accepted[id_] = self.now

    async def jump(self):
        by = self.chance.choice([-HOUR, HOUR, 50 * HOUR])
        self.now += by
        self.due = {id_: at + by for id_, at in self.due.items()}
        self.accepted = {id_: at + by for id_, at in self.accepted.items()}
        self.held = [_moved(delivery, by) for delivery in self.held]
        self.jumped += 1
        self.jumps.append((self.jumped, by))
        await self.journal.submit(Shift(self.jumped, by, limit=1))

    async def step(self):
        if self.jumps:
            number, by = self.jumps[0]
            if not await self.journal.submit(Shift(number, by, limit=self.chance.randrange(1, 4))):
                self.jumps.pop(0)

    async def do_something(self):
        does = [self.accept, self.settle, self.take, self.retry, self.step]
        await self.chance.choice(does)()


async def test_date_that_a_sink_named_stays(journal):
    """It is an instant of the sink's clock. Mutant: it moves with our clock."""
    id_ = await failed(journal, due_at=NOW + 7200, asked=True, fixed=True)

    await journal.submit(Shift(1, HOUR, limit=9))
    early = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=NOW + 7199))
    (taken,) = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=NOW + 7200))

    assert (early, taken.id, taken.accepted_at) == ((), id_, NOW + HOUR)


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_delivery_not_yet_moved_is_not_due_earlier(journal, by):
    """Mutant: the retries of an hour are due at once."""
    for _ in range(3):
        await failed(journal, due_at=NOW + 60)

    more = await journal.submit(Shift(1, by, limit=1))
    now = NOW + by
    early = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=now + 59))
    await shift(journal, 1, by)
    taken = await journal.submit(Take("log", Turn.RETRIED, limit=9, now=now + 60))

    assert more
    assert (early, len(taken)) == ((), 3)


@pytest.mark.parametrize("seed", range(12))
async def test_each_time_moves_once_during_other_changes(journal, seed):
    """Mutants: rows that are settled, retried or taken meanwhile move twice, or not at all."""
    model = Model(journal, seed)

    for _ in range(10):
        await model.accept()
        await model.settle()
    for _ in range(2):
        await model.jump()
        for _ in range(12):
            await model.do_something()
    while model.jumps:
        await model.step()

    kept = {id_: await journal.ask(DeliveryById(id_)) for id_ in model.accepted}
    assert {id_: one.accepted_at for id_, one in kept.items()} == model.accepted
    due = {id_: one.due_at for id_, one in kept.items() if one.due_at and one.owner is None}
    assert due == model.due


def _moved(delivery, by):
    due_at = None if delivery.due_at is None else delivery.due_at + by
    return type(delivery)(
        **{name: getattr(delivery, name) for name in delivery.__struct_fields__}
        | {"accepted_at": delivery.accepted_at + by, "due_at": due_at}
    )


async def test_jump_begins_even_if_its_first_write_fails(journal, path):
    """Mutant: deliveries that are accepted meanwhile move, too, and wait an hour longer."""
    before = await failed(journal, due_at=NOW + 10)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("begin immediate")
        with pytest.raises(Unavailable):
            await journal.submit(Shift(1, HOUR, limit=10))
    after = await failed(journal, due_at=NOW + HOUR + 10)

    await shift(journal, 1, HOUR)

    due = [(await journal.ask(DeliveryById(id_))).due_at for id_ in (before, after)]
    assert due == [NOW + HOUR + 10] * 2


async def test_jump_is_begun_in_the_order_of_results(journal):
    """A commit announces new times. Mutant: those from before the jump are the old ones."""
    order = []

    def say(name):
        return lambda _outcome: order.append(name)

    announced, sinks = [], [owed(wait=1.0), owed("crm")]
    with journal.listen(announced.append):
        first = record(journal, planned(owed=sinks), then=say("before"))
        begun = journal.submit(Shift(1, HOUR, limit=9), then=say("jump"))
        last = record(journal, planned(owed=sinks, at=NOW + HOUR), then=say("after"))
        await asyncio.gather(first, begun, last)

    (committed,) = announced
    assert committed.jumped == HOUR
    assert committed.due == {("log", Turn.FRESH): NOW + HOUR + 1}
    assert [one.accepted_at for one in committed.deliveries["crm"]] == [NOW + HOUR] * 2
    assert order == ["before", "jump", "after"]
    due = [(await journal.ask(DeliveryById(id_))).due_at for id_ in (1, 3)]
    assert due == [NOW + HOUR + 1] * 2


@pytest.mark.parametrize("asked", [False, True])
async def test_no_wait_is_longer_than_the_longest_at_start(journal, asked):
    """The clock was corrected while the service was down. Mutant: it waits for an hour."""
    far = await failed(journal, due_at=NOW + 100 * HOUR, asked=asked)
    near = await failed(journal, due_at=NOW + 5, asked=asked)

    await journal.submit(Clamp("log", now=NOW, longest=60.0, asked=24 * HOUR))

    due = [(await journal.ask(DeliveryById(id_))).due_at for id_ in (far, near)]
    assert due == [NOW + (24 * HOUR if asked else 60), NOW + 5]
    await journal.submit(BringForward("log", limit=9, now=NOW))
    due = [(await journal.ask(DeliveryById(id_))).due_at for id_ in (far, near)]
    assert due == ([NOW + 24 * HOUR, NOW + 5] if asked else [NOW, NOW])


def test_first_unfinished_is_found_through_indexes(path):
    """Mutant: `min(id)`, for which SQLite reads all delivered rows."""
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as conn:
        steps = [row[3] for row in conn.execute(f"explain query plan {FIRST_UNFINISHED}")]

    searched = [step for step in steps if "deliveries" in step]
    assert len(searched) == 2
    assert all("INDEX" in step for step in searched)
