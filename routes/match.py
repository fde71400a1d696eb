"""Compiles a `when` into a predicate over an event as it is sent. Pure.

The language is that of webhook gateways (Hookdeck, Convoy, Outpost): conditions on dotted paths,
and operators that begin with `$`. All keys of one mapping must hold.
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

from core.erasure import CONTENT, is_erased, touches
from core.paths import MISSING, Path, parse, value_at
from core.printable import named
from core.services import SPELLED_PATHS, spellings_at

#: Tests an event as plain JSON values: dict, list, str, int, float, bool and None.
Predicate = Callable[[Mapping[str, object]], bool]

#: A text or a number of a filter, as `keys_of` gives it for a value of an event.
Key = str | Decimal

#: Tests the value at a path: a value, a list of values, or MISSING.
_Condition = Callable[[object], bool]
#: Tests one value.
_Test = Callable[[object], bool]
#: Takes a place and the complaint about it.
_Complain = Callable[[str, str], None]
#: Compiles an operand.
_Compile = Callable[[object, str, _Complain], _Condition]

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DEEPEST = 32
#: `list | tuple` would be built again at each test.
_LISTS = (list, tuple)
#: RE2 must not print errors, because they are reported as complaints.
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
#: Bytes of a compiled pattern. With more, compiling takes so long that callbacks wait.
_RE2_OPTIONS.max_mem = 512 << 10


class Invalid(Exception):
    """A filter is invalid: all complaints, each with its place and a correction."""

    def __init__(self, complaints: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{place}: {text}" for place, text in complaints))
        self.complaints = tuple(complaints)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled filter, or a part of one."""

    #: Its place in the configuration: `routes.google.when.data.price.amount.$gte`.
    place: str
    #: The configured value.
    wanted: object
    #: Tests the whole event, or the value at the `path` of the part around it.
    holds: Callable[[Any], bool]
    #: The join of its parts: `$and`, `$or` or `$not`; None: it has no parts.
    join: str | None = None
    parts: tuple["Part", ...] = ()
    #: Its parts test the value at this path; None: they test what this part tests.
    path: Path | None = None
    #: It holds only for values with one of these keys; None: for others too.
    keys: tuple[Key, ...] | None = None


def paths_of(part: Part) -> Iterator[Path]:
    """Yield the paths that a filter reads."""
    if part.path is not None:
        yield part.path
    for below in part.parts:
        yield from paths_of(below)


def compile_when(when: Mapping[str, object], where: str) -> Predicate:
    """Compile a filter to a predicate.

    Raises Invalid. Its places begin with `where`, and its texts have no value of the filter.
    """
    return compile_filter(when, where).holds


def compile_filter(when: Mapping[str, object], where: str) -> Part:
    """Compile a filter to a part with parts, from which `explain` can explain the answer.

    Raises Invalid as `compile_when` does.
    """
    complaints: list[tuple[str, str]] = []

    def complain(place: str, text: str) -> None:
        complaints.append((place, text))

    if _is_deeper(when, _DEEPEST):
        raise Invalid([(where, f"nested more than {_DEEPEST} deep")])
    compiled = _compile_filter(when, where, complain)
    if complaints:
        raise Invalid(complaints)
    paths = frozenset(paths_of(compiled))
    if not any(touches(path, CONTENT) for path in paths):
        return compiled
    # A null that was erased is not a value: `$ne`, `$not` and `$exists` must not match it.
    return msgspec.structs.replace(
        compiled, holds=lambda event: not is_erased(event, paths) and compiled.holds(event)
    )


def _compile_filter(written: object, place: str, complain: _Complain) -> Part:
    if not isinstance(written, Mapping):
        complain(place, "not a filter; write paths and conditions, such as data.code: {$ne: null}")
        return _invalid(place)
    clauses = [
        _compile_clause(key, given, f"{place}.{key}", complain) for key, given in written.items()
    ]
    return _join("$and", clauses, place, written)


def _compile_clause(key: object, given: object, place: str, complain: _Complain) -> Part:
    if key == "$not":
        return _join("$not", [_compile_filter(given, place, complain)], place, given)
    if key in _JOINS:
        items = _items(given, place, complain)
        filters = [_compile_filter(part, at, complain) for part, at in items]
        return _join(str(key), filters, place, given)
    if not isinstance(key, str) or key.startswith("$"):
        if not isinstance(key, str):
            complain(place, "a path is a text, such as data.code")
        elif key in _OPERATORS:
            complain(place, f"{key} needs a path before it, such as data.code: {{{key}: ...}}")
        else:
            complain(place, _unknown_operator(key, ("$and", "$or", "$not")))
        return _invalid(place)
    condition = _compile_condition(given, place, key, complain)
    try:
        path = parse(key)
    except ValueError as error:
        complain(place, str(error).replace(repr(key), repr(named(key))).replace(key, named(key)))
        return _invalid(place)
    read = compared_at if path in SPELLED_PATHS else value_at
    holds = condition.holds
    return Part(
        place=condition.place,
        wanted=condition.wanted,
        holds=lambda event: holds(read(event, path)),
        join="$and",
        parts=(condition,),
        path=path,
    )


