"""Reads answers in SMS-Activate's dialect: JSON, words such as `STATUS_OK:1234`, and errors."""

import re
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec

from ...callback import Malformed
from ...polling.answers import (
    BALANCE,
    BAN,
    check_status,
    expect_ok,
    read_lenient,
    read_wait,
    wait_in,
)
from ...polling.questions import BadKey, Busy, ProviderAnswer, Unreadable

_WORD = re.compile(r"\s*+[\"']?([A-Z][A-Z0-9_]{2,40})[\"']?\s*+(?::(.*))?", re.DOTALL)
_BAD_KEY = re.compile(r"(BAD|NO|WRONG|INVALID)_(API_)?KEY|UNAUTHORIZED")
#: The provider limits our calls or is unavailable.
_BUSY = re.compile(
    r".*LIMIT.*|TOO_(MANY|FAST|OFTEN).*|(ERROR_)?SQL(_ERROR)?|SERVER_ERROR|INTERNAL(_SERVER)?_ERROR"
    r"|FLOOD.*|(PLEASE_)?(TRY|RETRY)(_AGAIN)?(_LATER|_AFTER)?|.*MAINTENANCE.*|SERVICE_UNAVAILABLE"
)
#: The account is banned, not the key. A ban may end, so polling goes on.
_BANNED = re.compile(r"((ACCOUNT|USER)_)?(IS_)?(BANNED|BAN|BLOCKED|LOCKED|INACTIVE|SUSPENDED)")
#: No SMS yet, or an empty list.
_NOTHING = re.compile(
    r"STATUS_(WAIT(?!_RETRY).*|PENDING|PREPARE|READY)|NO_(ACTIVATIONS|NUMBERS|RENTS|ORDERS|ID_RENT|SMS|DATA)"
)
#: The words for an order, before the words for its end.
_OF_ORDER = r"(?:(?:STATUS|ACCESS|ALREADY|ACTIVATION|ORDER|RENT)_)*+"
_ENDS = tuple(
    (re.compile(f"{_OF_ORDER}(?:{words})"), reason)
    for words, reason in (
        (r"CANCELL?(?:ED)?|REFUND(?:ED)?", "cancelled"),
        (r"FINISH(?:ED)?|COMPLETED?|DONE|CLOSED", "finished"),
        (r"REVOKED?", "revoked"),
        (r"TIME_?OUT|TIMED_OUT|EXPIRED?|DIE", "expired"),
        (r"REJECT(?:ED)?", "rejected"),
        (r"FAIL(?:ED|URE)?", "failed"),
    )
)
#: The provider does not know the id, or has forgotten it.
_GONE = re.compile(
    r"(NO|WRONG|INVALID|BAD|UNKNOWN)_(ACTIVATION|ORDER|RENT|ID|ACTIVATION_ID|ORDER_ID|RENT_ID)"
    r"|((ACTIVATION|ORDER|RENT|ID|PHONE|NUMBER)_)?NOT_(FOUND|ACTIVE|EXIST|EXISTS)"
    r"|INVALID_PHONE|ACCESS_ACTIVATION"
)
_GONE_TEXT = re.compile(
    r"\b(activation|order|rent|rental|id)\b.{0,30}?"
    r"\b(not (found|active|exist)|does ?n.t exist|unknown)"
    r"|\b(invalid|wrong|unknown|no such|no) (activation|order|rent|rental|id)\b",
    re.IGNORECASE | re.DOTALL,
)
#: The provider does not have the command.
_NO_COMMAND = re.compile(
    r"(BAD|NO|WRONG|INVALID|UNKNOWN|UNSUPPORTED)_(ACTION|METHOD|COMMAND|REQUEST_ACTION)"
    r"|(ACTION|METHOD|COMMAND)_NOT_(FOUND|SUPPORTED|ALLOWED|EXISTS?|IMPLEMENTED)"
    r"|NOT_(SUPPORTED|IMPLEMENTED)"
)
_NO_COMMAND_TEXT = re.compile(
    r"\b(action|method|command)\b.{0,30}?"
    r"\b(not (found|supported|allowed|exist)|does ?n.t exist|unknown)"
    r"|\b(invalid|wrong|unknown|unsupported|bad|no such|no) (action|method|command)\b",
    re.IGNORECASE | re.DOTALL,
)
#: Not Found, Method Not Allowed, Not Implemented.
_NO_COMMAND_STATUS = (404, 405, 501)
#: Every server of the dialect has this command.
_REQUIRED = "getStatus"
_LONGEST_ERROR = 300
#: Fields of an error.
_ERRORS = ("message", "error", "title", "msg", "details")
#: The first status of HTTP that is an error.
_FIRST_ERROR = 400


