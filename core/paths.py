"""Dotted paths into an event as it is sent, such as `data.service.key`."""

import difflib
import enum
from collections.abc import Iterator
from typing import Final

import msgspec

from .event import Data, Event, Price, Service

Path = tuple[str, ...]


class Missing(enum.Enum):
    MISSING = "missing"


#: What is at a path that an event does not have. Null is something else: it is there.
MISSING: Final = Missing.MISSING

#: What is below those that have something below them. Labels are the configuration's own.
_NESTED: Final = {
    name: tuple(field.encode_name for field in msgspec.structs.fields(kind))
    for name, kind in (("service", Service), ("price", Price))
}
ATTRIBUTES: Final = tuple(field.encode_name for field in msgspec.structs.fields(Event))


def parse(text: str) -> Path:
    """`data.service.key` -> its names.

    Raises ValueError, which says what would do, where no event can have anything there: a wrong
    path would otherwise be no error, only a filter that never matches or a field never masked.
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
    """What an event, as plain JSON values, has at a path; MISSING also below null or a text."""
    value = event
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def order_at(event: object, path: Path) -> str | None:
    """Return what an event is ordered by: the JSON of the value at the path.

    None where the value is null or missing: such events are delivered in no order, because one
    that fails would hold back all others that say nothing.
    """
    value = value_at(event, path)
    if value is MISSING or value is None:
        return None
    return msgspec.json.encode(value, order="sorted").decode()


def data_fields() -> tuple[str, ...]:
    """What any type of event can have in `data`, as it is sent."""
    return tuple(dict.fromkeys(_fields(Data)))


def _fields(kind: type[Data]) -> Iterator[str]:
    yield from (field.encode_name for field in msgspec.structs.fields(kind))
    for narrower in kind.__subclasses__():
        yield from _fields(narrower)


def _below_data(text: str, below: str) -> Path:
    first, _, rest = below.partition(".")
    if first not in data_fields():
        raise ValueError(_unknown(text))
    if first == "labels" and rest:
        return (first, rest)  # labels are flat: a dot is part of the name
    names = tuple(below.split("."))
    if not all(names):
        raise ValueError(f"{text!r} has a dot too many")
    if rest:
        _check_nested(text, first, names[1])
    return names


def _check_nested(text: str, first: str, name: str) -> None:
    known = _NESTED.get(first, (name,))
    if name not in known:
        found = difflib.get_close_matches(name, known, n=1)
        near = f"did you mean data.{first}.{found[0]}?" if found else f"write {', '.join(known)}"
        raise ValueError(f"no event has {text!r}; {near}")


def _unknown(text: str) -> str:
    first, _, rest = text.partition(".")
    if first in data_fields():
        return f"no event has {text!r}; did you mean data.{text}?"
    if first == "data":
        return _unknown_in_data(text, rest.partition(".")[0])
    known = {**{name: name for name in ATTRIBUTES}, **{n: f"data.{n}" for n in data_fields()}}
    nearest = difflib.get_close_matches(first, known, n=1)
    if nearest:
        return f"no event has {text!r}; did you mean {known[nearest[0]]}?"
    return f"no event has {text!r}; attributes: {', '.join(ATTRIBUTES)}"


def _unknown_in_data(text: str, name: str) -> str:
    nearest = difflib.get_close_matches(name, data_fields(), n=1)
    if nearest:
        return f"no event has {text!r}; did you mean data.{nearest[0]}?"
    return f"no event has {text!r}; in data are {', '.join(data_fields())}"
