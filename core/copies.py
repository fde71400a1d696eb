"""One message that comes two ways, by callback and by poll: which event a copy belongs to. Pure.

Polled rows often say less than callbacks do: no time, or no text. So one key cannot be made of
both, and what is alike is looked for among the events of one order.
"""

from collections.abc import Callable, Iterable

import msgspec

from .canonical import canonical_code, canonical_text, has_code

#: Seconds by which the two ways may tell one message's time differently.
APART = 2


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says of itself, whichever way it came."""

    #: Which way that was: `callback`, or the command that was polled. Of one way, each message has
    #: keys of its own.
    form: str
    text: str | None = None
    code: str | None = None
    #: When it came, says the provider: seconds since the epoch. None where it did not.
    second: float | None = None


class PossibleCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the same order of which no copy came the same way yet."""

    seq: int
    id: str
    twin: Copy


def match(mine: Copy, candidates: Iterable[PossibleCopy]) -> PossibleCopy | None:
    """The first rule under which any is alike decides; of several the nearest in time, the oldest.

    A same text at a clearly different time is another message: services send a code again.
    """
    several = sorted(candidates, key=lambda one: (_distance(mine, one.twin), one.seq))
    for rule in _RULES:
        for one in several:
            if rule(mine, one.twin):
                return one
    return None


def _distance(mine: Copy, other: Copy) -> float:
    """Of what has no time nothing is known: it comes after all that has."""
    if mine.second is None or other.second is None:
        return float("inf")
    return abs(mine.second - other.second)


def _same_text_and_time(mine: Copy, other: Copy) -> bool:
    return _is_same_text(mine, other) and _distance(mine, other) <= APART


def _same_text_untimed(mine: Copy, other: Copy) -> bool:
    return _is_same_text(mine, other) and _is_untimed(mine, other)


def _is_same_text(mine: Copy, other: Copy) -> bool:
    """Whether two texts differ in blanks and HTML entities only."""
    if mine.text is None or other.text is None:
        return False
    return mine.text == other.text or canonical_text(mine.text) == canonical_text(other.text)


def _same_code(mine: Copy, other: Copy) -> bool:
    """Compare letters and digits, where there is no text to compare."""
    if not _is_near_without_text(mine, other) or mine.code is None or other.code is None:
        return False
    return mine.code == other.code or canonical_code(mine.code) == canonical_code(other.code)


def _code_in_text(mine: Copy, other: Copy) -> bool:
    """One copy has a code alone, and it stands in the other's text: `482913`, `482-913`."""
    if not _is_near_without_text(mine, other):
        return False
    return any(
        one.code is not None and another.text is not None and has_code(another.text, one.code)
        for one, another in ((mine, other), (other, mine))
    )


def _is_near_without_text(mine: Copy, other: Copy) -> bool:
    if mine.text is not None and other.text is not None:
        return False
    return _is_untimed(mine, other) or _distance(mine, other) <= APART


def _is_untimed(mine: Copy, other: Copy) -> bool:
    return mine.second is None or other.second is None


_RULES: tuple[Callable[[Copy, Copy], bool], ...] = (
    _same_text_and_time,
    _same_text_untimed,
    _same_code,
    _code_in_text,
)
