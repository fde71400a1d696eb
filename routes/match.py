"""`when`, compiled once into a predicate over an event as it is sent. Pure.

The language is that of the field's webhook gateways (Hookdeck, Convoy, Outpost): conditions on
dotted paths, operators that begin with `$`. Several keys of one mapping must all hold.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import re2  # type: ignore[import-untyped]  # it ships no types

from core.paths import MISSING, Path, parse, value_at
from core.services import SPELLED_PATHS, spellings_at

#: Over an event as plain JSON values: dict, list, str, int, float, bool and None.
Predicate = Callable[[Mapping[str, object]], bool]

#: Over what is at a path: a value, a list of them, or MISSING.
_Condition = Callable[[object], bool]
#: Over one value that is there.
_Test = Callable[[object], bool]
#: Takes the place and what is wrong there.
_Complain = Callable[[str, str], None]

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DEEPEST = 32
#: Errors are ours to report, not RE2's to print.
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False


class Invalid(Exception):
    """A filter that cannot be meant: every complaint, each with its place and what would do."""

    def __init__(self, complaints: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{place}: {text}" for place, text in complaints))
        self.complaints = tuple(complaints)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A filter, or a part of one, compiled."""

    #: Where it is written: `routes.google.when.data.price.amount.$gte`.
    place: str
    #: What is written there.
    wanted: object
    #: Over the whole event, or over what is at `path`, as the part that it is in says.
    holds: Callable[[Any], bool]
    #: The parts that decide, and how: `$and`, `$or` or `$not`; None: this one itself.
    join: str | None = None
    parts: tuple["Part", ...] = ()
    #: Its parts are asked about what the event has there, not about the event.
    path: Path | None = None


def compile_when(when: Mapping[str, object], where: str) -> Predicate:
    """Raises Invalid; its places begin with `where`, its texts name no value of the filter."""
    return compile_filter(when, where).holds


def compile_filter(when: Mapping[str, object], where: str) -> Part:
    """The same with what it is made of, so that its answer can be explained."""
    complaints: list[tuple[str, str]] = []

    def complain(place: str, text: str) -> None:
        complaints.append((place, text))

    if _is_deeper(when, _DEEPEST):
        raise Invalid([(where, f"nested more than {_DEEPEST} deep")])
    compiled = _filter(when, where, complain)
    if complaints:
        raise Invalid(complaints)
    return compiled


def _filter(written: object, place: str, complain: _Complain) -> Part:
    if not isinstance(written, Mapping):
        complain(place, "not a filter; write paths and conditions, such as data.code: {$ne: null}")
        return _nothing(place)
    clauses = [_clause(key, given, f"{place}.{key}", complain) for key, given in written.items()]
    return _joined("$and", clauses, place, written)


def _clause(key: object, given: object, place: str, complain: _Complain) -> Part:
    if key == "$not":
        return _joined("$not", [_filter(given, place, complain)], place, given)
    if key in _JOINS:
        filters = [_filter(part, at, complain) for part, at in _parts(given, place, complain)]
        return _joined(str(key), filters, place, given)
    if not isinstance(key, str) or key.startswith("$"):
        complain(place, _no_path(key))
        return _nothing(place)
    condition = _condition(given, place, key, complain)
    try:
        path = parse(key)
    except ValueError as error:
        complain(place, str(error))
        return _nothing(place)
    return _at(path, condition)


def compared_at(event: object, path: Path) -> object:
    """Return what the conditions at `path` are asked about: what the event has there.

    For a service whose key or name changed, a list of the present spelling and the former ones.
    """
    return spellings_at(path, value_at(event, path))


def _at(path: Path, condition: Part) -> Part:
    holds = condition.holds
    look = compared_at if path in SPELLED_PATHS else value_at
    return Part(
        place=condition.place,
        wanted=condition.wanted,
        holds=lambda event: holds(look(event, path)),
        join="$and",
        parts=(condition,),
        path=path,
    )


