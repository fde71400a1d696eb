"""Polls in SMS-Activate's dialect: the actions of `handler_api.php` that only read.

For activations, getActiveActivations is the list, getStatusV2 has the newest SMS with its time,
getStatus the code alone, and getHistory the activations that ended. For rentals there are
getRentList and getRentStatus. A command that the provider does not have is skipped.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from core.canonical import canonical_code
from core.event import CallReceived, Price, Service

from ...callback import Happening, Key, Malformed
from ...decode import json_value
from ...fields.code import read_code
from ...fields.dedupe import all_spellings
from ...fields.numbers import e164
from ...fields.reader import AMOUNT, FieldReader
from ...fields.text import links
from ...fields.times import time_from, zone
from ...polling.answers import BALANCE, or_none, rows
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
    yield from one.history()
    yield from one.rentals({order.rental_id: order.number for order in known if order.rental_id})
    # Ends come after messages, because an ended order may still have one.
    for (kind, id_), reason in one.ends.items():
        yield Ended(kind=kind, name=id_, reason=reason)
    yield from one.balance()


class _Order(msgspec.Struct, frozen=True):
    """The details of an activation or rental that are added to its messages."""

    to: str | None = None
    price: Price | None = None
    service: Service | None = None


class _Message(NamedTuple):
    """A message in a row of an answer."""

    #: As in a callback.
    fields: Mapping[str, Any]
    #: See `Copy.form`.
    form: str
    #: None: the keys of a callback with these fields.
    keys: tuple[Key, ...] | None = None


class _SmsActivatePoll:
    """The questions of one poll of one source."""

    def __init__(
        self, source: SmsActivateDialect, now: datetime, since: datetime, memory: PollMemory
    ) -> None:
        self._source, self._now, self._since = source, now, since
        self._memory = memory
        self._settings = source.polling_settings()
        self._commands = self._settings.api.reads - memory.missing
        self._has_asked = False
        #: Activations that the list or their status has covered in this round.
        self._covered: set[str] = set()
        #: Why orders ended, by kind and id.
        self.ends: dict[tuple[str, str], str] = {}

    # --- activations ----------------------------------------------------------------------

    def activations(self, known: Mapping[str, Known]) -> Poll:
        """Find the messages of the listed activations and of the known ones."""
        active: dict[str, dict[str, Any]] = {}
        for page in range(_MOST_PAGES):
            paged = {"start": str(page * _PAGE), "limit": str(_PAGE)} if self._source.pages else {}
            answer = yield from self._asked("getActiveActivations", **paged)
            batch = {
                str(row["activationId"]): row
                for row in _rows_of(answer)
                if isinstance(row.get("activationId"), str)
            }
            has_new = bool(batch.keys() - active.keys())
            active |= batch
            if not has_new or not paged or len(batch) < _PAGE:
                break
        for id_, row in active.items():
            yield self._listed("activation_id", id_, row)
        for id_ in dict.fromkeys([*active, *known]):
            row = active.get(id_, {})
            is_waiting = not _several(row.get("smsCode")) and not _words(row.get("smsText"))
            if row and is_waiting and not (id_ in known and "getStatusV2" in self._commands):
                continue  # the list has no calls, so a known order is asked for its status
            yield from self._activation(id_, row, known.get(id_))

    def _listed(self, kind: str, id_: str, row: Mapping[str, Any]) -> ListedOrder:
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
        """Find its newest SMS in the most detailed form, and the codes of earlier ones."""
        service = _service(row.get("serviceCode")) or (known.service if known else None)
        fields = {"activationId": id_, "service": service, "country": row.get("countryCode")}
        to = _number(row.get("phoneNumber")) or (known.number if known else None)
        order = _Order(to, self._price(row))
        # Without getStatusV2, a row of the list has more than the status.
        is_enough = bool(row) and "getStatusV2" not in self._commands
        found_codes = () if is_enough else (yield from self._status(fields, order))
        if row:
            self._covered.add(id_)
        text, codes = _words(row.get("smsText")), _several(row.get("smsCode"))
        messages = []
        if not found_codes and (text or codes):
            newest = fields | {"text": text, "code": codes[-1] if codes else None}
            keys = _untimed_keys("act", newest)
            messages.append(_Message(newest, "getActiveActivations", keys))
        # `123-456` and `123456` are the same code.
        plain = {code: canonical_code(read_code(code, None)[0] or code) for code in codes}
        known_codes = {canonical_code(code) for code in found_codes}
        if found_codes != ("",) and known_codes.isdisjoint(plain.values()):
            # The status has no code of the list. Then the last code is the newest message's. The
            # provider does not document the order.
            known_codes = {plain[code] for code in codes[-1:]}
        for code in [code for code in plain if plain[code] not in known_codes]:
            # While it was the newest, it had a text and another key. So it has its own form.
            older = fields | {"code": code}
            messages.append(_Message(older, _CODES_ALONE, _untimed_keys("act", older)))
        yield from self._read(messages, row, order, "getActiveActivations", name="smsCode")

    def _status(self, fields: dict[str, Any], order: _Order) -> Any:
        """Yield the messages in the status; return their codes. Record an end."""
        command, id_ = "getStatusV2", fields["activationId"]
        answer = yield from self._asked(command, id=id_)
        if command not in self._commands:
            command, more = "getStatus", {"text": "1"} if self._source.sends_text else {}
            answer = yield from self._asked(command, id=id_, **more)
        self._record_end("activation_id", id_, answer)
        if isinstance(answer, dict):
            return (yield from self._messages(fields, answer, order))
        if not isinstance(answer, Word) or not answer.rest:
            return ()
        # The provider may repeat the last code while another is awaited. If that code was found
        # before, it is the same event. Fewer than four digits are seconds.
        is_repeated = (
            answer.word == "STATUS_WAIT_RETRY"
            and self._source.repeats_code
            and not _SECONDS.fullmatch(answer.rest)
        )
        if answer.word != "STATUS_OK" and not is_repeated:
            return ()
        # Only the code is in the key, because not every answer has the text in its header.
        keys = _untimed_keys("act", fields | {"code": answer.rest})
        row = {"code": answer.rest} | ({"text": answer.text} if answer.text else {})
        message = _Message(fields | row, f"{command}.code", keys)
        yield from self._read([message], row, order, command)
        return (answer.rest,)

    def _messages(self, fields: dict[str, Any], answer: Mapping[str, Any], order: _Order) -> Any:
        """Yield the messages of getStatusV2, or of a getStatus that answers JSON.

        Return their codes; one empty code if there are messages without codes.
        """
        several = rows(answer.get("sms")) + rows(answer.get("data"))
        calls = rows(answer.get("call"))
        if not several and not calls:
            several = [dict(answer)]
        are_calls = answer.get("verificationType") == "call"
        found = [(row, are_calls or row.get("type") == "call") for row in several]
        found += [(row, True) for row in calls]
        codes: list[str] = []
        is_empty = True
        for row, is_call in found:
            words = {name: _words(row.get(name)) for name in ("text", "code")}
            if not any(words.values()):
                continue
            is_empty = False
            code, _ = read_code(words["code"], words["text"])
            codes += [code] if code else []
            more = {
                **words,
                "phoneFrom": row.get("phoneFrom") or row.get("from"),
                "receivedAt": _time(_words(row.get("dateTime") or row.get("date"))),
                "id": row.get("id"),
                "service": row.get("service") or fields["service"],
            }
            whole = fields | {name: value for name, value in more.items() if value is not None}
            if is_call:
                yield self._called(whole, row, order)
                continue
            keys = None if "receivedAt" in whole else _untimed_keys("act", whole)
            message = _Message(whole, "getStatusV2", keys)
            yield from self._read([message], row, order, "getStatusV2")
        return () if is_empty else (tuple(codes) or ("",))

    def _called(
        self, fields: Mapping[str, Any], row: Mapping[str, Any], order: _Order
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
            keys=key if when.second is not None else _untimed_keys("call", fields),
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
        happening = fill_gaps(happening, to=order.to, price=order.price)
        return FoundMessage(happenings=(happening,), callback=callback)

    def _read(
        self,
        messages: Sequence[_Message],
        row: Mapping[str, Any],
        order: _Order,
        command: str,
        *,
        name: str = "",
    ) -> Iterator[FoundMessage | Notice]:
        """Read the messages of a row. Its field `name` may have thousands of them."""
        words = [it.fields.get("code") or it.fields.get("text") or "" for it in messages]
        at = 0
        for part, some in split_row(row, name, words):
            callback = as_callback(part, self._now)
            happenings: list[Happening] = []
            for message in messages[at : at + len(some)]:
                read = normalize_or_none(self._source.normalize, message.fields, callback)
                for one in read or ():
                    found = fill_gaps(one, to=order.to, price=order.price, service=order.service)
                    copy = found.copy and msgspec.structs.replace(found.copy, form=message.form)
                    keys = message.keys or found.keys
                    happenings.append(msgspec.structs.replace(found, copy=copy, keys=keys))
            at += len(some)
            if len(happenings) < len(some):
                yield Notice(word="unreadable_row", about=command)
            if happenings:
                yield FoundMessage(happenings=tuple(happenings), callback=callback)

    def history(self) -> Poll:
        """Find the messages of activations that ended and were not covered before."""
        # A row has the date of its activation. The SMS may have come much later.
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
            for id_ in [id_ for id_ in batch if id_ not in seen and id_ not in self._covered]:
                row, messages = batch[id_], []
                for words in dict.fromkeys(_several(row.get("sms"))):
                    is_text = " " in words.strip() or len(words) > _LONGEST_CODE
                    # `date` is the activation's, not the SMS's.
                    fields = {"activationId": id_, "text" if is_text else "code": words}
                    messages.append(_Message(fields, "getHistory", _untimed_keys("act", fields)))
                order = _Order(_number(row.get("phone")), self._price(row))
                yield from self._read(messages, row, order, "getHistory", name="sms")
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
                yield self._listed("rental_id", rental, row)
        for rental, number in numbers.items():
            if "getRentStatus" in self._commands:
                yield from self._rental(rental, number)

    def _rental(self, rental: str, number: str | None) -> Poll:
        """Read all pages, until one repeats.

        Some documentation counts pages from 0, some from 1, so the first request has no page. If
        page 1 repeats it, pages are counted from 1.
        """
        undated, zone_ = as_callback({}, self._now), zone(self._source.timezone)
        seen: set[str] = set()
        for page in range(_MOST_PAGES):
            paged = {"page": str(page)} if page else {}
            answer = yield from self._asked("getRentStatus", id=rental, **paged)
            self._record_end("rental_id", rental, answer)
            batch = {json.dumps(row, sort_keys=True): row for row in _rows_of(answer)}
            # Pages go back in time, and a long rental has many.
            readers = [FieldReader(row) for row in batch.values()]
            times = [self._source.read_time(row, "date", undated)[0] for row in readers]
            is_old = all(at and at.instant(zone_) < self._since - _ZONE_ERROR for at in times)
            for row in [row for text, row in batch.items() if text not in seen]:
                date = _time(_words(row.get("date")))
                fields = {"rentId": rental, "sms": {**row, "date": date}}
                keys = _untimed_keys("rent", fields) if date is None else None
                message = _Message(fields, "getRentStatus", keys)
                order = _Order(number, service=self._source.service_of(FieldReader(row)))
                yield from self._read([message], row, order, "getRentStatus")
            if not batch or is_old or (batch.keys() <= seen and page != 1):
                return
            seen |= batch.keys()

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
        if BALANCE.fullmatch(amount):
            yield Balance(amount=amount, currency=currency)

    def _price(self, row: Mapping[str, Any]) -> Price | None:
        """Return the price of an activation; None for 0, its price in the history while active."""
        reading = FieldReader(row)
        amount = reading.raw("activationCost") or reading.raw("cost") or reading.raw("price")
        if not AMOUNT.fullmatch(amount) or _ZEROS.fullmatch(amount):
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
        key = self._settings.api_key.reveal()
        url = with_query(self._settings.api_url, api_key=key, action=command, **params)
        now = self._now.astimezone(zone(self._source.timezone))
        is_first, self._has_asked = not self._has_asked, True

        def read(answer: ProviderAnswer) -> object:
            if command == "getBalance" and not is_first:
                return or_none(lambda: read_answer(answer, command, now))
            return read_answer(answer, command, now)

        answer = yield Ask(api=self._settings.api, command=command, url=url, read=read)
        if answer == Word("missing"):
            self._commands -= {command}
            self._memory.missing.add(command)
            yield Notice(word="missing_command", about=command)
            return None
        return answer


def _untimed_keys(kind: str, fields: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the keys of a message without a time, as long as the order exists.

    A callback's windows of arrival would make it a new event every two hours.
    """
    if kind == "rent":
        sms = FieldReader(fields["sms"])
        rent = ("rent", str(fields["rentId"]), "poll", sms.raw("phoneFrom"))
        return all_spellings(lambda text, _: (Key(parts=(*rent, text)),), sms.raw("text"))
    text, code = (_words(fields.get(name)) or "" for name in ("text", "code"))
    about = (kind, str(fields["activationId"]), "poll")
    return all_spellings(lambda text, code: (Key(parts=(*about, text, code)),), text, code)


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


def _several(value: object) -> list[str]:
    """Return the texts in a list, in a list written as a text, or one text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        # The text of an SMS may be JSON, too. Half a character in it would end every poll.
        with suppress(Malformed):
            value = json_value(value.encode())
    items = value if isinstance(value, list) else [value]
    return [words for item in items if (words := _words(item))]


def _service(value: object) -> str | None:
    words = _words(value)
    return words if words and len(words) <= _LONGEST_SERVICE else None
