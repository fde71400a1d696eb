"""Dedupe keys: the provider's time as sent, and the words of a message."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from core.canonical import canonical_code, canonical_text

from ..callback import Key
from .code import read_code
from .times import FIRST_SECOND, ProviderTime

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
    second = -1 if time is None else time.clock - FIRST_SECOND
    if time is None or not 0 <= second <= _LAST:
        return SentTime(None, raw)
    # The provider may write another offset tomorrow; the instant stays.
    return SentTime(second, str(time.clock) if time.zoned else time.as_written())


def all_spellings(
    make: Callable[[str, str], tuple[Key, ...]],
    text: str,
    code: str = "",
    *,
    read: tuple[str | None, str | None] | None = None,
) -> tuple[Key, ...]:
    """Return the keys that `make` returns for a text and a code in three spellings.

    The spellings are: as sent, canonical, and as read. As read, the text may be that of the code
    field, or the code may be found in the text: pass what `read_code` returned as `read`, if it is
    known. The keys as sent are first, because stored events have them.
    """
    read = read_code(code, text) if read is None else read
    canonical = canonical_text(text), canonical_code(code)
    if read == (code, text) == canonical[::-1]:
        return make(text, code)  # nearly all
    made = (
        *make(text, code),
        *make(*canonical),
        *make(canonical_text(read[1] or ""), canonical_code(read[0] or "")),
    )
    return tuple(dict.fromkeys(made))


def make_keys(
    parts: tuple[str, ...], second: int | None, otherwise: tuple[str, ...], received: datetime
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
