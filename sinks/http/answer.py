"""The answer of an HTTP server to one delivery: how much of it is read, and what it means."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from ..sink import Failed, Receipt, Refused

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


def confirmed(answer: SinkAnswer, *, now: float) -> Receipt:
    """Return a receipt for 2xx. Raises Refused("gone") for 410, else Failed("status")."""
    if 200 <= answer.status <= 299:  # noqa: PLR2004 - RFC 9110, 15.3
        return Receipt(status=answer.status, answer=answer.beginning)
    if answer.status == _GONE:
        raise Refused("gone", status=answer.status, answer=answer.beginning)
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
