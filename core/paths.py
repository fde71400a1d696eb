"""Dotted paths into an event as it is sent, such as `data.service.key`."""

import difflib
import enum
import functools
from typing import Final

import msgspec

from .event import Data, Event, Price, Service, kinds

Path = tuple[str, ...]


class Missing(enum.Enum):
    MISSING = "missing"


#: The value at a path that an event does not have. Null is a value of its own.
MISSING: Final = Missing.MISSING

#: The fields of nested objects. `labels` is not here: its names are the user's.
_NESTED: Final = {
    name: tuple(field.encode_name for field in msgspec.structs.fields(kind))
    for name, kind in (("service", Service), ("price", Price))
}
ATTRIBUTES: Final = tuple(field.encode_name for field in msgspec.structs.fields(Event))


def parse(text: str) -> Path:
    """Split `data.service.key` into its names.

    Raises ValueError, with a suggestion, if no event can have the path. Otherwise a wrong path
    would be a filter that never matches, or a field that is never masked.
    """
    head, dot, below = text.partition(".")
    if head not in ATTRIBUTES:
        raise ValueError(_unknown(text))
    if not dot:
        return (head,)
    if head != "data":
        raise ValueError(f"{head} is a text, there is nothing below it; write {head}")
    return ("data", *_below_data(text, below))


def value_at(event: object, path: Path) -> object:
    """Return the value at a path of an event as plain JSON values; MISSING below null or a text."""
    value = event
    for name in path:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value


def order_at(event: object, path: Path) -> str | None:
    """Return the JSON of the value at a path, by which deliveries are ordered.

    None if the value is null or missing. Such events are delivered in no order, because otherwise
    one that fails would hold back all others without a value.
    """
    value = value_at(event, path)
    if value is MISSING or value is None:
        return None
    return msgspec.json.encode(value, order="sorted").decode()


@functools.cache  # a filter reads it for each of its paths
def data_fields() -> tuple[str, ...]:
    """Return the names of all fields that any type of event has in `data`."""
    types: list[type[Data]] = [Data, *kinds()]
    fields = (field for kind in types for field in msgspec.structs.fields(kind))
    return tuple(dict.fromkeys(field.encode_name for field in fields))


def _below_data(text: str, below: str) -> Path:
    first, _, rest = below.partition(".")
    if first not in data_fields():
        raise ValueError(_unknown(text))
    if first == "labels" and rest:
        return (first, rest)  # labels are flat: a dot is part of the name
    names = tuple(below.split("."))
    if not all(names):
        raise ValueError(f"{text!r} has a dot too many")
    known = _NESTED.get(first)
    if rest and known is not None and names[1] not in known:
        found = difflib.get_close_matches(names[1], known, n=1)
        near = f"did you mean data.{first}.{found[0]}?" if found else f"write {', '.join(known)}"
        raise ValueError(f"no event has {text!r}; {near}")
    return names


def _unknown(text: str) -> str:
    first, _, rest = text.partition(".")
    if first in data_fields():
        return f"no event has {text!r}; did you mean data.{text}?"
    if first == "data":
        nearest = difflib.get_close_matches(rest.partition(".")[0], data_fields(), n=1)
        if nearest:
            return f"no event has {text!r}; did you mean data.{nearest[0]}?"
        return f"no event has {text!r}; in data are {', '.join(data_fields())}"
    known = {**{name: name for name in ATTRIBUTES}, **{n: f"data.{n}" for n in data_fields()}}
    nearest = difflib.get_close_matches(first, known, n=1)
    if nearest:
        return f"no event has {text!r}; did you mean {known[nearest[0]]}?"
    return f"no event has {text!r}; attributes: {', '.join(ATTRIBUTES)}"
