"""What makes two callbacks one event: the provider's time as sent, and what it said."""

from datetime import UTC, datetime

import msgspec

from .source import Key
from .times import FIRST, Stated

_WINDOW = 7200


class Sent(msgspec.Struct, frozen=True):
    """A provider's time as it stands in a key: never through a configured zone.

    Correcting `timezone` must not make a retry a new event.
    """

    #: Since 2000; None where no time that makes sense was sent.
    second: int | None
    text: str


def sent(stated: Stated | None, raw: str, received: datetime) -> Sent:
    """`raw` is what stood in the field, for where it makes no sense."""
    if stated is None or not stated.makes_sense(UTC, received):
        return Sent(second=None, text=raw)
    second = int((stated.clock - FIRST).total_seconds())
    # An offset may be written one way today and another tomorrow; the second stays.
    if stated.zoned:
        return Sent(second=second, text=str(int(stated.clock.timestamp())))
    return Sent(second=second, text=stated.shown())


def keys(
    *parts: str, second: int | None, otherwise: tuple[str, ...], received: datetime
) -> tuple[Key, ...]:
    """One key where the provider said when; else windows, over the parts and `otherwise`."""
    if second is not None:
        return (Key(second=second, parts=parts),)
    return windows((*parts, *otherwise), received)


def windows(parts: tuple[str, ...], received: datetime) -> tuple[Key, Key]:
    """Keys for what has neither a time nor an id of its own.

    Two windows of arrival time that overlap by half: retries within an hour always share one,
    while the same words on another day are another event.
    """
    at = int(received.timestamp())
    return (
        Key(parts=(*parts, f"w0:{at // _WINDOW}")),
        Key(parts=(*parts, f"w1:{(at + _WINDOW // 2) // _WINDOW}")),
    )
