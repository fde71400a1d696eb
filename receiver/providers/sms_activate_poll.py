"""Asking in SMS-Activate's dialect: the actions of `handler_api.php` that only read.

An activation: getActiveActivations lists them, getStatusV2 tells the newest SMS of one with its
time, getStatus its code alone, getHistory what is left of those that ended. A rental: getRentList,
getRentStatus. JSON and plain words come as they please.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from journal.event import CallReceived

from ..answers import expect_ok, heed_status, lenient, rows
from ..asking import found, polled, told, with_query
from ..numbers import e164
from ..polling import Answer, Ask, Asking, BadKey, Busy, Found, Known, Notice, Poll, Unreadable
from ..reading import Reading, common
from ..source import Happening, Key, Malformed
from ..texts import links
from ..times import time_from, zone

if TYPE_CHECKING:
    from .sms_activate import SmsActivate

_WORD = re.compile(r"\s*[\"']?([A-Z][A-Z0-9_]{2,40})[\"']?\s*(?::(.*))?", re.DOTALL)
_BAD_KEY = frozenset(
    {"BAD_KEY", "NO_KEY", "WRONG_KEY", "ACCOUNT_INACTIVE", "BANNED", "UNAUTHORIZED"}
)
_BUSY = frozenset({"ERROR_SQL", "SERVER_ERROR", "SQL_ERROR", "RATE_LIMIT", "TOO_MANY_REQUESTS"})
#: Nothing is there, or nothing any more; all of it is called an error.
_NOTHING = frozenset(
    {
        "NO_ACTIVATION",
        "NO_ACTIVATIONS",
        "ACTIVATION_NOT_ACTIVE",
        "WRONG_ACTIVATION_ID",
        "NO_NUMBERS",
        "NO_ID_RENT",
        "INVALID_PHONE",
        "RENT_DIE",
        "STATUS_FINISH",
        "STATUS_CANCEL",
        "STATUS_REVOKE",
        "STATUS_WAIT_CODE",
        "STATUS_WAIT_RESEND",
    }
)
#: How the list tells of SMS that are not the newest.
_CODES_ALONE = "getActiveActivations.smsCode"
#: How a time says that there is none.
_NO_TIME = "0000-00-00"
_PAGE = 100
_MOST_PAGES = 50
#: Of an activation, from its purchase to its last SMS: twenty minutes, and some can be prolonged.
_LIFE = timedelta(hours=1)
_LONGEST_RANGE = timedelta(days=29)
#: Times without an offset may be read in the wrong zone.
_UNSURE = timedelta(days=1)
#: Longer ones, and those with blanks, are texts and no codes.
_LONGEST_CODE = 12


def poll(source: "SmsActivate", known: Sequence[Known], *, since: datetime, now: datetime) -> Poll:
    one = _Poll(source, now, since)
    yield from one.activations([order for order in known if order.activation_id])
    yield from one.rentals({order.rental_id: order.number for order in known if order.rental_id})


class _Poll:
    """One round of questions to one source."""

    def __init__(self, source: "SmsActivate", now: datetime, since: datetime) -> None:
        self._source, self._now, self._since = source, now, since
        self._asking = source.asking()
        self._commands = source.commands
        #: Activations that something was told of in this round.
        self._told: set[str] = set()

    # --- activations ----------------------------------------------------------------------

    def activations(self, known: Sequence[Known]) -> Poll:
        active = yield from self._active()
        services = {order.activation_id: order.service for order in known}
        numbers = {order.activation_id: order.number for order in known}
        for id_ in dict.fromkeys([*active, *(order.activation_id or "" for order in known)]):
            row = active.get(id_, {})
            silent = not _codes(row) and not _words(row.get("smsText"))
            if row and silent and not (id_ in numbers and "getStatusV2" in self._commands):
                continue  # still waits; of a call alone nothing is listed
            yield from self._activation(id_, row, services.get(id_), numbers.get(id_))
        if "getHistory" in self._commands:
            yield from self._history()

    def _active(self) -> Any:
        """By their ids."""
        if "getActiveActivations" not in self._commands:
            return {}
        listed: dict[str, dict[str, Any]] = {}
        for page in range(_MOST_PAGES):
            paged = {"start": str(page * _PAGE), "limit": str(_PAGE)} if self._source.pages else {}
            answer = yield self._ask("getActiveActivations", **paged)
            batch = {str(row["activationId"]): row for row in _listed(answer) if _id(row)}
            news = batch.keys() - listed.keys()
            listed |= batch
            if not news or not paged or len(batch) < _PAGE:
                break
        return listed

    def _activation(
        self, id_: str, row: Mapping[str, Any], service: str | None, number: str | None
    ) -> Poll:
        """Its newest SMS as well as it is told anywhere, and the codes of those before."""
        fields = {"activationId": id_, "service": row.get("serviceCode") or service}
        fields |= {"country": row.get("countryCode")}
        to = _number(row.get("phoneNumber")) or number
        told_of = () if self._says_enough(row) else (yield from self._status(fields, to))
        if row:
            self._told.add(id_)
        text, codes = _words(row.get("smsText")), _codes(row)
        newest = {"text": text, "code": codes[-1] if codes else None}
        if not told_of and (text or codes):
            yield from self._untimed(fields | newest, row, to, "getActiveActivations")
        for code in _older(codes, told_of):
            # As the newest it had a text, and so another key: hence a form of its own.
            yield from self._untimed(
                fields | {"code": code}, row, to, "getActiveActivations", form=_CODES_ALONE
            )

    def _says_enough(self, row: Mapping[str, Any]) -> bool:
        """A row of the list says more than getStatus would."""
        return bool(row) and "getStatusV2" not in self._commands

    def _status(self, fields: dict[str, Any], to: str | None) -> Any:
        """The texts and codes it told of."""
        command = "getStatusV2" if "getStatusV2" in self._commands else "getStatus"
        answer = yield self._ask(command, id=fields["activationId"])
        if isinstance(answer, str):
            code = {"code": answer}
            yield from self._untimed(fields | code, code, to, command, form=f"{command}.code")
            return (answer,)
        if not isinstance(answer, dict):
            return ()
        heard: list[str] = []
        for sms in rows(answer.get("sms")) + rows(answer.get("data")):
            if _said(sms):
                heard += [words for words in (_words(sms.get("code")),) if words]
                yield from self._timed(_verbose(fields, sms), sms, to, answer)
        for call in rows(answer.get("call")):
            if _said(call):
                heard += [words for words in (_words(call.get("code")),) if words]
                yield self._called(_verbose(fields, call), call, to)
        return (tuple(heard) or ("",)) if _any_said(answer) else ()

    def _timed(
        self, fields: dict[str, Any], row: Mapping[str, Any], to: str | None, answer: Any
    ) -> Iterator[Found | Notice]:
        if answer.get("verificationType") == "call" or row.get("type") == "call":
            yield self._called(fields, row, to)
        elif fields.get("receivedAt") is None:
            yield from self._untimed(fields, row, to, "getStatusV2")
        else:
            for step in found(self._source, fields, row, self._now, about="getStatusV2"):
                yield _with(step, to, "getStatusV2")

    def _untimed(
        self,
        fields: Mapping[str, Any],
        row: Mapping[str, Any],
        to: str | None,
        command: str,
        *,
        form: str | None = None,
    ) -> Iterator[Found | Notice]:
        """Rows that say no time are there as long as the activation is: one key for all of it.

        A callback's windows of arrival would make it news again every two hours.
        """
        for step in found(self._source, fields, row, self._now, about=command):
            yield _with(step, to, form or command, key=_untimed_key("act", fields))

    def _called(self, fields: Mapping[str, Any], row: Mapping[str, Any], to: str | None) -> Found:
        reading, callback = Reading(fields), polled(row, self._now)
        stated, when = self._source.stated(reading, "receivedAt", callback)
        said = (reading.raw("text"), reading.raw("code"))
        key = Key(second=when.second or 0, parts=("call", fields["activationId"], when.text, *said))
        code, text = reading.message("code", "text")
        happening = Happening(
            subject=f"activation/{fields['activationId']}",
            time=stated.rfc3339(zone(self._source.timezone)) if stated else None,
            keys=(key if when.second is not None else _untimed_key("call", fields),),
            twin=self._source.twin(text, code, stated, form="getStatusV2"),
            data=CallReceived(
                from_=reading.sender("phoneFrom", None),
                country=self._source.country_of(reading),
                service=self._source.service_of(reading),
                text=text,
                code=code,
                urls=links(" ".join([text or "", _words(row.get("url")) or ""])),
                activation_id=fields["activationId"],
                **common(self._source, callback, reading, time_from=time_from(stated)),
            ),
        )
        return Found(happening=told(happening, to=to), callback=callback)

    def _history(self) -> Poll:
        # Rows have the date of their activation, which may have waited for its SMS for long.
        start = max(self._since - _LIFE, self._now - _LONGEST_RANGE)
        window = {"start": str(int(start.timestamp())), "end": str(int(self._now.timestamp()))}
        size = {self._source.page_size: str(_PAGE)}
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            answer = yield self._ask("getHistory", **window, offset=str(page * _PAGE), **size)
            batch = {
                str(row["id"]): row for row in _listed(answer) if isinstance(row.get("id"), str)
            }
            for id_, row in batch.items():
                if id_ not in seen and id_ not in self._told:
                    yield from self._past(id_, row)
            if len(batch) < _PAGE or batch.keys() <= seen:
                return
            seen |= batch.keys()

    def _past(self, id_: str, row: Mapping[str, Any]) -> Iterator[Found | Notice]:
        """Its `date` is the activation's, and no SMS's."""
        for said in _several(row.get("sms")):
            kind = "text" if " " in said.strip() or len(said) > _LONGEST_CODE else "code"
            fields = {"activationId": id_, kind: said}
            yield from self._untimed(fields, row, _number(row.get("phone")), "getHistory")

    # --- rentals --------------------------------------------------------------------------

    def rentals(self, known: Mapping[str, str | None]) -> Poll:
        numbers = dict(known)
        if "getRentList" in self._commands:
            answer = yield self._ask("getRentList")
            for row in _listed(answer):
                if isinstance(row.get("id"), str):
                    rental = str(row["id"])
                    numbers[rental] = _number(row.get("phone")) or numbers.get(rental)
        if "getRentStatus" in self._commands:
            for rental, number in numbers.items():
                yield from self._rental(rental, number)

    def _rental(self, rental: str, number: str | None) -> Poll:
        """One documentation counts pages from 0, another from 1: so the first is asked for without.

        Then until one repeats; the page 1 that repeats the first only says how they are counted.
        """
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            paged = {"page": str(page)} if page else {}
            answer = yield self._ask("getRentStatus", id=rental, **paged)
            batch = {json.dumps(row, sort_keys=True): row for row in _listed(answer)}
            for text in [text for text in batch if text not in seen]:
                yield from self._rented(rental, batch[text], number)
            repeats = batch.keys() <= seen and page != 1
            if not batch or repeats or self._all_old(batch.values()):
                return
            seen |= batch.keys()

    def _rented(
        self, rental: str, row: Mapping[str, Any], number: str | None
    ) -> Iterator[Found | Notice]:
        date, told_of = _time(_words(row.get("date"))), Reading(row)
        fields = {"rentId": rental, "sms": {**row, "date": date}}
        untimed = Key(parts=("rent", rental, "poll", told_of.raw("phoneFrom"), told_of.raw("text")))
        for step in found(self._source, fields, row, self._now, about="getRentStatus"):
            key = untimed if date is None else None
            service = self._source.service_of(Reading(row))
            yield _with(step, number, "getRentStatus", key=key, service=service)

    def _all_old(self, batch: Any) -> bool:
        """Pages go back in time; a rental of months has many."""
        dates = [
            self._source.stated(Reading(row), "date", polled({}, self._now))[0] for row in batch
        ]
        at = zone(self._source.timezone)
        return all(one and one.instant(at) < self._since - _UNSURE for one in dates)

    def _ask(self, command: str, **params: str) -> Ask:
        return _ask(self._asking, command, **params)


def _ask(asking: Asking, action: str, **params: str) -> Ask:
    url = with_query(asking.api_url, api_key=asking.api_key.reveal(), action=action, **params)
    return Ask(command=action, url=url, read=lambda answer: _read(answer, action))


def _with(
    step: Found | Notice,
    to: str | None,
    form: str,
    *,
    key: Key | None = None,
    service: object = None,
) -> Found | Notice:
    if isinstance(step, Notice):
        return step
    happening = told(step.happening, to=to, service=service)
    if happening.twin is not None:
        twin = msgspec.structs.replace(happening.twin, form=form)
        happening = msgspec.structs.replace(happening, twin=twin)
    if key is not None:
        happening = msgspec.structs.replace(happening, keys=(key,))
    return msgspec.structs.replace(step, happening=happening)


def _older(codes: Sequence[str], told_of: Sequence[str]) -> Sequence[str]:
    """Codes of a list that belong to none of the SMS that were told of by themselves.

    The newest is the last, unless one of them says otherwise: which end is which is documented
    nowhere. One that is written otherwise (`123-456`) must not be taken for another.
    """
    if told_of == ("",) or set(codes) & set(told_of):
        return [code for code in codes if code not in told_of]
    return codes[:-1]


def _untimed_key(kind: str, fields: Mapping[str, Any]) -> Key:
    words = [_words(fields.get(name)) or "" for name in ("text", "code")]
    return Key(parts=(kind, str(fields["activationId"]), "poll", *words))


# --- what answers say -----------------------------------------------------------------------


def _read(answer: Answer, command: str) -> object:
    """Rows, an object, the code of `STATUS_OK:code`; None for nothing."""
    value = _json(answer)
    word, rest = _complaint(value) if value is not None else _word(_decoded(answer.body))
    if word in _BAD_KEY:
        raise BadKey
    if word in _BUSY or "LIMIT" in word:
        heed_status(answer, command)
        raise Busy(word if word in _BUSY else "asked too often")
    if word in _NOTHING:
        return None
    heed_status(answer, command)
    expect_ok(answer, command)
    # While another is waited for, the last code stands beside it: it may not have come before.
    if word in ("STATUS_OK", "STATUS_WAIT_RETRY"):
        return rest.strip().strip("'\"") or None
    if word or value is None:
        raise Unreadable(command, "a word that is not known here" if word else "not JSON")
    return value


def _json(answer: Answer) -> object:
    try:
        value = lenient(answer.body)
    except (Malformed, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict | list) else None


def _decoded(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _word(text: str) -> tuple[str, str]:
    """`STATUS_OK:12:34` -> its word, and what follows the first colon."""
    match = _WORD.fullmatch(text)
    return (match[1], match[2] or "") if match else ("", "")


def _complaint(value: object) -> tuple[str, str]:
    """The word in an object that is an error: in `message`, `error`, or HeroSMS's `title`."""
    if not isinstance(value, dict):
        return "", ""
    if value.get("status") != "error" and "error" not in value and "title" not in value:
        return "", ""
    for name in ("message", "error", "title", "msg"):
        word, rest = _word(_words(value.get(name)) or "")
        if word:
            return word, rest
    return "UNKNOWN", ""


