"""SMS-Activate's dialect: closed in 2025, spoken on by its successor and its clones.

One webhook for an activation's SMS (set in the profile), another for a rental's (its URL is
passed with each order). Bodies are JSON, or a form from some clones; nothing is signed; each wants
exactly HTTP 200.
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
from ...fields.dedupe import SentTime, in_any_spelling, keys, sent
from ...fields.reader import FieldReader
from ...fields.services import ListedService, service
from ...fields.text import links
from ...fields.times import Stated, any_written, epoch, time_from, written, zone
from ...samples import code_of, encoded
from ...source import Source

#: What the REST interface of some clones calls the fields of a webhook.
_REST_NAMES = {
    "smsText": "text",
    "smsCode": "code",
    "serviceCode": "service",
    "countryCode": "country",
}
#: Messages in one callback.
_MOST_MESSAGES = 500


def _as_webhook(fields: Fields) -> Fields:
    """The fields under a webhook's names: from REST names, and from `sms[text]` as PHP sends it."""
    renamed = {name: fields[rest] for rest, name in _REST_NAMES.items() if rest in fields}
    inner = {name[4:-1]: fields[name] for name in fields if name[:4] == "sms[" and name[-1] == "]"}
    if inner:
        renamed["sms"] = inner
    return {**renamed, **fields} if renamed else fields


def _messages(fields: Fields) -> list[Fields] | None:
    """One mapping a message, the newest last, where texts or codes are lists; else None.

    Of two lists the last ones belong together: a text may be that of the newest code alone.
    """
    texts, codes = fields.get("text"), fields.get("code")
    if not isinstance(texts, list) and not isinstance(codes, list):
        return None
    pairs = list(zip_longest(reversed(_as_list(texts)), reversed(_as_list(codes))))
    if len(pairs) > _MOST_MESSAGES:
        raise Malformed("malformed", f"text, code: more than {_MOST_MESSAGES} messages")
    rows: list[Fields] = [
        {**fields, "text": text, "code": code}
        for text, code in reversed(pairs)
        if text not in (None, "") or code not in (None, "")
    ]
    return rows or [{**fields, "text": None, "code": None}]


def _as_list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _timed_keys(
    begin: tuple[str, ...], words: tuple[str, ...], when: SentTime, raw: str, callback: Callback
) -> tuple[Key, ...]:
    """Keys over a time and words. `raw`: the time as sent, for versions that read less of it."""
    before = sent(_read_before(raw), raw)
    made = [
        key
        for one in dict.fromkeys((when, before))
        for key in keys(
            *(*begin, one.text, *words),
            second=one.second,
            otherwise=(),
            received=callback.received,
        )
    ]
    return tuple(made)


def _read_before(text: str) -> Stated | None:
    """A time as the first versions read it."""
    return written(text) or epoch(text)


