"""Types of events that a `when` waits for and that this version does not know."""

from collections.abc import Iterator
from typing import Any

from journal.event import Data

from .reading import Reading, nearest
from .yaml12 import Path


def known_types() -> tuple[str, ...]:
    return tuple(_types(Data))


def _types(kind: type[Data]) -> Iterator[str]:
    for narrower in kind.__subclasses__():
        yield narrower.type
        yield from _types(narrower)


def unknown_types(reading: Reading, path: Path) -> Iterator[str]:
    """Warnings, not errors: types are only ever added, and the file may be older than this."""
    known = known_types()
    for at, value in named_values("type", path, reading.at(path)):
        if isinstance(value, str) and value not in known:
            near = nearest(value, known) or f"; types: {', '.join(known)}"
            text = f"no event of this version has the type {reading.quoted(at, value)}{near}"
            yield reading.warning(at, text)


def named_values(name: str, path: Path, when: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the values that a filter compares the field `name` with, each with its place."""
    for key, given in when.items() if isinstance(when, dict) else ():
        at = (*path, key)
        if key == name:
            yield from _wanted(at, given)
        elif key == "$not":
            yield from named_values(name, at, given)
        elif key in ("$and", "$or") and isinstance(given, list):
            for i, part in enumerate(given):
                yield from named_values(name, (*at, i), part)


def _wanted(path: Path, given: Any) -> Iterator[tuple[Path, Any]]:
    """A value, a list of them, or a condition that has one."""
    if isinstance(given, list):
        yield from (((*path, i), item) for i, item in enumerate(given))
    elif isinstance(given, dict):
        for key, operand in given.items():
            yield from _operand((*path, key), operand)
    else:
        yield path, given


def _operand(path: Path, operand: Any) -> Iterator[tuple[Path, Any]]:
    match path[-1], operand:
        case ("$eq", _) | ("$in", list()) | ("$not", _):
            yield from _wanted(path, operand)
        case ("$and" | "$or", list()):
            for i, part in enumerate(operand):
                yield from _wanted((*path, i), part)
