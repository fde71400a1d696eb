"""The parameters of a call: each has its reader, and what has none is refused."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from litestar.types import HTTPScope

from core.units import duration

from .errors import Problem, bad_parameter

T = TypeVar("T")

#: Takes all that was given under one name. Raises ValueError, which says what would do.
Reader = Callable[[Sequence[str]], Any]
Readers = Mapping[str, Reader]

MOST_LISTED = 1000
#: How many parameters a call may have: SQLite knows so many values, and a person fewer.
_MOST = 1000
#: Of a name that we do not know, so much is said back.
_NAMED = 40
#: RFC 3339, 5.6; a `+` that nobody escaped arrives as a space.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,12})?)(?:([Zz])|([+ -])(\d\d:\d\d))", re.ASCII
)
_NUMBER = re.compile(r"[+ ]?([0-9]{1,15})")
_TYPE = re.compile(r"[a-z]+(\.[a-z_]+)+")


def read(scope: HTTPScope, readers: Readers) -> dict[str, Any]:
    """What was asked for, by name; what was not given is not there. Raises Problem."""
    values = {}
    for name, texts in _given(scope).items():
        if name not in readers:
            raise bad_parameter(name[:_NAMED], _unknown(name, readers))
        try:
            values[name] = readers[name](texts)
        except ValueError as exc:
            raise bad_parameter(name, str(exc)) from None
    return values


def once(convert: Callable[[str], T]) -> Callable[[Sequence[str]], T]:
    def reader(texts: Sequence[str]) -> T:
        if len(texts) > 1:
            raise ValueError("given more than once; it takes one value")
        return convert(texts[0])

    return reader


def any_of(convert: Callable[[str], T]) -> Callable[[Sequence[str]], tuple[T, ...]]:
    return lambda texts: tuple(convert(text) for text in texts)


def text(written: str) -> str:
    if not written:
        raise ValueError("empty; write a value, or leave it out")
    return written


def limit(written: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", written) or not 1 <= int(written) <= MOST_LISTED:
        raise ValueError(f"write a number from 1 to {MOST_LISTED}")
    return int(written)


def descending(written: str) -> bool:
    if written not in ("asc", "desc"):
        raise ValueError("write asc or desc")
    return written == "desc"


def flag(written: str) -> bool:
    if written not in ("true", "false"):
        raise ValueError("write true or false")
    return written == "true"


def event_type(written: str) -> str:
    if not _TYPE.fullmatch(written):
        raise ValueError("write a whole type, such as sms.received")
    return written


def number(written: str) -> str:
    """`+18503814729`, `18503814729`; a `+` that nobody escaped arrives as a space. In E.164."""
    match = _NUMBER.fullmatch(written)
    if match is None:
        raise ValueError("write a number with its country's code, such as 18503814729")
    return f"+{match[1]}"


def instant(now: Callable[[], float]) -> Callable[[str], float]:
    """`2020-09-14T18:42:36Z`, or `10m`: that long ago. In seconds since the epoch."""

    def convert(written: str) -> float:
        try:
            at = rfc3339(written)
            at = now() - duration(written) if at is None else at
        except ValueError:
            at = math.inf
        if not math.isfinite(at):
            raise ValueError(
                "write a time such as 2020-09-14T18:42:36Z, or how long ago: 200ms, 30s, 10m, 7d"
            )
        return at

    return convert


def rfc3339(written: str) -> float | None:
    """Seconds since the epoch; None for what is not written like that, ValueError for no time."""
    match = _RFC3339.fullmatch(written)
    if match is None:
        return None
    date, clock, utc, sign, offset = match.groups()
    zone = "+00:00" if utc else f"{'-' if sign == '-' else '+'}{offset}"
    return datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp()


def _given(scope: HTTPScope) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
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
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def _unknown(name: str, readers: Readers) -> str:
    if not readers:
        return "no such parameter; this call takes none"
    nearest = difflib.get_close_matches(name, readers, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"no such parameter{hint}; there are {', '.join(readers)}"
