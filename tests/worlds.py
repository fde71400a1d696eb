"""A worker on a real journal, with a clock and a destination that tests control."""

import asyncio
import itertools
import json
from unittest import mock

from contracts.journal import NOW, planned, record
from journals import prepared
from virtual import CountedThread

from journal.reads import EventById
from journal.sqlite.journal import SQLiteJournal
from sinks.attempt import Clock
from sinks.sink import Receipt, Sink
from sinks.worker import Worker

#: A test that takes longer hangs.
SOON = 100


class Hands:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.at = NOW

    def now(self):
        return self.at


class Destination:
    """The destination of a sink. It gives these answers, then receipts."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.arrived = []
        self.bodies = []
        self.attempts = []
        self.open = asyncio.Event()
        self.open.set()
        self.inside = 0
        self.most_inside = 0

    async def send(self, outgoing):
        self.arrived.append(outgoing.event_id)
        self.bodies.append(json.loads(outgoing.body))
        self.attempts.append(outgoing.attempt)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
        answer = self.answers.pop(0) if self.answers else Receipt(status=200)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Watched:
    """A journal that keeps the types of its writes and reads, and raises the given `failures`."""

    def __init__(self, journal):
        self._journal = journal
        self.opener, self.sealer = journal.opener, journal.sealer
        self.asked = []
        self.failures = {}

    def submit(self, write, then=None, **its):
        return self._failure(write) or self._journal.submit(write, then, **its)

    def put(self, write, answer, then=None):
        failed = self._failure(write)
        if failed is None:
            self._journal.put(write, answer, then)
        else:
            answer(failed.exception())

    def listen(self, callback, *, sink=None):
        return self._journal.listen(callback, sink=sink)

    def ask(self, read):
        return self._failure(read) or self._journal.ask(read)

    def _failure(self, question):
        kind = type(question)
        self.asked.append(kind)
        if not self.failures.get(kind):
            return None
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(self.failures[kind].pop(0))
        return failed


class World:
    """A journal, a clock, and running workers."""

    def __init__(self, path):
        self.path, self.hands = path, Hands()
        ticks = itertools.count()
        self.clock = Clock(now=self.hands.now, ticks=lambda: float(next(ticks)), chance=lambda: 0.0)
        self.journals, self.tasks = [], []

    async def start(self, keys=None):
        self.journal = await SQLiteJournal.open(
            prepared(self.path), seal="seal", now=self.hands.at, version="0.1.0", keys=keys
        )
        self.journals.append(self.journal)
        return self.journal

    async def run(self, destination, *, journal=None, name="log", **options):
        """Start a worker, and return it when it has found no due delivery."""
        worker = self.begin(destination, journal=journal, name=name, **options)
        await until(lambda: is_idle(worker))
        return worker

    def begin(self, destination, *, journal=None, name="log", **options):
        worker = Worker(name, Sink(**options), journal or self.journal, self.clock)
        self.go(worker, destination)
        return worker

    def go(self, worker, destination):
        self.tasks.append(asyncio.create_task(worker.run(destination.send)))
        return self.tasks[-1]

    async def accept(self, worker, *keys, **said):
        """Plan and record an event, as the service does."""
        one = worker.plan_delivery({"data": said})
        plan = planned(*keys, owed=[one], at=self.hands.at, **said)
        await record(self.journal, plan)
        return plan.event.id

    async def delivery(self, event_id):
        (kept,) = (await self.journal.ask(EventById(event_id))).deliveries
        return kept

    async def until(self, **expected):
        """Wait until the numbers of deliveries by state are these.

        `taken`: pending with an owner.
        """
        states = "select iif(owner is null, state, 'taken'), count(*) from deliveries group by 1"
        async with asyncio.timeout(SOON):
            while True:
                found = await self.journal._reader.ask(lambda conn: dict(conn.execute(states)))
                if found == expected:
                    return
                await asyncio.sleep(0.005)

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for journal in self.journals:
            await journal.close()
        self.tasks, self.journals = [], []


class VirtualWorld(World):
    """A world in virtual time: both clocks are the loop's."""

    def __init__(self, path, loop, chance=lambda: 0.0):
        super().__init__(path)
        self.loop, self.hands = loop, self
        self.clock = Clock(now=self.now, ticks=loop.time, chance=chance)
        # No other process writes the files. Each look would be a turn of the loop.
        self._seldom = mock.patch("journal.sqlite.journal.LOOK_EVERY", 3600.0)

    def now(self):
        return NOW + self.loop.time()

    @property
    def at(self):
        return self.now()

    async def start(self):
        self._seldom.start()
        with mock.patch("journal.sqlite.journal.WorkThread", CountedThread):
            return await super().start()

    async def end(self):
        await super().end()
        self._seldom.stop()


def is_idle(worker):
    """Return whether it has asked the journal and found no pending delivery."""
    return all(lane.next_due is None for lane in worker._lanes)


async def until(condition):
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
