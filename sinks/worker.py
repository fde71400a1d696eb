"""Empty the outbox of one sink: take, send, settle."""

import asyncio
import math
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from journal import Journal, Owed, SinkRecord
from journal.commit import Broken, Unavailable, Unfit
from journal.event import Attempt, Delivery, State
from journal.path import order_at, parse
from journal.rate import Bucket

from .attempt import Attempts, Clock, Tried
from .health import PROBE_EVERY, Health, Pause
from .retry import LONGEST_RETRY_AFTER
from .sink import Send, Sink

#: Deliveries of one sink that are held in memory; what is owed beyond waits in the journal.
CAPACITY = 1000
#: How many are read from the journal at once: it keeps places for them while it asks, and what is
#: accepted meanwhile needs places too.
TAKEN_AT_ONCE = 100
#: Seconds between looks at the journal where it could not answer, and at the clock: a wall clock
#: that jumps must not leave what is due asleep.
PAUSE = 1.0
LONGEST_SLEEP = 30.0
#: Seconds between two times that a success brings forward what failed: longer and longer, up to
#: the last, while others succeed and something fails all the same. That has itself to blame.
HASTEN_EVERY = 1.0
HASTEN_SELDOM = 60.0
#: Deliveries whose time is moved in one transaction.
HASTENED_AT_ONCE = 1000
#: The status of a sink that is asked too often (RFC 6585, 4): it means whatever is sent to it.
_TOO_MANY = 429

log = structlog.get_logger()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt makes of its delivery."""

    state: State
    #: None: there was none, or one that does not count.
    attempt: Attempt | None = None
    #: When that attempt began, by the clock that only goes forward.
    began: float = math.inf
    #: When it is tried again.
    due_at: float | None = None
    #: It was not sent: what becomes of it says nothing of the sink.
    unsent: bool = False
    #: The sink named `due_at` itself.
    asked: bool = False


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that was sent to a sink, and is kept nowhere."""

    #: What was sent, for people; the sink's own secrets are masked.
    request: str
    attempt: Attempt


