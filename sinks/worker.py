"""Empty the outbox of one sink: take, send, settle."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
import structlog

from core.bucket import Bucket
from core.delivery import Attempt, Delivery, State, WaitsFor
from core.errors import Broken, InvalidRow, Unavailable
from core.paths import order_at, parse
from journal import Journal
from journal.records import Owed, SinkRecord, StoredDelivery

from .attempt import Attempts, Clock, Tried
from .described import described
from .health import PROBE_EVERY, Pause, SinkHealth
from .lanes import Lane, Lanes, Taken
from .outcome import Outcome, Tested, _plain
from .recovery import Recovery
from .retry import LONGEST_RETRY_AFTER
from .sink import Send, Sink

#: First attempts of one sink that are held in memory; what is owed beyond waits in the journal.
CAPACITY = 1000
#: How many are read from the journal at once: it keeps places for them while it asks, and what is
#: accepted meanwhile needs places too.
TAKEN_AT_ONCE = 100
#: Deliveries that are tried again have places of their own, and take none from first attempts.
RETRIED = 100
#: Seconds between looks at the journal where it could not answer, and at the clock.
PAUSE = 1.0
LONGEST_SLEEP = 30.0
#: The status of a sink that is asked too often (RFC 6585, 4): it means whatever is sent to it.
_TOO_MANY = 429

log = structlog.get_logger()


class Worker:
    """Delivers to one sink; a slow one fills nobody's queue but its own.

    `record` is what the journal knows of the sink's name; `shown` names a delivery in the log.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        journal: Journal,
        clock: Clock,
        record: SinkRecord | None = None,
        shown: Callable[[int], str] = str,
    ) -> None:
        self.name, self._shown = name, shown
        self._sink, self._journal, self._clock = sink, journal, clock
        self._attempts = Attempts(name, sink, clock)
        self._health = _health(sink, clock, record)
        self._recovery = Recovery(
            clock.ticks,
            down=self._health.is_failing,
            holds=record is not None and record.held,
        )
        self._order = None if sink.ordered_by is None else parse(sink.ordered_by)
        self._bucket = None if sink.rate is None else Bucket(sink.rate, clock.ticks)
        self._pace = asyncio.Lock()  # whoever waits for the rate waits in a line
        self._lanes = Lanes(sink.concurrency, fresh=CAPACITY, retried=RETRIED)
        #: Attempts under way, and those whose outcome is not written down yet, by delivery.
        self._under_way: set[int] = set()
        self._busy = 0  # those, and what is given back
        self._idle = asyncio.Event()
        self._idle.set()
        self._awake = asyncio.Event()
        self._recovering = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        self._closing = False
        #: The delivery that a paused sink was last tried with.
        self._probed = 0
        #: The sum of the clock's jumps up to which the journal handed new deliveries over.
        self._shifted = clock.jumped()
        #: While the sink is open.
        self._send: Send | None = None

    @property
    def paused(self) -> Pause | None:
        return self._health.paused

    @property
    def is_failing(self) -> bool:
        """Nothing succeeded since its last failure."""
        return self._health.is_failing

    @property
    def under_way(self) -> Sequence[int]:
        """The ids of deliveries whose attempt is under way."""
        return tuple(self._under_way)

    def is_under_way(self, delivery_id: int) -> bool:
        return delivery_id in self._under_way

    def waits_for(self, kept: StoredDelivery) -> WaitsFor:
        """Return what a delivery waits for that is pending, or taken and not under way."""
        if self._health.paused is not None:
            return WaitsFor.PAUSE
        if kept.state is State.PENDING:
            if kept.due_at is None:
                return WaitsFor.ORDER
            if kept.due_at > self._clock.now():
                return WaitsFor.RETRY
        if self._health.throttled_for or (self._bucket is not None and self._bucket.wait()):
            return WaitsFor.RATE
        return WaitsFor.SLOT

    # --- handing over ---------------------------------------------------------------------

    def owe(self, event: Mapping[str, object]) -> Owed:
        """What a new event owes this sink; where it is `taken` a place in the queue is kept.

        `event` as plain JSON values. The journal may know that it has to wait for another, and
        then does not hand it over.
        """
        wait = self._sink.retry.wait(0, self._clock.chance) or 0.0
        open_ = not (self._is_shut() or self._health.throttled_for)
        taken = not wait and open_ and self._lanes.fresh.room > 0
        self._lanes.fresh.held += taken
        ordering = None if self._order is None else order_at(event, self._order)
        return Owed(sink=self.name, taken=taken, wait=wait, ordering=ordering)

    def forget(self, owed: Owed) -> None:
        """It is not handed over: a duplicate, or one that waits for another, or not recorded."""
        self._lanes.fresh.held -= owed.taken

    def hand(self, delivery: Delivery) -> None:
        """It is recorded and taken: send it. Called in the order of the journal's results."""
        self._lanes.put(Taken(delivery, self._shifted))

    def wake_at(self, due_at: float, *, fresh: bool | None = None) -> None:
        """Something in the journal is due then: a first attempt, a retried one, or either."""
        for lane in self._lanes:
            if fresh in (None, lane.fresh) and (lane.next_due is None or due_at < lane.next_due):
                lane.next_due = due_at
                self._awake.set()

    def put_back(self, delivery_id: int) -> None:
        """Give a delivery back that waits here: the next operation of the journal finds it pending.

        One that is not here, or whose attempt is under way, is left alone.
        """
        for lane in self._lanes:
            for taken in lane.queue:
                if taken.delivery.id == delivery_id:
                    lane.queue.remove(taken)
                    self._give_back(taken)
                    return

    def shift(self, by: float) -> None:
        """Note that the clock jumped: deliveries that are handed over from now on know of it."""
        self._shifted += by

    def look_again(self) -> None:
        """Ask the journal what is due: times there were moved."""
        for lane in self._lanes:
            lane.next_due = 0.0
        self._awake.set()

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
        self.look_again()
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
        for lane in self._lanes:
            lane.next_due = 0.0  # who was cut off while it asked the journal has not heard
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed())
                tasks.create_task(self._probe())
                tasks.create_task(self._recover())
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
            lane = await self._until_due()
            try:
                await self._take(lane)
            except Broken:
                return
            except Unavailable:
                await asyncio.sleep(PAUSE)
                lane.next_due = 0.0  # what it would have told is not known

    async def _until_due(self) -> Lane:
        """Wait until the journal has something to send; first attempts go first."""
        while True:
            waits = [(self._wait(lane), lane) for lane in self._lanes if lane.room > 0]
            if not self._is_shut():
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

    def _is_shut(self) -> bool:
        return self._closing or self._health.paused is not None

    def _wait(self, lane: Lane) -> float:
        """Seconds until something is due; where nothing is known to be, a long time."""
        if lane.next_due is None:
            return LONGEST_SLEEP
        return max(0.0, lane.next_due - self._clock.now(), self._health.throttled_for)

    async def _probe(self) -> None:
        """Try a sink that is down with its oldest delivery, before its schedule says so."""
        pause_after = self._sink.pause_after
        every = min(PROBE_EVERY, pause_after.probe_every) if pause_after else PROBE_EVERY
        while True:
            await asyncio.sleep(every)
            has_slot = self._lanes.has_idle_slot() and self._lanes.retried.room > 0
            if not has_slot or self._closing:
                continue
            if not self._health.takes_probe(self._recovery.down_since):
                continue
            try:
                await self._take_probe()
            except Broken:
                return
            except Unavailable:
                continue

    async def _take_probe(self) -> None:
        if not self._health.paused:
            await self._taking(self._lanes.retried, 1, self._journal.probe(self.name))
            return
        # A sink that is paused is not tried with one delivery for ever: it may be that one's fault.
        if await self._take_paused_probe():
            return
        # All that failed had their turn: now one that came since, else the first of them again.
        now = self._clock.now()
        taking = self._journal.take(self.name, fresh=True, limit=1, now=now)
        if not await self._taking(self._lanes.fresh, 1, taking, probe_of=now):
            await self._take_paused_probe()

    async def _take_paused_probe(self) -> bool:
        probing = self._journal.probe(self.name, after=self._probed)
        found = await self._taking(self._lanes.retried, 1, probing)
        self._probed = found[0].id if found else 0
        return bool(found)

    async def _take(self, lane: Lane) -> None:
        limit = min(lane.room, TAKEN_AT_ONCE)
        now = self._clock.now()
        taking = self._journal.take(self.name, fresh=lane.fresh, limit=limit, now=now)
        if len(await self._taking(lane, limit, taking)) < limit:
            # Forget first: what is noted while the journal is asked must not be overwritten.
            lane.next_due = None
            due_at = await self._journal.next_due(self.name, fresh=lane.fresh)
            if due_at is not None:
                self.wake_at(due_at, fresh=lane.fresh)

    async def _taking(
        self,
        lane: Lane,
        limit: int,
        taking: "asyncio.Future[Sequence[Delivery]]",
        *,
        probe_of: float | None = None,
    ) -> Sequence[Delivery]:
        """Keep places and fill them. Whoever is cancelled here, what was taken is ours to send.

        `probe_of`: when it was due, where it is tried although the sink is paused.
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

    # --- sending --------------------------------------------------------------------------

    async def _send_all(self, send: Send) -> None:
        while True:
            await self._lanes.ready()
            self._expire_waiting()
            taken = await self._next()
            if taken is None:
                continue
            began = self._recovery.begin()
            try:
                outcome = await self._attempt(taken, send)
            except BaseException:
                self._lanes.put(taken)  # for when the sink is opened again
                self._end(taken)
                raise
            finally:
                self._lanes.done(taken)
            # The next one is sent while this one's outcome waits for its commit.
            self._conclude(taken, outcome, began)

    def _expire_waiting(self) -> None:
        """Settle what is of no use any more, before it takes a turn that another needs."""
        if self._sink.expire_after is None or self._closing:
            return
        for lane in self._lanes:
            while lane.queue and self._clock.now() >= self._expires_at(lane.queue[0]):
                self._settle_unsent(lane.queue.popleft(), State.EXPIRED)

    async def _next(self) -> Taken | None:
        """Wait for the rate, then take the one whose turn it is; None: there is none any more."""
        if self._bucket is None:
            return self._begin_next()
        async with self._pace:
            while self._lanes.has_work():
                wait = self._bucket.take()
                if not wait:
                    return self._begin_next()
                await asyncio.sleep(wait)
        return None

    def _begin_next(self) -> Taken | None:
        if not self._lanes.has_work():
            return None
        taken = self._lanes.pick()
        if self._closing or self._has_to_wait(taken.delivery):
            self._lanes.done(taken)
            if not self._closing:
                self._give_back(taken)
            return None
        self._begin(taken)
        return taken

    def _has_to_wait(self, delivery: Delivery) -> bool:
        if self._health.throttled_for:
            return True
        is_probe = delivery.due_at is not None
        return self._health.paused is Pause.OPERATOR or bool(self._health.paused and not is_probe)

    def _give_back_all(self) -> None:
        for lane in self._lanes:
            while lane.queue:
                self._give_back(lane.queue.popleft())

    def _give_back(self, taken: Taken) -> "asyncio.Task[None]":
        """It is pending again, and as due as it was."""
        due_at = self._due_at(taken)
        held = due_at is not None
        if held:
            self._recovery.held_again()
        return self._settle_unsent(
            taken, State.PENDING, due_at=self._clock.now() if due_at is None else due_at, held=held
        )

    def _settle_unsent(
        self, taken: Taken, state: State, *, due_at: float | None = None, held: bool = False
    ) -> "asyncio.Task[None]":
        if due_at is not None:
            due_at = min(due_at, self._expires_at(taken))
        outcome = Outcome(
            state=state,
            due_at=due_at,
            stamp=self._clock.jumped(),
            unsent=True,
            asked=taken.delivery.asked,
            fixed=taken.delivery.fixed,
            held=held and not taken.delivery.asked,
        )
        self._busy += 1
        self._idle.clear()
        self._recovery.concluded(taken.delivery.id)
        return self._settle_soon(taken, outcome)

    def _begin(self, taken: Taken) -> None:
        self._under_way.add(taken.delivery.id)
        self._busy += 1
        self._idle.clear()

    def _end(self, taken: Taken) -> None:
        self._under_way.discard(taken.delivery.id)
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    async def _attempt(self, taken: Taken, send: Send) -> Outcome:
        delivery = taken.delivery
        if self._clock.now() >= self._expires_at(taken):
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
        return self._again(taken, tried)

    def _again(self, taken: Taken, tried: Tried) -> Outcome:
        delivery, ended = taken.delivery, self._clock.now()
        asked = tried.retry_after
        if asked is not None:
            self._obey(asked, tried.attempt.status)
            if tried.by_date:
                asked = max(0.0, tried.attempt.at + asked - ended)
        stamp, due_at = self._clock.jumped(), self._due_at(taken)
        if due_at is not None:
            # A probe that failed is no attempt: it must not use the schedule up.
            return Outcome(
                state=State.PENDING,
                attempt=msgspec.structs.replace(tried.attempt, probes=1),
                due_at=due_at,
                stamp=stamp,
                asked=delivery.asked,
                fixed=delivery.fixed,
            )
        due_at = self._sink.retry.due(
            delivery.failures + 1, ended=ended, chance=self._clock.chance, retry_after=asked
        )
        if due_at is None:
            return Outcome(state=State.DEAD, attempt=tried.attempt)
        fixed = tried.by_date and asked is not None and due_at == ended + asked
        # It expires when it is to, not when it would be tried next.
        expires_at = self._expires_at(taken)
        return Outcome(
            state=State.PENDING,
            attempt=tried.attempt,
            due_at=min(due_at, expires_at),
            stamp=stamp,
            asked=asked is not None,
            fixed=fixed and due_at <= expires_at,
        )

    def _obey(self, retry_after: float, status: int | None) -> None:
        """Too many means too many of ours, not this one."""
        everything = status == _TOO_MANY
        self._health.asked_to_wait(min(retry_after, LONGEST_RETRY_AFTER), everything=everything)
        if everything:
            self._give_back_all()

    def _behind(self, taken: Taken) -> float:
        """Seconds by which its instants are behind the clock of now."""
        return self._clock.jumped() - taken.stamp

    def _due_at(self, taken: Taken) -> float | None:
        due_at = taken.delivery.due_at
        if due_at is None or taken.delivery.fixed:
            return due_at
        return due_at + self._behind(taken)

    def _expires_at(self, taken: Taken) -> float:
        after = self._sink.expire_after
        if after is None:
            return math.inf
        return taken.delivery.accepted_at + self._behind(taken) + after

    # --- settling -------------------------------------------------------------------------

    def _conclude(self, taken: Taken, outcome: Outcome, began: int) -> None:
        """Settle an attempt, and draw from it what waits for others."""
        delivery = taken.delivery
        bring = 0
        hold: Collection[int] = ()
        if outcome.state is State.DELIVERED:
            bring = self._recovery.succeeded(delivery.id)
        elif outcome.attempt is not None and outcome.attempt.outcome == "failed":
            held, hold, bring = self._recovery.failed(
                delivery.id, first=taken.is_fresh, began=began
            )
            outcome = msgspec.structs.replace(outcome, held=held and not outcome.asked)
        else:
            self._recovery.concluded(delivery.id)
        # Before what follows from it: the journal does things in the order they are asked for.
        self._settle_soon(taken, outcome)
        if hold:
            self._journal.hold(tuple(hold)).add_done_callback(_ignored)
        if bring:
            self._bring_forward(bring)
        elif self._recovery.wait() is not None:
            self._recovering.set()

    def _settle_soon(self, taken: Taken, outcome: Outcome) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._settle(taken, outcome, self._submit(taken, outcome)))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        task.add_done_callback(lambda _done: self._end(taken))
        return task

    def _submit(self, taken: Taken, outcome: Outcome) -> "asyncio.Future[bool]":
        due_at = outcome.due_at
        if due_at is not None and not outcome.fixed:
            due_at += self._clock.jumped() - outcome.stamp
        return self._journal.settle(
            taken.delivery,
            outcome.attempt,
            outcome.state,
            due_at=due_at,
            asked=outcome.asked,
            fixed=outcome.fixed,
            held=outcome.held,
        )

    async def _settle(
        self, taken: Taken, outcome: Outcome, settling: "asyncio.Future[bool]"
    ) -> None:
        """Write the outcome down, however long the journal cannot; then say it."""
        while True:
            try:
                await settling
            except Broken:
                return
            except InvalidRow:
                outcome = _plain(outcome)
                await asyncio.sleep(PAUSE)
            except Unavailable:
                await asyncio.sleep(PAUSE)
            else:
                break
            settling = self._submit(taken, outcome)
        delivery = taken.delivery
        self._lanes.of(taken).held -= 1
        self._awake.set()
        if outcome.due_at is not None:
            is_fresh = taken.is_fresh and (outcome.attempt is None or outcome.attempt.probes > 0)
            self.wake_at(outcome.due_at, fresh=is_fresh)
        elif delivery.ordering is not None:
            self.wake_at(self._clock.now())  # the next of its order has its turn
        self._say(taken, outcome)
        if not outcome.unsent:
            await self._learn(outcome)

    async def _learn(self, outcome: Outcome) -> None:
        """What an outcome tells of the sink as a whole."""
        if outcome.state is State.DELIVERED:
            self._health.succeeded()
            if self._health.paused is Pause.FAILING:
                try:
                    await self.resume(by=Pause.FAILING)
                except Unavailable:
                    return  # the next success tries again
        elif outcome.attempt is not None and outcome.attempt.outcome == "failed":
            self._health.failed()
            if self._health.is_up_for_pause:
                await self._pause_by_itself()

    async def _pause_by_itself(self) -> None:
        try:
            await self.pause(Pause.FAILING)
        except Unavailable:
            return  # the next failure tries again

    # --- recovery -------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Bring the next ten forward when it is time."""
        while True:
            self._recovering.clear()
            try:
                async with asyncio.timeout(self._recovery.wait()):
                    await self._recovering.wait()
            except TimeoutError:
                count = self._recovery.next_ten()
                if count:
                    self._bring_forward(count)

    def _bring_forward(self, count: int) -> None:
        now = self._clock.now()
        asking = self._journal.bring_forward(self.name, limit=count, now=now)

        def found(done: "asyncio.Future[Sequence[int]]") -> None:
            if done.exception() is not None:
                self._recovery.could_not(count, again=PAUSE)
            else:
                self._recovery.brought_forward(count, done.result())
                if done.result():
                    self.wake_at(now, fresh=False)
            self._recovering.set()

        asking.add_done_callback(found)

    def _say(self, taken: Taken, outcome: Outcome) -> None:
        delivery = taken.delivery
        what = {
            "event_id": delivery.event_id,
            **described(delivery.body),
            "sink": self.name,
            "delivery_id": self._shown(delivery.id),
        }
        attempt = outcome.attempt
        if attempt is not None:
            accepted_at = delivery.accepted_at + self._behind(taken)
            probe = {"probe": True} if attempt.probes else {}
            log.info(
                "delivery.attempted",
                **what,
                attempt=delivery.attempts + 1,
                **probe,
                outcome=attempt.outcome,
                state=outcome.state.value,
                status=attempt.status,
                error=attempt.error,
                took_ms=attempt.took_ms,
                since_ms=round((attempt.at - accepted_at) * 1000 + attempt.took_ms, 1),
                due_at=outcome.due_at,
            )
        if outcome.state is State.DEAD:
            log.warning("delivery.dead", **what, attempt=delivery.attempts + 1)
        elif outcome.state is State.EXPIRED:
            log.warning("delivery.expired", **what, attempt=delivery.attempts)


def _ignored(done: "asyncio.Future[bool]") -> None:
    """A journal that cannot says so itself; what was to be held keeps to its schedule."""
    done.exception()


def _health(sink: Sink, clock: Clock, record: SinkRecord | None) -> SinkHealth:
    """As it was when the service ended."""
    if record is None:
        return SinkHealth(clock.ticks, sink.pause_after)
    since = record.failing_since
    return SinkHealth(
        clock.ticks,
        sink.pause_after,
        failing_for=None if since is None else max(0.0, clock.now() - since),
        paused=None if record.paused is None else Pause(record.paused),
    )
