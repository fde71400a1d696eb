"""The generic provider: the user configures the paths of its fields."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec
import phonenumbers

from core.event import NumberAssigned, SmsReceived
from core.secret import Secret
from core.signing import decode_key

from ..callback import Callback, Fields, Happening, Key, Malformed, Sample
from ..decode import LIST
from ..fields.code import read_code
from ..fields.countries import country_code
from ..fields.dedupe import SentTime, make_keys, read_sent_time
from ..fields.reader import FieldReader
from ..fields.services import service
from ..fields.text import links
from ..fields.times import ProviderTime, has_lost_plus, read_any_time, time_from, zone
from ..samples import encode_sample, sample_code
from ..signatures import Basic, HeaderSecret, Hmac, Twilio, verify_standard
from ..source import Reply, Source

_PATH = re.compile(r"[^.\s]+(\.[^.\s]+){0,15}")
_LONGEST_PATH = 128
#: The prefix of a path from the top of the body instead of the item of `each`.
_TOP = "$."
#: The `each` of a body that is a list.
_BODY = "."
#: Digits of an index in a list.
_LONGEST_INDEX = 6
#: Messages in one callback.
_MOST_ITEMS = 500
_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
#: Twilio's "no reply". Anything but TwiML is its error 12300.
_TWIML = Reply(content_type="text/xml", body="<Response/>")
_SMS, _ASSIGNED = "sms.received", "number.assigned"


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of fields in a callback: the name of a field, or names joined by dots.

    `data.sms.text` is `text` in the object `sms` of the object `data`; `to.0` is the first item of
    a list. A field with the whole path as its name comes first. `null`: it is not sent.
    """

    #: The id of the order or number that `subject` names. Without it there is no event.
    id: str = "id"
    #: The message's own id, if it is unique for the subject. Copies are then recognized by it
    #: alone. Unset: by subject, sender, time, text and code.
    message: str | None = None
    #: The text. A callback must have a text or a code.
    text: str | None = "text"
    #: The code; if it is not sent, it is found in the text.
    code: str | None = "code"
    #: The sender: a number or a name.
    from_: str | None = msgspec.field(default="from", name="from")
    #: The number that received it.
    to: str | None = "to"
    #: The time: RFC 3339, `2026-11-21 19:05:09`, `2026-11-21 07:05:09pm`, or seconds or
    #: milliseconds since 1970.
    time: str | None = "time"
    #: The service that the number was taken for.
    service: str | None = "service"
    #: The number's country: two letters of ISO 3166-1, or an English name.
    country: str | None = "country"
    #: The price.
    price: str | None = "price"
    #: The provider's kind of event, which `types` maps. Unset: all are `sms.received`.
    event: str | None = None

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            path = getattr(self, field.name)
            if path is not None and not _is_path(path):
                raise ValueError(f"{field.encode_name}: not a path; write text or data.sms.text")

    def all(self) -> Iterator[str]:
        """Yield all paths that are set."""
        found = (getattr(self, name) for name in self.__struct_fields__)
        return (path for path in found if path is not None)


def _is_path(path: str) -> bool:
    return len(path) <= _LONGEST_PATH and _PATH.fullmatch(path) is not None


def _check_count(items: list[object], path: str) -> list[object]:
    if len(items) > _MOST_ITEMS:
        raise Malformed("malformed", f"{path}: more than {_MOST_ITEMS} messages")
    return items


def _first_of_list(path: str | None) -> str | None:
    """Return `results` for `results.0.text`, `.` for `0.text`; None for a path without a `0`."""
    names = (path or "").split(".")
    if "0" not in names[:-1]:
        return None
    return ".".join(names[: names.index("0")]) or _BODY


