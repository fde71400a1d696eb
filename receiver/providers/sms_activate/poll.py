"""Asking in SMS-Activate's dialect: the actions of `handler_api.php` that only read.

An activation: getActiveActivations lists them, getStatusV2 tells the newest SMS of one with its
time, getStatus its code alone, getHistory what is left of those that ended. A rental: getRentList,
getRentStatus. A command that the provider does not have is left out.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from core.canonical import canonical_code
from core.event import CallReceived, Price

from ...callback import Happening, Key
from ...fields.code import read_code
from ...fields.dedupe import in_any_spelling
from ...fields.numbers import e164
from ...fields.reader import FieldReader
from ...fields.text import links
from ...fields.times import time_from, zone
from ...polling.answers import or_none, rows
from ...polling.questions import (
    Ask,
    Balance,
    Ended,
    FoundMessage,
    Known,
    ListedOrder,
    Notice,
    Poll,
    PollMemory,
    ProviderAnswer,
)
from ...polling.rows import found, normalized, parts, polled, told, with_query
from .answers import Word, read_answer, reason_of
from .callbacks import SmsActivateDialect

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
#: A longer name of a service is none; each message of a row repeats it.
_LONGEST_SERVICE = 64
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?")
_SECONDS = re.compile(r"[0-9]{0,3}")
_LETTERS = re.compile(r"[A-Z]{3}")
_ZEROS = re.compile(r"0*(\.0*)?")
#: ISO 4217: those that these providers have been seen to count in.
_CURRENCIES = {
    "156": "CNY",
    "356": "INR",
    "398": "KZT",
    "643": "RUB",
    "810": "RUB",
    "826": "GBP",
    "840": "USD",
    "949": "TRY",
    "978": "EUR",
    "980": "UAH",
    "986": "BRL",
}


def poll(
    source: SmsActivateDialect,
    known: Sequence[Known],
    *,
    since: datetime,
    now: datetime,
    memory: PollMemory,
) -> Poll:
    one = _SmsActivatePoll(source, now, since, memory)
    yield from one.activations(
        {order.activation_id: order for order in known if order.activation_id}
    )
    yield from one.rentals({order.rental_id: order.number for order in known if order.rental_id})
    yield from one.ends()
    yield from one.balance()


class _SmsActivateRow(msgspec.Struct, frozen=True):
    """What a row says besides its messages."""

    to: str | None = None
    price: Price | None = None


class _SmsActivatePoll:
    """One round of questions to one source."""

    def __init__(
        self, source: SmsActivateDialect, now: datetime, since: datetime, memory: PollMemory
    ) -> None:
        self._source, self._now, self._since = source, now, since
        self._memory = memory
        self._settings = source.polling_settings()
        self._commands = self._settings.api.reads - memory.missing
        #: Activations that something was told of in this round.
        self._told: set[str] = set()
        #: Orders that are over, and why. They are said last: what came to them may still be found.
        self._ends: dict[tuple[str, str], str] = {}

    # --- activations ----------------------------------------------------------------------

    def activations(self, known: Mapping[str, Known]) -> Poll:
        active = yield from self._active()
        for id_, row in active.items():
            yield self._listed("activation_id", id_, row)
        for id_ in dict.fromkeys([*active, *known]):
            row = active.get(id_, {})
            silent = not _codes(row) and not _words(row.get("smsText"))
            if row and silent and not (id_ in known and "getStatusV2" in self._commands):
                continue  # still waits; of a call alone nothing is listed
            yield from self._activation(id_, row, known.get(id_))
        if "getHistory" in self._commands:
            yield from self._history()

    def _active(self) -> Any:
        """By their ids."""
        listed: dict[str, dict[str, Any]] = {}
        for page in range(_MOST_PAGES):
            paged = {"start": str(page * _PAGE), "limit": str(_PAGE)} if self._source.pages else {}
            answer = yield from self._asked("getActiveActivations", **paged)
            batch = {str(row["activationId"]): row for row in _rows_of(answer) if _id(row)}
            news = batch.keys() - listed.keys()
            listed |= batch
            if not news or not paged or len(batch) < _PAGE:
                break
        return listed

    def _listed(self, kind: str, id_: str, row: Mapping[str, Any]) -> ListedOrder:
        """As the list of activations or rentals tells it."""
        country = FieldReader(row).raw("countryCode") or FieldReader(row).raw("country")
        return ListedOrder(
            kind=kind,
            name=id_,
            number=_number(row.get("phoneNumber") or row.get("phone")),
            service=_service(row.get("serviceCode") or row.get("service")),
            country=self._source.countries.get(country),
            price=self._price(row),
        )

    def _activation(self, id_: str, row: Mapping[str, Any], known: Known | None) -> Poll:
        """Its newest SMS as well as it is told anywhere, and the codes of those before."""
        service = _service(row.get("serviceCode")) or (known.service if known else None)
        fields = {"activationId": id_, "service": service, "country": row.get("countryCode")}
        to = _number(row.get("phoneNumber")) or (known.number if known else None)
        said = _SmsActivateRow(to, self._price(row))
        told_of = () if self._says_enough(row) else (yield from self._status(fields, said))
        if row:
            self._told.add(id_)
        text, codes = _words(row.get("smsText")), _codes(row)
        messages = []
        if not told_of and (text or codes):
            newest = {"text": text, "code": codes[-1] if codes else None}
            messages.append((newest, "getActiveActivations"))
        # As the newest they had a text, and so another key: hence a form of its own.
        messages += [({"code": code}, _CODES_ALONE) for code in _older(codes, told_of)]
        yield from self._of_row(fields, messages, row, "smsCode", said, "getActiveActivations")

    def _says_enough(self, row: Mapping[str, Any]) -> bool:
        """A row of the list says more than getStatus would."""
        return bool(row) and "getStatusV2" not in self._commands

    def _status(self, fields: dict[str, Any], said: _SmsActivateRow) -> Any:
        """The codes it told of; what became of the activation is noted."""
        command, id_ = "getStatusV2", fields["activationId"]
        answer = yield from self._asked(command, id=id_)
        if command not in self._commands:
            command, more = "getStatus", {"text": "1"} if self._source.sends_text else {}
            answer = yield from self._asked(command, id=id_, **more)
        self._note_end("activation_id", id_, answer)
        if isinstance(answer, Word) and self._has_code(answer):
            yield from self._code(fields, answer, said, command)
            return (answer.rest,)
        if not isinstance(answer, dict):
            return ()
        return (yield from self._messages(fields, answer, said))

    def _has_code(self, answer: Word) -> bool:
        """Also where the last code is repeated while another is waited for.

        It may not have come before; where it did, it is the same event. Fewer than four digits are
        seconds.
        """
        if answer.word == "STATUS_WAIT_RETRY":
            return self._source.repeats_code and not _SECONDS.fullmatch(answer.rest)
        return answer.word == "STATUS_OK" and bool(answer.rest)

    def _code(
        self, fields: dict[str, Any], answer: Word, said: _SmsActivateRow, command: str
    ) -> Poll:
        """`STATUS_OK:1234`, with the text if a header brought it. The code alone is in the key."""
        row = {"code": answer.rest} | ({"text": answer.text} if answer.text else {})
        key = _untimed_key("act", fields | {"code": answer.rest})
        for step in found(self._source.normalize, fields | row, row, self._now, about=command):
            yield _with(step, said, f"{command}.code", key=key)

    def _messages(
        self, fields: dict[str, Any], answer: Mapping[str, Any], said: _SmsActivateRow
    ) -> Any:
        """Of getStatusV2, or of a getStatus that answers JSON."""
        several = rows(answer.get("sms")) + rows(answer.get("data"))
        calls = rows(answer.get("call"))
        if not several and not calls:
            several = [dict(answer)]
        heard: list[str] = []
        for sms in several:
            if _has_words(sms):
                heard += _codes_told(sms)
                yield from self._timed(_verbose(fields, sms), sms, said, answer)
        for call in calls:
            if _has_words(call):
                heard += _codes_told(call)
                yield self._called(_verbose(fields, call), call, said)
        if not any(_has_words(row) for row in [*several, *calls]):
            return ()
        return tuple(heard) or ("",)

    def _timed(
        self,
        fields: dict[str, Any],
        row: Mapping[str, Any],
        said: _SmsActivateRow,
        answer: Mapping[str, Any],
    ) -> Iterator[FoundMessage | Notice]:
        if answer.get("verificationType") == "call" or row.get("type") == "call":
            yield self._called(fields, row, said)
            return
        # Rows that say no time are there as long as the activation is: one key for all of it. A
        # callback's windows of arrival would make it news again every two hours.
        key = _untimed_key("act", fields) if fields.get("receivedAt") is None else None
        for step in found(self._source.normalize, fields, row, self._now, about="getStatusV2"):
            yield _with(step, said, "getStatusV2", key=key)

    def _of_row(
        self,
        fields: Mapping[str, Any],
        messages: Sequence[tuple[Mapping[str, Any], str]],
        row: Mapping[str, Any],
        name: str,
        said: _SmsActivateRow,
        command: str,
    ) -> Iterator[FoundMessage | Notice]:
        """Messages without a time that one row holds in the field `name`, each with its form."""
        words = [message.get("code") or message.get("text") or "" for message, _ in messages]
        at = 0
        for part, some in parts(row, name, words):
            callback = polled(part, self._now)
            happenings: list[Happening] = []
            for message, form in messages[at : at + len(some)]:
                alone = {**fields, **message}
                key = _untimed_key("act", alone)
                happenings += [
                    _told(happening, said, form, key=key)
                    for happening in normalized(self._source.normalize, alone, callback) or ()
                ]
            at += len(some)
            if len(happenings) < len(some):
                yield Notice(word="unreadable_row", about=command)
            if happenings:
                yield FoundMessage(happenings=tuple(happenings), callback=callback)

    def _called(
        self, fields: Mapping[str, Any], row: Mapping[str, Any], said: _SmsActivateRow
    ) -> FoundMessage:
        reading, callback = FieldReader(fields), polled(row, self._now)
        stated, when = self._source.stated(reading, "receivedAt", callback)
        about = ("call", str(fields["activationId"]), when.text)
        key = in_any_spelling(
            lambda text, code: (Key(second=when.second or 0, parts=(*about, text, code)),),
            reading.raw("text"),
            reading.raw("code"),
        )
        code, text = reading.message("code", "text")
        happening = Happening(
            subject=f"activation/{fields['activationId']}",
            time=stated.rfc3339(zone(self._source.timezone)) if stated else None,
            keys=key if when.second is not None else _untimed_key("call", fields),
            twin=self._source.twin(text, code, stated, form="getStatusV2"),
            data=CallReceived(
                from_=reading.sender("phoneFrom", None),
                country=self._source.country_of(reading),
                service=self._source.service_of(reading),
                text=text,
                code=code,
                urls=links(" ".join([text or "", _words(row.get("url")) or ""])),
                activation_id=fields["activationId"],
                **self._source.common(callback, reading, time_from=time_from(stated)),
            ),
        )
        happening = told(happening, to=said.to, price=said.price)
        return FoundMessage(happenings=(happening,), callback=callback)

    def _history(self) -> Poll:
        # Rows have the date of their activation, which may have waited for its SMS for long.
        start = max(self._since - _LIFE, self._now - _LONGEST_RANGE)
        window = {"start": str(int(start.timestamp())), "end": str(int(self._now.timestamp()))}
        size = {self._source.page_size: str(_PAGE)}
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            answer = yield from self._asked(
                "getHistory", **window, offset=str(page * _PAGE), **size
            )
            batch = {
                str(row["id"]): row for row in _rows_of(answer) if isinstance(row.get("id"), str)
            }
            for id_, row in batch.items():
                if id_ not in seen and id_ not in self._told:
                    yield from self._past(id_, row)
            if len(batch) < _PAGE or batch.keys() <= seen:
                return
            seen |= batch.keys()

    def _past(self, id_: str, row: Mapping[str, Any]) -> Iterator[FoundMessage | Notice]:
        """Its `date` is the activation's, and no SMS's."""
        messages = [
            ({_field_of(words): words}, "getHistory")
            for words in dict.fromkeys(_several(row.get("sms")))
        ]
        said = _SmsActivateRow(_number(row.get("phone")), self._price(row))
        yield from self._of_row({"activationId": id_}, messages, row, "sms", said, "getHistory")

    # --- rentals --------------------------------------------------------------------------

    def rentals(self, known: Mapping[str, str | None]) -> Poll:
        numbers = dict(known)
        for row in _rows_of((yield from self._asked("getRentList"))):
            if isinstance(row.get("id"), str):
                rental = str(row["id"])
                numbers[rental] = _number(row.get("phone")) or numbers.get(rental)
                yield self._listed("rental_id", rental, row)
        for rental, number in numbers.items():
            if "getRentStatus" in self._commands:
                yield from self._rental(rental, number)

    def _rental(self, rental: str, number: str | None) -> Poll:
        """One documentation counts pages from 0, another from 1: so the first is asked for without.

        Then until one repeats; the page 1 that repeats the first only says how they are counted.
        """
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            paged = {"page": str(page)} if page else {}
            answer = yield from self._asked("getRentStatus", id=rental, **paged)
            self._note_end("rental_id", rental, answer)
            batch = {json.dumps(row, sort_keys=True): row for row in _rows_of(answer)}
            for text in [text for text in batch if text not in seen]:
                yield from self._rented(rental, batch[text], number)
            repeats = batch.keys() <= seen and page != 1
            if not batch or repeats or self._all_old(batch.values()):
                return
            seen |= batch.keys()

    def _rented(
        self, rental: str, row: Mapping[str, Any], number: str | None
    ) -> Iterator[FoundMessage | Notice]:
        date, told_of = _time(_words(row.get("date"))), FieldReader(row)
        fields = {"rentId": rental, "sms": {**row, "date": date}}
        about = ("rent", rental, "poll", told_of.raw("phoneFrom"))
        untimed = in_any_spelling(
            lambda text, _code: (Key(parts=(*about, text)),), told_of.raw("text")
        )
        for step in found(self._source.normalize, fields, row, self._now, about="getRentStatus"):
            key = untimed if date is None else None
            service = self._source.service_of(FieldReader(row))
            yield _with(step, _SmsActivateRow(number), "getRentStatus", key=key, service=service)

    def _all_old(self, batch: Iterable[Mapping[str, Any]]) -> bool:
        """Pages go back in time; a rental of months has many."""
        dates = [
            self._source.stated(FieldReader(row), "date", polled({}, self._now))[0] for row in batch
        ]
        at = zone(self._source.timezone)
        return all(one and one.instant(at) < self._since - _UNSURE for one in dates)

    # --- what became of them, and the account ------------------------------------------------

    def _note_end(self, kind: str, id_: str, answer: object) -> None:
        reason = reason_of(answer)
        if reason is not None:
            self._ends[kind, id_] = reason

    def ends(self) -> Iterator[Ended]:
        for (kind, id_), reason in self._ends.items():
            yield Ended(kind=kind, name=id_, reason=reason)

    def balance(self) -> Poll:
        answer = yield from self._asked("getBalance")
        currency = self._source.currency
        if isinstance(answer, dict):
            amount = FieldReader(answer).raw("balance")
            currency = self._currency(FieldReader(answer).raw("currency"))
        else:
            is_balance = isinstance(answer, Word) and answer.word == "ACCESS_BALANCE"
            amount = answer.rest.strip() if is_balance else ""
        if _AMOUNT.fullmatch(amount):
            yield Balance(amount=amount, currency=currency)

    def _price(self, row: Mapping[str, Any]) -> Price | None:
        """Of an activation; in the history it is 0 while that is active."""
        reading = FieldReader(row)
        amount = reading.raw("activationCost") or reading.raw("cost") or reading.raw("price")
        if not _AMOUNT.fullmatch(amount) or amount.startswith("-") or _ZEROS.fullmatch(amount):
            return None
        return Price(amount=amount, currency=self._currency(reading.raw("currency")))

    def _currency(self, said: str) -> str | None:
        """By its number or letters in ISO 4217; where it is not said, as configured."""
        if not said:
            return self._source.currency
        return _CURRENCIES.get(said, said if _LETTERS.fullmatch(said) else None)

    def _asked(self, command: str, **params: str) -> Any:
        """What the provider answers; None where it does not have the command, after one notice."""
        if command not in self._commands:
            return None
        answer = yield self._ask(command, **params)
        if answer == Word("missing"):
            self._commands -= {command}
            self._memory.missing.add(command)
            yield Notice(word="missing_command", about=command)
            return None
        return answer

    def _ask(self, command: str, **params: str) -> Ask:
        key = self._settings.api_key.reveal()
        url = with_query(self._settings.api_url, api_key=key, action=command, **params)
        now = self._now.astimezone(zone(self._source.timezone))

        def read(answer: ProviderAnswer) -> object:
            if command == "getBalance":
                return or_none(lambda: read_answer(answer, command, now))
            return read_answer(answer, command, now)

        return Ask(api=self._settings.api, command=command, url=url, read=read)


def _with(
    step: FoundMessage | Notice,
    said: _SmsActivateRow,
    form: str,
    *,
    key: tuple[Key, ...] | None = None,
    service: object = None,
) -> FoundMessage | Notice:
    if isinstance(step, Notice):
        return step
    happenings = [_told(one, said, form, key=key, service=service) for one in step.happenings]
    return msgspec.structs.replace(step, happenings=tuple(happenings))


def _told(
    happening: Happening,
    said: _SmsActivateRow,
    form: str,
    *,
    key: tuple[Key, ...] | None = None,
    service: object = None,
) -> Happening:
    """The same with what its row says besides, its form of telling, and its own key."""
    happening = told(happening, to=said.to, price=said.price, service=service)
    if happening.twin is not None:
        twin = msgspec.structs.replace(happening.twin, form=form)
        happening = msgspec.structs.replace(happening, twin=twin)
    return happening if key is None else msgspec.structs.replace(happening, keys=key)


def _older(codes: Sequence[str], told_of: Sequence[str]) -> Sequence[str]:
    """Codes of a list that belong to none of the SMS that were told of by themselves.

    The newest is the last, unless one of them says otherwise: which end is which is documented
    nowhere. `123-456` and `123456` are the same code.
    """
    plain = {code: canonical_code(read_code(code, None)[0] or code) for code in codes}
    told = {canonical_code(code) for code in told_of}
    if told_of == ("",) or told & set(plain.values()):
        return [code for code in plain if plain[code] not in told]
    newest = plain[codes[-1]] if codes else None
    return [code for code in plain if plain[code] != newest]


def _codes_told(row: Mapping[str, Any]) -> list[str]:
    """The code that a row holds, in its own field or in its text."""
    code, _ = read_code(_words(row.get("code")), _words(row.get("text")))
    return [code] if code else []


def _untimed_key(kind: str, fields: Mapping[str, Any]) -> tuple[Key, ...]:
    text, code = (_words(fields.get(name)) or "" for name in ("text", "code"))
    id_ = str(fields["activationId"])
    return in_any_spelling(
        lambda text, code: (Key(parts=(kind, id_, "poll", text, code)),), text, code
    )


# --- what answers say -----------------------------------------------------------------------

_WRAPS = ("activeActivations", "data", "values", "rows")


def _rows_of(answer: object) -> list[dict[str, Any]]:
    """The rows of a list, whatever it is wrapped in."""
    if not isinstance(answer, dict):
        return rows(answer)
    wraps = [name for name in _WRAPS if isinstance(answer.get(name), dict | list)]
    if wraps:
        # HeroSMS has them in `data`, and beside it an `activeActivations` with a `rows` of its own.
        return next((found for name in wraps if (found := _rows_of(answer[name]))), [])
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
            value = json.loads(value, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            value = str(value)
    items = value if isinstance(value, list) else [value]
    return [words for item in items if (words := _words(item))]


def _has_words(sms: Mapping[str, Any]) -> bool:
    return bool(_words(sms.get("text")) or _words(sms.get("code")))


def _field_of(words: str) -> str:
    return "text" if " " in words.strip() or len(words) > _LONGEST_CODE else "code"


def _service(value: object) -> str | None:
    words = _words(value)
    return words if words and len(words) <= _LONGEST_SERVICE else None


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