def _flat(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """As PHP writes a form: `sms[text]`."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= {f"{name}[{inner}]": it for inner, it in value.items()}
        else:
            flat[name] = value
    return flat


class SmsActivateDialect(Source, frozen=True, kw_only=True):
    """Reads the callbacks of the dialect. Subclass, tag, and set the class variables."""

    #: Of times that are sent without an offset: an IANA name. The provider does not say which
    #: it means; its successor's examples are Moscow's.
    timezone: str = "Europe/Moscow"

    encodings: ClassVar[frozenset[str]] = frozenset({"json", "form"})
    usual_encoding: ClassVar[str] = "json"
    kinds: ClassVar[tuple[str, ...]] = ("sms", "rent")
    #: Its ids of countries -> ISO 3166-1 alpha-2.
    countries: ClassVar[Mapping[str, str]]
    #: Its ids of services -> names and keys.
    services: ClassVar[Mapping[str, ListedService]]
    #: The field that holds an id of the message itself, where there is one.
    message_field: ClassVar[str | None] = None

    #: Whether its list of active activations comes in pages.
    pages: ClassVar[bool] = False
    #: What the size of a page of its history is called.
    page_size: ClassVar[str] = "limit"
    #: Whether `STATUS_WAIT_RETRY:1234` repeats the code before the one that is waited for; else it
    #: says seconds.
    repeats_code: ClassVar[bool] = True
    #: Whether getStatus, asked with `text=1`, has the text of the SMS in the header `X-Text`.
    sends_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        zone(self.timezone)

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        fields = _as_webhook(fields)
        reading = FieldReader(fields)
        activation, rental = reading.id("activationId"), reading.id("rentId")
        if activation is not None:
            rows = _messages(fields)
            if rows is None:
                return (self._activation(activation, reading, callback),)
            *earlier, newest = [self._listed(activation, row, callback) for row in rows]
            # The time and an id are the newest message's.
            own = self._activation(activation, FieldReader(rows[-1]), callback).keys
            made = (*own, *newest.keys, *self._keys_of_before(activation, reading, callback))
            return (*earlier, msgspec.structs.replace(newest, keys=tuple(dict.fromkeys(made))))
        if rental is not None:
            return (self._rent(rental, reading, reading.nested("sms"), callback),)
        raise Malformed(
            "identity", "activationId, rentId: a positive number or a short text is expected"
        )

    def _listed(self, activation: str, row: Fields, callback: Callback) -> Happening:
        """One of several messages: known by its words, so that a longer list repeats none."""
        reading = FieldReader(row)
        made = in_any_spelling(
            lambda text, code: (Key(parts=("act", activation, "listed", text, code)),),
            reading.raw("text"),
            reading.raw("code"),
        )
        return msgspec.structs.replace(self._activation(activation, reading, callback), keys=made)

    def _keys_of_before(
        self, activation: str, reading: FieldReader, callback: Callback
    ) -> tuple[Key, ...]:
        """The keys of versions that read no lists, but the text or code beside one."""
        if not (reading.raw("text") or reading.raw("code")):
            return ()
        message = reading.id(self.message_field) if self.message_field else None
        when = self.stated(reading, "receivedAt", callback)[1]
        return self._keys(activation, message, reading, when, callback)

    def _activation(self, activation: str, reading: FieldReader, callback: Callback) -> Happening:
        code, text = reading.message("code", "text")
        if text is None and code is None:
            raise Malformed("malformed", "text, code: neither was sent")
        message = reading.id(self.message_field) if self.message_field else None
        stated, when = self.stated(reading, "receivedAt", callback)
        return Happening(
            subject=f"activation/{activation}",
            time=stated.rfc3339(zone(self.timezone)) if stated else None,
            keys=self._keys(activation, message, reading, when, callback),
            twin=self.twin(text, code, stated),
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
                **self.common(callback, reading, time_from=time_from(stated)),
            ),
        )

    def _rent(
        self, rental: str, reading: FieldReader, sms: FieldReader, callback: Callback
    ) -> Happening:
        text = sms.text("text")
        if text is None:
            raise Malformed("malformed", "sms.text: not sent")
        stated, when = self.stated(sms, "date", callback)
        about, date = ("rent", rental, sms.raw("phoneFrom")), sms.raw("date")
        return Happening(
            subject=f"rental/{rental}",
            time=stated.rfc3339(zone(self.timezone)) if stated else None,
            keys=in_any_spelling(
                lambda text, _code: _timed_keys(about, (text,), when, date, callback), text
            ),
            data=SmsReceived(
                to=reading.number("phoneNumber", None),
                from_=sms.sender("phoneFrom", None),
                text=text,
                code=find_code(text),
                urls=links(text),
                rental_id=rental,
                **self.common(callback, reading, time_from=time_from(stated)),
            ),
        )

    def _keys(
        self,
        activation: str,
        message: str | None,
        reading: FieldReader,
        when: SentTime,
        callback: Callback,
    ) -> tuple[Key, ...]:
        """An activation may receive the same code twice, so its time counts."""
        raw = reading.raw("receivedAt")

        def make(text: str, code: str) -> tuple[Key, ...]:
            if message is None:
                return _timed_keys(("act", activation), (text, code), when, raw, callback)
            times = dict.fromkeys((when, sent(_read_before(raw), raw)))
            made = (self._message_key(activation, message, (text, code), at) for at in times)
            return tuple(dict.fromkeys(made))

        return in_any_spelling(make, reading.raw("text"), reading.raw("code"))

    def _message_key(
        self, activation: str, message: str, _words: tuple[str, str], _when: SentTime, /
    ) -> Key:
        """An id of its own tells a message from others, whatever else is said of it."""
        grows = int(message) % 2**32 if message.isascii() and message.isdecimal() else 0
        return Key(second=grows, parts=("act", activation, "msg", message))

    def stated(
        self, reading: FieldReader, name: str, callback: Callback
    ) -> tuple[Stated | None, SentTime]:
        """The time if it makes sense, and as it stands in a key."""
        text = reading.text(name)
        stated = any_written(text) if text is not None else None
        # Keys of what was polled stay those of the first versions, which read no milliseconds.
        keyed = stated if callback.channel == "callback" else _read_before(text or "")
        when = sent(keyed, reading.raw(name))
        if stated is not None and stated.makes_sense(zone(self.timezone), callback.received):
            return stated, when
        if text is not None:
            reading.warn(name)
        return None, when

    def twin(
        self,
        text: str | None,
        code: str | None,
        stated: Stated | None,
        *,
        form: str = "callback",
    ) -> Copy | None:
        """None where nothing is polled: all comes one way."""
        if self.backfill is None:
            return None
        at = None if stated is None else stated.instant(zone(self.timezone))
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
        fields = {"sms": self._sample_sms, "rent": self._sample_rent}[kind](number, now)
        return encoded(fields if encoding == "json" else _flat(fields), encoding, number=number)

    def _sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        code = code_of(number)
        return {
            "activationId": 4_450_751_126 + number,
            "service": "go",
            "text": f"G-{code} is your Google verification code.",
            "code": code,
            "country": 16,
            "receivedAt": self._naive(now),
        }

    def _sample_rent(self, number: int, now: datetime) -> dict[str, Any]:
        text = f"Код для регистрации в Спортмастер {code_of(number)}"
        sms = {"phoneFrom": "SPORTMASTER", "text": text, "date": self._naive(now)}
        return {"rentId": str(26_251_422 + number), "sms": sms}

    def _naive(self, now: datetime) -> str:
        return f"{now.astimezone(zone(self.timezone)):%Y-%m-%d %H:%M:%S}"