def compared_at(event: object, path: Path) -> object:
    """Return the value that conditions at `path` test.

    For a service whose key or name changed, it is a list of the present and the former spellings.
    """
    return spellings_at(path, value_at(event, path))


def keys_of(value: object, *, numbers: bool) -> Iterator[Key]:
    """Yield the keys of an event's value, or of each item if it is a list.

    With `numbers`, a text that is a number has the key of that number too.
    """
    for item in value if isinstance(value, _LISTS) else (value,):
        if isinstance(item, str):
            yield item
        number = _number(item) if numbers else None
        if number is not None:
            yield number


def _join(join: str, parts: Sequence[Part], place: str, wanted: object) -> Part:
    """Join parts; for `$not` there is one."""
    # The bare functions, because events are tested more often than explained.
    tests = [part.holds for part in parts]
    if join == "$not":
        [test] = tests
        holds: _Condition = lambda value: not test(value)  # noqa: E731 - one of three
    elif len(tests) == 1:
        [holds] = tests
    else:
        holds = _JOINS[join](tests)
    return Part(place=place, wanted=wanted, holds=holds, join=join, parts=tuple(parts))


def _compile_condition(given: object, place: str, path: str, complain: _Complain) -> Part:
    if not isinstance(given, Mapping):
        compiled = _in if isinstance(given, list | tuple) else _compile_value
        return Part(
            place=place,
            wanted=given,
            holds=compiled(given, place, complain),
            keys=_keys("$in" if compiled is _in else "$eq", given),
        )
    if not given:
        complain(place, f"names no operator; operators: {', '.join(_ALL)}")
    conditions = [
        _compile_operator(key, operand, f"{place}.{key}", path, complain)
        for key, operand in given.items()
    ]
    return _join("$and", conditions, place, given)


def _compile_operator(
    key: object, operand: object, place: str, path: str, complain: _Complain
) -> Part:
    if key == "$not":
        return _join("$not", [_compile_condition(operand, place, path, complain)], place, operand)
    if key in _JOINS:
        items = _items(operand, place, complain)
        conditions = [_compile_condition(part, at, path, complain) for part, at in items]
        return _join(str(key), conditions, place, operand)
    if key in _OPERATORS:
        compiled = _OPERATORS[key]
        return Part(
            place=place,
            wanted=operand,
            holds=compiled(operand, place, complain),
            keys=_keys(key, operand),
        )
    text = _unknown_operator(str(key), _ALL)
    field = named(f"{path}.{key}")
    below = "" if str(key).startswith("$") else f"; for a field below it write {field}: ..."
    complain(place, text + below)
    return _invalid(place)


def _all(tests: Sequence[_Condition]) -> _Condition:
    def holds(value: object) -> bool:
        for test in tests:  # half the cost of `all` with a generator  # noqa: SIM110
            if not test(value):
                return False
        return True

    return holds


def _any(tests: Sequence[_Condition]) -> _Condition:
    def holds(value: object) -> bool:
        for test in tests:  # noqa: SIM110 - as in `_all`
            if test(value):
                return True
        return False

    return holds


def _compile_value(wanted: object, place: str, complain: _Complain) -> _Condition:
    if isinstance(wanted, str):  # nearly all conditions: one comparison decides
        return lambda value: value == wanted or (isinstance(value, _LISTS) and wanted in value)
    return _for_any(_equal(wanted, place, complain))


def _eq(operand: object, place: str, complain: _Complain) -> _Condition:
    if not isinstance(operand, list | tuple):
        return _compile_value(operand, place, complain)
    tests = [_equal(item, f"{place}[{i}]", complain) for i, item in enumerate(operand)]

    def same_list(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(tests)
            and all(test(item) for test, item in zip(tests, value, strict=True))
        )

    return same_list