def _joined(join: str, parts: Sequence[Part], place: str, wanted: object) -> Part:
    """`$not` has one part."""
    # The bare functions: an event passes here more often than it is explained.
    tests = [part.holds for part in parts]
    holds = _negated(tests[0]) if join == "$not" else _any_or_all(_JOINS[join], tests)
    return Part(place=place, wanted=wanted, holds=holds, join=join, parts=tuple(parts))


def _negated(test: _Condition) -> _Condition:
    return lambda value: not test(value)


def _any_or_all(join: Callable[[Iterator[bool]], bool], tests: Sequence[_Condition]) -> _Condition:
    if len(tests) == 1:
        return tests[0]
    return lambda value: join(test(value) for test in tests)


def _no_path(key: object) -> str:
    if not isinstance(key, str):
        return "a path is a text, such as data.code"
    if key in _OPERATORS:
        return f"{key} needs a path before it, such as data.code: {{{key}: ...}}"
    return _no_operator(key, ("$and", "$or", "$not"))


def _condition(given: object, place: str, path: str, complain: _Complain) -> Part:
    if isinstance(given, Mapping):
        return _operators(given, place, path, complain)
    compiled = _in if isinstance(given, list | tuple) else _plain
    return Part(place=place, wanted=given, holds=compiled(given, place, complain))


def _operators(given: Mapping[object, object], place: str, path: str, complain: _Complain) -> Part:
    if not given:
        complain(place, f"names no operator; operators: {', '.join(_ALL)}")
    conditions = [
        _operator(key, operand, f"{place}.{key}", path, complain) for key, operand in given.items()
    ]
    return _joined("$and", conditions, place, given)


def _operator(key: object, operand: object, place: str, path: str, complain: _Complain) -> Part:
    if key == "$not":
        return _joined("$not", [_condition(operand, place, path, complain)], place, operand)
    if key in _JOINS:
        parts = _parts(operand, place, complain)
        conditions = [_condition(part, at, path, complain) for part, at in parts]
        return _joined(str(key), conditions, place, operand)
    if key in _OPERATORS:
        compiled = _OPERATORS[key]
        return Part(place=place, wanted=operand, holds=compiled(operand, place, complain))
    text = _no_operator(str(key), _ALL)
    below = "" if str(key).startswith("$") else f"; for a field below it write {path}.{key}: ..."
    complain(place, text + below)
    return _nothing(place)


def _plain(wanted: object, place: str, complain: _Complain) -> _Condition:
    return _some(_equal(wanted, place, complain))


def _eq(operand: object, place: str, complain: _Complain) -> _Condition:
    if not isinstance(operand, list | tuple):
        return _plain(operand, place, complain)
    tests = [_equal(item, f"{place}[{i}]", complain) for i, item in enumerate(operand)]

    def same_list(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(tests)
            and all(test(item) for test, item in zip(tests, value, strict=True))
        )

    return same_list


def _ne(operand: object, place: str, complain: _Complain) -> _Condition:
    equal = _eq(operand, place, complain)
    return lambda value: not equal(value)


def _in(operand: object, place: str, complain: _Complain) -> _Condition:
    if isinstance(operand, str):  # as Hookdeck has it: the event's text contains this one
        return _some(lambda value: isinstance(value, str) and operand in value)
    if not isinstance(operand, list | tuple) or not operand:
        complain(place, "takes a list of one or more values, or a text to look for")
        return _never
    tests = [_equal(item, f"{place}[{i}]", complain) for i, item in enumerate(operand)]
    return _some(lambda value: any(test(value) for test in tests))


def _nin(operand: object, place: str, complain: _Complain) -> _Condition:
    among = _in(operand, place, complain)
    return lambda value: not among(value)


def _ordered(compare: Callable[..., bool]) -> Callable[[object, str, _Complain], _Condition]:
    def compiled(operand: object, place: str, complain: _Complain) -> _Condition:
        if isinstance(operand, str):
            return _some(lambda value: isinstance(value, str) and compare(value, operand))
        bound = _as_number(operand)
        if bound is None:
            complain(place, "takes a number or a text")
            return _never

        def test(value: object) -> bool:
            number = _number(value)
            return number is not None and compare(number, bound)

        return _some(test)

    return compiled


