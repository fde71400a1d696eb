"""Finds the filters that match an event, without trying each filter. Pure.

A filter is filed under the values of its most selective equality clause: the event must have one
of these values. An event's own values give the candidates, and only these are tried.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from core.paths import Path, value_at
from core.services import SPELLED_PATHS, spellings_at

from .match import Key, Part, Predicate, keys_of

T = TypeVar("T")

_LABELS: Path = ("data", "labels")
#: Paths by the number of events that share a value, the fewest first.
_SELECTIVE: tuple[tuple[str, ...], ...] = (
    ("data.to", "data.previous_to"),
    (
        *("id", "subject", "dedupekey"),
        *("data.request_id", "data.activation_id", "data.rental_id", "data.first_rental_id"),
        *("data.previous_rental_id", "data.telephone_id", "data.message_id"),
    ),
    ("data.reference",),
    ("data.labels",),
    ("data.service.key", "data.service.name", "data.service.id", "data.from", "data.code"),
    ("data.country",),
    ("source",),
    ("type",),
)
_RANKS: Mapping[Path, int] = {
    tuple(path.split(".")): rank for rank, paths in enumerate(_SELECTIVE) for path in paths
}
#: Only fields of these mappings are indexed. Each further mapping would cost each event a look-up.
_PARENTS: frozenset[Path] = frozenset(
    [(), ("data",), _LABELS, ("data", "service"), ("data", "price")]
)


class IndexEntry(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """A filter in an index, for `FilterIndex.remove`."""

    number: int
    holds: Predicate
    value: T
    #: The keys it is filed under; empty: it is tried for every event.
    keys: tuple[tuple[Path, Key], ...]


class _Equality(NamedTuple):
    """An equality clause, or several of which one must hold."""

    rank: int
    keys: tuple[tuple[Path, Key], ...]


#: Filters by their numbers, in the order in which they were added.
_Entries = dict[int, IndexEntry[T]]


class _Field(Generic[T]):
    """The filters that are filed under values of one path."""

    def __init__(self, path: Path) -> None:
        self.path, self.is_spelled = path, path in SPELLED_PATHS
        self.entries: dict[Key, _Entries[T]] = {}
        #: The number of keys that are numbers. Without one, no text is read as a number.
        self.numbers = 0

    def put(self, key: Key, entry: IndexEntry[T]) -> None:
        if key not in self.entries:
            self.entries[key] = {}
            self.numbers += not isinstance(key, str)
        self.entries[key][entry.number] = entry

    def drop(self, key: Key, entry: IndexEntry[T]) -> None:
        del self.entries[key][entry.number]
        if not self.entries[key]:
            del self.entries[key]
            self.numbers -= not isinstance(key, str)

    def keys_in(self, value: object) -> Iterable[Key]:
        """Return the keys of an event's value at the path."""
        if self.is_spelled:
            value = spellings_at(self.path, value)
        return keys_of(value, numbers=self.numbers > 0)


class FilterIndex(Generic[T]):
    """Filters, each with a value, in the order in which they were added."""

    def __init__(self, filters: Iterable[tuple[Part, T]] = ()) -> None:
        self._numbers = itertools.count()
        #: The filters that are tried for every event.
        self._always: _Entries[T] = {}
        #: The others, by the path of the mapping that has their field, and its name there.
        self._fields: dict[Path, dict[str, _Field[T]]] = {}
        for filter_, value in filters:
            self.add(filter_, value)

    def add(self, filter_: Part, value: T) -> IndexEntry[T]:
        """Add a filter. Return its entry, for `remove`."""
        equality = _equality(filter_)
        keys = () if equality is None else equality.keys
        entry = IndexEntry(next(self._numbers), filter_.holds, value, keys)
        if equality is None:
            self._always[entry.number] = entry
        for path, key in keys:
            fields = self._fields.setdefault(path[:-1], {})
            fields.setdefault(path[-1], _Field(path)).put(key, entry)
        return entry

    def remove(self, entry: IndexEntry[T]) -> None:
        """Remove a filter. Raises KeyError if it was removed before."""
        if not entry.keys:
            del self._always[entry.number]
        for path, key in entry.keys:
            fields = self._fields[path[:-1]]
            field = fields[path[-1]]
            field.drop(key, entry)
            if not field.entries:
                del fields[path[-1]]

    def matching(self, event: Mapping[str, object]) -> Sequence[T]:
        """Return the values of the filters that match an event, given as plain JSON values.

        `data` is only needed if a filter reads it.
        """
        found: _Entries[T] = {}
        for path, fields in self._fields.items():
            values = value_at(event, path) if path else event
            if not isinstance(values, dict):
                continue
            # Filters may name many labels, and an event has few.
            for name in fields if len(fields) <= len(values) else values:
                value, field = values.get(name), fields.get(name)
                if value is None or field is None:
                    continue
                is_plain = isinstance(value, str) and not (field.is_spelled or field.numbers)
                for key in (value,) if is_plain else field.keys_in(value):
                    if key in field.entries:
                        found.update(field.entries[key])
        candidates: Iterable[IndexEntry[T]] = self._always.values()
        if found:
            found.update(self._always)
            candidates = [found[number] for number in sorted(found)]
        if not candidates:
            return ()
        return [entry.value for entry in candidates if entry.holds(event)]


def is_tried_always(filter_: Part) -> bool:
    """Return whether an index tries a filter for every event, as it has no equality clause."""
    return _equality(filter_) is None


def _equality(part: Part, path: Path | None = None) -> _Equality | None:
    """Return the most selective equality that must hold for a part, which tests `path`."""
    path = part.path or path
    if part.join is None:
        if part.keys is None or path is None or path[:-1] not in _PARENTS:
            return None
        rank = _RANKS.get(_LABELS if path[:-1] == _LABELS else path, len(_SELECTIVE))
        return _Equality(rank, tuple([(path, key) for key in dict.fromkeys(part.keys)]))
    if part.join == "$not":
        return None
    found = [_equality(each, path) for each in part.parts]
    known = [each for each in found if each is not None]
    if part.join == "$or":
        if len(known) < len(found):
            return None
        every = dict.fromkeys(key for each in known for key in each.keys)
        return _Equality(max(each.rank for each in known), tuple(every))
    return min(known, key=lambda each: (each.rank, len(each.keys)), default=None)
