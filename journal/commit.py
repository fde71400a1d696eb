"""Group commit: many callers, one transaction, one fsync."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Op = TypeVar("Op")
Result = TypeVar("Result")


class Unavailable(Exception):
    """It could not be made durable this time; the next batch tries again."""


class Broken(Unavailable):
    """What is on disk is not known any more: nothing may be written until a restart."""


class Unfit(Exception):
    """One row of the batch cannot be stored; its neighbours can."""


class _Waiting(Generic[Op, Result]):
    __slots__ = ("future", "op", "then")

    def __init__(
        self,
        op: Op,
        future: "asyncio.Future[Result]",
        then: "Callable[[Result | Exception], None] | None",
    ) -> None:
        self.op, self.future, self.then = op, future, then


class GroupCommit(Generic[Op, Result]):
    """Single flight: while one batch is written, the next gathers.

    At low load a caller pays one fsync; under load the batch grows by itself. `write` runs in
    `thread`, a pool of one: it returns one result an operation once they are durable, or raises
    Unfit, Unavailable or Broken with nothing of the batch stored.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Op]], Sequence[Result]],
        *,
        thread: ThreadPoolExecutor,
        broken: Callable[[], None],
        most: int = 512,
        patience: float = 0.005,
    ) -> None:
        self._write, self._on_broken = write, broken
        self._most, self._patience = most, patience
        self._thread = thread
        self._queue: deque[_Waiting[Op, Result]] = deque()
        self._urgent = False  # somebody in the queue is not patient
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._hurried = False  # the timer does not wait for anybody's patience
        self._closed = False
        self.broken = False

    @property
    def waiting(self) -> int:
        """Operations that are not yet in a transaction."""
        return len(self._queue)

    def submit(
        self,
        op: Op,
        *,
        then: Callable[[Result | Exception], None] | None = None,
        patient: bool = False,
    ) -> "asyncio.Future[Result]":
        """Put the operation into the next batch; the future is done when it is durable.

        Cancelling the future only stops the waiting: the operation stays in its batch. `then` is
        called once with its outcome, cancelled or not, before the future is. A patient operation
        rides with the next batch, or goes after `patience` seconds.
        """
        entry = _Waiting(op, asyncio.get_running_loop().create_future(), then)
        if self.broken or self._closed:
            _answer(entry, self._refusal())
            return entry.future
        self._queue.append(entry)
        self._urgent = self._urgent or not patient
        self._schedule()
        return entry.future

    async def close(self) -> None:
        """Write what waits, patient or not; whoever comes later hears Unavailable."""
        while self._writing is not None or (self._queue and not self.broken):
            self._flush()
            if self._writing is not None:
                await asyncio.wait([self._writing])
        self._closed = True

    def _refusal(self) -> Unavailable:
        if self.broken:
            return Broken("the journal failed; restart the service")
        return Unavailable("the journal is closed")

    def _schedule(self) -> None:
        if self._writing is not None:
            return  # the end of that batch begins the next
        if self._timer is not None:
            if self._hurried or not self._urgent:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._hurried = self._urgent
        # What arrives in the same turn of the loop rides along.
        self._timer = (
            loop.call_soon(self._flush)
            if self._urgent
            else loop.call_later(self._patience, self._flush)
        )

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None or not self._queue or self.broken:
            return
        batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        if not self._queue:
            self._urgent = False
        loop = asyncio.get_running_loop()
        self._writing = loop.create_future()
        writing = loop.run_in_executor(self._thread, self._outcomes, [entry.op for entry in batch])
        writing.add_done_callback(lambda done: self._finish(batch, done.result()))

    def _outcomes(self, ops: Sequence[Op]) -> Sequence[Result | Exception]:
        """One outcome an operation. In the writing thread."""
        try:
            return self._write(ops)
        except Unfit as exc:
            return [exc] if len(ops) == 1 else self._apart(ops)
        except Exception as exc:  # noqa: BLE001 - whatever it is, callers must hear of it
            return [_as_unavailable(exc)] * len(ops)

    def _apart(self, ops: Sequence[Op]) -> Sequence[Result | Exception]:
        """Only an error that names a row comes here: the others of its batch must not suffer.

        By halves, so that one bad row among five hundred costs a score of commits.
        """
        half = len(ops) // 2
        outcomes = self._outcomes(ops[:half])
        fatal = _fatal(outcomes)
        rest = self._outcomes(ops[half:]) if fatal is None else [fatal] * (len(ops) - half)
        return [*outcomes, *rest]

    def _finish(
        self, batch: Sequence[_Waiting[Op, Result]], outcomes: Sequence[Result | Exception]
    ) -> None:
        assert self._writing is not None  # noqa: S101 - set by _flush, and there is one flight
        self._writing.set_result(None)
        self._writing = None
        for entry, outcome in zip(batch, outcomes, strict=True):
            _answer(entry, outcome)
        fatal = _fatal(outcomes)
        if fatal is not None:
            self._break(fatal)
        elif self._queue:
            self._schedule()

    def _break(self, exc: Broken) -> None:
        """A retried commit "succeeds" after a failed fsync, so there is no next one."""
        self.broken = True
        while self._queue:
            _answer(self._queue.popleft(), exc)
        self._on_broken()


def _answer(entry: _Waiting[Op, Result], outcome: Result | Exception) -> None:
    if entry.then is not None:
        _call(entry.then, outcome)
    # A caller that was cancelled has a future that is done: setting it would strand the rest.
    if entry.future.done():
        return
    if isinstance(outcome, Exception):
        entry.future.set_exception(outcome)
    else:
        entry.future.set_result(outcome)


def _call(then: Callable[[Result | Exception], None], outcome: Result | Exception) -> None:
    try:
        then(outcome)
    except Exception as exc:  # noqa: BLE001 - its fault must not strand the rest of the batch
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a callback of the journal failed", "exception": exc}
        )


def _fatal(outcomes: Sequence[Result | Exception]) -> Broken | None:
    return next((outcome for outcome in outcomes if isinstance(outcome, Broken)), None)


def _as_unavailable(exc: Exception) -> Unavailable:
    return exc if isinstance(exc, Unavailable) else Unavailable(type(exc).__name__)
