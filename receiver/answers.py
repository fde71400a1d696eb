"""What providers answer becomes values: JSON, what was meant to be JSON, and words."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .decode import json_value
from .polling import Answer, BadKey, Busy, Unreadable
from .source import Malformed

_BOM = b"\xef\xbb\xbf"
#: A string of either kind, a comment to the end of its line, punctuation, or anything else.
_TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.)*+")|u?('(?:[^'\\]|\\.)*+')|(//[^\n]*)|([\[{])|([\]}])|([,:])"""
    r"""|([^\s\[\]{},:"']++)|\s++|(.)""",
    re.DOTALL,
)
#: `"sms": "sms":"["Your sms code"]"`, and the same without its name given twice.
_BROKEN_LIST = re.compile(
    r'"(sms|smsCode)"\s{0,20}:\s{0,20}(?:"\1"\s{0,20}:\s{0,20})?"(\[[^\n{}]{0,2000}?\])"(?=\s{0,20}[,}\n])'
)
_PYTHONS = {"True": "true", "False": "false", "None": "null"}
_OPENS, _CLOSES = "[{", {"[": "]", "{": "}"}
_OK = 200
_UNAUTHORIZED, _FORBIDDEN, _TIMEOUT, _TOO_MANY = 401, 403, 408, 429
_BROKEN_SERVER = 500
_REDIRECTS = range(300, 400)
#: Longer is nonsense, and costs time to read.
_MOST_DIGITS = 9


def lenient(body: bytes) -> object:
    """JSON, and what documentations print in its place. Raises Malformed.

    Objects in an object without names (`{ {…}, {…} }`: a list), commas too many or missing,
    comments, a last bracket missing, Python's way of writing it.
    """
    body = body.removeprefix(_BOM)
    try:
        return json_value(body)
    except Malformed as strictly:
        if strictly.detail != "body: not JSON":
            raise
    return json_value(_mended(body.decode()).encode())


def _mended(text: str) -> str:
    return "".join(_rewritten(_BROKEN_LIST.sub(r'"\1":\2', text)))


def _rewritten(text: str) -> Iterator[str]:
    closing: list[str] = []
    tokens = [match for match in _TOKEN.finditer(text) if not (match[0].isspace() or match[3])]
    ended = False  # a value has just ended: another one needs a comma
    for i, token in enumerate(tokens):
        following = tokens[i + 1][0] if i + 1 < len(tokens) else ""
        if token[8]:
            raise Malformed("malformed", "body: not JSON")
        if token[5]:
            yield closing.pop() if closing else token[0]
            ended = True
            continue
        if token[6]:
            if token[0] == ":" or (following and following not in "]}"):
                yield token[0]
            ended = False
            continue
        if ended:
            yield ","
        yield _value(token, following, closing)
        ended = not token[4]
    yield from reversed(closing)


def _value(token: re.Match[str], following: str, closing: list[str]) -> str:
    if token[4]:
        opens = "[" if token[0] == "{" and following in ("{", "[") else token[0]
        closing.append(_CLOSES[opens])
        return opens
    if token[2]:
        return _from_python(token[2])
    return _PYTHONS.get(token[0], token[0])


def _from_python(literal: str) -> str:
    try:
        return json.dumps(ast.literal_eval(literal))
    except (ValueError, SyntaxError):
        raise Malformed("malformed", "body: not JSON") from None


def heed_status(answer: Answer, command: str) -> None:
    """Raises where the HTTP status says it all."""
    if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
        raise BadKey
    if answer.status in (_TIMEOUT, _TOO_MANY) or answer.status >= _BROKEN_SERVER:
        raise Busy(str(answer.status), retry_after(answer))
    if answer.status in _REDIRECTS:
        raise Unreadable(command, "a redirect; it is not followed, the key would go with it")


def expect_ok(answer: Answer, command: str) -> None:
    """Raises for any status but 200, where the body says nothing we know."""
    if answer.status != _OK:
        raise Unreadable(command, f"answered {answer.status}")


def retry_after(answer: Answer) -> float | None:
    """Seconds by RFC 9110, 10.2.3; a date is compared with the answer's own."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    until, sent = _date(text), _date(answer.headers.get("date", ""))
    if until is None or sent is None:
        return None
    return max(0.0, (until - sent).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def object_in(answer: Answer, command: str) -> dict[str, Any]:
    """The JSON object that an answer is. Raises BadKey, Busy and Unreadable where it is none."""
    heed_status(answer, command)
    try:
        value = lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        expect_ok(answer, command)
        raise Unreadable(command, "not JSON") from None
    if not isinstance(value, dict):
        raise Unreadable(command, "an object is expected")
    return value


def rows(value: object) -> list[dict[str, Any]]:
    """The objects in a list, in an object that numbers them, or the one that it is."""
    if isinstance(value, dict):
        inner = list(value.values())
        value = inner if inner and all(isinstance(one, dict) for one in inner) else [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
