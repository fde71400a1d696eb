"""One message that comes two ways, by callback and by poll: which event a copy belongs to. Pure.

Polled rows often say less than callbacks do: no time, or no text. So one key cannot be made of
both, and what is alike is looked for among the events of one order.
"""

from collections.abc import Callable, Iterable

import msgspec

#: Seconds by which the two ways may tell one message's time differently.
APART = 2


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says of itself, whichever way it came."""

    #: Which way that was: `callback`, or the command that was polled. Of one way, each message has
    #: keys of its own.
    form: str
    text: str | None = None
    code: str | None = None
    #: When it came, says the provider: seconds since the epoch. None where it did not.
    second: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the same order of which no copy came the same way yet."""

    seq: int
    id: str
    twin: Twin


def match(mine: Twin, candidates: Iterable[Candidate]) -> Candidate | None:
    """The first rule under which any is alike decides; of several the nearest in time, the oldest.

    A same text at a clearly different time is another message: services send a code again.
    """
    several = sorted(candidates, key=lambda one: (_distance(mine, one.twin), one.seq))
    for rule in _RULES:
        for one in several:
            if rule(mine, one.twin):
                return one
    return None


def _distance(mine: Twin, other: Twin) -> float:
    """Of what has no time nothing is known: it comes after all that has."""
    if mine.second is None or other.second is None:
        return float("inf")
    return abs(mine.second - other.second)


def _same_text_and_time(mine: Twin, other: Twin) -> bool:
    return mine.text is not None and mine.text == other.text and _distance(mine, other) <= APART


def _same_text_untimed(mine: Twin, other: Twin) -> bool:
    return mine.text is not None and mine.text == other.text and _is_untimed(mine, other)


def _same_code(mine: Twin, other: Twin) -> bool:
    """Where there is no text to compare."""
    if mine.text is not None and other.text is not None:
        return False
    near = _is_untimed(mine, other) or _distance(mine, other) <= APART
    return mine.code is not None and mine.code == other.code and near


def _is_untimed(mine: Twin, other: Twin) -> bool:
    return mine.second is None or other.second is None


_RULES: tuple[Callable[[Twin, Twin], bool], ...] = (
    _same_text_and_time,
    _same_text_untimed,
    _same_code,
)
