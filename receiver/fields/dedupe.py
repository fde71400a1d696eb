"""What makes two callbacks one event: the provider's time as sent, and what it said."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from core.canonical import canonical_code, canonical_text

from ..callback import Key
from .code import read_code
from .times import FIRST, Stated

_WINDOW = 7200
#: What four bytes hold: February 2136.
_LAST = 2**32 - 1


class SentTime(msgspec.Struct, frozen=True):
    """A provider's time as it stands in a key: never through a configured zone.

    Correcting `timezone` must not make a retry a new event.
    """

    #: Since 2000; None where no time that makes sense was sent.
    second: int | None
    text: str


def sent(stated: Stated | None, raw: str) -> SentTime:
    """`raw` is what stood in the field, for where it makes no sense.

    Whether it does is not asked of our clock: a retry must not make more sense than the first.
    """
    second = -1 if stated is None else int((stated.clock - FIRST).total_seconds())
    if stated is None or not 0 <= second <= _LAST:
        return SentTime(second=None, text=raw)
    # An offset may be written one way today and another tomorrow; the second stays.
    if stated.zoned:
        return SentTime(second=second, text=str(int(stated.clock.timestamp())))
    return SentTime(second=second, text=stated.shown())


def in_any_spelling(
    make: Callable[[str, str], tuple[Key, ...]], text: str, code: str = ""
) -> tuple[Key, ...]:
    """Return what `make` gives for the text and the code as sent, in one spelling, and as read.

    As read: a text that came in the code field, or a code that only the text has. The first keys
    are those that stored events have; so the others are added where they differ.
    """
    read_as, text_as = read_code(code, text)
    made = (
        *make(text, code),
        *make(canonical_text(text), canonical_code(code)),
        *make(canonical_text(text_as or ""), canonical_code(read_as or "")),
    )
    return tuple(dict.fromkeys(made))


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
