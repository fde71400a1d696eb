"""Why a filter does not take an event: the first clause that fails, and what it saw. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from core.paths import value_at

from .match import Part, compared_at


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one clause answers about one event."""

    #: Its place in the filter: `data.price.amount.$gte`, `$or[1].data.code`, `$not`.
    clause: str
    holds: bool
    #: What is written there.
    wanted: object
    #: What the event has at its path, or MISSING; UNSET where it joins others, which saw it.
    saw: object | UnsetType = UNSET
    #: Of an `$or`: the first clause that fails in each branch. Of a `$not`: what holds in it.
    below: tuple["Finding", ...] = ()


def explain(when: Part, event: Mapping[str, object]) -> Finding | None:
    """The first clause of a filter that fails; None exactly where it matches.

    `event` is plain JSON values, as it is sent.
    """
    finding = _finding(when, event, event, below=len(when.place) + 1)
    return None if finding.holds else finding


def _finding(part: Part, value: object, saw: object, *, below: int) -> Finding:
    """Return what decides about `value`, which the event has as `saw`.

    The first `below` characters of each place are not the filter's own.
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
    holds: bool,  # noqa: FBT001 - it is the answer
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
