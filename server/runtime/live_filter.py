"""The filter of an events list as a filter of new events, which an index can hold."""

from collections.abc import Mapping, Sequence

from core.clock import rfc3339
from journal.reads import EventFilter
from routes.match import Part, compile_filter

#: Only a filter that names such a type gets its events.
SYSTEM = "system."
#: The paths of each field of an EventFilter: one of them must have one of the values.
_PATHS: Mapping[str, Sequence[str]] = {
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
}
_HAS_CODE = {"data.code": {"$exists": True, "$ne": None}}
#: The last second that `rfc3339` can write.
_LAST = 253_402_300_799.0


def live_filter(wanted: EventFilter, sees: Part | None) -> Part:
    """Return a filter that takes the same events as the list; `sees`: also those of a key's `when`.

    `system.*` events are taken only where `wanted` names their type, and never with `sees`.
    """
    clauses: list[object] = []
    for field, paths in _PATHS.items():
        values = getattr(wanted, field)
        if values:
            either = [{path: list(values)} for path in paths]
            clauses.append(either[0] if len(either) == 1 else {"$or": either})
    if not wanted.type or sees is not None:
        clauses.append({"type": {"$not": {"$startsWith": SYSTEM}}})
    if wanted.code is not None:
        clauses.append(_HAS_CODE if wanted.code else {"$not": _HAS_CODE})
    # All these times have one form, so that texts compare as times.
    if wanted.since is not None:
        clauses.append({"recordedtime": {"$gte": rfc3339(min(max(wanted.since, 0.0), _LAST))}})
    if wanted.until is not None:
        clauses.append({"recordedtime": {"$lt": rfc3339(min(max(wanted.until, 0.0), _LAST))}})
    when = {"$and": clauses} if clauses else {}
    query = compile_filter(when, "query")
    if sees is None:
        return query
    its, keys = query.holds, sees.holds
    return Part(
        place="query",
        wanted=when,
        holds=lambda event: its(event) and keys(event),
        join="$and",
        parts=(query, sees),
    )
