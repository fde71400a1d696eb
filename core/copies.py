"""Finds the event of a message that arrives a second way: by callback and by poll.

Polled rows often lack the time or the text that callbacks have. One dedupe key cannot cover both,
so the events of one order are compared.
"""

from collections.abc import Iterable

import msgspec

from .canonical import canonical_code, canonical_text, has_code

#: Seconds by which the times of two copies may differ.
MAX_DIFFERENCE = 2


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a message, as one way of receiving it has it."""

    #: The way: `callback`, or the command that was polled. Messages of one way have different
    #: dedupe keys, so they are not compared.
    form: str
    text: str | None = None
    code: str | None = None
    #: The provider's time, in seconds since the epoch; None where it has none.
    second: float | None = None


class PossibleCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the same order that has no copy of this form yet."""

    seq: int
    id: str
    copy: Copy
    #: Its text and code are erased, so only the time can be compared.
    erased: bool = False


def find_copy(mine: Copy, candidates: Iterable[PossibleCopy]) -> PossibleCopy | None:
    """Return the candidate that is the same message, or None.

    The first rule that holds for any candidate decides. If it holds for several, the nearest in
    time is returned, then the oldest. The same text at a different time is another message,
    because services send a code again.
    """
    found = [
        (rule, _distance(mine, one.copy), one.seq, one)
        for one in candidates
        if (rule := _rule(mine, one)) is not None
    ]
    return min(found, key=lambda ranked: ranked[:3])[-1] if found else None


def _rule(mine: Copy, other: PossibleCopy) -> int | None:
    """Return the number of the first rule, or of the last one: an erased copy of the same time."""
    if not other.erased:
        return _first_rule(mine, other.copy)
    return 4 if _distance(mine, other.copy) <= MAX_DIFFERENCE else None


def _first_rule(mine: Copy, other: Copy) -> int | None:
    """Return the number of the first rule by which two copies are the same message, or None.

    0: the same text at nearly the same time. 1: the same text, where a copy has no time.
    2: the same code, where a copy has no text. 3: one copy is a code alone that the other's text
    has: `482913`, `482-913`.
    """
    is_untimed = mine.second is None or other.second is None
    if not is_untimed and _distance(mine, other) > MAX_DIFFERENCE:
        return None
    if mine.text is not None and other.text is not None:
        # Blanks and HTML entities may differ.
        if mine.text != other.text and canonical_text(mine.text) != canonical_text(other.text):
            return None
        return 1 if is_untimed else 0
    if (
        mine.code is not None
        and other.code is not None
        and canonical_code(mine.code) == canonical_code(other.code)
    ):
        return 2
    for one, another in ((mine, other), (other, mine)):
        if one.code is not None and another.text is not None and has_code(another.text, one.code):
            return 3
    return None


def _distance(mine: Copy, other: Copy) -> float:
    """Return the seconds between two copies; a copy without a time comes last."""
    if mine.second is None or other.second is None:
        return float("inf")
    return abs(mine.second - other.second)
