"""Empty the outbox of one sink: take, send, settle."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from journal import Journal, Owed
from journal.commit import Broken, Unavailable, Unfit
from journal.event import Attempt, Delivery, State

from .redact import compile_redact
from .sink import Failed, Outgoing, Receipt, Refused, Send, Sink

#: Deliveries of one sink that are held in memory; what is owed beyond waits in the journal.
CAPACITY = 1000
#: How many are read from the journal at once: it keeps places for them while it asks, and what is
#: accepted meanwhile needs places too.
TAKEN_AT_ONCE = 100
#: Seconds between looks at the journal where it could not answer, and at the clock: a wall clock
#: that jumps must not leave what is due asleep.
PAUSE = 1.0
LONGEST_SLEEP = 30.0
#: A sink at which all fails is tried so often, and for so long, whatever the schedules say: most
#: outages are restarts, and somebody waits for the code.
PROBE_EVERY = 2.0
PROBE_FOR = 60.0
#: Deliveries whose time is moved in one transaction.
HASTENED_AT_ONCE = 1000

log = structlog.get_logger()


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Time and chance, as arguments."""

    #: Seconds since the epoch.
    now: Callable[[], float]
    #: Seconds that only go forward.
    ticks: Callable[[], float]
    #: A number of [0, 1).
    chance: Callable[[], float]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt makes of its delivery."""

    state: State
    #: None: it expired without one.
    attempt: Attempt | None
    #: When it is tried again.
    due_at: float | None = None


class Worker:
    """Delivers to one sink; a slow one fills nobody's queue but its own."""

    def __init__(self, name: str, sink: Sink, journal: Journal, clock: Clock) -> None:
        self.name = name
        self._sink, self._journal, self._clock = sink, journal, clock
        self._redact = compile_redact(sink.redact)
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
        #: On the clock that only goes forward: since when nothing succeeded.
        self._failing_since: float | None = None
        #: Something in the journal may be waiting because of failures.
        self._held_up = False
        #: Until then the sink has asked to be left alone.
        self._quiet_until = 0.0

    # --- handing over ---------------------------------------------------------------------

    def owe(self) -> Owed:
        """What a new event owes this sink; where it is `taken` a place in the queue is kept."""
        wait = self._sink.retry.wait(0, self._clock.chance) or 0.0
        taken = not wait and not self._closing and self._held < CAPACITY
        self._held += taken
        return Owed(sink=self.name, taken=taken, wait=wait)

    def forget(self, owed: Owed) -> None:
        """It was not recorded: a duplicate, or the journal could not."""
        self._held -= owed.taken

    def hand(self, delivery: Delivery) -> None:
        """It is recorded and taken: send it."""
        self._queue.put_nowait(delivery)

    def note(self, due_at: float) -> None:
        """Something in the journal is due then."""
        if self._next_due is None or due_at < self._next_due:
            self._next_due = due_at
            self._awake.set()

    # --- running --------------------------------------------------------------------------

    async def run(self, send: Send) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            tasks.create_task(self._probe())
            for _ in range(self._sink.concurrency):
                tasks.create_task(self._send_all(send))

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
        while self._closing or not self._room() or self._wait() > 0:
            self._awake.clear()
            try:
                async with asyncio.timeout(min(self._wait(), LONGEST_SLEEP) or PAUSE):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _wait(self) -> float:
        """Seconds until something is due; where nothing is known to be, a long time."""
        if self._next_due is None:
            return LONGEST_SLEEP
        return max(0.0, self._next_due - self._clock.now())

    def _room(self) -> int:
        return CAPACITY - self._held

    async def _probe(self) -> None:
        """Try a sink that is down with its oldest delivery, before its schedule says so."""
        while True:
            await asyncio.sleep(PROBE_EVERY)
            if self._busy or self._closing or not self._room() or not self._failed_lately():
                continue
            self._held += 1
            probing = self._journal.probe(self.name)
            probing.add_done_callback(lambda done: self._taken(done, 1))
            try:
                await asyncio.shield(probing)
            except Broken:
                return
            except Unavailable:
                continue

    def _failed_lately(self) -> bool:
        since = self._failing_since
        if since is None or self._clock.now() < self._quiet_until:
            return False
        return self._clock.ticks() - since < PROBE_FOR

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

    def _taken(self, done: "asyncio.Future[Sequence[Delivery]]", limit: int) -> None:
        taken = () if done.exception() else done.result()
        self._held -= limit - len(taken)
        for delivery in taken:
            self._queue.put_nowait(delivery)

    async def _send_all(self, send: Send) -> None:
        while True:
            delivery = await self._queue.get()
            if self._closing:
                continue
            self._begin()
            try:
                outcome = await self._attempt(delivery, send)
            except BaseException:
                self._queue.put_nowait(delivery)  # for when the sink is opened again
                self._end()
                raise
            # The next one is sent while this one's outcome waits for its commit.
            task = asyncio.create_task(self._settle(delivery, outcome))
            self._settling.add(task)
            task.add_done_callback(self._settled)

    def _settled(self, task: "asyncio.Task[None]") -> None:
        self._settling.discard(task)
        self._end()

    def _begin(self) -> None:
        self._busy += 1
        self._idle.clear()

    def _end(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._idle.set()

    async def _attempt(self, delivery: Delivery, send: Send) -> Outcome:
        at, began = self._clock.now(), self._clock.ticks()
        if at >= self._expires_at(delivery):
            return Outcome(state=State.EXPIRED, attempt=None)
        try:
            status = await self._send(delivery, send)
        except Refused as exc:
            attempt = self._attempted(at, began, "refused", exc.status, exc.word)
            return Outcome(state=State.DEAD, attempt=attempt)
        except Failed as exc:
            attempt = self._attempted(at, began, "failed", exc.status, exc.word)
            return self._again(delivery, attempt, exc.retry_after)
        attempt = self._attempted(at, began, "delivered", status, None)
        return Outcome(state=State.DELIVERED, attempt=attempt)

    async def _send(self, delivery: Delivery, send: Send) -> int | None:
        """One attempt: the receipt's status.

        Whatever goes wrong in a sink is Failed or Refused from here on.
        """
        deadline = asyncio.timeout(self._sink.timeout)
        try:
            body = delivery.body if self._redact is None else self._redact(delivery.body)
            outgoing = Outgoing(
                event_id=delivery.event_id,
                body=body,
                attempt=delivery.attempts + 1,
                at=self._clock.now(),
            )
            async with deadline:
                return _confirmed(await send(outgoing))
        except (Failed, Refused):
            raise
        except (Exception, asyncio.CancelledError) as exc:
            if _is_told_to_stop(exc):
                raise
            if deadline.expired():
                raise Failed("timeout") from exc
            # A sink with a fault is one sink with a fault: the worker goes on.
            log.error("sink.fault", sink=self.name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            raise Failed("fault") from exc

    def _attempted(
        self, at: float, began: float, outcome: str, status: int | None, error: str | None
    ) -> Attempt:
        took_ms = round((self._clock.ticks() - began) * 1000, 3)
        return Attempt(at=at, outcome=outcome, status=status, error=error, took_ms=took_ms)

    def _again(self, delivery: Delivery, attempt: Attempt, asked: float | None) -> Outcome:
        retry_after = asked if isinstance(asked, int | float) else None
        ended = self._clock.now()
        if retry_after is not None:
            self._quiet_until = ended + retry_after
        if delivery.due_at is not None:
            # A probe that failed is no attempt: it must not use the schedule up.
            return Outcome(state=State.PENDING, attempt=None, due_at=delivery.due_at)
        due_at = self._sink.retry.due(
            delivery.attempts + 1,
            ended=ended,
            chance=self._clock.chance,
            retry_after=retry_after,
        )
        if due_at is None:
            return Outcome(state=State.DEAD, attempt=attempt)
        # It expires when it is to, not when it would be tried next.
        due_at = min(due_at, self._expires_at(delivery))
        return Outcome(state=State.PENDING, attempt=attempt, due_at=due_at)

    def _expires_at(self, delivery: Delivery) -> float:
        after = self._sink.expire_after
        return math.inf if after is None else delivery.accepted_at + after

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Write the outcome down, however long the journal cannot; then say it."""
        while True:
            try:
                await self._journal.settle(
                    delivery, outcome.attempt, outcome.state, due_at=outcome.due_at
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
        self._say(delivery, outcome)
        await self._learn(outcome)

    async def _learn(self, outcome: Outcome) -> None:
        """What an outcome tells of the sink as a whole."""
        if outcome.state is State.DELIVERED:
            self._failing_since = None
            if self._held_up:
                self._held_up = False
                await self._hasten()
        elif _is_failure(outcome):
            self._held_up = True
            if self._failing_since is None:
                self._failing_since = self._clock.ticks()

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
            self._held_up = True

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


def _is_failure(outcome: Outcome) -> bool:
    """A refusal and an expiry say nothing of the sink."""
    return outcome.state in (State.PENDING, State.DEAD) and (
        outcome.attempt is None or outcome.attempt.outcome == "failed"
    )


def _confirmed(receipt: object) -> int | None:
    """Success is shown: a sink that returns something else has not said that it has the event."""
    if not isinstance(receipt, Receipt):
        raise TypeError("a sink returned no Receipt")
    return receipt.status


def _is_told_to_stop(exc: BaseException) -> bool:
    """Whether this task is being cancelled; a sink may let a CancelledError of its own escape."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _plain(outcome: Outcome) -> Outcome:
    """A status or word that cannot be stored costs the sink those, not the delivery."""
    if outcome.attempt is None:
        return outcome
    attempt = msgspec.structs.replace(outcome.attempt, status=None, error="fault")
    return msgspec.structs.replace(outcome, attempt=attempt)


def real_clock(chance: Callable[[], float]) -> Clock:
    """The clocks of this machine."""
    return Clock(now=time.time, ticks=time.monotonic, chance=chance)