def _in(operand: object, place: str, complain: _Complain) -> _Condition:
    if isinstance(operand, str):  # as in Hookdeck: the event's text contains this one
        return _for_any(lambda value: isinstance(value, str) and operand in value)
    if not isinstance(operand, list | tuple) or not operand:
        complain(place, "takes a list of one or more values, or a text to look for")
        return _never
    tests = [_equal(item, f"{place}[{i}]", complain) for i, item in enumerate(operand)]
    return _for_any(lambda value: any(test(value) for test in tests))


def _keys(operator: object, operand: object) -> tuple[Key, ...] | None:
    """Return the keys of a condition that is an equality, else None.

    Null, true and false are no keys, because most events have them.
    """
    is_list = isinstance(operand, list | tuple)
    if operator != ("$in" if is_list else "$eq"):
        return None
    wanted = operand if isinstance(operand, list | tuple) else (operand,)
    keys = [item if isinstance(item, str) else _as_number(item) for item in wanted]
    return None if None in keys else tuple([key for key in keys if key is not None])


def _negate(compile_: _Compile) -> _Compile:
    def compiled(operand: object, place: str, complain: _Complain) -> _Condition:
        holds = compile_(operand, place, complain)
        return lambda value: not holds(value)

    return compiled


def _compare(compare: Callable[..., bool]) -> _Compile:
    def compiled(operand: object, place: str, complain: _Complain) -> _Condition:
        if isinstance(operand, str):
            return _for_any(lambda value: isinstance(value, str) and compare(value, operand))
        bound = _as_number(operand)
        if bound is None:
            complain(place, "takes a number or a text")
            return _never

        def test(value: object) -> bool:
            number = _number(value)
            return number is not None and compare(number, bound)

        return _for_any(test)

    return compiled


def _compare_texts(holds: Callable[[str, str], bool]) -> _Compile:
    def compiled(operand: object, place: str, complain: _Complain) -> _Condition:
        if not isinstance(operand, str):
            complain(place, "takes a text")
            return _never
        return _for_any(lambda value: isinstance(value, str) and holds(value, operand))

    return compiled


def _regex(operand: object, place: str, complain: _Complain) -> _Condition:
    if not isinstance(operand, str):
        complain(place, "takes a regular expression in RE2 syntax, such as ^G-[0-9]+")
        return _never
    try:
        pattern = re2.compile(operand, _RE2_OPTIONS)
    except (re2.error, UnicodeError) as error:
        # RE2's own text quotes the pattern.
        text = error.args[0]
        reason = text.decode().partition(":")[0] if isinstance(text, bytes) else "not UTF-8"
        hint = ""
        if reason.startswith("pattern too large"):
            complain(place, "is too large; shorten it, or its repetitions such as {1,100}")
            return _never
        if reason in ("invalid perl operator", "invalid escape sequence"):
            hint = "; RE2 has no lookaround such as (?=, no backreferences such as \\1 and no \\Z"
        complain(place, f"is not a regular expression in RE2 syntax: {reason}{hint}")
        return _never
    return _for_any(lambda value: isinstance(value, str) and pattern.search(value) is not None)


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
    """Return the number in a value or in a text, because prices are sent as text."""
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    return _as_number(value)


def _as_number(value: object) -> Decimal | None:
    if isinstance(value, bool):  # an int in Python only
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))  # 1.2 as written, not as in binary
    return None


def _for_any(test: _Test) -> _Condition:
    """Return a condition that holds if one item of a list meets it, and never for MISSING."""

    def condition(value: object) -> bool:
        if isinstance(value, _LISTS):
            return any(test(item) for item in value)
        return value is not MISSING and test(value)

    return condition


def _items(given: object, place: str, complain: _Complain) -> Iterator[tuple[object, str]]:
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


def _unknown_operator(key: str, operators: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(key, operators, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{named(key)!r} is not an operator; operators: {', '.join(operators)}{hint}"


def _invalid(place: str) -> Part:
    """Return a part in place of an invalid one, for which there is a complaint."""
    return Part(place=place, wanted=None, holds=_never)


def _never(_: object) -> bool:
    return False


_JOINS: Mapping[object, Callable[[Sequence[_Condition]], _Condition]] = {"$and": _all, "$or": _any}

_OPERATORS: Mapping[object, _Compile] = {
    "$eq": _eq,
    "$ne": _negate(_eq),
    "$gt": _compare(operator.gt),
    "$gte": _compare(operator.ge),
    "$lt": _compare(operator.lt),
    "$lte": _compare(operator.le),
    "$in": _in,
    "$nin": _negate(_in),
    "$startsWith": _compare_texts(str.startswith),
    "$endsWith": _compare_texts(str.endswith),
    "$regex": _regex,
    "$exists": _exists,
}
_ALL = (*map(str, _OPERATORS), "$and", "$or", "$not")
