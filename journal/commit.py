"""Group commit: many callers, one transaction, one fsync.

This module gathers operations and answers their callers. The database writes them: in SQLite,
`BatchWriter.write` in `sqlite/batch.py` opens and commits the transaction.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from core.errors import Broken, InvalidRow, Unavailable
from core.meters import Histogram

from .thread import WorkThread

Op = TypeVar("Op")
Result = TypeVar("Result")
Done = TypeVar("Done")

#: Seconds that a commit may take before its callers get Unavailable.
STALLED_AFTER = 5.0
#: The reason that callers get while a commit takes too long.
STALLED = "stalled: the disk does not answer"


class CommitMeters:
    """The batches that were committed since the start."""

    def __init__(self) -> None:
        self.commits = self.operations = 0
        #: From the begin of a transaction to the answer of its callers.
        self.seconds = Histogram()


class _Waiting(msgspec.Struct, Generic[Op, Result]):
    op: Op
    #: None once it was called.
    answer: Callable[[Result | Exception], None] | None
    then: Callable[[Result | Exception], None] | None
    endless: bool


class GroupCommit(Generic[Op, Result]):
    """Write operations in batches, one batch at a time.

    While a batch is written, the next one gathers. At low load a caller pays one fsync. Under load
    the batch grows. `write` runs in `thread`. It returns one result for each operation once they
    are durable. Or it stores nothing of the batch, and raises InvalidRow, Unavailable or Broken.
    `tend` is called after each batch.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Op]], Sequence[Result]],
        *,
        thread: WorkThread,
        broken: Callable[[], None],
        tend: Callable[[], None] = lambda: None,
        most: int = 512,
        patience: float = 0.005,
        stalled_after: float = STALLED_AFTER,
    ) -> None:
        self._write, self._on_broken, self._tend = write, broken, tend
        self._most, self._patience, self._stalled_after = most, patience, stalled_after
        self._thread = thread
        self._queue: deque[_Waiting[Op, Result]] = deque()
        #: Work for the thread outside a transaction. Each entry has its function as operation.
        self._chores: deque[_Waiting[Callable[[], Any], Any]] = deque()
        self._in_flight: Sequence[_Waiting[Any, Any]] = ()
        self._ended: asyncio.Future[None] | None = None  # `close` waits for the batch
        self._urgent = False  # an operation in the queue is not patient
        self._timer: asyncio.Handle | None = None
        self._patrol: asyncio.TimerHandle  # set with `_in_flight`
        self._hurried = False  # the timer does not wait for patient operations
        self._closed = False
        #: The error after which nothing may be written; None: writing is possible.
        self.failure: Broken | None = None
        #: When the current transaction began, by the clock of the loop; None: a chore runs.
        self._began: float | None = None
        #: The current commit takes too long.
        self.stalled = False
        self.meters = CommitMeters()

    @property
    def broken(self) -> bool:
        return self.failure is not None

    @property
    def waiting(self) -> int:
        """Operations that are not yet in a transaction."""
        return len(self._queue)

    def put(
        self,
        op: Op,
        answer: Callable[[Result | Exception], None],
        *,
        then: Callable[[Result | Exception], None] | None = None,
        patient: bool = False,
        endless: bool = False,
    ) -> None:
        """Put the operation into the next batch; `answer` is called once, when it is durable.

        `then` is called once with the outcome, before `answer`. A stall makes the answer
        Unavailable at once, and `then` still gets the true outcome. A patient operation waits up to
        `patience` seconds for another batch. The result of an endless one must not be lost: its
        answer waits for the true result, however long the disk takes.
        """
        entry: _Waiting[Op, Result] = _Waiting(op, answer, then, endless)
        if self.failure is not None or self._closed or (self.stalled and not endless):
            _report(entry, self._refusal())
            return
        self._queue.append(entry)
        self._urgent = self._urgent or not patient
        if not self._hurried or self._timer is None:
            self._schedule()

    def submit(
        self,
        op: Op,
        *,
        then: Callable[[Result | Exception], None] | None = None,
        patient: bool = False,
        endless: bool = False,
    ) -> "asyncio.Future[Result]":
        """Put the operation like `put`; the answer is the result of the future.

        Cancelling the future does not cancel the operation.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.put(op, partial(settle, future), then=then, patient=patient, endless=endless)
        return future

    def run(self, work: Callable[[], Done]) -> "asyncio.Future[Done]":
        """Run `work` in the writing thread, between two batches. If it raises Broken, fail."""
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        if self.broken or self._closed:
            future.set_exception(self._refusal())
            return future
        self._chores.append(_Waiting(work, partial(settle, future), None, endless=True))
        self._schedule()
        return future

    def fail(self, exc: Broken) -> None:
        """Fail for good: after a failed fsync, a retried commit may only seem to succeed."""
        if self.broken:
            return
        self.failure = exc
        left: list[_Waiting[Any, Any]] = [*self._queue, *self._chores]
        self._queue.clear()
        self._chores.clear()
        for entry in left:
            _report(entry, exc)
        self._on_broken()

    async def close(self, last: Callable[[], object] = lambda: None) -> None:
        """Write the waiting operations, then run `last`; later operations get Unavailable."""
        await self._written()
        with contextlib.suppress(Unavailable):
            await asyncio.gather(self.run(last), self._written())
        self._closed = True

    async def _written(self) -> None:
        while self._in_flight or ((self._queue or self._chores) and not self.broken):
            self._flush()
            if self._in_flight:
                self._ended = asyncio.get_running_loop().create_future()
                await self._ended

    def _refusal(self) -> Unavailable:
        if self.failure is not None:
            return Broken(str(self.failure))
        if self.stalled:
            return Unavailable(STALLED)
        return Unavailable("the journal is closed")

    def _schedule(self) -> None:
        if self._in_flight:
            return  # the next batch begins when this one ends
        urgent = self._urgent or bool(self._chores)
        if self._timer is not None:
            if self._hurried or not urgent:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._hurried = urgent
        # Operations of the same turn of the loop share the batch.
        self._timer = (
            loop.call_soon(self._flush) if urgent else loop.call_later(self._patience, self._flush)
        )

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight or self.broken:
            return
        batch: Sequence[_Waiting[Any, Any]]
        write: Callable[[Sequence[Any]], Sequence[Any]]
        if self._chores:
            batch, write = [self._chores.popleft()], lambda chores: [chores[0]()]
        elif self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            write = self._write
            if not self._queue:
                self._urgent = False
        else:
            return
        loop = asyncio.get_running_loop()
        self._in_flight = batch
        self._began = loop.time() if write is self._write else None
        self._patrol = loop.call_later(self._stalled_after, self._stall)
        ops = [entry.op for entry in batch]
        self._thread.run(partial(_outcomes, write, ops), self._finish)

    def _stall(self) -> None:
        """Answer everything but endless operations: the disk does not respond."""
        self.stalled = True
        exc = self._refusal()
        for entry in self._in_flight:
            if not entry.endless:
                _report(entry, exc, known=False)  # `then` is called when the outcome is known
        waiting, self._queue = self._queue, deque()
        for entry in waiting:
            if entry.endless:
                self._queue.append(entry)
            else:
                _report(entry, exc)

    def _finish(self, outcomes: Sequence[Any]) -> None:
        """Answer the callers of the written batch, and begin the next one."""
        self._patrol.cancel()
        batch, self._in_flight, self.stalled = self._in_flight, (), False
        if self._ended is not None:
            settle(self._ended, None)
        if self.failure is not None:  # a reader failed it meanwhile: return no more results
            outcomes = [self.failure] * len(batch)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        stored = len(outcomes) - len(errors)
        if self._began is not None and stored:
            self.meters.commits += 1
            self.meters.operations += stored
            self.meters.seconds.add(asyncio.get_running_loop().time() - self._began)
        for entry, outcome in zip(batch, outcomes, strict=True):
            _report(entry, outcome)
        fatal = _fatal(errors)
        if fatal is not None:
            self.fail(fatal)
        if self.broken:
            return
        self._tend()
        if self._queue or self._chores:
            self._schedule()


def settle(future: "asyncio.Future[Result]", outcome: Result | Exception) -> None:
    """Give a future its outcome, unless its caller was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _report(
    entry: _Waiting[Op, Result], outcome: Result | Exception, *, known: bool = True
) -> None:
    """Call `then` with an outcome that is known, and `answer` if it was not called before."""
    callbacks = (entry.then if known else None, entry.answer)
    entry.answer = None
    for callback in filter(None, callbacks):
        try:
            callback(outcome)
        except Exception as exc:  # noqa: BLE001 - a faulty callback must not strand the batch
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a callback of the journal failed", "exception": exc}
            )


def _outcomes(
    write: Callable[[Sequence[Op]], Sequence[Result]], ops: Sequence[Op]
) -> Sequence[Result | Exception]:
    """Return one outcome for each operation. Runs in the writing thread."""
    try:
        return write(ops)
    except InvalidRow as exc:
        if len(ops) == 1:
            return [exc]
    except Exception as exc:  # noqa: BLE001 - the callers must get any error
        return [exc if isinstance(exc, Unavailable) else Unavailable(type(exc).__name__)] * len(ops)
    # Write in halves: a bad row must not fail the other rows. One bad row among five hundred costs
    # about twenty commits.
    half = len(ops) // 2
    outcomes = _outcomes(write, ops[:half])
    fatal = _fatal(outcomes)
    rest = _outcomes(write, ops[half:]) if fatal is None else [fatal] * (len(ops) - half)
    return [*outcomes, *rest]


def _fatal(outcomes: Sequence[object]) -> Broken | None:
    return next((outcome for outcome in outcomes if isinstance(outcome, Broken)), None)
