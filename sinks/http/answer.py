"""The answer of an HTTP server to one delivery: how much of it is read, and what it means."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from ..sink import ANSWER_KEPT, GONE, Failed, Receipt, Refused

#: Bytes of an answer's body. The rest is not read, and the connection is dropped.
MOST_READ: Final = 64 * 1024
#: Seconds to wait for the body after a complete header. The body is kept for people only. It must
#: neither hold a slot nor turn a delivery into a failure.
BODY_PATIENCE: Final = 2.0
#: Seconds before the attempt's own deadline at which reading the body stops.
MARGIN: Final = 0.1
_GONE = 410
#: Statuses with a Retry-After that counts.
_ASKS_TO_WAIT = frozenset({429, 503})
#: 30 million years. A longer number is nonsense, and costs time to read.
_MOST_DIGITS = 15


class SinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an HTTP response that smshook looks at."""

    status: int
    #: The first 1 KiB of the body.
    beginning: bytes
    #: The header Retry-After as it was sent.
    retry_after: str | None
    #: The header Date as it was sent.
    date: str | None = None


def body_until(now: float, until: float, patience: float | None = None) -> float:
    """Return when to stop reading the body of an answer to an attempt that ends at `until`.

    `patience` in seconds; None: that for a body that is kept for people only.
    """
    return min(now + (BODY_PATIENCE if patience is None else patience), until - MARGIN)


async def read_beginning(
    next_chunk: Callable[[], Awaitable[Any]],
    *,
    size: int = MOST_READ,
    until: float,
    broken: type[Exception] | tuple[type[Exception], ...],
    keep: int = ANSWER_KEPT,
    patience: float | None = None,
) -> bytes:
    """Return the first `keep` bytes of a body, if it comes soon. A body without end is no failure.

    `next_chunk` returns bytes or a buffer, None at the end. `size`: the announced length. `until`:
    when the attempt ends, on the clock of `time.monotonic`. `broken`: the errors of a connection
    that ends too early. `patience`: see `body_until`.
    """
    if not size:
        return b""  # without the time limit, which costs as much as reading a short body
    now, body = time.monotonic(), bytearray()
    until = body_until(now, until, patience)
    errors = broken if isinstance(broken, tuple) else (broken,)
    with suppress(TimeoutError, *errors):
        async with asyncio.timeout(until - now):
            # Read to the end of a short body: only then is the connection used again. The time
            # limit is needed, too: a chunk that arrives at a cancellation hides the cancellation.
            while len(body) < min(size, MOST_READ) and time.monotonic() < until:
                chunk = await next_chunk()
                if chunk is None:
                    break
                body += bytes(chunk)
    return bytes(body[:keep])


def confirmed(answer: SinkAnswer, *, now: float) -> Receipt:
    """Return a receipt for 2xx. Raises Refused("gone") for 410, else Failed("status")."""
    if 200 <= answer.status <= 299:  # noqa: PLR2004 - RFC 9110, 15.3
        return Receipt(status=answer.status, answer=answer.beginning, date=answer.date)
    if answer.status == _GONE:
        raise Refused(GONE, status=answer.status, answer=answer.beginning)
    raise Failed(
        "status",
        status=answer.status,
        answer=answer.beginning,
        retry_after=_seconds(answer, now),
        by_date=not (answer.retry_after or "").strip().removeprefix("-").isdigit(),
    )


def _seconds(answer: SinkAnswer, now: float) -> float | None:
    """Return the seconds of Retry-After (RFC 9110, 10.2.3); None: missing or senseless."""
    text = (answer.retry_after or "").strip()
    if answer.status not in _ASKS_TO_WAIT or not text.isascii():
        return None
    if text.removeprefix("-").isdigit():
        return max(0.0, float(text)) if len(text) <= _MOST_DIGITS else None
    try:
        until = parsedate_to_datetime(text)
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
