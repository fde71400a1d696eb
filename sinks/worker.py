"""Deliver to one sink: take, send, settle.

Rules that live here: `concurrency` slots, `rate` (its tokens go to fresh deliveries
first), `expire_after`, the states of a delivery and what a pending one waits for. `ordered_by`
gives a delivery its place in line; the journal keeps the line. `feed.py` has the way into the
queue, `recovery.py` pauses and probes, `retry.py` the schedule.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial

import msgspec
import structlog

from core.bucket import Bucket
from core.delivery import ERASED, Attempt, SettledAttempt, State, Turn, WaitsFor
from core.errors import Broken, InvalidRow, Unavailable
from core.event import SYSTEM
from core.paths import Path, order_at, parse
from journal import Journal
from journal.records import THROTTLED, Owed, Settled, SinkRecord, StoredDelivery
from journal.seal import Kind, kinds_at
from journal.writes import Guard, SetMoment, Settle, unguarded

from .attempt import Attempts, Clock, Tried
from .erased import lacks_content, needed
from .feed import PAUSE, Feed
from .health import Pause, SinkHealth
from .lanes import Lanes, Taken
from .meters import SinkMeters
from .outages import Outages, Step
from .outcome import Outcome, Tested, describe, log_attempted, log_outcome
from .pace import Pace
from .recovery import Recovery
from .retry import LONGEST_RETRY_AFTER
from .sink import Send, Sink
from .tracing import AttemptMade, AttemptTracer, NoTraces

#: Fresh deliveries of one sink that are held in memory; further ones wait in the journal.
CAPACITY = 1000
#: Retries and replays have their own places, and take no place from fresh ones.
RETRIED = REPLAYED = 100
#: Seconds between two looks for what expires while nothing may be sent, and after a find.
EXPIRE_EVERY, EXPIRE_MORE = 2.0, 0.05
#: Seconds between two comparisons of the clocks, and the longest attempt that shows the difference.
MEASURED, LONGEST_MEASURED = 60.0, 2.0
#: RFC 6585, 4: Too Many Requests.
_TOO_MANY = 429

log = structlog.get_logger()


class Worker:
    """The worker of one sink: a slow sink fills no queue but its own.

    `record` is the state that the journal kept; `shown` gives a delivery's id for the log.
    `log_attempted` logs a settled attempt; None: the level hides it. `code_sent` is called after
    each attempt by which the sink got a code in clear. `traces` makes the spans of attempts. `pace`
    is shared by the workers of a service.
    """

    def __init__(  # noqa: PLR0913 - one for each part that it uses
        self,
        name: str,
        sink: Sink,
        journal: Journal,
        clock: Clock,
        record: SinkRecord | None = None,
        shown: Callable[[int], str] = str,
        log_attempted: Callable[[SettledAttempt], None] | None = log_attempted,
        code_sent: Callable[[], None] = lambda: None,
        *,
        traces: AttemptTracer | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.name, self._shown, self._log_attempted = name, shown, log_attempted
        self._code_sent = code_sent
        self._traces = NoTraces() if traces is None else traces
        #: Called with the event's id and the state of each delivery that was given up, except of
        #: events about the service itself.
        self.gave_up: Callable[[str, State], None] = lambda _event, _state: None
        #: The last attempt that did not deliver; None: none since the start.
        self.last_failure: Attempt | None = None
        #: Seconds by which our clock is ahead of that of the sink; None: not measured.
        self.clock_offset: float | None = None
        self._measured_at = -math.inf
        self._sink, self._journal, self._clock = sink, journal, clock
        self._attempts = Attempts(name, sink, clock)
        self._lacks_content = lacks_content(sink)
        self.meters = SinkMeters()
        record = record or SinkRecord(name=name)
        since = record.failing_since
        self._health = health = SinkHealth(
            clock.ticks,
            sink.pause_after,
            failing_for=None if since is None else max(0.0, clock.now() - since),
            paused=None if record.paused is None else Pause(record.paused),
        )
        if record.throttled_until is not None:
            left = min(record.throttled_until - clock.now(), LONGEST_RETRY_AFTER)
            health.defer(left, everything=True)
        self._is_throttle_kept = record.throttled_until is not None
        self._outages = Outages(clock.ticks, down=health.is_failing, holds=record.held)
        self._order = _order(sink)
        self._bucket = _bucket(sink, clock)
        self._pace = Pace() if pace is None else pace
        #: Its last attempt delivered: it needs no pace, because it hardly ever has to connect.
        self._works = False
        self._rated = asyncio.Lock()  # senders wait for the rate in a line
        capacities = {Turn.FRESH: CAPACITY, Turn.RETRIED: RETRIED, Turn.REPLAYED: REPLAYED}
        self._lanes = lanes = Lanes(sink.concurrency, capacities)
        self._feed = feed = Feed(name, journal, clock, lanes, health)
        self._recovery = Recovery(
            name,
            sink,
            journal,
            clock,
            lanes=lanes,
            health=health,
            feed=feed,
            outages=self._outages,
        )
        #: Attempts under way, and those with an outcome that is not stored yet.
        self._under_way: set[int] = set()
        self._busy = 0  # those, and deliveries that are given back
        self._idle = asyncio.Event()
        self._idle.set()
        self._steering: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
        #: While the sink is open.
        self._send: Send | None = None

    @property
    def paused(self) -> Pause | None:
        return self._health.paused

    @property
    def failing_for(self) -> float | None:
        """Seconds since its first failure after a success; None: it works."""
        return self._health.failing_for

    @property
    def is_failing(self) -> bool:
        """Nothing succeeded since its last failure."""
        return self._health.is_failing

    @property
    def under_way(self) -> Sequence[int]:
        """The ids of deliveries with an attempt under way."""
        return tuple(self._under_way)

    def is_under_way(self, delivery_id: int) -> bool:
        return delivery_id in self._under_way

    def holds(self, delivery_id: int) -> bool:
        """Whether it is queued, under way or being settled."""
        return self._feed.holds(delivery_id)

    @property
    def is_idle(self) -> bool:
        """Whether `run` has nothing to do before the next commit for this sink.

        That is also so while the sink is paused and nothing is under way.
        """
        if self._busy or self._steering:
            return False
        return self._health.paused is not None or self._feed.is_idle

    async def stop(self) -> None:
        """Begin no attempt until `change`; return when the attempts under way are settled."""
        self._feed.changing = True
        await self._idle.wait()

    def change(self, sink: Sink) -> None:
        """Use other options from the next attempt on. `run` must not run meanwhile.

        If `ordered_by` differs, submit `Reorder`, and then call `read_again`.
        """
        before, self._sink = self._sink, sink
        self._attempts = Attempts(self.name, sink, self._clock)
        self._order = _order(sink)
        self._lacks_content = lacks_content(sink)
        if sink.rate != before.rate:
            self._bucket = _bucket(sink, self._clock)
        if sink.urls() != before.urls():
            self._health.forget_retry_after()
            self._keep_throttle()
        self._lanes.resize(sink.concurrency)
        self._health.pause_after = sink.pause_after
        self._recovery.sink = sink
        self._feed.changing = False

    def read_again(self) -> None:
        """Read the queued deliveries from the journal again. `run` must not run meanwhile."""
        self._feed.read_again()

    def waits_for(self, kept: StoredDelivery) -> WaitsFor:
        """Return what a pending delivery waits for. No attempt of it may be under way."""
        if self._health.paused is not None:
            return WaitsFor.PAUSE
        if kept.owner is None:
            if kept.due_at is None:
                return WaitsFor.ORDER
            if kept.due_at > self._clock.now():
                return WaitsFor.RETRY
        if self._health.throttled_for or (self._bucket is not None and self._bucket.wait()):
            return WaitsFor.RATE
        return WaitsFor.SLOT

    # --- new deliveries -------------------------------------------------------------------

    @property
    def is_ordered(self) -> bool:
        """Whether `plan_delivery` reads the event."""
        return self._order is not None

    @property
    def plans_by(self) -> Collection[Kind]:
        """The sealed kinds that `plan_delivery` reads."""
        return () if self._order is None else kinds_at(self._order)

    def plan_delivery(self, event: Mapping[str, object]) -> Owed:
        """Plan the delivery of a new event, given as plain JSON values."""
        wait = self._sink.retry.wait(0, self._clock.chance) or 0.0
        ordering = None if self._order is None else order_at(event, self._order)
        if ordering is not None and self._journal.sealer is not None:
            ordering = self._journal.sealer.hash_line(ordering)
        return Owed(sink=self.name, wait=wait, ordering=ordering)

    def put_back(self, delivery_id: int) -> None:
        """Remove a queued delivery from memory: the journal's next write may change it.

        A delivery that is not queued, or is under way, stays.
        """
        for lane in self._lanes:
            for taken in lane.queue:
                if taken.delivery.id == delivery_id:
                    lane.queue.remove(taken)
                    self._put_back(taken)
                    return

    def needs(self, paths: Collection[Path]) -> bool:
        """Whether it sends content of an event at one of these paths in clear."""
        return bool(needed(self._sink, paths))

    def look_again(self) -> None:
        """Ask the journal again what is due: due times were moved, maybe with the wall clock."""
        self._feed.look_again()
        self._keep_throttle()

    # --- steering -------------------------------------------------------------------------

    async def pause(self, by: Pause, guard: Guard = unguarded) -> None:
        """Begin no attempt until `resume`; pending deliveries are kept. Raises Unavailable."""
        if await self._recovery.pause(by, guard):
            self._put_back_queued()

    async def resume(self, by: Pause | None = None, guard: Guard = unguarded) -> None:
        """Resume the sink. With `by`, only if `by` paused it. Raises Unavailable."""
        await self._recovery.resume(by, guard)
        self._keep_throttle()

    def on_resume(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time the sink was resumed."""
        self._recovery.on_resume = callback

    async def test(self, event_id: str, body: bytes, send: Send | None = None) -> Tested:
        """Send a test event once, paused or not. Nothing is stored.

        `send` is of the opened sink; None: the one that `run` got.
        """
        send = send or self._send
        outgoing = self._attempts.outgoing(
            event_id, body, number=1, replay=False, at=self._clock.now()
        )
        request = self._sink.request(outgoing)
        if send is None:
            attempt = Attempt(at=outgoing.at, outcome="failed", error="closed", took_ms=0.0)
            return Tested(request=request, attempt=attempt)
        tried = await self._attempts.make(
            send, event_id, body, number=1, replay=False, is_sample=True
        )
        return Tested(request=request, attempt=tried.attempt)

    def preview(self, event_id: str, body: bytes) -> str:
        """Return the request of a replay as text; the sink's own secrets are masked."""
        at = self._clock.now()
        outgoing = self._attempts.outgoing(event_id, body, number=1, replay=True, at=at)
        return self._sink.request(outgoing)

    async def run(self, send: Send) -> None:
        """Deliver until cancelled."""
        self._send = send
        self._feed.look_again()  # a question to the journal may have been cut off
        try:
            with self._journal.listen(self._feed.receive, sink=self.name):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._feed.run())
                    tasks.create_task(self._recovery.probe())
                    tasks.create_task(self._recovery.catch_up())
                    tasks.create_task(self._expire_held())
                    for _ in range(self._sink.concurrency):
                        tasks.create_task(self._send_all(send))
        finally:
            self._send = None

    async def close(self) -> None:
        """Begin no attempt; return when the attempts under way are settled.

        Queued deliveries stay taken: the next start of the process sends them at once.
        """
        self._feed.closing = True
        await self._idle.wait()

    # --- take -----------------------------------------------------------------------------

    async def _send_all(self, send: Send) -> None:
        while not self._feed.is_ending:
            taken = await self._next()
            if taken is None:
                continue
            began = self._outages.begin_attempt()
            try:
                outcome = await self._attempt(taken, send)
            except BaseException:
                self._lanes.put(taken)  # for when the sink is opened again
                self._end(taken)
                raise
            finally:
                self._lanes.done(taken)
            # The next one is sent while this one's outcome waits for its commit.
            delivery_id, step = taken.delivery.id, Step()
            self._works = outcome.state is State.DELIVERED
            if self._works:
                step = self._outages.record_success(delivery_id)
            elif outcome.attempt is not None and outcome.attempt.outcome == "failed":
                step = self._outages.record_failure(delivery_id, first=taken.is_first, began=began)
                outcome = msgspec.structs.replace(outcome, held=step.held and not outcome.asked)
            else:
                self._outages.forget(delivery_id)
            self._settle_soon(taken, outcome)
            self._recovery.follow(step)

    async def _next(self) -> Taken | None:
        """Wait for a delivery and for the rate, and begin it; None: it may not be sent now."""
        if not self._lanes.has_work():
            await self._lanes.ready()
        if not self._works and not self._pace.is_free():
            await self._pace.turn()
        self._expire_queued()
        if self._bucket is not None:
            await self._wait_for_rate(self._bucket)
        if self._feed.is_ending or not self._lanes.has_work():
            return None
        taken, paused = self._lanes.pick(), self._health.paused
        is_probe = taken.delivery.due_at is not None
        is_held = paused is Pause.OPERATOR or (paused is not None and not is_probe)
        if self._health.throttled_for or is_held:
            self._lanes.done(taken)
            self._put_back(taken)
            return None
        self._feed.refill(self._lanes.of(taken))
        self._under_way.add(taken.delivery.id)
        self._begin()
        return taken

    async def _wait_for_rate(self, bucket: Bucket) -> None:
        async with self._rated:
            while self._lanes.has_work():
                wait = bucket.take()
                if not wait:
                    break
                if self._sink.expire_after is None:
                    await asyncio.sleep(wait)
                else:  # what is queued may expire before its turn
                    await asyncio.sleep(min(wait, EXPIRE_EVERY))
                    self._expire_queued()

    def _expire_queued(self) -> None:
        """Settle expired deliveries here: they take no turn that another needs."""
        if self._sink.expire_after is None or self._feed.is_ending:
            return
        for lane in self._lanes:
            while lane.queue and self._clock.now() >= self._expires_at(lane.queue[0]):
                self._settle_unsent(lane.queue.popleft(), Outcome(state=State.EXPIRED))

    async def _expire_held(self) -> None:
        """Expire deliveries on time although a pause or a Retry-After holds them."""
        wait, after = EXPIRE_EVERY, self._sink.expire_after
        while after is not None:
            await asyncio.sleep(wait)
            wait = EXPIRE_EVERY
            is_held = self._health.paused is not None or self._health.throttled_for > 0
            if self._feed.is_ending or not is_held:
                continue
            accepted_by = self._clock.now() - after
            first_wait = self._sink.retry.wait(0, lambda: 1.0) or 0.0
            try:
                # The senders settle them. Another one may be next in its line then.
                if await self._feed.take_expired(accepted_by, due_by=accepted_by + first_wait):
                    wait = EXPIRE_MORE
            except Broken:
                return
            except Unavailable:
                continue

    def _begin(self) -> None:
        if not self._busy:
            self._idle.clear()
        self._busy += 1

    def _end(self, taken: Taken) -> None:
        self._under_way.discard(taken.delivery.id)
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    def _put_back_queued(self) -> None:
        for lane in self._lanes:
            while lane.queue:
                self._put_back(lane.queue.popleft())

    def _put_back(self, taken: Taken) -> None:
        """Make a queued delivery pending again, with the due time that it had."""
        delivery, stamp = taken.delivery, self._clock.jumped()
        if taken.is_first and delivery.due_at is None:
            self._feed.put_off(taken)  # due anyway: this costs no write
            return
        due_at = taken.due_at(stamp)
        if due_at is not None:
            self._outages.mark_held()
        again_at = self._clock.now() if due_at is None else due_at
        self._settle_unsent(
            taken,
            Outcome(
                state=State.PENDING,
                due_at=min(again_at, self._expires_at(taken)),
                stamp=stamp,
                asked=delivery.asked,
                fixed=delivery.fixed,
                held=due_at is not None and not delivery.asked,
            ),
        )

    def _settle_unsent(self, taken: Taken, outcome: Outcome) -> None:
        self._begin()
        self._outages.forget(taken.delivery.id)
        self._settle_soon(taken, outcome)

    def _expires_at(self, taken: Taken) -> float:
        return taken.expires_at(self._clock.jumped(), self._sink.expire_after)

    # --- send -----------------------------------------------------------------------------

    async def _attempt(self, taken: Taken, send: Send) -> Outcome:
        delivery = taken.delivery
        is_lasting = self._sink.expire_after is None
        if not is_lasting and self._clock.now() >= self._expires_at(taken):
            return Outcome(state=State.EXPIRED)
        body = self._attempts.open(self._journal.opener, delivery)
        if body is None or self._lacks_content(body):
            # An event with gaps must not pass for a whole one.
            at = self._clock.now()
            attempt = Attempt(at=at, outcome="refused", error=ERASED, took_ms=0.0)
            return Outcome(state=State.EXPIRED, attempt=attempt)
        event_id, number = delivery.event_id, delivery.attempts + 1
        traceparent = self._traces.begin_attempt(
            event_id, at=self._clock.now(), replay=delivery.replay
        )
        tried = await self._attempts.make(
            *(send, event_id, body),
            number=number,
            replay=delivery.replay,
            traceparent=traceparent,
        )
        trace_id = None
        if traceparent is not None:
            made = AttemptMade(
                event_id=event_id,
                sink=self.name,
                host=self._attempts.host,
                delivery_id=self._shown(delivery.id),
                number=number,
                attempt=tried.attempt,
            )
            trace_id = self._traces.end_attempt(traceparent, made)
        if tried.date is not None:
            self._measure_clock(tried, tried.date)
        if tried.attempt.outcome == "failed":
            return self._again(taken, tried, trace_id)
        state = State.DELIVERED if tried.attempt.outcome == "delivered" else State.DEAD
        return Outcome(state=state, attempt=tried.attempt, trace_id=trace_id)

    def _measure_clock(self, tried: Tried, said: str) -> None:
        """Compare our clock with the sink's, once in a while: reading a date takes long."""
        ticks, took = self._clock.ticks(), tried.attempt.took_ms / 1000
        if took > LONGEST_MEASURED or ticks < self._measured_at + MEASURED:
            return
        with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError):
            date = parsedate_to_datetime(said)
            aware = date if date.tzinfo else date.replace(tzinfo=UTC)
            # It was made in the middle of the attempt, within the second that it names.
            self.clock_offset = tried.attempt.at + took / 2 - aware.timestamp() - 0.5
            self._measured_at = ticks

    def _again(self, taken: Taken, tried: Tried, trace_id: str | None) -> Outcome:
        """Return when a failed delivery is tried again, or that it is given up."""
        delivery, ended = taken.delivery, self._clock.now()
        retry_after = tried.retry_after
        if retry_after is not None:
            # A 429 stops all deliveries, another answer only the probes.
            everything = tried.attempt.status == _TOO_MANY
            self._health.defer(min(retry_after, LONGEST_RETRY_AFTER), everything=everything)
            if everything:
                self._put_back_queued()
                self._keep_throttle()
            if tried.by_date:
                retry_after = max(0.0, tried.attempt.at + retry_after - ended)
        stamp = self._clock.jumped()
        due_at = taken.due_at(stamp)
        if due_at is not None:
            # A probe that failed is no attempt: it must not use the schedule up.
            return Outcome(
                state=State.PENDING,
                attempt=msgspec.structs.replace(tried.attempt, probes=1),
                due_at=due_at,
                stamp=stamp,
                asked=delivery.asked,
                fixed=delivery.fixed,
                trace_id=trace_id,
            )
        due_at = self._sink.retry.due(
            delivery.failures + 1, ended=ended, chance=self._clock.chance, retry_after=retry_after
        )
        if due_at is None:
            return Outcome(state=State.DEAD, attempt=tried.attempt, trace_id=trace_id)
        fixed = tried.by_date and retry_after is not None and due_at == ended + retry_after
        # It expires on time, even if the next attempt would be later.
        expires_at = self._expires_at(taken)
        return Outcome(
            state=State.PENDING,
            attempt=tried.attempt,
            due_at=min(due_at, expires_at),
            stamp=stamp,
            asked=retry_after is not None,
            fixed=fixed and due_at <= expires_at,
            trace_id=trace_id,
        )

    def _keep_throttle(self) -> None:
        """Keep in the journal until when a 429 holds the sink: it counts after a restart, too."""
        left = self._health.throttled_for
        if left or self._is_throttle_kept:
            self._is_throttle_kept = left > 0
            until = self._clock.now() + left if left else None
            self._journal.put(SetMoment(f"{THROTTLED}{self.name}", until), self._throttle_kept)

    def _throttle_kept(self, kept: Exception | None) -> None:
        if isinstance(kept, Exception) and not isinstance(kept, Broken):
            self._is_throttle_kept = True
            asyncio.get_running_loop().call_later(PAUSE, self._keep_throttle)

    # --- settle ---------------------------------------------------------------------------

    def _settle_soon(self, taken: Taken, outcome: Outcome) -> None:
        due_at = outcome.due_at
        if due_at is not None and not outcome.fixed:
            due_at += self._clock.jumped() - outcome.stamp
        self._feed.settling(taken, submitted=True)
        settle = Settle(
            taken.delivery,
            outcome.attempt,
            outcome.state,
            due_at=due_at,
            asked=outcome.asked,
            fixed=outcome.fixed,
            held=outcome.held,
            clear=() if outcome.attempt is None else self._attempts.clear,
        )
        # Put at once: the journal works in the order of the calls.
        self._journal.put(settle, partial(self._settled, taken, outcome))

    def _settled(self, taken: Taken, outcome: Outcome, stored: Settled | Exception | None) -> None:
        """Log a stored outcome. Store it again, however long the journal is unavailable."""
        if isinstance(stored, Broken):
            self._end(taken)
            return
        if isinstance(stored, Exception):
            self._feed.settling(taken, submitted=False)
            if isinstance(stored, InvalidRow):
                outcome = outcome.without_answer()
            asyncio.get_running_loop().call_later(PAUSE, self._settle_soon, taken, outcome)
            return
        self._feed.forget(taken)
        accepted_at = taken.accepted_at(self._clock.jumped())
        if outcome.attempt is not None and stored:
            self.meters.add(outcome.attempt, accepted_at=accepted_at)
            if outcome.attempt.outcome != "delivered":
                self.last_failure = outcome.attempt
            if self._attempts.shows_code(taken.delivery.body, outcome.attempt):
                self._code_sent()
        if outcome.state in (State.DEAD, State.EXPIRED) and stored:
            type_ = describe(taken.delivery.body).get("type")
            # A dead delivery of an alert raises no further alert: that could go on without end.
            if not (type_ or "").startswith(SYSTEM):
                self.gave_up(taken.delivery.event_id, outcome.state)
        if outcome.attempt is not None and self._recovery.learn(outcome.attempt):
            steering = asyncio.create_task(self._steer(taken))
            self._steering.add(steering)
            steering.add_done_callback(self._steering.discard)
        else:
            self._end(taken)
        log_outcome(
            taken,
            outcome,
            sink=self.name,
            shown=self._shown,
            accepted_at=accepted_at,
            log_attempted=self._log_attempted,
            leaf=None if stored is None else stored.leaf,
        )

    async def _steer(self, taken: Taken) -> None:
        try:
            if await self._recovery.steer():
                self._put_back_queued()
        finally:
            self._end(taken)


def _order(sink: Sink) -> Path | None:
    return None if sink.ordered_by is None else parse(sink.ordered_by)


def _bucket(sink: Sink, clock: Clock) -> Bucket | None:
    return None if sink.rate is None else Bucket(sink.rate, clock.ticks)
