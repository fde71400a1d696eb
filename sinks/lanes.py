"""The deliveries of one sink that are held in memory, in a lane for each turn.

Rules that live here: fresh first. The first attempt of a new event waits for no retry and no
replay, and one of several slots is never given to these. Retries and replays take turns.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Mapping

from core.delivery import Delivery, Turn


class Taken:
    """A delivery that this start of the process holds.

    The wall clock may jump while it waits. `jumped` is the sum of the clock's jumps so far.
    """

    __slots__ = ("delivery", "stamp", "turn")

    def __init__(self, delivery: Delivery, stamp: float) -> None:
        self.delivery, self.turn = delivery, delivery.turn
        #: The sum of the clock's jumps when the journal handed it out.
        self.stamp = stamp

    @property
    def is_first(self) -> bool:
        """Whether the coming attempt is its first."""
        return not self.delivery.attempts

    def accepted_at(self, jumped: float) -> float:
        """Return when its event was accepted, on the clock of now."""
        return self.delivery.accepted_at + jumped - self.stamp

    def due_at(self, jumped: float) -> float | None:
        """Return when a probe is due by its schedule; None: it is no probe."""
        due_at = self.delivery.due_at
        if due_at is None or self.delivery.fixed:
            return due_at
        return due_at + jumped - self.stamp

    def expires_at(self, jumped: float, after: float | None) -> float:
        """Return when it expires, `after` seconds after acceptance (None: never)."""
        return math.inf if after is None else self.accepted_at(jumped) + after


class Lane:
    """A queue of limited length.

    The rest of it is in the journal; `next_due` says when that is due.
    """

    def __init__(self, turn: Turn, *, capacity: int) -> None:
        self.turn, self.capacity = turn, capacity
        self.queue: deque[Taken] = deque()
        #: When the next delivery in the journal is due; 0: unknown, None: nothing is due.
        self.next_due: float | None = 0.0
        #: The earliest due time that was announced since the last read of the journal began.
        self.told_due: float | None = None

    @property
    def room(self) -> int:
        return self.capacity - len(self.queue)

    @property
    def is_low(self) -> bool:
        """Whether to read the journal: a read of one delivery costs as much as one of many."""
        return len(self.queue) <= self.capacity // 2


class Lanes:
    """The lanes, and the senders that wait for something to send. `capacities`: in their order."""

    def __init__(self, slots: int, capacities: Mapping[Turn, int]) -> None:
        self._lanes = {turn: Lane(turn, capacity=most) for turn, most in capacities.items()}
        self.fresh = self._lanes[Turn.FRESH]
        #: Those that leave a slot free; the next one to send is of the first with a queue.
        self._others = deque(lane for lane in self if lane is not self.fresh)
        self.resize(slots)
        self._sending_others = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, slots: int) -> None:
        """Send in another number of slots."""
        self._most_others = max(1, slots - 1)

    def __iter__(self) -> Iterator[Lane]:
        yield from self._lanes.values()

    def __getitem__(self, turn: Turn) -> Lane:
        return self._lanes[turn]

    def of(self, taken: Taken) -> Lane:
        return self._lanes[taken.turn]

    def put(self, taken: Taken) -> None:
        self.of(taken).queue.append(taken)
        self._wake()

    def has_work(self) -> bool:
        """Whether something may be sent now."""
        return bool(self.fresh.queue) or (self._may_send_others() and self._has_others())

    def has_idle_slot(self) -> bool:
        """Whether a retry would be sent at once."""
        waits = any(not one.done() for one in self._waiting)
        return waits and self._may_send_others() and not self._has_others()

    async def ready(self) -> None:
        """Wait until `has_work`."""
        while not self.has_work():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._wake()  # another sender takes the work that woke this one
                raise

    def pick(self) -> Taken:
        """Take the next delivery while `has_work`; call `done` when its slot is free again."""
        if self.fresh.queue:
            return self.fresh.queue.popleft()
        self._sending_others += 1
        lane = next(lane for lane in self._others if lane.queue)
        self._others.remove(lane)
        self._others.append(lane)
        return lane.queue.popleft()

    def done(self, taken: Taken) -> None:
        if taken.turn is not Turn.FRESH:
            self._sending_others -= 1
            self._wake()

    def _may_send_others(self) -> bool:
        return self._sending_others < self._most_others

    def _has_others(self) -> bool:
        return any(lane.queue for lane in self._others)

    def _wake(self) -> None:
        while self._waiting and self.has_work():
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
