"""One attempt at a sink.

Rules that live here: `timeout` for the whole attempt, `redact`, our own word for
each error, and the first 1 KiB of the answer.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from core.clock import WallClock
from core.delivery import Attempt

from .redact import compile_redact
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


class Attempts:
    """Makes attempts at one sink. Whatever the sink does, each attempt ends as Tried."""

    def __init__(self, name: str, sink: Sink, clock: Clock) -> None:
        self._name, self._sink, self._clock = name, sink, clock
        self._redact = compile_redact(sink.redact)

    async def make(
        self, send: Send, event_id: str, body: bytes, *, number: int, replay: bool
    ) -> Tried:
        """Send the event once. `body`: the event as stored; `number`: 1 for the first attempt."""
        at, began = self._clock.now(), self._clock.ticks()
        try:
            receipt = await self._sent(send, event_id, body, number, replay=replay, at=at)
        except Refused as exc:
            return Tried(attempt=self._ended(at, began, "refused", exc))
        except Failed as exc:
            asked = exc.retry_after
            return Tried(
                attempt=self._ended(at, began, "failed", exc),
                retry_after=asked if isinstance(asked, int | float) else None,
                by_date=exc.by_date,
            )
        return Tried(attempt=self._ended(at, began, "delivered", receipt))

    def outgoing(
        self, event_id: str, body: bytes, *, number: int, replay: bool, at: float
    ) -> Outgoing:
        """Return the event as the sink may see it."""
        seen = body if self._redact is None else self._redact(body)
        return Outgoing(event_id=event_id, body=seen, attempt=number, at=at, replay=replay)

    async def _sent(
        self, send: Send, event_id: str, body: bytes, number: int, *, replay: bool, at: float
    ) -> Receipt:
        """Send with the deadline. Raises Failed or Refused, whatever the sink raises."""
        deadline = asyncio.timeout(self._sink.timeout)
        try:
            outgoing = self.outgoing(event_id, body, number=number, replay=replay, at=at)
            async with deadline:
                receipt: object = await send(outgoing)
            if isinstance(receipt, Receipt):
                return receipt
            raise TypeError("a sink returned no Receipt")  # noqa: TRY301 - a fault like any other
        except (Failed, Refused):
            raise
        except (Exception, asyncio.CancelledError) as exc:
            if _is_cancelled(exc):
                raise
            if deadline.expired():
                raise Failed("timeout") from exc
            # The error stays with this attempt: the worker continues.
            log.error("sink.fault", sink=self._name, error=type(exc).__name__)  # noqa: TRY400 - a traceback shows values
            raise Failed("fault") from exc

    def _ended(
        self, at: float, began: float, outcome: str, answer: Receipt | Failed | Refused
    ) -> Attempt:
        took_ms = round((self._clock.ticks() - began) * 1000, 3)
        return Attempt(
            at=at,
            outcome=outcome,
            status=answer.status,
            error=None if isinstance(answer, Receipt) else answer.word,
            took_ms=took_ms,
            answer=answer.answer[:ANSWER_KEPT] or None,
        )


def _is_cancelled(exc: BaseException) -> bool:
    """Whether this task is cancelled; a sink may let a CancelledError of its own escape."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0
