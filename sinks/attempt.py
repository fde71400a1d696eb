"""One attempt at a sink.

Rules that live here: `timeout` for the whole attempt, `redact`, our own word for
each error, and the first 1 KiB of the answer.
"""

import asyncio
from collections.abc import Callable
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
        outcome, retry_after, by_date = "delivered", None, False
        answer = await self._send(
            *(send, event_id, body, number),
            replay=replay,
            at=at,
            is_sample=is_sample,
            traceparent=traceparent,
        )
        if isinstance(answer, Refused):
            outcome = "refused"
        elif isinstance(answer, Failed):
            outcome, by_date = "failed", answer.by_date
            if isinstance(answer.retry_after, int | float):
                retry_after = answer.retry_after
        attempt = Attempt(
            at=at,
            outcome=outcome,
            status=answer.status,
            error=None if isinstance(answer, Receipt) else answer.word,
            took_ms=round((self._clock.ticks() - began) * 1000, 3),
            answer=answer.answer[:ANSWER_KEPT] or None,
        )
        date = answer.date if isinstance(answer, Receipt) else None
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
        deadline: _Deadline | None = None
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
            deadline = _Deadline(self._sink.timeout)
            try:
                receipt: object = await send(outgoing)
            finally:
                deadline.end()
            if isinstance(receipt, Receipt):
                return receipt
            raise TypeError("a sink returned no Receipt")  # noqa: TRY301 - a fault like any other
        except (Failed, Refused) as exc:
            return exc
        except (Exception, asyncio.CancelledError) as exc:
            # A sink may let a CancelledError of its own escape: only ours ends this task.
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if deadline is not None and deadline.expired:
                return Failed("timeout")
            # The error stays with this attempt: the worker continues.
            log.error("sink.fault", sink=self._name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            return Failed("fault")


class _Deadline:
    """Cancels the current task after these seconds, unless it ends before.

    `asyncio.timeout` does the same, and costs three times as much.
    """

    __slots__ = ("_task", "_timer", "expired")

    def __init__(self, seconds: float) -> None:
        self._task, self.expired = asyncio.current_task(), False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def end(self) -> None:
        """End it. A cancellation by somebody else stays in force."""
        self._timer.cancel()
        if self.expired and self._task is not None:
            self._task.uncancel()

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()


def _host(sink: Sink) -> str | None:
    url = sink.urls().get("url")
    try:
        return None if url is None else urlsplit(url.reveal()).hostname
    except ValueError:  # its own check is another one
        return None
