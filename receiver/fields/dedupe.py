"""Dedupe keys: the provider's time as sent, and the words of a message."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from core.canonical import canonical_code, canonical_text

from ..callback import Key
from .code import read_code
from .times import FIRST, ProviderTime

_WINDOW = 7200
#: The limit of four bytes: February 2136.
_LAST = 2**32 - 1


class SentTime(msgspec.Struct, frozen=True):
    """A provider's time as it is in a key, without the configured zone.

    Otherwise a correction of `timezone` would make a retry a new event.
    """

    #: Since 2000; None where no plausible time was sent.
    second: int | None
    text: str


def read_sent_time(time: ProviderTime | None, raw: str) -> SentTime:
    """Return the time for a key. `raw` is the field's text, used for an implausible time.

    Our clock is not used: a retry must get the same key as the first callback.
    """
    second = -1 if time is None else int((time.clock - FIRST).total_seconds())
    if time is None or not 0 <= second <= _LAST:
        return SentTime(second=None, text=raw)
    # The provider may write another offset tomorrow; the instant stays.
    if time.zoned:
        return SentTime(second=second, text=str(int(time.clock.timestamp())))
    return SentTime(second=second, text=time.as_written())


def all_spellings(
    make: Callable[[str, str], tuple[Key, ...]], text: str, code: str = ""
) -> tuple[Key, ...]:
    """Return the keys that `make` returns for a text and a code in three spellings.

    The spellings are: as sent, canonical, and as read. As read, the text may be that of the code
    field, or the code may be found in the text. The keys as sent are first, because stored events
    have them.
    """
    read_as, text_as = read_code(code, text)
    made = (
        *make(text, code),
        *make(canonical_text(text), canonical_code(code)),
        *make(canonical_text(text_as or ""), canonical_code(read_as or "")),
    )
    return tuple(dict.fromkeys(made))


def make_keys(
    *parts: str, second: int | None, otherwise: tuple[str, ...], received: datetime
) -> tuple[Key, ...]:
    """Return one key if the provider sent a time; else windows over the parts and `otherwise`."""
    if second is not None:
        return (Key(second=second, parts=parts),)
    return make_windows((*parts, *otherwise), received)


def make_windows(parts: tuple[str, ...], received: datetime) -> tuple[Key, Key]:
    """Return the keys of a callback that has neither a time nor an id of its own.

    They are two windows of arrival time that overlap by half. Retries within an hour always share
    one, while the same words on another day are another event.
    """
    at = int(received.timestamp())
    return (
        Key(parts=(*parts, f"w0:{at // _WINDOW}")),
        Key(parts=(*parts, f"w1:{(at + _WINDOW // 2) // _WINDOW}")),
    )
