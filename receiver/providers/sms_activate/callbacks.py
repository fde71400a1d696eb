"""Callbacks in SMS-Activate's dialect, which its successor and its clones still use.

One webhook is for an activation's SMS (set in the profile), another for a rental's (its URL is
passed with each order). Bodies are JSON, or a form from some clones. Nothing is signed, and each
provider expects exactly HTTP 200.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, ClassVar

import msgspec

from core.copies import Copy
from core.event import Service, SmsReceived

from ...callback import Callback, Fields, Happening, Key, Malformed, Sample
from ...fields.code import find_code
from ...fields.dedupe import SentTime, all_spellings, make_keys, read_sent_time
from ...fields.reader import FieldReader
from ...fields.services import ListedService, service
from ...fields.text import links
from ...fields.times import ProviderTime, epoch, read_any_time, read_time, time_from, zone
from ...samples import encode_sample, sample_code
from ...source import Source

#: The names of a webhook's fields in the REST interface of some clones.
_REST_NAMES = {
    "smsText": "text",
    "smsCode": "code",
    "serviceCode": "service",
    "countryCode": "country",
}
#: Messages in one callback.
_MOST_MESSAGES = 500


class SmsActivateDialect(Source, frozen=True, kw_only=True):
    """Reads the callbacks of the dialect. Subclass, tag, and set the class variables."""

    #: The time zone of times without an offset, as an IANA name. The provider does not document
    #: it; its successor's examples are in Moscow's.
    timezone: str = "Europe/Moscow"

    encodings: ClassVar[frozenset[str]] = frozenset({"json", "form"})
    kinds: ClassVar[tuple[str, ...]] = ("sms", "rent")
    #: The provider's ids of countries, with ISO 3166-1 alpha-2.
    countries: ClassVar[Mapping[str, str]]
    #: The provider's ids of services, with names and keys.
    services: ClassVar[Mapping[str, ListedService]]
    #: The field with the message's own id; None: messages have no id.
    message_field: ClassVar[str | None] = None
    #: Whether this id alone identifies a message. Otherwise time, text and code are also needed.
    is_message_id_enough: ClassVar[bool] = True
    #: Whether the list of active activations comes in pages.
    pages: ClassVar[bool] = False
    #: The parameter for the size of a page of the history.
    page_size: ClassVar[str] = "limit"
    #: Whether `STATUS_WAIT_RETRY:1234` repeats the code before the awaited one; otherwise the
    #: digits are seconds.
    repeats_code: ClassVar[bool] = True
    #: Whether getStatus with `text=1` has the text of the SMS in the header `X-Text`.
    sends_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        zone(self.timezone)

    @property
    def usual_encoding(self) -> str:
        return "json"

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        # A webhook's own names come first.
        if not _REST_NAMES.keys().isdisjoint(fields):
            renamed = {name: fields[rest] for rest, name in _REST_NAMES.items() if rest in fields}
            fields = {**renamed, **fields}
        reading = FieldReader(fields)
        activation, rental = reading.id("activationId"), reading.id("rentId")
        if activation is not None:
            if isinstance(fields.get("text"), list) or isinstance(fields.get("code"), list):
                return self._read_list(activation, fields, callback)
            return (self._read_activation(activation, reading, callback),)
        if rental is not None:
            return (self._read_rental(rental, reading, _sms_of(fields, reading), callback),)
        raise Malformed(
            "identity", "activationId, rentId: a positive number or a short text is expected"
        )

    def _read_list(
        self, activation: str, fields: Fields, callback: Callback
    ) -> Sequence[Happening]:
        """Read several messages. Their keys are their words, so a longer list repeats no message.

        The newest message is last. Lists of different lengths are matched from their ends: a text
        may be the newest code's.
        """
        texts, codes = _as_list(fields.get("text")), _as_list(fields.get("code"))
        if max(len(texts), len(codes)) > _MOST_MESSAGES:
            raise Malformed("malformed", f"text, code: more than {_MOST_MESSAGES} messages")
        pairs = [
            (text, code)
            for text, code in zip_longest(reversed(texts), reversed(codes))
            if text not in (None, "") or code not in (None, "")
        ]
        happenings = []
        keys: tuple[Key, ...] = ()
        # Without any text or code, the callback is malformed.
        for text, code in reversed(pairs or [(None, None)]):
            listed = FieldReader({**fields, "text": text, "code": code})
            newest = self._read_activation(activation, listed, callback)
            keys = all_spellings(
                lambda text, code: (Key(parts=("act", activation, "listed", text, code)),),
                listed.raw("text"),
                listed.raw("code"),
            )
            happenings.append(msgspec.structs.replace(newest, keys=keys))
        # The newest message has the callback's time and id.
        keys = (*newest.keys, *keys)
        reading = FieldReader(fields)
        if reading.raw("text") or reading.raw("code"):
            # Earlier versions did not read the list, but the single text or code.
            message = reading.id(self.message_field) if self.message_field else None
            when = self.read_time(reading, "receivedAt", callback)[1]
            keys = (*keys, *self._keys(activation, message, reading, when, callback))
        happenings[-1] = msgspec.structs.replace(newest, keys=tuple(dict.fromkeys(keys)))
        return happenings

    def _read_activation(
        self, activation: str, reading: FieldReader, callback: Callback
    ) -> Happening:
        code, text = reading.message("code", "text")
        if text is None and code is None:
            raise Malformed("malformed", "text, code: neither was sent")
        message = reading.id(self.message_field) if self.message_field else None
        time, when = self.read_time(reading, "receivedAt", callback)
        return Happening(
            subject=f"activation/{activation}",
            time=time.rfc3339(zone(self.timezone)) if time else None,
            keys=self._keys(activation, message, reading, when, callback, read=(code, text)),
            copy=self.make_copy(text, code, time),
            data=SmsReceived(
                to=reading.number("phoneNumber", None),
                from_=reading.sender("phoneFrom", None),
                country=self.country_of(reading),
                service=self.service_of(reading),
                text=text,
                code=code,
                urls=links(text or ""),
                activation_id=activation,
                message_id=message,
                **self.common(callback, reading, time_from=time_from(time)),
            ),
        )

    def _read_rental(
        self, rental: str, reading: FieldReader, sms: FieldReader, callback: Callback
    ) -> Happening:
        text = sms.text("text")
        if text is None:
            raise Malformed("malformed", "sms.text: not sent")
        time, when = self.read_time(sms, "date", callback)
        about, date = ("rent", rental, sms.raw("phoneFrom")), sms.raw("date")
        times, code = _times_in_keys(when, date), find_code(text)
        return Happening(
            subject=f"rental/{rental}",
            time=time.rfc3339(zone(self.timezone)) if time else None,
            keys=all_spellings(
                lambda text, _code: _timed_keys(about, (text,), times, callback),
                text,
                read=(code, text),
            ),
            data=SmsReceived(
                to=reading.number("phoneNumber", None),
                from_=sms.sender("phoneFrom", None),
                text=text,
                code=code,
                urls=links(text),
                rental_id=rental,
                **self.common(callback, reading, time_from=time_from(time)),
            ),
        )

    def _keys(
        self,
        activation: str,
        message: str | None,
        reading: FieldReader,
        when: SentTime,
        callback: Callback,
        *,
        read: tuple[str | None, str | None] | None = None,
    ) -> tuple[Key, ...]:
        """Return keys with the time, because an activation may receive the same code twice.

        `read` is the code and the text as read, if they are known.
        """
        if message is not None and self.is_message_id_enough:
            grows = int(message) % 2**32 if message.isascii() and message.isdecimal() else 0
            return (Key(second=grows, parts=("act", activation, "msg", message)),)

        times = _times_in_keys(when, reading.raw("receivedAt"))
        seconds = dict.fromkeys([at.second or 0 for at in times])

        def make(text: str, code: str) -> tuple[Key, ...]:
            if message is None:
                return _timed_keys(("act", activation), (text, code), times, callback)
            parts = ("act", activation, "id", message, text, code)
            return tuple([Key(second=second, parts=parts) for second in seconds])

        return all_spellings(make, reading.raw("text"), reading.raw("code"), read=read)

    def read_time(
        self, reading: FieldReader, name: str, callback: Callback
    ) -> tuple[ProviderTime | None, SentTime]:
        """Return the time, or None if it is implausible, and the time for a key."""
        text = reading.text(name)
        time = read_any_time(text) if text is not None else None
        # Keys of polled rows stay those of the first versions, which read no milliseconds.
        in_key = time if callback.channel == "callback" else _read_as_before(text or "")
        when = read_sent_time(in_key, reading.raw(name))
        if time is not None and time.is_plausible(zone(self.timezone), callback.received):
            return time, when
        if text is not None:
            reading.warn(name)
        return None, when

    def make_copy(
        self,
        text: str | None,
        code: str | None,
        time: ProviderTime | None,
        *,
        form: str = "callback",
    ) -> Copy | None:
        """Return the identity of a copy; None if the source is not polled, so there is no copy."""
        if self.backfill is None:
            return None
        at = None if time is None else time.instant(zone(self.timezone))
        return Copy(form=form, text=text, code=code, second=at.timestamp() if at else None)

    def country_of(self, reading: FieldReader) -> str | None:
        id_ = reading.text("country")
        country = self.countries.get(id_) if id_ is not None else None
        if id_ is not None and country is None:
            reading.warn("country")
        return country

    def service_of(self, reading: FieldReader) -> Service | None:
        return self.service(reading.text("service"))

    def service(self, id_: str | None) -> Service | None:
        return service(id_, self.services.get(id_ or ""))

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        if encoding not in self.encodings:
            raise ValueError(f"encoding: {encoding!r} is neither json nor form")
        fields = self.sample_sms(number, now)
        if kind == "rent":
            text = f"Код для регистрации в Спортмастер {sample_code(number)}"
            sms = {"phoneFrom": "SPORTMASTER", "text": text, "date": self._local(now)}
            fields = {"rentId": str(26_251_422 + number), "sms": sms}
        if encoding == "form":
            # As PHP writes a form: `sms[text]`.
            for name in [name for name, value in fields.items() if isinstance(value, dict)]:
                inner = fields.pop(name)
                fields |= {f"{name}[{key}]": value for key, value in inner.items()}
        return encode_sample(fields, encoding, number=number)

    def sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        """Return the fields of a sample SMS to an activation."""
        code = sample_code(number)
        return {
            "activationId": 4_450_751_126 + number,
            "service": "go",
            "text": f"G-{code} is your Google verification code.",
            "code": code,
            "country": 16,
            "receivedAt": self._local(now),
        }

    def _local(self, now: datetime) -> str:
        return f"{now.astimezone(zone(self.timezone)):%Y-%m-%d %H:%M:%S}"


def _sms_of(fields: Fields, reading: FieldReader) -> FieldReader:
    """Return a reader of the SMS to a rental. A form may have it as PHP writes it: `sms[text]`.

    Raises Malformed without an SMS.
    """
    inner = {name[4:-1]: fields[name] for name in fields if name[:4] == "sms[" and name[-1] == "]"}
    if inner and "sms" not in fields:
        return FieldReader(inner, reading.warnings)
    return reading.nested("sms")


def _as_list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _times_in_keys(when: SentTime, raw: str) -> tuple[SentTime, ...]:
    """Return a time for keys as it is read now, and as earlier versions read it if that differs.

    `raw` is the time as sent.
    """
    before = read_sent_time(_read_as_before(raw), raw)
    return (when,) if before == when else (when, before)


def _timed_keys(
    begin: tuple[str, ...],
    words: tuple[str, ...],
    times: Sequence[SentTime],
    callback: Callback,
) -> tuple[Key, ...]:
    """Return keys over each time and the words."""
    keys = [
        key
        for one in times
        for key in make_keys((*begin, one.text, *words), one.second, (), callback.received)
    ]
    return tuple(keys)


def _read_as_before(text: str) -> ProviderTime | None:
    """Read a time as the first versions did."""
    return read_time(text) or epoch(text)
