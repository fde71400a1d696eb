"""Finds the event that a message received a second way, by callback or by poll, is a copy of.

Polled rows often lack the time or the text that callbacks have. One dedupe key cannot cover both,
so the events of one order are compared.
"""

from collections.abc import Callable, Iterable

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


def find_copy(mine: Copy, candidates: Iterable[PossibleCopy]) -> PossibleCopy | None:
    """Return the candidate that is the same message, or None.

    The first rule that holds for any candidate decides. If it holds for several, the nearest in
    time is returned, then the oldest. The same text at a different time is another message,
    because services send a code again.
    """
    nearest_first = sorted(candidates, key=lambda one: (_distance(mine, one.copy), one.seq))
    for rule in _RULES:
        for one in nearest_first:
            if rule(mine, one.copy):
                return one
    return None


def _distance(mine: Copy, other: Copy) -> float:
    """Return the seconds between two copies; a copy without a time comes last."""
    if mine.second is None or other.second is None:
        return float("inf")
    return abs(mine.second - other.second)


def _has_same_text(mine: Copy, other: Copy) -> bool:
    """Whether two texts differ in blanks and HTML entities only."""
    if mine.text is None or other.text is None:
        return False
    return mine.text == other.text or canonical_text(mine.text) == canonical_text(other.text)


def _has_same_code(mine: Copy, other: Copy) -> bool:
    """Whether two codes have the same letters and digits, where one copy has no text."""
    if not _may_have_same_code(mine, other) or mine.code is None or other.code is None:
        return False
    return mine.code == other.code or canonical_code(mine.code) == canonical_code(other.code)


def _has_code_in_text(mine: Copy, other: Copy) -> bool:
    """Whether one copy is a code alone, and the other's text has it: `482913`, `482-913`."""
    if not _may_have_same_code(mine, other):
        return False
    return any(
        one.code is not None and another.text is not None and has_code(another.text, one.code)
        for one, another in ((mine, other), (other, mine))
    )


def _may_have_same_code(mine: Copy, other: Copy) -> bool:
    if mine.text is not None and other.text is not None:
        return False
    return _is_untimed(mine, other) or _distance(mine, other) <= MAX_DIFFERENCE


def _is_untimed(mine: Copy, other: Copy) -> bool:
    return mine.second is None or other.second is None


_RULES: tuple[Callable[[Copy, Copy], bool], ...] = (
    lambda mine, other: _has_same_text(mine, other) and _distance(mine, other) <= MAX_DIFFERENCE,
    lambda mine, other: _has_same_text(mine, other) and _is_untimed(mine, other),
    _has_same_code,
    _has_code_in_text,
)