class Worker:
    """Delivers to one sink; a slow one fills nobody's queue but its own.

    `record` is what the journal knows of the sink's name.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        journal: Journal,
        clock: Clock,
        record: SinkRecord | None = None,
    ) -> None:
        self.name = name
        self._sink, self._journal, self._clock = sink, journal, clock
        self._attempts = Attempts(name, sink, clock)
        self._health = _health(sink, clock, record)
        self._order = None if sink.ordered_by is None else parse(sink.ordered_by)
        self._bucket = None if sink.rate is None else Bucket(sink.rate, clock.ticks)
        self._pace = asyncio.Lock()  # whoever waits for the rate waits in a line
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        #: Places: in the queue, being sent or settled, and kept for what a batch may still bring.
        self._held = 0
        self._busy = 0  # being sent, or sent and not settled
        self._idle = asyncio.Event()
        self._idle.set()
        self._next_due: float | None = 0.0  # 0: the journal has not been asked yet
        self._awake = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        self._closing = False
        #: Something in the journal may be waiting because of failures.
        self._held_up = self._health.is_failing
        self._hastened_at, self._hasten_every = -math.inf, HASTEN_EVERY
        #: The delivery that a paused sink was last tried with.
        self._probed = 0
        #: The sum of the clock's jumps up to which the journal handed deliveries out.
        self._shifted = 0.0
        #: While the sink is open.
        self._send: Send | None = None

    @property
    def paused(self) -> Pause | None:
        return self._health.paused

    @property
    def is_failing(self) -> bool:
        """Nothing succeeded since its last failure."""
        return self._health.is_failing

    # --- handing over ---------------------------------------------------------------------

    def owe(self, event: Mapping[str, object]) -> Owed:
        """What a new event owes this sink; where it is `taken` a place in the queue is kept.

        `event` as plain JSON values. The journal may know that it has to wait for another, and
        then does not hand it over.
        """
        wait = self._sink.retry.wait(0, self._clock.chance) or 0.0
        open_ = not (self._is_shut() or self._health.throttled_for)
        taken = not wait and open_ and self._held < CAPACITY
        self._held += taken
        ordering = None if self._order is None else order_at(event, self._order)
        return Owed(sink=self.name, taken=taken, wait=wait, ordering=ordering)

    def forget(self, owed: Owed) -> None:
        """It is not handed over: a duplicate, or one that waits for another, or not recorded."""
        self._held -= owed.taken

    def hand(self, delivery: Delivery) -> None:
        """It is recorded and taken: send it."""
        self._queue.put_nowait(delivery)

    def note(self, due_at: float) -> None:
        """Something in the journal is due then."""
        if self._next_due is None or due_at < self._next_due:
            self._next_due = due_at
            self._awake.set()

    def shift(self, by: float) -> None:
        """The clock jumped by `by` seconds; what the journal hands out has the new time."""
        self._shifted += by

    def look_again(self) -> None:
        """Ask the journal what is due: times there were moved."""
        self.note(self._clock.now())

    # --- steering -------------------------------------------------------------------------

    async def pause(self, by: Pause) -> None:
        """Begin no attempt until `resume`; what is owed is kept. Raises Unavailable."""
        if not await self._journal.pause(self.name, by=by, at=self._clock.now()):
            return
        self._health.paused = by
        self._give_back_all()
        log.warning("sink.paused", sink=self.name, reason=by.value)

    async def resume(self, by: Pause | None = None) -> None:
        """`by`: only where it was paused by that. Raises Unavailable."""
        changed = await self._journal.resume(self.name, by=by)
        if by is not None and not changed:
            return
        self._health.begin_anew()
        self.note(self._clock.now())
        self._awake.set()
        log.info("sink.resumed", sink=self.name)

    async def test(self, event_id: str, body: bytes) -> Tested:
        """Send an event that is in no journal, paused or not: one attempt, kept nowhere."""
        outgoing = self._attempts.outgoing(
            event_id, body, number=1, replay=False, at=self._clock.now()
        )
        request = self._sink.request(outgoing)
        if self._send is None:
            attempt = Attempt(at=outgoing.at, outcome="failed", error="closed", took_ms=0.0)
            return Tested(request=request, attempt=attempt)
        tried = await self._attempts.make(self._send, event_id, body, number=1, replay=False)
        return Tested(request=request, attempt=tried.attempt)

    # --- running --------------------------------------------------------------------------

    async def run(self, send: Send) -> None:
        """Deliver until cancelled."""
        self._send = send
        self._next_due = 0.0  # who was cut off while it asked the journal has not heard
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed())
                tasks.create_task(self._probe())
                for _ in range(self._sink.concurrency):
                    tasks.create_task(self._send_all(send))
        finally:
            self._send = None

    async def close(self) -> None:
        """Begin nothing new; return when what is being sent is settled.

        What waits in the queue stays owed: the next start of the process takes it at once.
        """
        self._closing = True
        await self._idle.wait()

    async def _feed(self) -> None:
        """Read what fell due and what the queue had no room for."""
        while True:
            await self._until_due()
            try:
                await self._take()
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
                self._next_due = 0.0  # what it would have told is not known

    async def _until_due(self) -> None:
        while self._is_shut() or not self._room() or self._wait() > 0:
            self._awake.clear()
            try:
                async with asyncio.timeout(min(self._wait(), LONGEST_SLEEP) or PAUSE):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _is_shut(self) -> bool:
        return self._closing or self._health.paused is not None

    def _wait(self) -> float:
        """Seconds until something is due; where nothing is known to be, a long time."""
        if self._next_due is None:
            return LONGEST_SLEEP
        return max(0.0, self._next_due - self._clock.now(), self._health.throttled_for)

    def _room(self) -> int:
        return CAPACITY - self._held

    async def _probe(self) -> None:
        """Try a sink that is down with its oldest delivery, before its schedule says so."""
        pause_after = self._sink.pause_after
        every = min(PROBE_EVERY, pause_after.probe_every) if pause_after else PROBE_EVERY
        while True:
            await asyncio.sleep(every)
            has_slot = self._busy < self._sink.concurrency and self._room() and not self._closing
            if not has_slot or not self._health.takes_probe():
                continue
            try:
                await self._take_probe()
            except Broken:
                return
            except Unavailable:
                continue

    async def _take_probe(self) -> None:
        self._held += 1
        # A sink that is paused is not tried with one delivery for ever: it may be that one's fault.
        after = self._probed if self._health.paused else 0
        probing = self._journal.probe(self.name, after=after)
        probing.add_done_callback(lambda done: self._taken(done, 1))
        found = await asyncio.shield(probing)
        self._probed = found[0].id if found else 0
        if found or not self._health.paused:
            return
        # All that failed had their turn: now one that came since.
        self._held += 1
        now = self._clock.now()
        taking = self._journal.take(self.name, limit=1, now=now)
        taking.add_done_callback(lambda done: self._taken(done, 1, probe_of=now))
        await asyncio.shield(taking)

    async def _take(self) -> None:
        limit = min(self._room(), TAKEN_AT_ONCE)
        self._held += limit
        taking = self._journal.take(self.name, limit=limit, now=self._clock.now())
        # Whoever is cancelled here, what was taken is ours to send.
        taking.add_done_callback(lambda done: self._taken(done, limit))
        if len(await asyncio.shield(taking)) < limit:
            # Forget first: what is noted while the journal is asked must not be overwritten.
            self._next_due = None
            due_at = await self._journal.next_due(self.name)
            if due_at is not None:
                self._held_up = True
                self.note(due_at)

    def _taken(
        self,
        done: "asyncio.Future[Sequence[Delivery]]",
        limit: int,
        probe_of: float | None = None,
    ) -> None:
        """`probe_of`: when it was due, where it is tried although the sink is paused."""
        taken = () if done.exception() else done.result()
        self._held -= limit - len(taken)
        for delivery in taken:
            if probe_of is not None:
                delivery = msgspec.structs.replace(delivery, due_at=probe_of)  # noqa: PLW2901 - the same one
            self._queue.put_nowait(delivery)

    # --- sending --------------------------------------------------------------------------

    async def _send_all(self, send: Send) -> None:
        while True:
            delivery = await self._queue.get()
            if self._clock.now() >= self._expires_at(delivery) and not self._closing:
                self._begin()  # before it takes a turn that another needs
                self._settle_soon(delivery, Outcome(state=State.EXPIRED, unsent=True))
                continue
            try:
                await self._its_turn()
            except BaseException:
                self._queue.put_nowait(delivery)  # for when the sink is opened again
                raise
            if self._closing:
                continue
            if self._has_to_wait(delivery):
                self._give_back(delivery)
                continue
            self._begin()
            try:
                outcome = await self._attempt(delivery, send)
            except BaseException:
                self._queue.put_nowait(delivery)
                self._end()
                raise
            # The next one is sent while this one's outcome waits for its commit.
            self._settle_soon(delivery, outcome)

    async def _its_turn(self) -> None:
        """Wait for the rate."""
        if self._bucket is None:
            return
        async with self._pace:
            while wait := self._bucket.take():  # noqa: ASYNC110 - time has no event
                await asyncio.sleep(wait)

    def _has_to_wait(self, delivery: Delivery) -> bool:
        if self._health.throttled_for:
            return True
        is_probe = delivery.due_at is not None
        return self._health.paused is Pause.OPERATOR or bool(self._health.paused and not is_probe)

    def _give_back_all(self) -> None:
        while not self._queue.empty():
            self._give_back(self._queue.get_nowait())

    def _give_back(self, delivery: Delivery) -> None:
        """It is pending again, and as due as it was."""
        due_at = self._clock.now() if delivery.due_at is None else delivery.due_at
        due_at = min(due_at, self._expires_at(delivery))
        self._begin()
        self._settle_soon(delivery, Outcome(state=State.PENDING, due_at=due_at, unsent=True))

    def _begin(self) -> None:
        self._busy += 1
        self._idle.clear()

    def _end(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    async def _attempt(self, delivery: Delivery, send: Send) -> Outcome:
        if self._clock.now() >= self._expires_at(delivery):
            return Outcome(state=State.EXPIRED, unsent=True)
        tried = await self._attempts.make(
            send,
            delivery.event_id,
            delivery.body,
            number=delivery.attempts + 1,
            replay=delivery.replay,
        )
        match tried.attempt.outcome:
            case "delivered":
                return Outcome(state=State.DELIVERED, attempt=tried.attempt)
            case "refused":
                return Outcome(state=State.DEAD, attempt=tried.attempt)
        return self._again(delivery, tried)

    def _again(self, delivery: Delivery, tried: Tried) -> Outcome:
        ended = self._clock.now()
        if tried.retry_after is not None:
            self._obey(tried.retry_after, tried.attempt.status)
        if delivery.due_at is not None:
            # A probe that failed is no attempt: it must not use the schedule up.
            return Outcome(state=State.PENDING, due_at=delivery.due_at)
        due_at = self._sink.retry.due(
            delivery.failures + 1,
            ended=ended,
            chance=self._clock.chance,
            retry_after=tried.retry_after,
        )
        if due_at is None:
            return Outcome(state=State.DEAD, attempt=tried.attempt)
        # It expires when it is to, not when it would be tried next.
        due_at = min(due_at, self._expires_at(delivery))
        asked = tried.retry_after is not None
        return Outcome(
            state=State.PENDING,
            attempt=tried.attempt,
            began=tried.began,
            due_at=due_at,
            asked=asked,
        )

    def _obey(self, retry_after: float, status: int | None) -> None:
        """Too many means too many of ours, not this one."""
        everything = status == _TOO_MANY
        self._health.asked_to_wait(min(retry_after, LONGEST_RETRY_AFTER), everything=everything)
        if everything:
            self._give_back_all()

    def _expires_at(self, delivery: Delivery) -> float:
        after = self._sink.expire_after
        return math.inf if after is None else delivery.accepted_at + after

    # --- settling -------------------------------------------------------------------------

    def _settle_soon(self, delivery: Delivery, outcome: Outcome) -> None:
        task = asyncio.create_task(self._settle(delivery, outcome))
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: "asyncio.Task[None]") -> None:
        self._settling.discard(task)
        self._end()

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Write the outcome down, however long the journal cannot; then say it."""
        while True:
            try:
                await self._journal.settle(
                    delivery,
                    outcome.attempt,
                    outcome.state,
                    due_at=outcome.due_at,
                    asked=outcome.asked,
                )
            except Broken:
                return
            except Unfit:
                outcome = _plain(outcome)
                await asyncio.sleep(PAUSE)
            except Unavailable:
                await asyncio.sleep(PAUSE)
            else:
                break
        self._held -= 1
        self._awake.set()
        if outcome.due_at is not None:
            self.note(outcome.due_at)
        elif delivery.ordering is not None:
            self.note(self._clock.now())  # the next of its order has its turn
        self._say(delivery, outcome)
        if not outcome.unsent:
            await self._learn(outcome)

    async def _learn(self, outcome: Outcome) -> None:
        """What an outcome tells of the sink as a whole."""
        if outcome.state is State.DELIVERED:
            await self._is_up(self._health.succeeded())
        elif outcome.attempt is None or outcome.attempt.outcome == "failed":
            self._held_up = True
            self._health.failed()
            if self._health.is_back_since(outcome.began):
                await self._hasten()  # the success that ended the outage came too early for it
            if self._health.is_up_for_pause:
                await self._pause_by_itself()

    async def _is_up(self, outage: float) -> None:
        """What waits because it was not is due now."""
        if self._health.paused is Pause.FAILING:
            try:
                await self.resume(by=Pause.FAILING)
            except Unavailable:
                return  # the next success tries again
        now = self._clock.ticks()
        if outage >= HASTEN_EVERY:
            self._hasten_every = HASTEN_EVERY  # it was down, not only one of its deliveries
        if self._held_up and now - self._hastened_at >= self._hasten_every:
            self._held_up, self._hastened_at = False, now
            self._hasten_every = min(2 * self._hasten_every, HASTEN_SELDOM)
            await self._hasten()

    async def _pause_by_itself(self) -> None:
        try:
            await self.pause(Pause.FAILING)
        except Unavailable:
            return  # the next failure tries again

    async def _hasten(self) -> None:
        """It is up: what waits because it was not is due now."""
        moved = HASTENED_AT_ONCE
        try:
            while moved == HASTENED_AT_ONCE:
                now = self._clock.now()
                moved = await self._journal.hasten(self.name, limit=HASTENED_AT_ONCE, now=now)
                if moved:
                    self.note(now)
        except Unavailable:
            self._held_up, self._hastened_at = True, -math.inf

    def _say(self, delivery: Delivery, outcome: Outcome) -> None:
        what = {"event_id": delivery.event_id, "sink": self.name, "delivery_id": str(delivery.id)}
        attempt = outcome.attempt
        if attempt is not None:
            log.info(
                "delivery.attempted",
                **what,
                attempt=delivery.attempts + 1,
                outcome=attempt.outcome,
                state=outcome.state.value,
                status=attempt.status,
                error=attempt.error,
                took_ms=attempt.took_ms,
                since_ms=round((attempt.at - delivery.accepted_at) * 1000 + attempt.took_ms, 1),
                due_at=outcome.due_at,
            )
        if outcome.state is State.DEAD:
            log.warning("delivery.dead", **what, attempt=delivery.attempts + 1)
        elif outcome.state is State.EXPIRED:
            log.warning("delivery.expired", **what, attempt=delivery.attempts)


def _health(sink: Sink, clock: Clock, record: SinkRecord | None) -> Health:
    """As it was when the service ended."""
    if record is None:
        return Health(clock.ticks, sink.pause_after)
    since = record.failing_since
    return Health(
        clock.ticks,
        sink.pause_after,
        failing_for=None if since is None else max(0.0, clock.now() - since),
        paused=None if record.paused is None else Pause(record.paused),
    )


def _plain(outcome: Outcome) -> Outcome:
    """A status or word that cannot be stored costs the sink those, not the delivery."""
    if outcome.attempt is None:
        return outcome
    attempt = msgspec.structs.replace(outcome.attempt, status=None, error="fault")
    return msgspec.structs.replace(outcome, attempt=attempt)
