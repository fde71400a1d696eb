"""Reads answers of providers: JSON, broken JSON, and waits."""

import enum
import json
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain, pairwise
from typing import Any

import msgspec

from ..callback import Malformed
from ..decode import json_value
from .questions import BadKey, Busy, ProviderAnswer, Unreadable

#: A balance, which may be negative.
BALANCE = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?")
#: A string of either kind, a comment to the end of its line, punctuation, or anything else. An
#: unclosed string takes the rest of the text: trying again at each of its quotes would take
#: quadratic time.
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
#: It follows the last token.
_END = next(re.finditer("", ""))
#: The beginning of `"sms": "sms":"["Your sms code"]"`, also with the name only once.
_LIST_BEGINS = re.compile(r'"(sms|smsCode)"\s{0,20}:\s{0,20}(?:"\1"\s{0,20}:\s{0,20})?"(?=\[)')
#: Its end, or a character that it cannot contain.
_LIST_ENDS = re.compile(r'\]"(?=\s{0,20}[,}\n])|[\n{}]')
#: Python's escapes in a string, except `\N{…}`.
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_ESCAPED = {"\n": "", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_CLOSES = {"[": "]", "{": "}"}
_OK = 200
_UNAUTHORIZED, _FORBIDDEN = 401, 403
#: Request Timeout, Too Early, Too Many Requests.
_LATER = (408, 425, 429)
_BROKEN_SERVER = 500
_REDIRECTS = range(300, 400)
#: More digits are no sensible wait, and cost time to read.
_MOST_DIGITS = 9
#: Seconds until the next call for a banned account, if the provider sends no end.
BAN = 3600.0
#: Digits of seconds since 1970; milliseconds have three more.
_EPOCH_DIGITS = 10
#: Limits of the search for a wait: bytes of an answer, characters of a text and of a name, and
#: fields of an object.
_LONGEST_HINT, _LONGEST_TEXT, _LONGEST_NAME, _MOST_HINTS = 64 * 1024, 500, 50, 50
#: Names of fields that may have a wait.
_HINT = re.compile(r"retry|wait|until|seconds|banned|expire|details", re.IGNORECASE)
#: `2026-11-30 12:00:00`; SMS-Activate's documentation writes `YYYY-m-d H-i-s`.
_UNTIL = re.compile(
    r"(20[0-9]{2})-([01]?[0-9])-([0-3]?[0-9])[T _]([0-2]?[0-9])[:-]([0-5]?[0-9])[:-]([0-5]?[0-9])"
    r"(?:\.[0-9]{1,9})?(?: ?(Z|UTC|GMT|([+-])([0-9]{2}):?([0-9]{2})))?"
)
_SPAN = re.compile(
    r"\b([0-9]{1,6}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b", re.IGNORECASE
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Gone(enum.Enum):
    """The result of a call about an id that the provider does not know, or has forgotten."""

    GONE = "gone"


def read_lenient(body: bytes) -> object:
    """Read JSON, also with the mistakes that providers make. Raises Malformed.

    These are objects without names in an object (`{ {…}, {…} }`: a list), too many commas or too
    few, comments, a missing last bracket, and Python's notation.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        return json_value(body)
    except Malformed as strictly:
        if strictly.detail != "body: not JSON":
            raise
    mended = "".join(_mend("".join(_unquote_lists(body.decode()))))
    return json_value(mended.encode())


def _unquote_lists(text: str) -> Iterator[str]:
    """Yield the text with its lists taken out of their quotes.

    Each of the two patterns reads each character once.
    """
    at = 0
    while (begin := _LIST_BEGINS.search(text, at)) is not None:
        end = _LIST_ENDS.search(text, begin.end())
        if end is not None and end[0].startswith("]"):
            yield f'{text[at : begin.start()]}"{begin[1]}":{text[begin.end() : end.start()]}]'
            at = end.end()
        else:  # no other list that begins before that character can end either
            after = len(text) if end is None else end.start()
            yield text[at:after]
            at = after
    yield text[at:]


def _mend(text: str) -> Iterator[str]:
    """Yield the tokens of valid JSON. Raises Malformed at a string without an end."""
    closing: list[str] = []  # the ends of the brackets that are open
    needs_comma = False  # a value has just ended
    tokens = (it for it in _TOKEN.finditer(text) if it.lastgroup not in ("comment", "blank"))
    # One at a time: a large answer has a million tokens.
    for token, following in pairwise(chain(tokens, (_END,))):
        kind = token.lastgroup
        if kind == "closes":
            yield closing.pop() if closing else token[0]
            needs_comma = True
            continue
        if kind == "mark":
            if token[0] == ":" or (following[0] and following[0] not in "]}"):
                yield token[0]
            needs_comma = False
            continue
        if needs_comma:
            yield ","
        needs_comma = kind != "opens"
        if kind == "opens":
            opens = "[" if token[0] == "{" and following[0] in ("{", "[") else token[0]
            closing.append(_CLOSES[opens])
            yield opens
        elif kind == "double" and token["double_ends"]:
            yield token[0]
        elif kind == "single" and token["single_ends"]:
            yield json.dumps(_ESCAPE.sub(_unescape, token[0].removeprefix("u")[1:-1]))
        elif kind == "word":
            yield _PYTHON_WORDS.get(token[0], token[0])
        else:
            raise Malformed("malformed", "body: not JSON")
    yield from reversed(closing)


def _unescape(escape: re.Match[str]) -> str:
    """Return the escaped character; an invalid escape stays as it is."""
    digits = escape[1] or escape[2] or escape[3]
    if digits or escape[4]:
        number = int(digits, 16) if digits else int(escape[4], 8)
        return chr(number) if number <= sys.maxunicode else escape[0]
    return _ESCAPED.get(escape[5], escape[5])


def check_status(answer: ProviderAnswer, command: str, now: datetime) -> None:
    """Raise BadKey, Busy or Unreadable if the HTTP status is reason enough.

    `now` is in the provider's time zone, which applies to the end of a ban without an offset.
    """
    if answer.status == _UNAUTHORIZED:
        raise BadKey
    if answer.status == _FORBIDDEN:
        wait = wait_in(answer, now)
        if wait is None:
            raise BadKey
        raise Busy(str(answer.status), wait)  # a ban with an end
    if answer.status in _LATER or answer.status >= _BROKEN_SERVER:
        raise Busy(str(answer.status), wait_in(answer, now))
    if answer.status in _REDIRECTS:
        raise Unreadable(
            command, "a redirect; smshook does not follow it, because it would send the key there"
        )


def or_none(read: Callable[[], Any]) -> Any:
    """Return the result of `read`, or None if the answer is unreadable or the provider is busy.

    Use it for the balance: a round that read all messages must not fail because of it. If it is the
    only question of a round, its failure is that of the round. A wrong key, and a wait that the
    provider asks for, are raised.
    """
    try:
        return read()
    except Unreadable:
        return None
    except Busy as exc:
        if exc.retry_after is not None:
            raise
        return None


def expect_ok(answer: ProviderAnswer, command: str) -> None:
    """Raise Unreadable for any other status than 200."""
    if answer.status != _OK:
        raise Unreadable(command, f"answered {answer.status}")


def retry_after(answer: ProviderAnswer) -> float | None:
    """Return the seconds in Retry-After (RFC 9110, 10.2.3); a date is compared with `Date`."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    until, sent = _date(text), _date(answer.headers.get("date", ""))
    if until is None or sent is None:
        return None
    return max(0.0, (until - sent).total_seconds())


def wait_in(answer: ProviderAnswer, now: datetime) -> float | None:
    """Return the seconds to wait that an answer asks for, in its header or its JSON; else None."""
    wait = retry_after(answer)
    if wait is None and (until := _date(answer.headers.get("retry-after", ""))) is not None:
        wait = _left(until.timestamp(), now)  # without a `Date`, by our clock
    if wait is not None or len(answer.body) > _LONGEST_HINT:
        return wait
    try:
        value = read_lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        return None
    return wait_in_json(value, now)


def wait_in_json(value: object, now: datetime, *, depth: int = 3) -> float | None:
    """Return the seconds to wait that a JSON object asks for, or None.

    Fields such as `retry_after_seconds` and `banned_until` are read, also in nested objects.
    """
    if not isinstance(value, dict) or depth == 0:
        return None
    fields = list(value.items())[:_MOST_HINTS]
    waits = [
        read_wait(field, now, thousandths=name.lower().endswith(("ms", "millis")))
        for name, field in fields
        if isinstance(field, str) and _HINT.search(name[:_LONGEST_NAME])
    ]
    inner = [wait_in_json(field, now, depth=depth - 1) for _, field in fields]
    return max((wait for wait in [*waits, *inner] if wait is not None), default=None)


def read_wait(text: str, now: datetime, *, thousandths: bool = False) -> float | None:
    """Read the seconds to wait from `600`, `5 s`, `10 minutes` or `2026-11-30 12:00:00`.

    Digits alone are seconds, or an instant as seconds since 1970 if there are enough of them. None
    for an instant in the past and for any other text.
    """
    text = text[:_LONGEST_TEXT].strip().strip("'\"")
    if (until := _UNTIL.search(text)) is not None:
        year, month, day, hour, minute, second = (int(until[group]) for group in range(1, 7))
        zone = UTC if until[7] else now.tzinfo
        try:
            at = datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp()
        except (ValueError, OverflowError):
            return None
        offset = int(until[9] or 0) * 3600 + int(until[10] or 0) * 60
        return _left(at + (offset if until[8] == "-" else -offset), now)
    if text.isascii() and text.isdigit():
        if len(text) <= _MOST_DIGITS:
            return float(text) / 1000 if thousandths else float(text)
        epoch = float(text) / (1000 if len(text) > _EPOCH_DIGITS else 1)
        return _left(epoch, now) if len(text) <= _EPOCH_DIGITS + 3 else None
    span = _SPAN.search(text)
    return None if span is None else float(span[1]) * _SECONDS[span[2][0].lower()]


def _left(until: float, now: datetime) -> float | None:
    """Return the seconds until an instant; None if it is over."""
    left = until - now.timestamp()
    return left if left > 0 else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text[:_LONGEST_TEXT])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def object_in(answer: ProviderAnswer, command: str, now: datetime) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises BadKey, Busy or Unreadable otherwise."""
    check_status(answer, command, now)
    try:
        value = read_lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        expect_ok(answer, command)
        raise Unreadable(command, "not JSON") from None
    if not isinstance(value, dict):
        raise Unreadable(command, "an object is expected")
    return value


class ErrorTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns for the errors that a provider reports as text."""

    #: The account is banned, not the key. A ban may end, so polling goes on.
    banned: re.Pattern[str]
    bad_key: re.Pattern[str]
    #: The provider does not know the id, or has forgotten it.
    gone: re.Pattern[str]
    #: Not an error, although the provider says so.
    nothing: re.Pattern[str]
    busy: re.Pattern[str]

    def read(self, message: str, command: str, now: datetime) -> list[dict[str, Any]] | Gone:
        """Return no rows, or GONE. Raises BadKey, Busy or Unreadable for any other error."""
        message = message[:_LONGEST_TEXT]
        if self.banned.search(message):
            wait = read_wait(message, now)
            raise Busy("the account is banned", BAN if wait is None else wait)
        if self.bad_key.search(message):
            raise BadKey
        if self.gone.search(message):
            return Gone.GONE
        if self.nothing.search(message):
            return []
        if self.busy.search(message):
            raise Busy("asked too often", read_wait(message, now))
        raise Unreadable(command, "an unknown error")


def rows(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list or in an object that numbers them, or the one object itself."""
    if isinstance(value, dict):
        inner = list(value.values())
        value = inner if inner and all(isinstance(one, dict) for one in inner) else [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
