"""Former keys and names of services, and their present ones.

Both tables only grow, because stored events and users' filters contain the former spellings.
`service_keys.csv` gives for each former key the present key and one of three kinds:

* `name`: a service with this name has the present key;
* `spelling`: a part of a name in another script, or a provider's code;
* `shared`: another service has this key today.
"""

import csv
from collections.abc import Iterable, Mapping
from importlib import resources

from .paths import Path

KEY_PATH: Path = ("data", "service", "key")
NAME_PATH: Path = ("data", "service", "name")
_SHARED, _NAME = "shared", "name"


def _read(table: str) -> list[dict[str, str]]:
    with (resources.files(__package__) / table).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Map each spelling to all spellings of the same service, the present one first."""
    spellings: dict[str, list[str]] = {}
    for former, present in pairs:
        spellings.setdefault(present, [present]).append(former)
    return {one: tuple(group) for group in spellings.values() for one in group}


_KEY_ROWS = _read("service_keys.csv")
_PRESENT = {row["former"]: row["key"] for row in _KEY_ROWS if row["kind"] != _SHARED}
_OF_NAMES = {row["former"]: row["key"] for row in _KEY_ROWS if row["kind"] == _NAME}
_KEYS = _groups(_PRESENT.items())
#: A shared key stands for its present owner and for the service that had it before.
_SHARED_KEYS = [(row["former"], row["key"]) for row in _KEY_ROWS if row["kind"] == _SHARED]
_EVENT_KEYS = _KEYS | {key: (*_KEYS.get(key, (key,)), former) for former, key in _SHARED_KEYS}
_WANTED_KEYS = _KEYS | {one: (*_KEYS.get(one, (one,)), key) for one, key in _SHARED_KEYS}
_PRESENT_NAMES = {row["former"]: row["name"] for row in _read("service_names.csv")}
_NAMES = _groups(_PRESENT_NAMES.items())
_AT_PATHS: Mapping[Path, Mapping[str, tuple[str, ...]]] = {
    KEY_PATH: _EVENT_KEYS,
    NAME_PATH: _NAMES,
}
#: The paths of values that can have several spellings.
SPELLED_PATHS = frozenset(_AT_PATHS)
_REPLACED: Mapping[Path, Mapping[str, str]] = {KEY_PATH: _PRESENT, NAME_PATH: _PRESENT_NAMES}


def former_keys() -> list[tuple[str, str]]:
    """Return each former key with the present key of the same service."""
    return [(row["former"], row["key"]) for row in _KEY_ROWS]


def key_of_slug(slug: str) -> str:
    """Return the key of a service from the slug of its name."""
    return _OF_NAMES.get(slug, slug)


def replacement(path: Path, value: str) -> str | None:
    """Return the present key or name for a former one at that path of an event, else None."""
    return _REPLACED.get(path, {}).get(value)


def spellings_at(path: Path, value: object) -> object:
    """Return the value that a filter compares with at `path` of an event.

    For a service's key or name that changed, this is a tuple of all spellings. So a condition on
    a former spelling holds for new events, and one on the present spelling for stored ones.
    """
    spellings = _AT_PATHS.get(path)
    if spellings is None or not isinstance(value, str):
        return value
    return spellings.get(value, value)


def wanted_services(value: str) -> tuple[str, ...]:
    """Return all ids, names and keys that the filter `service=value` matches."""
    return tuple(dict.fromkeys((value, *_WANTED_KEYS.get(value, ()), *_NAMES.get(value, ()))))