class Generic(Source, tag="generic", frozen=True, kw_only=True):
    """Any sender of SMS by HTTP: configure the paths of its fields, and how to verify it.

    Worked examples are in [the generic provider](../providers-generic.md). All of `hmac`,
    `standard`, `basic`, `header` and `twilio` that are set must pass, and the token, too. Otherwise
    the answer is 404 and nothing is stored.
    """

    #: The paths of the fields in a callback.
    fields: Paths = Paths()
    #: The path of a list of messages, such as `results`; `.` if the body is the list. `fields` are
    #: then paths in an item, and `$.account` is a path in the body. All messages are stored
    #: together, or the callback goes to quarantine.
    each: str | None = None
    #: The kind of thing that `fields.id` identifies; the event's `subject` begins with it.
    subject: Literal["request", "activation", "rental", "telephone"] = "request"
    #: The types of events for the values at `fields.event`, such as
    #: `{"v2.sms.received": sms.received}`. Callbacks with other values go to quarantine.
    types: Mapping[str, Literal["sms.received", "number.assigned"]] = {}
    #: Whether the path `data` also finds `Data`, for providers that vary the case.
    any_case: bool = False
    #: The methods of callbacks. With GET, the query of a GET is a callback. Otherwise, and without
    #: a query, a GET is answered with `ready`. A POST is always accepted.
    methods: tuple[Literal["POST", "GET"], ...] = ("POST",)
    #: The time zone of times without an offset, as an IANA name.
    timezone: str = "UTC"
    #: The country of numbers without a `+`, such as US. Unset: numbers begin with their country's
    #: code.
    region: str | None = None
    #: A hash of the body in a header.
    hmac: Hmac | None = None
    #: Secrets of Standard Webhooks: `whsec_` and base64; several during a rotation. Callbacks more
    #: than five minutes old or ahead are refused.
    standard: tuple[Secret, ...] = ()
    #: The beginning of the three headers of `standard`: `svix` for `svix-id`, `svix-timestamp` and
    #: `svix-signature`.
    standard_prefix: str = "webhook"
    #: A name and a password (HTTP Basic authentication).
    basic: Basic | None = None
    #: A secret in a header.
    header: HeaderSecret | None = None
    #: Twilio's signature. The answer is then an empty `<Response/>` as `text/xml`, unless `answer`
    #: is set.
    twilio: Twilio | None = None

    encodings: ClassVar[frozenset[str]] = frozenset({"form", "multipart", "json"})
    paste_at: ClassVar[str] = "wherever the provider asks for a webhook or callback URL"
    kinds: ClassVar[tuple[str, ...]] = ("sms",)

    def __post_init__(self) -> None:
        zone(self.timezone)
        if self.region is not None and self.region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"region: {self.region!r} is not a country; write US or GB")
        if self.each not in (None, _BODY) and not _is_path(self.each or ""):
            raise ValueError("each: not a path; write results, data.messages or `.` for the body")
        if not _PREFIX.fullmatch(self.standard_prefix):
            raise ValueError("standard_prefix: not the beginning of a header; write svix")
        if (self.fields.event is None) != (not self.types):
            raise ValueError("types: belongs to fields.event; give both, or neither")
        for secret in self.standard:
            try:
                decode_key(secret)
            except ValueError as exc:
                raise ValueError(f"standard: {exc}") from None

    def sends_by_get(self) -> bool:
        return "GET" in self.methods

    def verify(self, callback: Callback, target: str) -> bool:
        passed = (
            self.hmac is None or self.hmac.verifies(callback),
            not self.standard
            or verify_standard(self.standard, callback, prefix=self.standard_prefix),
            self.basic is None or self.basic.verifies(callback),
            self.header is None or self.header.verifies(callback),
            self.twilio is None or self.twilio.verifies(callback, target),
        )
        return all(passed)

    @property
    def takes_lists(self) -> bool:
        paths = self.fields.all()
        return self.each == _BODY or any(path.split(".")[0].isdecimal() for path in paths)

    @property
    def secret_headers(self) -> frozenset[str]:
        return frozenset() if self.header is None else frozenset({self.header.name.lower()})

    @property
    def default_answer(self) -> Reply | None:
        return None if self.twilio is None else _TWIML

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        each = self.each
        if each is None:
            return self._read_first(fields, callback)
        items = fields.get(LIST, fields) if each == _BODY else self._at(fields, each)
        if isinstance(items, dict):
            # PHP writes a list with gaps as an object. Converted XML has a list of one as its item.
            items = list(items.values()) if all(map(str.isdecimal, items)) else [items]
        if not isinstance(items, list):
            raise Malformed("malformed", f"{each}: a list is expected")
        # Look these up once, not for each item: many items would take quadratic time.
        paths = set(self.fields.all())
        tops = {it: self._at(fields, it.removeprefix(_TOP)) for it in paths if it.startswith(_TOP)}
        inner = sorted(paths - tops.keys())
        found = []
        for item in _check_count(items, each):
            if not isinstance(item, dict):
                raise Malformed("malformed", f"{each}: an object is expected in each place")
            values = {path: self._at(item, path) for path in inner}
            found.append(self._happening(FieldReader(tops | values), callback))
        if not found:
            raise Malformed("empty", f"{each}: no message in it")
        return found

    def _read_first(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        """Read the message at the paths.

        If a path goes through a list, such as `results.0.text`, read every message of the list.

        Without `each: results`, such a path must not lose the second message. An item that is not
        a message adds a warning.
        """
        paths = tuple(self.fields.all())
        reading = FieldReader({path: self._at(fields, path) for path in paths})
        first = _first_of_list(self.fields.text) or _first_of_list(self.fields.code)
        items = self._at(fields, first) if first is not None else None
        if first is None or not isinstance(items, list):
            return (self._happening(reading, callback),)
        begin = "0." if first == _BODY else f"{first}.0."
        inner = {path: path.removeprefix(begin) for path in paths if path.startswith(begin)}
        message = self.fields.message
        # Another message of the list must not get the first one's id.
        not_shared = {message: None} if message is not None and message not in inner else {}
        others = []
        for item in _check_count(items, first)[1:]:
            if isinstance(item, dict):
                values = {path: self._at(item, below) for path, below in inner.items()}
                with suppress(Malformed):
                    others.append(self._happening(reading.replaced(values | not_shared), callback))
        if len(others) < len(items) - 1:
            reading.warn(first)
        return (self._happening(reading, callback), *others)

    def _at(self, fields: Fields, path: str) -> object:
        """Return the value at a path, or None. A field with the whole path as its name wins."""
        if path in fields:
            return fields[path]
        value: object = fields.get(LIST, fields)
        for name in path.split("."):
            if isinstance(value, dict):
                key = name
                if self.any_case and name not in value:
                    wanted = name.casefold()
                    key = next((it for it in value if it.casefold() == wanted), name)
                value = value.get(key)
            elif isinstance(value, list) and name.isascii() and name.isdecimal():
                is_in = len(name) <= _LONGEST_INDEX and int(name) < len(value)
                value = value[int(name)] if is_in else None
            else:
                return None
        return value

    def _happening(self, reading: FieldReader, callback: Callback) -> Happening:
        paths, type_ = self.fields, _SMS
        if paths.event is not None:
            type_ = self.types.get(reading.raw(paths.event), "")
            if not type_:
                raise Malformed("unknown_event", f"{paths.event}: the value is not in `types`")
        id_ = reading.id(paths.id, blanks=True)
        if id_ is None:
            expected = "a positive number or a short text is expected"
            raise Malformed("identity", f"{paths.id}: {expected}")
        mapped, subject = _Mapped(paths, reading), f"{self.subject}/{id_}"
        if type_ == _SMS:
            return self._read_sms(id_, subject, mapped, callback)
        time, _ = self._read_time(mapped, callback)
        return Happening(
            subject=subject,
            time=time.rfc3339(zone(self.timezone)) if time else None,
            keys=(Key(parts=(_ASSIGNED, subject)),),
            data=NumberAssigned(
                to=reading.number(paths.to, self.region) if paths.to else None,
                country=mapped.country(),
                service=service(mapped.text(paths.service)),
                price=reading.price(paths.price, self.currency) if paths.price else None,
                request_id=id_ if self.subject == "request" else None,
                **self.common(callback, reading, time_from=time_from(time)),
            ),
        )

    def _read_sms(self, id_: str, subject: str, mapped: "_Mapped", callback: Callback) -> Happening:
        paths, reading = mapped
        code, text = read_code(mapped.text(paths.code), mapped.text(paths.text))
        if text is None and code is None:
            raise Malformed("malformed", f"{paths.text}, {paths.code}: neither was sent")
        message = mapped.id(paths.message)
        time, when = self._read_time(mapped, callback)
        if message is not None:
            # The message's own id is enough to identify it, even if a copy differs otherwise.
            grows = int(message) % 2**32 if message.isascii() and message.isdecimal() else 0
            keys: tuple[Key, ...] = (Key(second=grows, parts=(_SMS, subject, "msg", message)),)
        else:
            words = map(mapped.raw, (paths.text, paths.code))
            parts = (_SMS, subject, mapped.raw(paths.from_), when.text, *words)
            keys = make_keys(parts, when.second, (), callback.received)
        return Happening(
            subject=subject,
            time=time.rfc3339(zone(self.timezone)) if time else None,
            keys=keys,
            data=SmsReceived(
                to=reading.number(paths.to, self.region) if paths.to else None,
                from_=reading.sender(paths.from_, self.region) if paths.from_ else None,
                country=mapped.country(),
                service=service(mapped.text(paths.service)),
                text=text,
                code=code,
                urls=links(text or ""),
                price=reading.price(paths.price, self.currency) if paths.price else None,
                message_id=message,
                **self.common(callback, reading, time_from=time_from(time))
                | {f"{self.subject}_id": id_},
            ),
        )

    def _read_time(
        self, mapped: "_Mapped", callback: Callback
    ) -> tuple[ProviderTime | None, SentTime]:
        """Return the time, or None if it is implausible, and the time for a key."""
        path = mapped.paths.time
        text = mapped.text(path)
        time = read_any_time(text) if text is not None else None
        # Keys with a time that the first versions did not read stay as they were.
        when = read_sent_time(None if has_lost_plus(text or "") else time, mapped.raw(path))
        if time is not None and time.is_plausible(zone(self.timezone), callback.received):
            return time, when
        if text is not None and path is not None:
            mapped.reading.warn(path)
        return None, when

    @property
    def default_region(self) -> str | None:
        return self.region

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        if kind not in self.kinds:
            raise ValueError(f"kind: {kind!r} is not sms")
        code, paths = sample_code(number), self.fields
        # If two fields have the same path, the last one counts.
        mapped = {
            paths.country: "US",
            paths.price: "1.25",
            paths.service: "Google",
            paths.time: f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            paths.to: f"+1850555{100 + number % 100:04d}",
            paths.from_: "22000",
            paths.code: code,
            paths.text: f"G-{code} is your Google verification code.",
            paths.message: str(90_001 + number),
            paths.id: str(10_000_001 + number),
            paths.event: next((name for name, of in self.types.items() if of == _SMS), ""),
        }
        values = {path: value for path, value in mapped.items() if path is not None}
        if self.each is None:
            fields = _nest(values) if encoding == "json" else values
            return encode_sample(fields, encoding, number=number)
        # A list is always JSON.
        tops = {path.removeprefix(_TOP): it for path, it in values.items() if path.startswith(_TOP)}
        item = _nest({path: it for path, it in values.items() if not path.startswith(_TOP)})
        if self.each == _BODY:
            body: object = [item]
        else:
            body = _nest({**tops, str(self.each): [item]})
        return Sample(content_type="application/json", body=msgspec.json.encode(body))


class _Mapped(NamedTuple):
    """The values at the paths of one message. A path that is None has no value."""

    paths: Paths
    reading: FieldReader

    def text(self, path: str | None) -> str | None:
        return None if path is None else self.reading.text(path)

    def raw(self, path: str | None) -> str:
        return "" if path is None else self.reading.raw(path)

    def id(self, path: str | None) -> str | None:
        return None if path is None else self.reading.id(path, blanks=True)

    def country(self) -> str | None:
        path = self.paths.country
        text = self.text(path)
        if text is None or path is None:
            return None
        code = country_code(text)
        if code is None:
            self.reading.warn(path)
        return code


def _nest(values: Mapping[str, object]) -> dict[str, Any]:
    """Return `{"data": {"text": "…"}}` for `{"data.text": "…"}`."""
    whole: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        inner = whole
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return whole