_WRAPS = ("activeActivations", "data", "values", "rows")


def _listed(answer: object) -> list[dict[str, Any]]:
    """The rows of a list, whatever it is wrapped in."""
    if not isinstance(answer, dict):
        return rows(answer)
    wraps = [name for name in _WRAPS if isinstance(answer.get(name), dict | list)]
    if wraps:
        # HeroSMS has them in `data`, and beside it an `activeActivations` with a `rows` of its own.
        return next((found for name in wraps if (found := _listed(answer[name]))), [])
    return rows(answer) if answer and all(isinstance(v, dict) for v in answer.values()) else []


def _id(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("activationId"), str)


def _words(value: object) -> str | None:
    return str(value) if isinstance(value, str) and value.strip() else None


def _time(text: str | None) -> str | None:
    return None if text is None or text.startswith(_NO_TIME) else text


def _number(value: object) -> str | None:
    return e164(value, None) if isinstance(value, str) else None


def _codes(row: Mapping[str, Any]) -> list[str]:
    return _several(row.get("smsCode"))


def _several(value: object) -> list[str]:
    """Of a list, a list written as a text, or one text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = str(value)
    items = value if isinstance(value, list) else [value]
    return [words for item in items if (words := _words(item))]


def _said(sms: Mapping[str, Any]) -> bool:
    return bool(_words(sms.get("text")) or _words(sms.get("code")))


def _any_said(answer: Mapping[str, Any]) -> bool:
    told_of = (answer.get("sms"), answer.get("data"), answer.get("call"))
    return any(_said(row) for value in told_of for row in rows(value))


def _verbose(fields: dict[str, Any], sms: Mapping[str, Any]) -> dict[str, Any]:
    """As a callback would have said it."""
    more = {
        "text": _words(sms.get("text")),
        "code": _words(sms.get("code")),
        "phoneFrom": sms.get("phoneFrom") or sms.get("from"),
        "receivedAt": _time(_words(sms.get("dateTime") or sms.get("date"))),
        "id": sms.get("id"),
        "service": sms.get("service") or fields["service"],
    }
    return fields | {name: value for name, value in more.items() if value is not None}
