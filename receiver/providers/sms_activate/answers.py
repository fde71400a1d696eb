"""What answers in SMS-Activate's dialect mean: JSON, words such as `STATUS_OK:1234`, errors."""

import re
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import unquote

import msgspec

from ...callback import Malformed
from ...polling.answers import expect_ok, heed_status, lenient, wait_in, wait_of
from ...polling.questions import BadKey, Busy, ProviderAnswer, Unreadable

_WORD = re.compile(r"\s*+[\"']?([A-Z][A-Z0-9_]{2,40})[\"']?\s*+(?::(.*))?", re.DOTALL)
_BAD_KEY = re.compile(r"(BAD|NO|WRONG|INVALID)_(API_)?KEY|UNAUTHORIZED")
#: Asked too often, or the provider is unwell.
_BUSY = re.compile(
    r".*LIMIT.*|TOO_(MANY|FAST|OFTEN).*|(ERROR_)?SQL(_ERROR)?|SERVER_ERROR|INTERNAL(_SERVER)?_ERROR"
    r"|FLOOD.*|(PLEASE_)?(TRY|RETRY)(_AGAIN)?(_LATER|_AFTER)?|.*MAINTENANCE.*|SERVICE_UNAVAILABLE"
)
#: Of the account, not of the key: it may end, so it does not stop the asking.
_BANNED = re.compile(r"((ACCOUNT|USER)_)?(IS_)?(BANNED|BAN|BLOCKED|LOCKED|INACTIVE|SUSPENDED)")
#: Seconds for which a banned account is left alone where the provider says no end.
_BAN = 3600.0
#: Nothing has come yet, or a list is empty.
_NOTHING = re.compile(
    r"STATUS_(WAIT(?!_RETRY).*|PENDING|PREPARE|READY)|NO_(ACTIVATIONS|NUMBERS|RENTS|ORDERS|ID_RENT|SMS|DATA)"
)
#: What an order of the provider is called, before what became of it.
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
#: Of an id that the provider does not know, or not any more.
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
#: Not Found, Method Not Allowed, Not Implemented, without a word that means something else.
_NO_COMMAND_STATUS = (404, 405, 501)
#: What every server of the dialect has: without it there is nothing to ask.
_ALWAYS_THERE = "getStatus"
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?")
_MOST_SAID = 300


class Word(msgspec.Struct, frozen=True):
    """A plain answer."""

    #: `STATUS_OK`, `STATUS_WAIT_RETRY` and `ACCESS_BALANCE` as sent; else one of `nothing`,
    #: `missing`, or the reason why an order is over: `cancelled finished revoked expired rejected
    #: failed`.
    word: str
    #: What follows the colon of `STATUS_OK:1234`.
    rest: str = ""
    #: The text of the message, from DaisySMS's header `X-Text`.
    text: str | None = None


Read: TypeAlias = Word | dict[str, Any] | list[Any]
_SAYS = frozenset({"STATUS_OK", "STATUS_WAIT_RETRY", "ACCESS_BALANCE"})
_NO_REASONS = _SAYS | {"nothing", "missing"}


def reason_of(answer: object) -> str | None:
    """Return why an order is over, if the answer says that it is."""
    if isinstance(answer, dict):  # its messages are beside its status
        meant = _meant(_word(_text(answer.get("status")).upper())[0])
    else:
        meant = answer.word if isinstance(answer, Word) else None
    return None if meant in _NO_REASONS else meant


def read_answer(answer: ProviderAnswer, command: str, now: datetime) -> Read:
    """Return what an answer says. Raises BadKey, Busy or Unreadable.

    `now` is in the provider's time zone, in which it writes the end of a ban.
    """
    value = _json(answer)
    said = "" if value is not None else answer.body[: 64 * 1024].decode("utf-8", "replace")
    word, rest = _word(said) if value is None else _complaint(value)
    _refuse(word, rest, answer, now)
    if word in _SAYS:
        expect_ok(answer, command)
        return Word(word, rest.strip().strip("'\""), _text_header(answer))
    meant = _meant(word)
    if meant is None and word:
        meant = _meant_by_text(_said_in(value))
    if meant is not None:
        return _unless_always_there(Word(meant), command)
    if answer.status in _NO_COMMAND_STATUS:
        return _unless_always_there(Word("missing"), command)
    heed_status(answer, command, now)
    _expect_known(answer, command, word, now)
    if command == "getBalance" and _AMOUNT.fullmatch(said.strip()):
        return Word("ACCESS_BALANCE", said.strip())
    if value is None:
        raise Unreadable(command, "not JSON")
    return value


def _text_header(answer: ProviderAnswer) -> str | None:
    """The text of the message; it may be escaped, as a header holds no line end."""
    text = answer.headers.get("x-text", "")
    return (unquote(text) if " " not in text else text) or None


def _refuse(word: str, rest: str, answer: ProviderAnswer, now: datetime) -> None:
    """Raise where the key is wrong, the account banned, or the provider is not to be asked now."""
    if _BAD_KEY.fullmatch(word):
        raise BadKey
    banned = _BANNED.fullmatch(word) is not None
    if not banned and not _BUSY.fullmatch(word):
        return
    wait = wait_of(rest, now)
    wait = wait_in(answer, now) if wait is None else wait
    if banned:
        raise Busy("the account is banned", _BAN if wait is None else wait)
    raise Busy("asked too often, or unwell", wait)


def _meant(word: str) -> str | None:
    if _NOTHING.fullmatch(word):
        return "nothing"
    if _NO_COMMAND.fullmatch(word):
        return "missing"
    for pattern, reason in _ENDS:
        if pattern.fullmatch(word):
            return reason
    return "finished" if _GONE.fullmatch(word) else None


def _meant_by_text(said: str) -> str | None:
    """Of an error without a word that is known here, such as `Activation not found`."""
    if _NO_COMMAND_TEXT.search(said):
        return "missing"
    return "finished" if _GONE_TEXT.search(said) else None


def _unless_always_there(word: Word, command: str) -> Word:
    if word.word == "missing" and command == _ALWAYS_THERE:
        raise Unreadable(command, "this provider does not have the command; check api_url")
    return word


def _expect_known(answer: ProviderAnswer, command: str, word: str, now: datetime) -> None:
    """Raise for any other error; Busy where it says when to ask again."""
    if not word and answer.status < 400:  # noqa: PLR2004 - of HTTP, an error
        return
    wait = wait_in(answer, now)
    if wait is not None:
        raise Busy("an error that is not known here", wait)
    expect_ok(answer, command)
    raise Unreadable(command, "a word that is not known here")


def _json(answer: ProviderAnswer) -> dict[str, Any] | list[Any] | None:
    try:
        value = lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict | list) else None


def _word(text: str) -> tuple[str, str]:
    """`STATUS_OK:12:34` -> its word, and what follows the first colon."""
    match = _WORD.fullmatch(text)
    return (match[1], match[2] or "") if match else ("", "")


_ERRORS = ("message", "error", "title", "msg", "details")


def _complaint(value: dict[str, Any] | list[Any]) -> tuple[str, str]:
    """The word in an object that is an error: in `message`, `error`, or HeroSMS's `title`."""
    if not isinstance(value, dict):
        return "", ""
    if value.get("status") != "error" and "error" not in value and "title" not in value:
        return "", ""
    for name in _ERRORS:
        word, rest = _word(_text(value.get(name)))
        if word:
            return word, rest
    return "UNKNOWN", ""


def _said_in(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    return " ".join(_text(value.get(name))[:_MOST_SAID] for name in _ERRORS)


def _text(value: object) -> str:
    return str(value) if isinstance(value, str) else ""
