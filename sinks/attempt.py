"""One attempt at a sink.

Rules that live here: `timeout` for the whole attempt, `redact`, our own word for
each error, and the first 1 KiB of the answer.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import structlog

from core.clock import WallClock
from core.delivery import Attempt, Delivery
from core.event import has_code
from journal.seal import Opener, Opening, Reason, StoredBody
from journal.seal import masked_paths as sealed_in

from .erased import needed
from .redact import clear_codes, clear_kinds, compile_redact
from .sink import ANSWER_KEPT, Failed, Outgoing, Receipt, Refused, Send, Sink

log = structlog.get_logger()


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """Time and chance, as arguments."""

    #: Seconds since the epoch.
    now: Callable[[], float]
    #: Seconds that only go forward.
    ticks: Callable[[], float]
    #: A number of [0, 1).
    chance: Callable[[], float]
    #: Seconds by which `now` has jumped so far.
    jumped: Callable[[], float] = lambda: 0.0


def real_clock(chance: Callable[[], float], wall: WallClock | None = None) -> Clock:
    """Return the clocks of this machine."""
    wall = WallClock() if wall is None else wall
    return Clock(now=wall.now, ticks=wall.ticks, chance=chance, jumped=wall.jumped)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, and the sink's Retry-After."""

    attempt: Attempt
    #: Seconds to wait; `by_date`: until a date, counted from the attempt's `at`.
    retry_after: float | None = None
    by_date: bool = False
    #: The sink's own time, as its header Date has it.
    date: str | None = None


class Attempts:
    """Makes attempts at one sink. Each attempt ends as Tried, whatever the sink does."""

    def __init__(self, name: str, sink: Sink, clock: Clock) -> None:
        self._name, self._sink, self._clock = name, sink, clock
        self._redact = compile_redact(sink.redact)
        self._shows_codes = bool(clear_codes(sink.redact))
        #: The host of its URL; None: it has none.
        self.host = _host(sink)
        #: The kinds of content that the sink gets in clear.
        self.clear = clear_kinds(sink.redact)
        self._deadlines = _Deadlines(sink.timeout)

    def open(self, opener: Opener, delivery: Delivery) -> bytes | None:
        """Return the event with all that the sink gets in clear. None: a part of that is erased.

        Fields that the sink does not get stay masked.
        """
        if not delivery.is_masked:
            return delivery.body
        sealed = sealed_in(msgspec.json.decode(delivery.body))
        kinds = [kind for kind, paths in sealed.items() if needed(self._sink, paths)]
        stored = StoredBody(delivery.event_id, delivery.body, delivery.codes, delivery.people)
        return opener.unmask(stored, Opening(kinds, Reason.DELIVERY))

    def shows_code(self, body: bytes, attempt: Attempt) -> bool:
        """Return whether the sink got a code in clear: it took the event, or answered."""
        arrived = attempt.outcome == "delivered" or attempt.status is not None
        return arrived and self._shows_codes and has_code(body)

    async def make(
        self,
        send: Send,
        event_id: str,
        body: bytes,
        *,
        number: int,
        replay: bool,
        is_sample: bool = False,
        traceparent: str | None = None,
    ) -> Tried:
        """Send the event once. `body`: the event as stored; `number`: 1 for the first attempt.

        A sample is not checked: every sink may get it.
        """
        at, began = self._clock.now(), self._clock.ticks()
        outcome, word, retry_after, by_date, date = "delivered", None, None, False, None
        answer = await self._send(
            *(send, event_id, body, number),
            replay=replay,
            at=at,
            is_sample=is_sample,
            traceparent=traceparent,
        )
        if isinstance(answer, Receipt):
            date = answer.date
        elif isinstance(answer, Refused):
            outcome, word = "refused", answer.word
        else:
            outcome, word, by_date = "failed", answer.word, answer.by_date
            if isinstance(answer.retry_after, int | float):
                retry_after = answer.retry_after
        attempt = Attempt(
            at=at,
            outcome=outcome,
            status=answer.status,
            error=word,
            took_ms=round((self._clock.ticks() - began) * 1000, 3),
            answer=answer.answer[:ANSWER_KEPT] or None,
        )
        return Tried(attempt=attempt, retry_after=retry_after, by_date=by_date, date=date)

    def outgoing(
        self,
        event_id: str,
        body: bytes,
        *,
        number: int,
        replay: bool,
        at: float,
        traceparent: str | None = None,
    ) -> Outgoing:
        """Return the event as the sink may see it."""
        seen = body if self._redact is None else self._redact(body)
        return Outgoing(
            event_id=event_id,
            body=seen,
            attempt=number,
            at=at,
            replay=replay,
            traceparent=traceparent,
        )

    async def _send(
        self,
        send: Send,
        event_id: str,
        body: bytes,
        number: int,
        *,
        replay: bool,
        at: float,
        is_sample: bool,
        traceparent: str | None,
    ) -> Receipt | Failed | Refused:
        """Send with the deadline, and return the result, whatever the sink returns or raises."""
        expired = False
        try:
            if not is_sample:
                self._sink.check(body)
            outgoing = self.outgoing(
                *(event_id, body),
                number=number,
                replay=replay,
                at=at,
                traceparent=traceparent,
            )
            task = self._deadlines.begin()
            try:
                receipt: object = await send(outgoing)
            finally:
                expired = self._deadlines.end(task)
            if isinstance(receipt, Receipt):
                return receipt
            raise TypeError("a sink returned no Receipt")  # noqa: TRY301 - a fault like any other
        except (Failed, Refused) as exc:
            return exc
        except (Exception, asyncio.CancelledError) as exc:
            # A sink may let a CancelledError of its own escape: only ours ends this task.
            current = asyncio.current_task()
            is_ours = current is not None and current.cancelling()
            if isinstance(exc, asyncio.CancelledError) and is_ours:
                raise
            if expired:
                return Failed("timeout")
            # The error stays with this attempt: the worker continues.
            log.error("sink.fault", sink=self._name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            return Failed("fault")


class _Deadlines:
    """Cancels each task that has not ended after these seconds.

    All tasks have the same time, so the first to begin is the first to be late, and one timer
    serves them all. A timer for each attempt would cost as much as its log line, and
    `asyncio.timeout` three times as much.
    """

    __slots__ = ("_late", "_seconds", "_timer", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: When each task is late, the first one first.
        self._until: dict[asyncio.Task[Any], float] = {}
        #: The tasks that were cancelled.
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "asyncio.Task[Any]":
        """Begin the time of the current task, and return the task."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        loop = task.get_loop()
        self._until[task] = until = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(until, self._cancel_late, loop)
        return task

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """End its time; return whether it was late. Another's cancellation stays in force."""
        if self._until.pop(task, None) is not None:
            return False
        self._late.remove(task)
        task.uncancel()
        return True

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now, self._timer = loop.time(), None
        while self._until:
            task, until = next(iter(self._until.items()))
            if until > now:
                self._timer = loop.call_at(until, self._cancel_late, loop)
                break
            del self._until[task]
            self._late.add(task)
            task.cancel()


def _host(sink: Sink) -> str | None:
    url = sink.urls().get("url")
    try:
        return None if url is None else urlsplit(url.reveal()).hostname
    except ValueError:  # its own check is another one
        return None
