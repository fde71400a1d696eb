"""Query parameters and bodies: each is a Struct, and msgspec converts what was sent.

The Meta of a type has the text of the error: `description` for a value that does not fit, `title`
for a value of another type.
"""

import difflib
import enum
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import parse_qsl

import msgspec
from litestar.types import HTTPScope
from msgspec import Meta

from core.clock import LAST_SECOND
from core.instants import Instant, parse_rfc3339
from core.printable import named
from core.units import duration

from .errors import Problem, bad_body, bad_parameter

T = TypeVar("T", bound=msgspec.Struct)

#: Parameters that a call may have: SQLite binds at least as many values.
_MOST = 1000
_PAIR = 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: How to write an end in a body: see `read_end`.
AN_END = "write a time to come, such as 2026-09-14T18:42:36Z, or how long from now: 30m, 7d"
_OTHER_TYPE = "has the wrong type"
_TWICE = "given more than once; it takes one value"
_A_LIST = 'write a list, such as ["NAME"]'
#: msgspec's message about a value that is no list, or too short a list.
_NO_LIST = re.compile(r"Expected `array\b(?!.* - at )")

Text = Annotated[
    str,
    Meta(min_length=1, title="write a text", description="empty; write a value, or leave it out"),
]
#: The reason for a reveal or an erasure. The audit log keeps it.
ReasonText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        title="write a text",
        description="write a text of 1 to 500 characters",
    ),
]
Flag = Literal["true", "false"]
#: `true` or `false` in a body.
Switch = Annotated[bool, Meta(title="write true or false")]
EventType = Annotated[
    str,
    Meta(pattern=r"\A[a-z]+(\.[a-z_]+)+\Z", description="write a whole type, such as sms.received"),
]
#: `+18503814729`, `18503814729`; an unescaped `+` arrives as a space. See `e164`.
PhoneNumber = Annotated[
    str,
    Meta(
        pattern=r"\A[+ ]?[0-9]{1,15}\Z",
        description="write a number with its country's code, such as 18503814729",
    ),
]


class _GivenTwice(Exception):
    """A field of a body is given twice, and either value may be right."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Limit(int):
    """The maximum number of items of a page."""

    MOST = 1000

    @classmethod
    def parse(cls, text: str) -> Self:
        if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= cls.MOST:
            raise ValueError(f"write a number from 1 to {cls.MOST}")
        return cls(text)


class Scan(Limit):
    """The number of lines of the audit log that a page looks at."""

    MOST = 50_000


class FewerItems(Limit):
    """The maximum number of items of a page whose items take time to make."""

    MOST = 100


class Wait(float):
    """Seconds that a call waits for an event."""

    MOST = 55

    @classmethod
    def parse(cls, text: str) -> Self:
        if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text) or float(text) > cls.MOST:
            raise ValueError(f"write seconds from 0 to {cls.MOST}")
        return cls(text)


class NoParameters(msgspec.Struct, frozen=True):
    """No parameters: any parameter is refused."""


def read(scope: HTTPScope, type_: type[T]) -> T:
    """Return the parameters of the query. Raise Problem for the first unknown or wrong one."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST,
        )
    except ValueError:
        problem = f"not UTF-8, or more than {_MOST} parameters"
        raise Problem(400, "bad_parameter", problem) from None
    given = defaultdict(list)
    for name, text in pairs:
        given[name].append(text)
    hints = _hints(type_)
    values = {}
    for name, texts in given.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            there = f"{hint}; there are {', '.join(hints)}" if hints else "; this call takes none"
            raise bad_parameter(named(name), f"no such parameter{there}")
        many = get_origin(hints[name]) is tuple
        if len(texts) > 1 and not many:
            raise bad_parameter(name, _TWICE)
        try:
            values[name] = msgspec.convert(
                texts if many else texts[0], hints[name], dec_hook=_parse
            )
        except msgspec.ValidationError as exc:
            raise bad_parameter(name, _complaint(exc, hints[name])) from None
    return type_(**values)


