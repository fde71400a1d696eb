"""The filter of an events list as a filter of new events, which an index can hold.

Each stream and each wait has one, so it is small and quickly made.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from core.clock import LAST_SECOND, rfc3339
from core.event import SYSTEM
from core.paths import MISSING, Path, parse, value_at
from journal.reads import EventFilter
from routes.match import Part, Predicate, compared_at

#: The paths of each field of an EventFilter: one of them must have one of its values.
_PATHS: Mapping[str, Sequence[Path]] = {
    field: tuple(map(parse, paths))
    for field, paths in {
        "type": ("type",),
        "source": ("source",),
        "subject": ("subject",),
        "service": ("data.service.id", "data.service.name", "data.service.key"),
        "number": ("data.to",),
        "request_id": ("data.request_id",),
        "activation_id": ("data.activation_id",),
        "rental_id": ("data.rental_id",),
        "telephone_id": ("data.telephone_id",),
        "reference": ("data.reference",),
    }.items()
}
_CODE: Path = ("data", "code")

#: Paths, one of which must have one of the values.
_Clause = tuple[Sequence[Path], Collection[str]]


def live_filter(wanted: EventFilter, sees: Part | None) -> Part:
    """Return a filter that takes the same events as the list; `sees`: also those of a key's `when`.

    `system.*` events are taken only where `wanted` names their type, and never with `sees`.
    """
    clauses: list[_Clause] = [
        (paths, values) for field, paths in _PATHS.items() if (values := getattr(wanted, field))
    ]
    holds = partial(
        _holds,
        clauses,
        system=bool(wanted.type) and sees is None,
        code=wanted.code,
        since=_written(wanted.since),
        until=_written(wanted.until),
        sees=None if sees is None else sees.holds,
    )
    parts = [_part(paths, values) for paths, values in clauses]
    return Part(
        place="query",
        wanted=None,
        holds=holds,
        join="$and",
        parts=(*parts, *(() if sees is None else (sees,))),
    )


def _holds(
    clauses: Sequence[_Clause],
    event: Mapping[str, object],
    *,
    system: bool,
    code: bool | None,
    since: str | None,
    until: str | None,
    sees: Predicate | None,
) -> bool:
    # All these times have one form, so that texts compare as times.
    at = str(event["recordedtime"]) if since or until else ""
    return (
        all(any(_has(event, path, values) for path in paths) for paths, values in clauses)
        and (system or not str(event["type"]).startswith(SYSTEM))
        and (code is None or code == (value_at(event, _CODE) not in (None, MISSING)))
        and (since is None or at >= since)
        and (until is None or at < until)
        and (sees is None or sees(event))
    )


def _has(event: Mapping[str, object], path: Path, values: Collection[str]) -> bool:
    value = compared_at(event, path) if path[-1] in ("key", "name") else value_at(event, path)
    # A service has all its former spellings.
    return (
        any(one in values for one in value) if isinstance(value, list | tuple) else value in values
    )


def _part(paths: Sequence[Path], values: Collection[str]) -> Part:
    """Return the part that an index files the filter under. It is not tested."""
    parts = [
        Part(place="query", wanted=None, holds=_untested, path=path, keys=tuple(values))
        for path in paths
    ]
    if len(parts) == 1:
        return parts[0]
    return Part(place="query", wanted=None, holds=_untested, join="$or", parts=tuple(parts))


def _untested(_value: object) -> bool:
    return True


def _written(at: float | None) -> str | None:
    return None if at is None else rfc3339(min(max(at, 0.0), LAST_SECOND))
