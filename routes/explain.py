"""Explains why a filter does not match an event: the first clause that fails. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from core.paths import Path, value_at

from .match import Part, compared_at


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one clause about one event."""

    #: Its place in the filter: `data.price.amount.$gte`, `$or[1].data.code`, `$not`.
    clause: str
    holds: bool
    #: The configured value.
    wanted: object
    #: The event's value at its path, or MISSING; UNSET for a clause that joins others.
    saw: object | UnsetType = UNSET
    #: For `$or`, the first failing clause of each branch; for `$not`, the clause that matched.
    below: tuple["Finding", ...] = ()


def explain(when: Part, event: Mapping[str, object]) -> Finding | None:
    """Return the first clause of a filter that fails, or None if the filter matches.

    `event` is plain JSON values, as it is sent.
    """
    finding = _finding(when, event, event, below=len(when.place) + 1)
    return None if finding.holds else finding


def leave_out(when: Part, hidden: Sequence[Path]) -> Part:
    """Return a filter without its clauses on the hidden fields of an event.

    An `$or` or `$not` with such a clause is left out as a whole. If the rest fails, the filter
    fails; if the rest holds, the hidden fields decide.
    """
    if not _reads(when, hidden):
        return when
    parts = [
        leave_out(part, hidden) if part.join == "$and" and part.path is None else part
        for part in when.parts
    ]
    kept = tuple(part for part in parts if not _reads(part, hidden))
    return msgspec.structs.replace(when, parts=kept)


def _reads(part: Part, hidden: Sequence[Path]) -> bool:
    path = part.path
    if path is not None and any(path[: len(each)] == each[: len(path)] for each in hidden):
        return True
    return any(_reads(below, hidden) for below in part.parts)


def _finding(part: Part, value: object, saw: object, *, below: int) -> Finding:
    """Return the clause that decides about `value`, which is `saw` in the event.

    The first `below` characters of each place are the place of the filter.
    """
    if part.join is None:
        return _answer(part, part.holds(value), below=below, saw=saw)
    if part.path is not None:
        value, saw = compared_at(value, part.path), value_at(value, part.path)
    findings = [_finding(each, value, saw, below=below) for each in part.parts]
    if part.join == "$not":
        [finding] = findings
        if finding.clause == part.place[below:]:  # `{$not: US}`, or a filter of several clauses
            return _answer(
                part, not finding.holds, below=below, saw=finding.saw, reasons=finding.below
            )
        return _answer(part, not finding.holds, below=below, reasons=(finding,))
    enough = part.join == "$or"
    decisive = next((finding for finding in findings if finding.holds is enough), None)
    if decisive is not None:
        return decisive
    if len(findings) == 1:
        return findings[0]
    return _answer(part, not enough, below=below, reasons=findings)


def _answer(
    part: Part,
    holds: bool,  # noqa: FBT001 - the answer
    *,
    below: int,
    saw: object | UnsetType = UNSET,
    reasons: Sequence[Finding] = (),
) -> Finding:
    return Finding(
        clause=part.place[below:],
        holds=holds,
        wanted=part.wanted,
        saw=saw,
        below=tuple(reasons),
    )