def _of_text(
    holds: Callable[[str, str], bool],
) -> Callable[[object, str, _Complain], _Condition]:
    def compiled(operand: object, place: str, complain: _Complain) -> _Condition:
        if not isinstance(operand, str):
            complain(place, "takes a text")
            return _never
        return _some(lambda value: isinstance(value, str) and holds(value, operand))

    return compiled


def _regex(operand: object, place: str, complain: _Complain) -> _Condition:
    if not isinstance(operand, str):
        complain(place, "takes a regular expression in RE2 syntax, such as ^G-[0-9]+")
        return _never
    try:
        pattern = re2.compile(operand, _RE2_OPTIONS)
    except (re2.error, UnicodeError) as error:
        complain(place, _no_pattern(error))
        return _never
    return _some(lambda value: isinstance(value, str) and pattern.search(value) is not None)


def _no_pattern(error: Exception) -> str:
    """Return the complaint about a pattern, without RE2's quotation of it."""
    said = error.args[0]
    reason = said.decode().partition(":")[0] if isinstance(said, bytes) else "not UTF-8"
    hint = ""
    if reason in ("invalid perl operator", "invalid escape sequence"):
        hint = "; RE2 has no lookaround such as (?=, no backreferences such as \\1 and no \\Z"
    return f"is no regular expression in RE2 syntax: {reason}{hint}"


def _exists(operand: object, place: str, complain: _Complain) -> _Condition:
    if not isinstance(operand, bool):
        complain(place, "takes true or false")
    return lambda value: (value is not MISSING) == operand


def _equal(wanted: object, place: str, complain: _Complain) -> _Test:
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    number = _as_number(wanted)
    if number is None:
        complain(place, "compares with a text, a number, true, false or null")
        return _never
    return lambda value: _number(value) == number


def _number(value: object) -> Decimal | None:
    """An event's number, or its text that is one: prices are sent as text."""
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    return _as_number(value)


def _as_number(value: object) -> Decimal | None:
    if isinstance(value, bool):  # an int to Python, no number to anybody else
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))  # 1.2 as it was written, not as binary has it
    return None


def _some(test: _Test) -> _Condition:
    """Of a list one element is enough; of nothing, nothing."""

    def condition(value: object) -> bool:
        if isinstance(value, list | tuple):
            return any(test(item) for item in value)
        return value is not MISSING and test(value)

    return condition


def _parts(given: object, place: str, complain: _Complain) -> Iterator[tuple[object, str]]:
    if not isinstance(given, list | tuple) or not given:
        complain(place, "takes a list of one or more")
        return
    for number, part in enumerate(given):
        yield part, f"{place}[{number}]"


def _is_deeper(written: object, limit: int) -> bool:
    if isinstance(written, Mapping):
        return not limit or any(_is_deeper(part, limit - 1) for part in written.values())
    if isinstance(written, list | tuple):
        return not limit or any(_is_deeper(part, limit - 1) for part in written)
    return False


def _no_operator(key: str, operators: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(key, operators, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{key!r} is no operator; operators: {', '.join(operators)}{hint}"


def _nothing(place: str) -> Part:
    """In place of what is no filter, and was complained of."""
    return Part(place=place, wanted=None, holds=_never)


def _never(_: object) -> bool:
    return False


_JOINS: Mapping[object, Callable[[Iterator[bool]], bool]] = {"$and": all, "$or": any}

_OPERATORS: Mapping[object, Callable[[object, str, _Complain], _Condition]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$in": _in,
    "$nin": _nin,
    "$startsWith": _of_text(str.startswith),
    "$endsWith": _of_text(str.endswith),
    "$regex": _regex,
    "$exists": _exists,
}
_ALL = (*map(str, _OPERATORS), "$and", "$or", "$not")
