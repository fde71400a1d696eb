"""What providers answer becomes values: JSON, what was meant to be JSON, and words."""

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .decode import json_value
from .polling import Answer, BadKey, Busy, Unreadable
from .source import Malformed

_BOM = b"\xef\xbb\xbf"
#: A string of either kind, a comment to the end of its line, punctuation, or anything else. What is
#: looked at is consumed: a string that is not closed takes the rest of the text. Trying again at
#: each of its quotes would take quadratic time.
_TOKEN = re.compile(
    r"""
      (?P<double> "(?:[^"\\]++|\\.)*+ (?P<double_ends>"?) )
    | (?P<single> u?'(?:[^'\\]++|\\.)*+ (?P<single_ends>'?) )
    | (?P<comment> //[^\n]*+ )
    | (?P<opens> [\[{] ) | (?P<closes> [\]}] ) | (?P<mark> [,:] )
    | (?P<word> [^\s\[\]{},:"']++ ) | (?P<blank> \s++ )
    """,
    re.DOTALL | re.VERBOSE,
)
#: The beginning of `"sms": "sms":"["Your sms code"]"`, and the same without its name given twice.
_LIST_BEGINS = re.compile(
    r'"(sms|smsCode)"\s{0,20}:\s{0,20}(?:"\1"\s{0,20}:\s{0,20})?"(?=\[)'
)
#: Its end, or a character that it cannot hold.
_LIST_ENDS = re.compile(r'\]"(?=\s{0,20}[,}\n])|[\n{}]')
#: Python's escapes in a string, but `\N{…}`.
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_ESCAPED = {"\n": "", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PYTHONS = {"True": "true", "False": "false", "None": "null"}
_CLOSES = {"[": "]", "{": "}"}
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
    return "".join(_rewritten("".join(_lists_opened(text))))


def _lists_opened(text: str) -> Iterator[str]:
    """Take lists out of the quotes around them. Each character is looked at once by each pattern."""
    at = 0
    while (begin := _LIST_BEGINS.search(text, at)) is not None:
        end = _LIST_ENDS.search(text, begin.end())
        if end is not None and end[0].startswith("]"):
            yield f'{text[at : begin.start()]}"{begin[1]}":{text[begin.end() : end.start()]}]'
            at = end.end()
        else:  # nor does any other that begins before that character
            after = len(text) if end is None else end.start()
            yield text[at:after]
            at = after
    yield text[at:]


def _rewritten(text: str) -> Iterator[str]:
    closing: list[str] = []
    ended = False  # a value has just ended: another one needs a comma
    for token, following in _with_following(text):
        kind = token.lastgroup
        if kind == "closes":
            yield closing.pop() if closing else token[0]
            ended = True
            continue
        if kind == "mark":
            if token[0] == ":" or (following and following not in "]}"):
                yield token[0]
            ended = False
            continue
        if ended:
            yield ","
        yield _value(token, following, closing)
        ended = kind != "opens"
    yield from reversed(closing)


def _with_following(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each token, and the text of the next; one at a time, as a large answer has a million."""
    last: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        if token.lastgroup in ("comment", "blank"):
            continue
        if last is not None:
            yield last, token[0]
        last = token
    if last is not None:
        yield last, ""


def _value(token: re.Match[str], following: str, closing: list[str]) -> str:
    match token.lastgroup:
        case "opens":
            opens = "[" if token[0] == "{" and following in ("{", "[") else token[0]
            closing.append(_CLOSES[opens])
            return opens
        case "double" if token["double_ends"]:
            return token[0]
        case "single" if token["single_ends"]:
            return json.dumps(_ESCAPE.sub(_unescaped, token[0].removeprefix("u")[1:-1]))
        case "word":
            return _PYTHONS.get(token[0], token[0])
    raise Malformed("malformed", "body: not JSON")  # a string without an end


def _unescaped(escape: re.Match[str]) -> str:
    """Return the character; one that is none stays as it is written."""
    digits = escape[1] or escape[2] or escape[3]
    if digits or escape[4]:
        number = int(digits, 16) if digits else int(escape[4], 8)
        return chr(number) if number <= sys.maxunicode else escape[0]
    return _ESCAPED.get(escape[5], escape[5])


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