def read_body(body: bytes, type_: type[T], expected: str) -> T:
    """Return the fields of a JSON object; a null field counts as missing.

    Raise Problem for the first unknown or wrong field, and with the text `expected` for a body that
    is no JSON object.
    """
    hints = _hints(type_)
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        json.loads(body, object_pairs_hook=_given_once, parse_int=str)
    except _GivenTwice as exc:
        raise bad_body(named(exc.name), _TWICE) from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Problem(400, "bad_body", expected) from None
    for name in fields:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(hints)}"
            raise bad_body(named(name), f"no such field; {hint}")
    values = {}
    for name, hint in hints.items():
        if bytes(fields.get(name, b"null")) != b"null":
            try:
                values[name] = msgspec.json.decode(fields[name], type=hint, dec_hook=_parse)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
                raise bad_body(name, _complaint(exc, hint)) from None
    return type_(**values)


def read_end(text: str, now: float) -> tuple[float, float | None]:
    """Return the end of a field `expires`, and the duration that was written, if it was one.

    Raise Problem.
    """
    try:
        instant = parse_rfc3339(text)
        end = now + duration(text) if instant is None else instant
    except ValueError:
        raise bad_body("expires", AN_END) from None
    if not now < end <= LAST_SECOND:
        raise bad_body("expires", AN_END)
    return end, None if instant is not None else end - now


def read_range(
    since: Instant | None,
    until: Instant | None,
    now: float,
    bad: Callable[[str, str], Problem] = bad_parameter,
) -> tuple[float | None, float | None]:
    """Return both ends of a range in seconds since the epoch.

    Raise the Problem that `bad` makes if nothing lies in it.
    """
    begin = None if since is None else since.at(now)
    end = None if until is None else until.at(now)
    if begin is not None and end is not None and end < begin:
        raise bad("until", "before since, so nothing can match")
    return begin, end


def is_uuid(text: str) -> bool:
    """Return whether a text is an id as events, orders, keys and replays have one."""
    return _UUID.fullmatch(text) is not None


def e164(written: str) -> str:
    """Return a PhoneNumber with its plus sign."""
    return f"+{written.lstrip('+ ')}"


def _given_once(pairs: list[tuple[str, Any]]) -> None:
    names = set[str]()
    for name, _ in pairs:
        if name in names:
            raise _GivenTwice(name)
        names.add(name)


def _parse(type_: Any, value: Any) -> Any:
    """Convert a Limit, a Wait or an Instant, which msgspec does not know."""
    if isinstance(value, str) and issubclass(type_, Limit | Wait | Instant):
        return type_.parse(value)
    raise ValueError(_OTHER_TYPE)


@lru_cache
def _hints(type_: type) -> Mapping[str, Any]:
    return get_type_hints(type_, include_extras=True)


def _complaint(exc: Exception, hint: Any) -> str:
    """Return the text of the error. The message of msgspec would repeat the value."""
    if exc.__cause__ is not None:
        return str(exc.__cause__)  # from `parse`
    text = str(exc)
    if _NO_LIST.match(text):  # not what is wrong with one of its items
        either = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        metas = [meta for part in either for meta in getattr(part, "__metadata__", ())]
        return next((meta.description for meta in metas if meta.description), _A_LIST)
    meta = next(_metas(hint), Meta())
    if meta.title and ", got " in text:
        return meta.title
    return meta.description or _OTHER_TYPE


def _metas(hint: Any) -> Iterator[Meta]:
    """Yield the Meta of a type and of its parts; enumerations list their words."""
    words = list(hint) if isinstance(hint, enum.EnumType) else []
    if get_origin(hint) is Literal:
        words = list(get_args(hint))
    if isinstance(hint, Meta):
        yield hint
    elif words:
        said = " or ".join(words) if len(words) == _PAIR else f"one of {', '.join(words)}"
        yield Meta(description=f"write {said}")
    else:
        for part in get_args(hint):
            yield from _metas(part)
