"""Clauses of a `when` that no event can meet, each with a remedy.

They are warnings, not errors: later versions add types and fields. A warning never repeats a value
that may be a phone number or a code.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import fields

from core.event import SUBJECTS, Data
from receiver.fields.text import slug
from receiver.providers import PROVIDERS

from .complaints import Complaints, nearest
from .shapes import tag_of
from .yaml import Path

_TYPE = "type"
_NUMBERS = ("data.to", "data.previous_to")
_TIMES = ("time", "recordedtime", "data.expires")
_AMOUNTS = ("data.price.amount", "data.balance.amount", "data.threshold")
#: Longer than any short code.
_LONG_NUMBER = re.compile(r"[0-9]{10,15}")
_DIGITS = re.compile(r"[0-9]{4,15}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_ORDERED = ("$gt", "$gte", "$lt", "$lte")
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


def known_types() -> tuple[str, ...]:
    return tuple(kind.type for kind in _kinds(Data))


def _kinds(kind: type[Data]) -> Iterator[type[Data]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _kinds(narrower)


def impossible_clauses(
    reading: Complaints, path: Path, when: Any, sources: Sequence[str] | None
) -> Iterator[str]:
    """Yield warnings about a filter. `sources` are the configured names; None: not checked."""
    for leaf in leaves(path, when):
        text = _impossible(reading, leaf, sources)
        if text is not None:
            yield reading.warning(leaf.at, text)
    for at, text in _foreign_fields(path, when):
        yield reading.warning(at, text)


def _impossible(reading: Complaints, leaf: _Leaf, sources: Sequence[str] | None) -> str | None:
    """Return the problem of one comparison; None if an event can meet it."""
    if leaf.field == _TYPE:
        return _type(reading, leaf)
    if leaf.field == "source" and sources is not None and leaf.operator == "$eq":
        return _name(reading, leaf, "source", sources)
    if leaf.field == "data.provider" and leaf.operator == "$eq":
        return _name(reading, leaf, "provider", sorted(tag_of(kind) for kind in PROVIDERS))
    if leaf.field == "data.service.key":
        return _key(reading, leaf)
    for check in (_number, _country, _subject, _amount, _time, _word, _kind):
        if text := check(leaf):
            return text
    return None


# Each returns a problem or None


def _type(reading: Complaints, leaf: _Leaf) -> str | None:
    known = known_types()
    value = leaf.operand
    if not isinstance(value, str):
        return None
    begins = {"$startsWith": str.startswith, "$endsWith": str.endswith}.get(leaf.operator)
    if begins is not None and not any(begins(type_, value) for type_ in known):
        return f"no event has a type like that; types: {', '.join(known)}"
    if leaf.operator == "$eq" and value not in known:
        near = nearest(value, known) or f"; types: {', '.join(known)}"
        return f"no event has the type {reading.quoted(leaf.at, value)}{near}"
    return None


def _name(reading: Complaints, leaf: _Leaf, kind: str, names: Sequence[str]) -> str | None:
    if not isinstance(leaf.operand, str) or leaf.operand in names:
        return None
    known = f"; {kind}s: {', '.join(names)}" if names else f"; there are no {kind}s"
    quoted = reading.quoted(leaf.at, leaf.operand)
    return f"no {kind} is named {quoted}{nearest(leaf.operand, names) or known}"


def _number(leaf: _Leaf) -> str | None:
    text = str(leaf.operand) if _is_number(leaf.operand) else leaf.operand
    if not isinstance(text, str):
        return None
    if leaf.field in _NUMBERS and leaf.operator in ("$eq", "$startsWith"):
        wrong = _DIGITS.fullmatch(text) or (leaf.operator == "$eq" and re.match(r"[0-9(]", text))
    else:
        wrong = (
            leaf.field == "data.from" and leaf.operator == "$eq" and _LONG_NUMBER.fullmatch(text)
        )
    return "a phone number of an event begins with +; write +1850… and so on" if wrong else None


def _key(reading: Complaints, leaf: _Leaf) -> str | None:
    value = leaf.operand
    compared = leaf.operator in ("$eq", "$startsWith", "$endsWith")
    if not compared or not isinstance(value, str) or slug(value) == value:
        return None
    is_shown = reading.quoted(leaf.at, value) == repr(value)
    example = slug(value) if is_shown else "google"
    return f"service keys are one word in lower case; write {example}"


def _country(leaf: _Leaf) -> str | None:
    value = leaf.operand
    wrong = (
        leaf.field == "data.country"
        and leaf.operator == "$eq"
        and isinstance(value, str)
        and not _COUNTRY.fullmatch(value)
    )
    if not wrong:
        return None
    upper = str(value).upper()
    return f"countries are two capital letters; write {upper if len(upper) == 2 else 'US'}"  # noqa: PLR2004 - as ISO 3166-1 alpha-2 has them


def _subject(leaf: _Leaf) -> str | None:
    value = leaf.operand
    wrong = leaf.field == "subject" and leaf.operator == "$eq" and isinstance(value, str)
    if not wrong or "/" in str(value):
        return None
    return f"a subject is a kind and an id, such as {next(iter(SUBJECTS))}/10000001"


def _amount(leaf: _Leaf) -> str | None:
    if leaf.field in _AMOUNTS and leaf.operator in _ORDERED and isinstance(leaf.operand, str):
        return "compares as texts, in which 9 is more than 10; write the number without quotes"
    return None


def _time(leaf: _Leaf) -> str | None:
    if leaf.field in _TIMES and _is_number(leaf.operand):
        return "times are texts; write one such as 2026-09-14T18:42:37Z in quotes"
    return None


def _word(leaf: _Leaf) -> str | None:
    known = _WORDS.get(leaf.field)
    value = leaf.operand
    if known is None or leaf.operator != "$eq" or not isinstance(value, str) or value in known:
        return None
    return f"it is one of {', '.join(known)}{nearest(value, known)}"


def _kind(leaf: _Leaf) -> str | None:
    """Find a boolean compared with a text, or a text with a boolean."""
    if leaf.operator != "$eq":
        return None
    is_boolean = leaf.field == "data.sample"
    if is_boolean and leaf.operand is not None and not isinstance(leaf.operand, bool):
        return "it is true or false; write it without quotes"
    label = leaf.field.startswith("data.labels.") and not isinstance(leaf.operand, str)
    if label and leaf.operand is not None:
        return "labels are texts; write it in quotes"
    if not is_boolean and isinstance(leaf.operand, bool):
        return "it is a text, never true or false; $exists asks whether it is there"
    return None


def _foreign_fields(path: Path, when: Any) -> Iterator[tuple[Path, str]]:
    """Yield fields that the types in the same mapping do not have."""
    if not isinstance(when, dict):
        return
    types = _asked_types(when.get(_TYPE))
    kinds = [kind for kind in _kinds(Data) if kind.type in types]
    has = {field.encode_name for kind in kinds for field in fields(kind)}
    for key, condition in when.items() if kinds else ():
        name = str(key).split(".")[1] if str(key).startswith("data.") else ""
        elsewhere = [kind.type for kind in _kinds(Data) if name in _fields(kind)]
        absent = condition in ({"$exists": False}, None)
        if name and name not in has and elsewhere and not absent:
            which = " or ".join(types)
            yield (*path, key), f"no {which} has data.{name}; it is a field of {elsewhere[0]}"


def _fields(kind: type[Data]) -> set[str]:
    return {field.encode_name for field in fields(kind)}


def _asked_types(given: Any) -> list[str]:
    """Return the types of a plain value or a list of them."""
    if isinstance(given, dict):
        given = given.get("$eq", given.get("$in")) if len(given) == 1 else None
    values = given if isinstance(given, list) else [given]
    known = [value for value in values if isinstance(value, str)]
    return known if len(known) == len(values) else []


# The comparisons of a filter


def leaves(path: Path, when: Any) -> Iterator[_Leaf]:
    """Yield each comparison of a filter, with its place."""
    for key, given in when.items() if isinstance(when, dict) else ():
        at = (*path, key)
        if key == "$not":
            yield from leaves(at, given)
        elif key in ("$and", "$or") and isinstance(given, list):
            for i, part in enumerate(given):
                yield from leaves((*at, i), part)
        elif isinstance(key, str) and not key.startswith("$"):
            yield from _compared(at, key, given)


def _compared(at: Path, field: str, given: Any) -> Iterator[_Leaf]:
    """Yield the comparisons of a value, a list of values, or a condition."""
    if isinstance(given, list):
        yield from (_Leaf((*at, i), field, "$eq", item) for i, item in enumerate(given))
    elif isinstance(given, dict):
        for operator, operand in given.items():
            yield from _operated((*at, operator), field, str(operator), operand)
    else:
        yield _Leaf(at, field, "$eq", given)


def _operated(at: Path, field: str, operator: str, operand: Any) -> Iterator[_Leaf]:
    match operator, operand:
        case ("$eq", _) | ("$in", list()) | ("$not", _):
            yield from _compared(at, field, operand)
        case ("$and" | "$or", list()):
            for i, part in enumerate(operand):
                yield from _compared((*at, i), field, part)
        case ("$startsWith" | "$endsWith" | "$gt" | "$gte" | "$lt" | "$lte", _):
            yield _Leaf(at, field, operator, operand)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