class Word(msgspec.Struct, frozen=True):
    """An answer that is a word."""

    #: `STATUS_OK`, `STATUS_WAIT_RETRY` and `ACCESS_BALANCE` as sent; otherwise `nothing`,
    #: `missing`, or the reason why an order ended: `cancelled finished revoked expired rejected
    #: failed`.
    word: str
    #: The part behind the colon of `STATUS_OK:1234`.
    rest: str = ""
    #: The text of the message, from the header `X-Text`.
    text: str | None = None


Read: TypeAlias = Word | dict[str, Any] | list[Any]
_WITH_CONTENT = frozenset({"STATUS_OK", "STATUS_WAIT_RETRY", "ACCESS_BALANCE"})
_NO_REASONS = _WITH_CONTENT | {"nothing", "missing"}


def reason_of(answer: object) -> str | None:
    """Return why an order ended; None if the answer does not say that it did."""
    if isinstance(answer, dict):  # with messages beside its status
        meaning = _meaning(_split_word(_text(answer.get("status")).upper())[0])
    else:
        meaning = answer.word if isinstance(answer, Word) else None
    return None if meaning in _NO_REASONS else meaning


def read_answer(answer: ProviderAnswer, command: str, now: datetime) -> Read:
    """Read an answer. Raises BadKey, Busy or Unreadable.

    `now` is in the provider's time zone, in which it writes the end of a ban.
    """
    try:
        value = read_lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        value = None
    if isinstance(value, dict | list):
        text = ""
        word, rest, error = _read_error(value)
    else:
        value, error = None, ""
        text = answer.body[: 64 * 1024].decode("utf-8", "replace")
        word, rest = _split_word(text)
    _check_word(word, rest, answer, now)
    if word in _WITH_CONTENT:
        expect_ok(answer, command)
        # A header cannot have a line end, so the text of the message may be escaped.
        sms = answer.headers.get("x-text", "")
        sms = unquote(sms) if " " not in sms else sms
        return Word(word, rest.strip().strip("'\""), sms or None)
    meaning = _meaning(word, error) or ("missing" if answer.status in _NO_COMMAND_STATUS else None)
    if meaning == "missing" and command == _REQUIRED:
        raise Unreadable(command, "this provider does not have the command; check api_url")
    if meaning is not None:
        return Word(meaning)
    check_status(answer, command, now)
    if word or answer.status >= _FIRST_ERROR:
        if (wait := wait_in(answer, now)) is not None:
            raise Busy("an unknown error", wait)
        expect_ok(answer, command)
        raise Unreadable(command, "an unknown word")
    if command == "getBalance" and BALANCE.fullmatch(text.strip()):
        return Word("ACCESS_BALANCE", text.strip())
    if value is None:
        raise Unreadable(command, "not JSON")
    return value


def _read_error(value: dict[str, Any] | list[Any]) -> tuple[str, str, str]:
    """Return the word of an error, its rest, and all its texts; all are empty without an error."""
    if not isinstance(value, dict):
        return "", "", ""
    if value.get("status") != "error" and "error" not in value and "title" not in value:
        return "", "", ""
    texts = [_text(value.get(name)) for name in _ERRORS]
    error = " ".join(text[:_LONGEST_ERROR] for text in texts)
    for text in texts:
        word, rest = _split_word(text)
        if word:
            return word, rest, error
    return "UNKNOWN", "", error


def _check_word(word: str, rest: str, answer: ProviderAnswer, now: datetime) -> None:
    """Raise if the key is wrong, the account is banned, or the provider is busy."""
    if _BAD_KEY.fullmatch(word):
        raise BadKey
    banned = _BANNED.fullmatch(word) is not None
    if not banned and not _BUSY.fullmatch(word):
        return
    wait = read_wait(rest, now)
    wait = wait_in(answer, now) if wait is None else wait
    if banned:
        raise Busy("the account is banned", BAN if wait is None else wait)
    raise Busy("asked too often, or not available", wait)


def _meaning(word: str, error: str = "") -> str | None:
    """Return the meaning of a word, or of an error such as `Activation not found`."""
    if _NOTHING.fullmatch(word):
        return "nothing"
    if _NO_COMMAND.fullmatch(word):
        return "missing"
    for pattern, reason in _ENDS:
        if pattern.fullmatch(word):
            return reason
    if _GONE.fullmatch(word):
        return "finished"
    if _NO_COMMAND_TEXT.search(error):
        return "missing"
    return "finished" if _GONE_TEXT.search(error) else None


def _split_word(text: str) -> tuple[str, str]:
    """Split `STATUS_OK:12:34` at its first colon; both are empty for any other text."""
    match = _WORD.fullmatch(text)
    return (match[1], match[2] or "") if match else ("", "")


def _text(value: object) -> str:
    return str(value) if isinstance(value, str) else ""
