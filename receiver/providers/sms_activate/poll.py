"""Polls in SMS-Activate's dialect: the actions of `handler_api.php` that only read.

For activations, getActiveActivations is the list, getStatusV2 has the newest SMS with its time,
getStatus the code alone, and getHistory the activations that ended. For rentals there are
getRentList and getRentStatus. A command that the provider does not have is skipped.
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
from ...fields.dedupe import all_spellings
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
from ...polling.rows import (
    as_callback,
    fill_gaps,
    normalize_or_none,
    read_row,
    split_row,
    with_query,
)
from .answers import Word, read_answer, reason_of
from .callbacks import SmsActivateDialect

#: The form of codes in the list that are not the newest.
_CODES_ALONE = "getActiveActivations.smsCode"
#: The beginning of a time that means: no time.
_NO_TIME = "0000-00-00"
_PAGE = 100
_MOST_PAGES = 50
#: From the purchase of an activation to its last SMS: 20 minutes, and some can be prolonged.
_LIFE = timedelta(hours=1)
_LONGEST_RANGE = timedelta(days=29)
#: The error of a time without an offset that is read in the wrong zone.
_ZONE_ERROR = timedelta(days=1)
#: A longer word, and one with blanks, is a text.
_LONGEST_CODE = 12
#: A longer name is no service; each message of a row would repeat it.
_LONGEST_SERVICE = 64
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,30})?")
_SECONDS = re.compile(r"[0-9]{0,3}")
_LETTERS = re.compile(r"[A-Z]{3}")
_ZEROS = re.compile(r"0*(\.0*)?")
#: ISO 4217: the currencies that these providers use.
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
    # Ends come after messages, because an ended order may still have one.
    for (kind, id_), reason in one.ends.items():
        yield Ended(kind=kind, name=id_, reason=reason)
    yield from one.balance()


class _SmsActivateRow(msgspec.Struct, frozen=True):
    """The fields of a row that all its messages share."""

    to: str | None = None
    price: Price | None = None


class _SmsActivatePoll:
    """The questions of one poll of one source."""

    def __init__(
        self, source: SmsActivateDialect, now: datetime, since: datetime, memory: PollMemory
    ) -> None:
        self._source, self._now, self._since = source, now, since
        self._memory = memory
        self._settings = source.polling_settings()
        self._commands = self._settings.api.reads - memory.missing
        #: Activations that the list or their status has covered in this round.
        self._covered: set[str] = set()
        #: Why orders ended, by kind and id.
        self.ends: dict[tuple[str, str], str] = {}

    # --- activations ----------------------------------------------------------------------

    def activations(self, known: Mapping[str, Known]) -> Poll:
        active = yield from self._active()
        for id_, row in active.items():
            yield self._order("activation_id", id_, row)
        for id_ in dict.fromkeys([*active, *known]):
            row = active.get(id_, {})
            is_waiting = not _codes(row) and not _words(row.get("smsText"))
            if row and is_waiting and not (id_ in known and "getStatusV2" in self._commands):
                continue  # the list has no calls, so the status of a known order is asked for
            yield from self._activation(id_, row, known.get(id_))
        if "getHistory" in self._commands:
            yield from self._history()

    def _active(self) -> Any:
        """Return the rows of active activations by their ids."""
        listed: dict[str, dict[str, Any]] = {}
        for page in range(_MOST_PAGES):
            paged = {"start": str(page * _PAGE), "limit": str(_PAGE)} if self._source.pages else {}
            answer = yield from self._asked("getActiveActivations", **paged)
            batch = {
                str(row["activationId"]): row
                for row in _rows_of(answer)
                if isinstance(row.get("activationId"), str)
            }
            has_new = bool(batch.keys() - listed.keys())
            listed |= batch
            if not has_new or not paged or len(batch) < _PAGE:
                break
        return listed

    def _order(self, kind: str, id_: str, row: Mapping[str, Any]) -> ListedOrder:
        """Return the order in a row of the list of activations or rentals."""
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
        """Find its newest SMS in the most detailed form, and the codes of those before."""
        service = _service(row.get("serviceCode")) or (known.service if known else None)
        fields = {"activationId": id_, "service": service, "country": row.get("countryCode")}
        to = _number(row.get("phoneNumber")) or (known.number if known else None)
        context = _SmsActivateRow(to, self._price(row))
        # Without getStatusV2, a row of the list has more than the status.
        is_enough = bool(row) and "getStatusV2" not in self._commands
        found_codes = () if is_enough else (yield from self._status(fields, context))
        if row:
            self._covered.add(id_)
        text, codes = _words(row.get("smsText")), _codes(row)
        messages = []
        if not found_codes and (text or codes):
            newest = {"text": text, "code": codes[-1] if codes else None}
            messages.append((newest, "getActiveActivations"))
        # As the newest they had a text and another key, so they have a form of their own.
        messages += [({"code": code}, _CODES_ALONE) for code in _older(codes, found_codes)]
        yield from self._of_row(fields, messages, row, "smsCode", context, "getActiveActivations")

    def _status(self, fields: dict[str, Any], context: _SmsActivateRow) -> Any:
        """Yield the messages in the status; return their codes. An end is recorded."""
        command, id_ = "getStatusV2", fields["activationId"]
        answer = yield from self._asked(command, id=id_)
        if command not in self._commands:
            command, more = "getStatus", {"text": "1"} if self._source.sends_text else {}
            answer = yield from self._asked(command, id=id_, **more)
        self._record_end("activation_id", id_, answer)
        # The provider may repeat the last code while another is awaited: if it was found before, it
        # is the same event. Fewer than four digits are seconds.
        has_code = isinstance(answer, Word) and (
            (answer.word == "STATUS_OK" and bool(answer.rest))
            or (
                answer.word == "STATUS_WAIT_RETRY"
                and self._source.repeats_code
                and not _SECONDS.fullmatch(answer.rest)
            )
        )
        if has_code:
            yield from self._code(fields, answer, context, command)
            return (answer.rest,)
        if not isinstance(answer, dict):
            return ()
        return (yield from self._messages(fields, answer, context))

    def _code(
        self, fields: dict[str, Any], answer: Word, context: _SmsActivateRow, command: str
    ) -> Poll:
        """Read `STATUS_OK:1234` and the text in the header. Only the code is in the key."""
        row = {"code": answer.rest} | ({"text": answer.text} if answer.text else {})
        key = _untimed_key("act", fields | {"code": answer.rest})
        for step in read_row(self._source.normalize, fields | row, row, self._now, about=command):
            yield _with(step, context, f"{command}.code", key=key)

    def _messages(
        self, fields: dict[str, Any], answer: Mapping[str, Any], context: _SmsActivateRow
    ) -> Any:
        """Read the messages of getStatusV2, or of a getStatus that answers JSON."""
        several = rows(answer.get("sms")) + rows(answer.get("data"))
        calls = rows(answer.get("call"))
        if not several and not calls:
            several = [dict(answer)]
        codes: list[str] = []
        for sms in several:
            if _has_words(sms):
                codes += _codes_in(sms)
                yield from self._timed(_as_callback_fields(fields, sms), sms, context, answer)
        for call in calls:
            if _has_words(call):
                codes += _codes_in(call)
                yield self._called(_as_callback_fields(fields, call), call, context)
        if not any(_has_words(row) for row in [*several, *calls]):
            return ()
        return tuple(codes) or ("",)

    def _timed(
        self,
        fields: dict[str, Any],
        row: Mapping[str, Any],
        context: _SmsActivateRow,
        answer: Mapping[str, Any],
    ) -> Iterator[FoundMessage | Notice]:
        if answer.get("verificationType") == "call" or row.get("type") == "call":
            yield self._called(fields, row, context)
            return
        # A row without a time stays as long as the activation, so it has one key for all that time.
        # A callback's windows of arrival would make it a new event every two hours.
        key = _untimed_key("act", fields) if fields.get("receivedAt") is None else None
        for step in read_row(self._source.normalize, fields, row, self._now, about="getStatusV2"):
            yield _with(step, context, "getStatusV2", key=key)

    def _of_row(
        self,
        fields: Mapping[str, Any],
        messages: Sequence[tuple[Mapping[str, Any], str]],
        row: Mapping[str, Any],
        name: str,
        context: _SmsActivateRow,
        command: str,
    ) -> Iterator[FoundMessage | Notice]:
        """Read the messages in the field `name` of a row. They have no time of their own."""
        words = [message.get("code") or message.get("text") or "" for message, _ in messages]
        at = 0
        for part, some in split_row(row, name, words):
            callback = as_callback(part, self._now)
            happenings: list[Happening] = []
            for message, form in messages[at : at + len(some)]:
                alone = {**fields, **message}
                key = _untimed_key("act", alone)
                happenings += [
                    _complete(happening, context, form, key=key)
                    for happening in normalize_or_none(self._source.normalize, alone, callback)
                    or ()
                ]
            at += len(some)
            if len(happenings) < len(some):
                yield Notice(word="unreadable_row", about=command)
            if happenings:
                yield FoundMessage(happenings=tuple(happenings), callback=callback)

    def _called(
        self, fields: Mapping[str, Any], row: Mapping[str, Any], context: _SmsActivateRow
    ) -> FoundMessage:
        reading, callback = FieldReader(fields), as_callback(row, self._now)
        time, when = self._source.read_time(reading, "receivedAt", callback)
        about = ("call", str(fields["activationId"]), when.text)
        key = all_spellings(
            lambda text, code: (Key(second=when.second or 0, parts=(*about, text, code)),),
            reading.raw("text"),
            reading.raw("code"),
        )
        code, text = reading.message("code", "text")
        happening = Happening(
            subject=f"activation/{fields['activationId']}",
            time=time.rfc3339(zone(self._source.timezone)) if time else None,
            keys=key if when.second is not None else _untimed_key("call", fields),
            copy=self._source.make_copy(text, code, time, form="getStatusV2"),
            data=CallReceived(
                from_=reading.sender("phoneFrom", None),
                country=self._source.country_of(reading),
                service=self._source.service_of(reading),
                text=text,
                code=code,
                urls=links(" ".join([text or "", _words(row.get("url")) or ""])),
                activation_id=fields["activationId"],
                **self._source.common(callback, reading, time_from=time_from(time)),
            ),
        )
        happening = fill_gaps(happening, to=context.to, price=context.price)
        return FoundMessage(happenings=(happening,), callback=callback)

    def _history(self) -> Poll:
        # Rows have the date of their activation, and the SMS may have come much later.
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
                if id_ not in seen and id_ not in self._covered:
                    # `date` is the activation's, not the SMS's.
                    messages = [
                        ({"text" if _is_text(words) else "code": words}, "getHistory")
                        for words in dict.fromkeys(_several(row.get("sms")))
                    ]
                    fields = {"activationId": id_}
                    context = _SmsActivateRow(_number(row.get("phone")), self._price(row))
                    yield from self._of_row(fields, messages, row, "sms", context, "getHistory")
            if len(batch) < _PAGE or batch.keys() <= seen:
                return
            seen |= batch.keys()

    # --- rentals --------------------------------------------------------------------------

    def rentals(self, known: Mapping[str, str | None]) -> Poll:
        numbers = dict(known)
        for row in _rows_of((yield from self._asked("getRentList"))):
            if isinstance(row.get("id"), str):
                rental = str(row["id"])
                numbers[rental] = _number(row.get("phone")) or numbers.get(rental)
                yield self._order("rental_id", rental, row)
        for rental, number in numbers.items():
            if "getRentStatus" in self._commands:
                yield from self._rental(rental, number)

    def _rental(self, rental: str, number: str | None) -> Poll:
        """Read all pages, until one repeats.

        Some documentation counts pages from 0, some from 1, so the first request has no page. If
        page 1 repeats it, pages are counted from 1.
        """
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            paged = {"page": str(page)} if page else {}
            answer = yield from self._asked("getRentStatus", id=rental, **paged)
            self._record_end("rental_id", rental, answer)
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
        date, reading = _time(_words(row.get("date"))), FieldReader(row)
        fields = {"rentId": rental, "sms": {**row, "date": date}}
        about = ("rent", rental, "poll", reading.raw("phoneFrom"))
        untimed = all_spellings(
            lambda text, _code: (Key(parts=(*about, text)),), reading.raw("text")
        )
        for step in read_row(self._source.normalize, fields, row, self._now, about="getRentStatus"):
            key = untimed if date is None else None
            service = self._source.service_of(reading)
            yield _with(step, _SmsActivateRow(number), "getRentStatus", key=key, service=service)

    def _all_old(self, batch: Iterable[Mapping[str, Any]]) -> bool:
        """Whether all are before `since`: pages go back in time, and a long rental has many."""
        callback, zone_ = as_callback({}, self._now), zone(self._source.timezone)
        times = [self._source.read_time(FieldReader(row), "date", callback)[0] for row in batch]
        return all(one and one.instant(zone_) < self._since - _ZONE_ERROR for one in times)

    # --- ends, and the account -----------------------------------------------------------

    def _record_end(self, kind: str, id_: str, answer: object) -> None:
        reason = reason_of(answer)
        if reason is not None:
            self.ends[kind, id_] = reason

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
        """Return the price of an activation. In the history it is 0 while that is active."""
        reading = FieldReader(row)
        amount = reading.raw("activationCost") or reading.raw("cost") or reading.raw("price")
        if not _AMOUNT.fullmatch(amount) or amount.startswith("-") or _ZEROS.fullmatch(amount):
            return None
        return Price(amount=amount, currency=self._currency(reading.raw("currency")))

    def _currency(self, sent: str) -> str | None:
        """Return a currency from its number or letters in ISO 4217, else the configured one."""
        if not sent:
            return self._source.currency
        return _CURRENCIES.get(sent, sent if _LETTERS.fullmatch(sent) else None)

    def _asked(self, command: str, **params: str) -> Any:
        """Return the answer; None, after one notice, if the provider does not have the command."""
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
    row: _SmsActivateRow,
    form: str,
    *,
    key: tuple[Key, ...] | None = None,
    service: object = None,
) -> FoundMessage | Notice:
    if isinstance(step, Notice):
        return step
    happenings = [_complete(one, row, form, key=key, service=service) for one in step.happenings]
    return msgspec.structs.replace(step, happenings=tuple(happenings))


def _complete(
    happening: Happening,
    row: _SmsActivateRow,
    form: str,
    *,
    key: tuple[Key, ...] | None = None,
    service: object = None,
) -> Happening:
    """Return the happening with the other fields of its row, its form and its key."""
    happening = fill_gaps(happening, to=row.to, price=row.price, service=service)
    if happening.copy is not None:
        copy = msgspec.structs.replace(happening.copy, form=form)
        happening = msgspec.structs.replace(happening, copy=copy)
    return happening if key is None else msgspec.structs.replace(happening, keys=key)


def _older(codes: Sequence[str], found_codes: Sequence[str]) -> Sequence[str]:
    """Return the codes of a list without those of messages that were found in the status.

    If the status has none of them, the last code is the newest one, which has its own message. The
    order is not documented. `123-456` and `123456` are the same code.
    """
    plain = {code: canonical_code(read_code(code, None)[0] or code) for code in codes}
    found = {canonical_code(code) for code in found_codes}
    if found_codes == ("",) or found & set(plain.values()):
        return [code for code in plain if plain[code] not in found]
    newest = plain[codes[-1]] if codes else None
    return [code for code in plain if plain[code] != newest]


def _codes_in(row: Mapping[str, Any]) -> list[str]:
    """Return the code in a row, from its own field or from its text."""
    code, _ = read_code(_words(row.get("code")), _words(row.get("text")))
    return [code] if code else []


def _untimed_key(kind: str, fields: Mapping[str, Any]) -> tuple[Key, ...]:
    text, code = (_words(fields.get(name)) or "" for name in ("text", "code"))
    id_ = str(fields["activationId"])
    return all_spellings(
        lambda text, code: (Key(parts=(kind, id_, "poll", text, code)),), text, code
    )


# --- fields of answers ----------------------------------------------------------------------

_WRAPS = ("activeActivations", "data", "values", "rows")


def _rows_of(answer: object) -> list[dict[str, Any]]:
    """Return the rows of a list, however it is wrapped."""
    if not isinstance(answer, dict):
        return rows(answer)
    wraps = [name for name in _WRAPS if isinstance(answer.get(name), dict | list)]
    if wraps:
        # HeroSMS has them in `data`, and also an `activeActivations` with `rows`.
        return next((found for name in wraps if (found := _rows_of(answer[name]))), [])
    return rows(answer) if answer and all(isinstance(v, dict) for v in answer.values()) else []


def _words(value: object) -> str | None:
    return str(value) if isinstance(value, str) and value.strip() else None


def _time(text: str | None) -> str | None:
    return None if text is None or text.startswith(_NO_TIME) else text


def _number(value: object) -> str | None:
    return e164(value, None) if isinstance(value, str) else None


def _codes(row: Mapping[str, Any]) -> list[str]:
    return _several(row.get("smsCode"))


def _several(value: object) -> list[str]:
    """Return the texts in a list, in a list written as a text, or one text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            value = str(value)
    items = value if isinstance(value, list) else [value]
    return [words for item in items if (words := _words(item))]


def _has_words(sms: Mapping[str, Any]) -> bool:
    return bool(_words(sms.get("text")) or _words(sms.get("code")))


def _is_text(words: str) -> bool:
    return " " in words.strip() or len(words) > _LONGEST_CODE


def _service(value: object) -> str | None:
    words = _words(value)
    return words if words and len(words) <= _LONGEST_SERVICE else None


def _as_callback_fields(fields: dict[str, Any], sms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a callback with this message."""
    more = {
        "text": _words(sms.get("text")),
        "code": _words(sms.get("code")),
        "phoneFrom": sms.get("phoneFrom") or sms.get("from"),
        "receivedAt": _time(_words(sms.get("dateTime") or sms.get("date"))),
        "id": sms.get("id"),
        "service": sms.get("service") or fields["service"],
    }
    return fields | {name: value for name, value in more.items() if value is not None}
