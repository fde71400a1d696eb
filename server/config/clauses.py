"""Clauses of a `when` that no event can meet, or that use a former name, each with a remedy.

They are warnings, not errors: later versions add types and fields. A warning never repeats a value
that may be a phone number or a code.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from core.event import SUBJECTS, kinds
from core.services import SPELLED_PATHS, replacement
from receiver.fields.text import slug
from receiver.providers import PROVIDERS

from .complaints import Complaints, nearest
from .shapes import tag_of
from .yaml import Path

_NUMBERS = ("data.to", "data.previous_to", "data.from")
_TIMES = ("time", "recordedtime", "data.expires")
_PLUS = "a phone number of an event begins with +; write +1850… and so on"
#: Texts that no event can have, with a remedy: (fields, operators, pattern, remedy).
_IMPOSSIBLE = (
    (("data.to", "data.previous_to"), ("$eq",), re.compile(r"[0-9(].*", re.DOTALL), _PLUS),
    (("data.to", "data.previous_to"), ("$startsWith",), re.compile(r"[0-9]{4,15}"), _PLUS),
    # Longer than any short code.
    (("data.from",), ("$eq",), re.compile(r"[0-9]{10,15}"), _PLUS),
    (
        ("subject",),
        ("$eq",),
        re.compile(r"[^/]*"),
        f"a subject is a kind and an id, such as {next(iter(SUBJECTS))}/10000001",
    ),
    (
        ("data.price.amount", "data.balance.amount", "data.threshold"),
        ("$gt", "$gte", "$lt", "$lte"),
        re.compile(r".*", re.DOTALL),
        "compares as texts, in which 9 is more than 10; write the number without quotes",
    ),
)
#: The words that a field can have. Later versions may add some.
_WORDS: Mapping[str, Sequence[str]] = {
    "data.channel": ("callback", "poll"),
    "data.time_from": ("provider", "timezone", "received"),
}


class _Leaf(NamedTuple):
    """One comparison in a filter."""

    at: Path
    #: The dotted path of the event, such as `data.to`.
    field: str
    operator: str
    operand: Any


def clause_warnings(
    reading: Complaints, path: Path, when: Any, sources: Sequence[str] | None
) -> Iterator[str]:
    """Yield warnings about a filter. `sources` are the configured names; None: not checked.

    Filters match both spellings of a service, so a former one loses nothing. Events hold the
    present one.
    """
    leaves = list(_leaves(path, when))
    for leaf in leaves:
        text = _unknown_name(reading, leaf, sources) or _impossible_value(leaf)
        if text is not None:
            yield reading.warning(leaf.at, text)
    for at, text in _foreign_fields(path, when):
        yield reading.warning(at, text)
    for leaf in leaves:
        spelled = tuple(leaf.field.split("."))
        if spelled in SPELLED_PATHS and isinstance(leaf.operand, str):
            present = replacement(spelled, leaf.operand)
            if present is not None:
                text = f"{leaf.operand!r} is now {present!r}; it still matches"
                yield reading.warning(leaf.at, text)


def _unknown_name(reading: Complaints, leaf: _Leaf, sources: Sequence[str] | None) -> str | None:
    """Return the problem of a type, source, provider or service that no event has."""
    field, operator, value = leaf.field, leaf.operator, leaf.operand
    names: Mapping[str, Sequence[str] | None] = {
        "type": tuple(kind.type for kind in kinds()),
        "source": sources,
        "data.provider": sorted(tag_of(kind) for kind in PROVIDERS),
    }
    known = names.get(field)
    begins = {"$startsWith": str.startswith, "$endsWith": str.endswith}.get(operator)
    if not isinstance(value, str) or (begins is None and operator != "$eq"):
        return None
    quoted = reading.quoted(leaf.at, value)
    if field == "data.service.key" and slug(value) != value:
        example = slug(value) if quoted == repr(value) else "google"
        return f"service keys are one word in lower case; write {example}"
    if known is None:
        return None
    kind = field.removeprefix("data.")
    listed = f"; {kind}s: {', '.join(known)}" if known else f"; there are no {kind}s"
    if begins is not None:
        fits = kind != "type" or any(begins(type_, value) for type_ in known)
        return None if fits else f"no event has a type like that{listed}"
    begin = "no event has the type" if kind == "type" else f"no {kind} is named"
    return None if value in known else f"{begin} {quoted}{nearest(value, known) or listed}"


def _impossible_value(leaf: _Leaf) -> str | None:
    """Return the problem of a value that the field never has."""
    field, operator, value = leaf.field, leaf.operator, leaf.operand
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and field in _TIMES:
        return "times are texts; write one such as 2026-09-14T18:42:37Z in quotes"
    text = str(value) if is_number and field in _NUMBERS else value
    for names, operators, wrong, remedy in _IMPOSSIBLE:
        fits = field in names and operator in operators
        if fits and isinstance(text, str) and wrong.fullmatch(text):
            return remedy
    found = None
    match field, value:
        case _ if operator != "$eq" or value is None:
            pass
        case "data.channel" | "data.time_from", str() if value not in _WORDS[field]:
            known = _WORDS[field]
            found = f"it is one of {', '.join(known)}{nearest(value, known)}"
        case "data.country", str() if not re.fullmatch(r"[A-Z]{2}", value):
            example = value.upper() if re.fullmatch(r"..", value) else "US"
            found = f"countries are two capital letters; write {example}"
        case "data.sample", _ if not isinstance(value, bool):
            found = "write true or false, in small letters and without quotes"
        case _ if field.startswith("data.labels.") and not isinstance(value, str):
            found = "labels are texts; write it in quotes"
        case _, bool() if field != "data.sample":
            found = "it is a text, never true or false; $exists asks whether it is there"
    return found


def _foreign_fields(path: Path, when: Any) -> Iterator[tuple[Path, str]]:
    """Yield fields that the types in the same mapping do not have."""
    given = when.get("type") if isinstance(when, dict) else None
    if isinstance(given, dict):
        given = given.get("$eq", given.get("$in")) if len(given) == 1 else None
    types: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in types):
        return
    fields_of = _fields_of_types()
    has = set[str]().union(*(fields_of[name] for name in types if name in fields_of))
    for key, condition in when.items() if has else ():
        name = str(key).split(".")[1] if str(key).startswith("data.") else ""
        elsewhere = [type_ for type_, names in fields_of.items() if name in names]
        absent = condition in ({"$exists": False}, None)
        if name not in has and elsewhere and not absent:
            which = " or ".join(types)
            yield (*path, key), f"no {which} has data.{name}; it is a field of {elsewhere[0]}"


@functools.cache
def _fields_of_types() -> Mapping[str, frozenset[str]]:
    return {kind.type: frozenset(kind.__struct_encode_fields__) for kind in kinds()}


# The comparisons of a filter


def _leaves(path: Path, when: Any) -> Iterator[_Leaf]:
    """Yield each comparison of a filter, with its place."""
    for key, given in when.items() if isinstance(when, dict) else ():
        at = (*path, key)
        if key == "$not":
            yield from _leaves(at, given)
        elif key in ("$and", "$or") and isinstance(given, list):
            for i, part in enumerate(given):
                yield from _leaves((*at, i), part)
        elif isinstance(key, str) and not key.startswith("$"):
            yield from _compared(at, key, given)


def _compared(at: Path, field: str, given: Any) -> Iterator[_Leaf]:
    """Yield the comparisons of a value, a list of values, or a condition."""
    if isinstance(given, list):
        yield from (_Leaf((*at, i), field, "$eq", item) for i, item in enumerate(given))
        return
    if not isinstance(given, dict):
        yield _Leaf(at, field, "$eq", given)
        return
    for operator, operand in given.items():
        below = (*at, operator)
        match operator, operand:
            case ("$eq", _) | ("$in", list()) | ("$not", _):
                yield from _compared(below, field, operand)
            case ("$and" | "$or", list()):
                for i, part in enumerate(operand):
                    yield from _compared((*below, i), field, part)
            case ("$startsWith" | "$endsWith" | "$gt" | "$gte" | "$lt" | "$lte", _):
                yield _Leaf(below, field, operator, operand)
