"""Fill the lanes of one sink with new deliveries and with those that are due again.

Rules that live here: deliveries without room in memory are read from the journal when there is
room and they are due. Fresh ones are read first. A clock jump moves due times.
"""

import asyncio
import math
from collections.abc import Sequence

import msgspec

from core.delivery import Delivery, Turn
from core.errors import Broken, Unavailable
from journal import Journal
from journal.feed import Committed
from journal.writes import Take

from .attempt import Clock
from .health import SinkHealth
from .lanes import Lane, Lanes, Taken

#: The most deliveries of one read of the journal.
TAKEN_AT_ONCE = 100
#: Seconds until a journal that was unavailable is asked again.
PAUSE = 1.0
#: Seconds between looks at the wall clock, which may be set at any time.
LONGEST_SLEEP = 30.0


class Feed:
    """The one place where a worker gets deliveries.

    `receive` takes them straight from a commit. `run` reads the others from the journal.
    """

    def __init__(
        self, name: str, journal: Journal, clock: Clock, lanes: Lanes, health: SinkHealth
    ) -> None:
        self._name, self._journal, self._clock = name, journal, clock
        self._lanes, self._health = lanes, health
        self._awake = asyncio.Event()
        #: While `run` sleeps: what wakes it, and when, by the clock of the event loop.
        self._alarm: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        #: Nothing more is begun, because the process ends, or until the sink has its new options.
        self.closing = self.changing = False
        #: The ids of all deliveries that are queued, being sent or being settled.
        self._known: set[int] = set()
        #: Those of them with an outcome that was submitted to the journal.
        self._settling: set[int] = set()
        #: It reads the journal, and does not know yet whether more is pending there.
        self._is_reading = False

    @property
    def is_ending(self) -> bool:
        return self.closing or self.changing

    @property
    def is_shut(self) -> bool:
        return self.is_ending or self._health.paused is not None

    @property
    def is_idle(self) -> bool:
        """Whether no delivery is held here or pending in the journal."""
        has_more = self._is_reading or any(lane.next_due is not None for lane in self._lanes)
        return not (self._known or has_more)

    def holds(self, delivery_id: int) -> bool:
        return delivery_id in self._known

    @property
    def known(self) -> tuple[int, ...]:
        """The ids of deliveries that the journal's next write must not return.

        The journal works in order: a delivery that it settles earlier is due again only if it says
        so.
        """
        return tuple(self._known - self._settling)

    # --- commits --------------------------------------------------------------------------

    def receive(self, committed: Committed) -> None:
        """Queue the sink's new deliveries of a commit while there is room; read the others later.

        They belong to this start of the process, so a full queue or a pause costs no write.
        """
        fresh = self._lanes.fresh
        for due in committed.deliveries.get(self._name, ()):
            is_open = not (self.is_shut or self._health.throttled_for)
            # Older deliveries that are still in the journal go first: then `_wait` is 0.
            if is_open and fresh.room > 0 and self._wait(fresh):
                self._put(Taken(due, committed.jumped))
            else:
                self.wake_at(self._clock.now(), Turn.FRESH)
        for lane in self._lanes:
            due_at = committed.due.get((self._name, lane.turn))
            if due_at is not None:
                self.wake_at(due_at, lane.turn)

    def _put(self, taken: Taken) -> None:
        self._known.add(taken.delivery.id)
        self._lanes.put(taken)

    def settling(self, taken: Taken, *, submitted: bool) -> None:
        """Note that the journal got the outcome of a delivery, or could not write it."""
        (self._settling.add if submitted else self._settling.discard)(taken.delivery.id)

    def forget(self, taken: Taken) -> None:
        """Forget a delivery: it is settled, or will be read from the journal when it is due."""
        self._known.discard(taken.delivery.id)
        self._settling.discard(taken.delivery.id)
        self.refill(self._lanes.of(taken))

    def put_off(self, taken: Taken) -> None:
        """Remove a queued first attempt. It keeps its owner, and is read again when due."""
        self.forget(taken)
        self.wake_at(self._clock.now(), taken.turn)

    def read_again(self) -> None:
        """Remove all queued deliveries, and read them again: the journal has reordered them."""
        for lane in self._lanes:
            self._known -= {taken.delivery.id for taken in lane.queue}
            lane.queue.clear()
        self.look_again()

    def refill(self, lane: Lane) -> None:
        """Read the journal if a lane runs low and the journal has more for it now."""
        if lane.next_due is not None and lane.is_low and not self._wait(lane):
            self._awake.set()

    def wake_at(self, due_at: float, turn: Turn) -> None:
        """Read the journal at `due_at` for the deliveries of a turn."""
        lane = self._lanes[turn]
        if lane.told_due is None or due_at < lane.told_due:
            lane.told_due = due_at
        if lane.next_due is None or due_at < lane.next_due:
            lane.next_due = due_at
            wait = self._wait(lane)
            if not wait:
                self._awake.set()
            elif self._alarm is not None:
                self._set_alarm(wait)

    def look_again(self) -> None:
        """Read the journal now: due times in it have changed."""
        for lane in self._lanes:
            lane.next_due = 0.0
        self._awake.set()

    # --- the journal ----------------------------------------------------------------------

    async def run(self) -> None:
        """Read due deliveries until cancelled, or until the journal is broken."""
        while True:
            waits = [(self._wait(lane), lane) for lane in self._lanes]
            due = [lane for wait, lane in waits if not wait and lane.is_low]
            if self.is_shut or not due:
                await self._sleep(min([LONGEST_SLEEP, *(wait for wait, _ in waits if wait)]))
                continue
            lane = due[0]  # fresh ones go first
            self._is_reading = True
            try:
                await self._read(lane)
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
                lane.next_due = 0.0  # its answer is still missing
            finally:
                self._is_reading = False

    async def _sleep(self, seconds: float) -> None:
        self._awake.clear()
        self._wakes_at = math.inf
        self._set_alarm(seconds)
        try:
            await self._awake.wait()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    def _set_alarm(self, seconds: float) -> None:
        """Wake `run` after that many seconds, or keep an earlier alarm.

        `asyncio.timeout` takes several times as long.
        """
        loop = asyncio.get_running_loop()
        wakes_at = loop.time() + seconds
        if wakes_at < self._wakes_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._wakes_at, self._alarm = wakes_at, loop.call_at(wakes_at, self._awake.set)

    def _wait(self, lane: Lane) -> float:
        """Return the seconds until the lane's next delivery is due; without one, a long time."""
        if lane.next_due is None:
            return LONGEST_SLEEP
        return max(0.0, lane.next_due - self._clock.now(), self._health.throttled_for)

    async def _read(self, lane: Lane) -> None:
        limit = min(lane.room, TAKEN_AT_ONCE)
        now, lane.told_due = self._clock.now(), None
        taking = self._journal.submit(
            Take(self._name, lane.turn, limit=limit, now=now, known=self.known)
        )
        if len(await self.fill(taking)) < limit:
            lane.next_due = lane.told_due

    async def take_expired(self, accepted_by: float, *, due_by: float) -> int:
        """Queue deliveries that were accepted by then, and return their number.

        First attempts are due by `due_by`: the journal need not look at later ones.
        """
        now, found = self._clock.now(), 0
        for lane in self._lanes:
            taking = self._journal.submit(
                Take(
                    self._name,
                    lane.turn,
                    limit=min(lane.room, TAKEN_AT_ONCE),
                    now=now if lane.turn is Turn.RETRIED else min(now, due_by),
                    known=self.known,
                    accepted_by=accepted_by,
                )
            )
            found += len(await self.fill(taking))
        return found

    async def fill(
        self, taking: "asyncio.Future[Sequence[Delivery]]", *, probe_of: float | None = None
    ) -> Sequence[Delivery]:
        """Queue the deliveries that the journal returns, and return them.

        A cancelled caller stops waiting, but the deliveries are queued all the same. `probe_of`:
        the due time of a delivery that is tried although the sink is paused.
        """
        stamp = self._clock.jumped()

        def taken(done: "asyncio.Future[Sequence[Delivery]]") -> None:
            found = () if done.exception() else done.result()
            for delivery in found:
                if probe_of is not None:
                    delivery = msgspec.structs.replace(delivery, due_at=probe_of)  # noqa: PLW2901 - the same one
                if delivery.id not in self._known:  # it may have arrived another way meanwhile
                    self._put(Taken(delivery, stamp))

        taking.add_done_callback(taken)
        return await asyncio.shield(taking)
