"""Fill the lanes of one sink with new deliveries and with those that fell due.

Rules of contract 6 that live here: deliveries without room in memory stay pending and are read
from the journal when they are due, first attempts before retries. A clock jump moves due times.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from core.delivery import Delivery
from core.errors import Broken, Unavailable
from journal import Journal
from journal.reads import NextDue
from journal.writes import Take

from .attempt import Clock
from .health import SinkHealth
from .lanes import Lane, Lanes, Taken

#: Deliveries that one read of the journal takes. It reserves places for them while it waits, and
#: events that are accepted meanwhile need places too.
TAKEN_AT_ONCE = 100
#: Seconds until a journal that was unavailable is asked again.
PAUSE = 1.0
#: Seconds between looks at the wall clock, which may be set at any time.
LONGEST_SLEEP = 30.0


class Feed:
    """The one place where a worker gets deliveries.

    `put` takes them straight from a commit. `run` reads the others from the journal.
    """

    def __init__(
        self, name: str, journal: Journal, clock: Clock, lanes: Lanes, health: SinkHealth
    ) -> None:
        self._name, self._journal, self._clock = name, journal, clock
        self._lanes, self._health = lanes, health
        self._awake = asyncio.Event()
        #: Nothing more is begun: the process ends.
        self.closing = False
        #: The sum of the clock's jumps that the deliveries of new commits already include.
        self._shifted = clock.jumped()

    @property
    def is_shut(self) -> bool:
        return self.closing or self._health.paused is not None

    # --- new deliveries -------------------------------------------------------------------

    def reserve(self) -> bool:
        """Reserve a place for a delivery that is about to be recorded; False: it has to wait."""
        is_free = not (self.is_shut or self._health.throttled_for) and self._lanes.fresh.room > 0
        self._lanes.fresh.held += is_free
        return is_free

    def release(self, lane: Lane) -> None:
        """Free a place: its delivery is settled, or was not recorded."""
        lane.held -= 1
        self._awake.set()

    def put(self, delivery: Delivery) -> None:
        """Queue a delivery that was just recorded. Call it in the order of the results."""
        self._lanes.put(Taken(delivery, self._shifted))

    def wake_at(self, due_at: float, *, fresh: bool | None = None) -> None:
        """Read the journal at `due_at`: first attempts, retries, or both (None)."""
        for lane in self._lanes:
            if fresh in (None, lane.fresh) and (lane.next_due is None or due_at < lane.next_due):
                lane.next_due = due_at
                self._awake.set()

    def shift(self, by: float) -> None:
        """Note that the clock jumped: deliveries recorded from now on include the jump."""
        self._shifted += by

    def look_again(self) -> None:
        """Read the journal now: due times in it have changed."""
        for lane in self._lanes:
            lane.next_due = 0.0
        self._awake.set()

    # --- the journal ----------------------------------------------------------------------

    async def run(self) -> None:
        """Read due deliveries until cancelled, or until the journal is broken."""
        while True:
            lane = await self._until_due()
            try:
                await self._read(lane)
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
                lane.next_due = 0.0  # its answer is still missing

    async def _until_due(self) -> Lane:
        """Wait until a lane has room and something due; first attempts go first."""
        while True:
            waits = [(self._wait(lane), lane) for lane in self._lanes if lane.room > 0]
            if not self.is_shut:
                for wait, lane in waits:
                    if not wait:
                        return lane
            self._awake.clear()
            sleep = min([LONGEST_SLEEP, *(wait for wait, _ in waits)])
            try:
                async with asyncio.timeout(sleep or PAUSE):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _wait(self, lane: Lane) -> float:
        """Return the seconds until something is due, or a long time where nothing is."""
        if lane.next_due is None:
            return LONGEST_SLEEP
        return max(0.0, lane.next_due - self._clock.now(), self._health.throttled_for)

    async def _read(self, lane: Lane) -> None:
        limit = min(lane.room, TAKEN_AT_ONCE)
        now = self._clock.now()
        taking = self._journal.submit(Take(self._name, fresh=lane.fresh, limit=limit, now=now))
        if len(await self.fill(lane, limit, taking)) < limit:
            # Reset before asking: a `wake_at` during the question must not be overwritten.
            lane.next_due = None
            due_at = await self._journal.ask(NextDue(self._name, fresh=lane.fresh))
            if due_at is not None:
                self.wake_at(due_at, fresh=lane.fresh)

    async def fill(
        self,
        lane: Lane,
        limit: int,
        taking: "asyncio.Future[Sequence[Delivery]]",
        *,
        probe_of: float | None = None,
    ) -> Sequence[Delivery]:
        """Queue what the journal hands out, `limit` deliveries at most, and return it.

        A caller that is cancelled stops waiting; what the journal hands out is queued all the
        same. `probe_of`: the due time of a delivery that is tried although the sink is paused.
        """
        lane.held += limit
        stamp = self._clock.jumped()

        def taken(done: "asyncio.Future[Sequence[Delivery]]") -> None:
            found = () if done.exception() else done.result()
            lane.held -= limit - len(found)
            for delivery in found:
                if probe_of is not None:
                    delivery = msgspec.structs.replace(delivery, due_at=probe_of)  # noqa: PLW2901 - the same one
                self._lanes.put(Taken(delivery, stamp))

        taking.add_done_callback(taken)
        return await asyncio.shield(taking)
