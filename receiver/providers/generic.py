"""A provider that is not known here: its fields are found by paths that you write."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ..fields.dedupe import SentTime, keys, sent
from ..fields.reader import FieldReader
from ..fields.services import service
from ..fields.text import links
from ..fields.times import Stated, any_written, lost_its_plus, time_from, zone
from ..samples import code_of, encoded
from ..signatures import Basic, HeaderSecret, Hmac, Twilio, standard
from ..source import Reply, Source

_PATH = re.compile(r"[^.\s]+(\.[^.\s]+){0,15}")
_LONGEST_PATH = 128
#: In paths beside `each`: from the top of the body, not of the item.
_TOP = "$."
#: Of `each`: the body itself is the list.
_BODY = "."
#: Digits of a place in a list.
_LONGEST_INDEX = 6
#: Messages in one callback.
_MOST_ITEMS = 500
_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
#: What Twilio reads as "no reply": anything but TwiML is its error 12300.
_TWIML = Reply(content_type="text/xml", body="<Response/>")
_SMS, _ASSIGNED = "sms.received", "number.assigned"


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a callback something stands: the name of a field, or names joined by dots.

    `data.sms.text` is the text in the object sms of the object data; `to.0` the first in a list. A
    field that is itself called so is meant before. `null`: it is not sent.
    """

    #: The id of what `subject` says: the order, the number. Without it there is no event.
    id: str = "id"
    #: The message's own id, if it has one that no other message of the same subject has: copies
    #: are then known by it alone. Unset: by subject, sender, time, text and code.
    message: str | None = None
    #: What the message says. Of text and code one must come.
    text: str | None = "text"
    #: The code in it; where none comes it is looked for in the text.
    code: str | None = "code"
    #: Who sent it: a number or a name.
    from_: str | None = msgspec.field(default="from", name="from")
    #: The number that it came to.
    to: str | None = "to"
    #: When: RFC 3339, `2026-11-21 19:05:09`, `2026-11-21 07:05:09pm`, or seconds or milliseconds
    #: since 1970.
    time: str | None = "time"
    #: What the number was taken for.
    service: str | None = "service"
    #: The number's country: its code in ISO 3166-1 (two letters) or its English name.
    country: str | None = "country"
    #: What it cost.
    price: str | None = "price"
    #: What the provider calls the kind of event, as `types` has it. Unset: all are `sms.received`.
    event: str | None = None

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            path = getattr(self, field.name)
            if path is not None and not _is_path(path):
                raise ValueError(f"{field.encode_name}: not a path; write text or data.sms.text")

    def all(self) -> Iterator[str]:
        found = (getattr(self, name) for name in self.__struct_fields__)
        return (path for path in found if path is not None)


def _is_path(path: str) -> bool:
    return len(path) <= _LONGEST_PATH and _PATH.fullmatch(path) is not None


def _not_too_many(items: list[object], path: str) -> list[object]:
    if len(items) > _MOST_ITEMS:
        raise Malformed("malformed", f"{path}: more than {_MOST_ITEMS} messages")
    return items


def _first_of_list(path: str | None) -> str | None:
    """`results.0.text` -> `results`, `0.text` -> `.`; None where no first of a list is named."""
    names = (path or "").split(".")
    if "0" not in names[:-1]:
        return None
    return ".".join(names[: names.index("0")]) or _BODY


def _is_top(path: str) -> bool:
    return path.startswith(_TOP)


class Generic(Source, tag="generic", frozen=True, kw_only=True):
    """Whatever sends an SMS by HTTP: say where its fields are, and how it proves itself.

    Worked examples are in [the generic provider](../providers-generic.md). Each of `hmac`,
    `standard`, `basic`, `header` and `twilio` that is set must hold, besides the token; else the
    answer is 404 and nothing is kept.
    """

    #: Where in a callback its fields are.
    fields: Paths = Paths()
    #: Where a list of messages is, such as `results`, if one callback brings several; `.` if the
    #: body is the list. `fields` are then paths in an item; `$.account` is one in the whole body.
    #: All messages are recorded together, or the callback waits in quarantine.
    each: str | None = None
    #: What the id at `fields.id` is the id of; the event's `subject` begins with it.
    subject: Literal["request", "activation", "rental", "telephone"] = "request"
    #: What the values at `fields.event` mean, such as `{"v2.sms.received": sms.received}`. Others
    #: are kept in quarantine.
    types: Mapping[str, Literal["sms.received", "number.assigned"]] = {}
    #: Whether `data` finds `Data`, too: for those that write it now so, now so.
    any_case: bool = False
    #: How callbacks come. With GET, the query of a GET is one; without, and where there is no
    #: query, a GET is answered that all is ready. A POST is taken whatever stands here.
    methods: tuple[Literal["POST", "GET"], ...] = ("POST",)
    #: Of times that are sent without an offset: an IANA name.
    timezone: str = "UTC"
    #: Where numbers without a `+` are at home, such as US. Unset: they begin with their country's
    #: code.
    region: str | None = None
    #: A hash of the body in a header.
    hmac: Hmac | None = None
    #: Secrets of Standard Webhooks: `whsec_` and base64. Several while they are rotated. Older or
    #: newer than five minutes is refused.
    standard: tuple[Secret, ...] = ()
    #: What the three headers of `standard` begin with. `svix` for `svix-id`, `svix-timestamp` and
    #: `svix-signature`.
    standard_prefix: str = "webhook"
    #: A name and a password, as browsers send them.
    basic: Basic | None = None
    #: A secret in a header of its own.
    header: HeaderSecret | None = None
    #: Twilio's signature. The answer is then an empty `<Response/>` as `text/xml`, unless `answer`
    #: says otherwise.
    twilio: Twilio | None = None

    encodings: ClassVar[frozenset[str]] = frozenset({"form", "multipart", "json"})
    paste_at: ClassVar[str] = "wherever the provider asks for a webhook or callback URL"
    kinds: ClassVar[tuple[str, ...]] = ("sms",)

    def __post_init__(self) -> None:
        zone(self.timezone)
        if self.region is not None and self.region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"region: {self.region!r} is no country; write US or GB")
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
        holds = (
            self.hmac is None or self.hmac.verifies(callback),
            not self.standard or standard(self.standard, callback, prefix=self.standard_prefix),
            self.basic is None or self.basic.verifies(callback),
            self.header is None or self.header.verifies(callback),
            self.twilio is None or self.twilio.verifies(callback, target),
        )
        return all(holds)

    @property
    def takes_lists(self) -> bool:
        return self.each == _BODY or any(path[0].isdecimal() for path in self._split_paths())

    def _split_paths(self) -> list[list[str]]:
        return [path.split(".") for path in self.fields.all()]

    @property
    def secret_headers(self) -> frozenset[str]:
        return frozenset() if self.header is None else frozenset({self.header.name.lower()})

    @property
    def default_answer(self) -> Reply | None:
        return None if self.twilio is None else _TWIML

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        find = _in_any_case if self.any_case else _exactly
        each = self.each
        if each is None:
            return self._first_and_others(fields, find, callback)
        # Once a callback, not once an item: a body of many items would cost its square.
        paths = set(self.fields.all())
        tops = {it: _at(fields, it.removeprefix(_TOP), find) for it in paths if _is_top(it)}
        inner = sorted(paths - tops.keys())
        found = []
        for item in self._items(each, fields, find):
            if not isinstance(item, dict):
                raise Malformed("malformed", f"{self.each}: an object is expected in each place")
            values = {path: _at(item, path, find) for path in inner}
            found.append(self._happening(FieldReader(tops | values), callback))
        if not found:
            raise Malformed("empty", f"{self.each}: no message in it")
        return found

    def _first_and_others(
        self, fields: Fields, find: "_Find", callback: Callback
    ) -> Sequence[Happening]:
        """The message at the paths, and those beside it where the paths name the first of a list.

        `results.0.text` without `each: results` must not lose the second message. What is no
        message there is a warning.
        """
        reading = FieldReader({path: _at(fields, path, find) for path in self.fields.all()})
        first = _first_of_list(self.fields.text) or _first_of_list(self.fields.code)
        items = _at(fields, first, find) if first is not None else None
        if first is None or not isinstance(items, list):
            return (self._happening(reading, callback),)
        others = []
        for item in _not_too_many(items, first)[1:]:
            try:
                others.append(self._beside(reading, first, item, find, callback))
            except Malformed:
                if first not in reading.warnings:
                    reading.warn(first)
        return (self._happening(reading, callback), *others)

    def _beside(
        self, reading: FieldReader, first: str, item: object, find: "_Find", callback: Callback
    ) -> Happening:
        if not isinstance(item, dict):
            raise Malformed("malformed", f"{first}: an object is expected in each place")
        begin = "0." if first == _BODY else f"{first}.0."
        inner = {
            path: path.removeprefix(begin) for path in self.fields.all() if path.startswith(begin)
        }
        values = {path: _at(item, below, find) for path, below in inner.items()}
        message = self.fields.message
        if message is not None and message not in inner:
            values[message] = None  # it is the first one's
        return self._happening(reading.replaced(values), callback)

    @staticmethod
    def _items(each: str, fields: Fields, find: "_Find") -> Sequence[object]:
        """Return the messages that `each` names."""
        items = fields.get(LIST, fields) if each == _BODY else _at(fields, each, find)
        if isinstance(items, dict) and all(map(str.isdecimal, items)):
            items = list(items.values())  # as PHP writes a list whose numbers have a gap
        if isinstance(items, dict):
            items = [items]  # as converters from XML write a list of one
        if not isinstance(items, list):
            raise Malformed("malformed", f"{each}: a list is expected")
        return _not_too_many(items, each)

    def _happening(self, reading: FieldReader, callback: Callback) -> Happening:
        type_ = self._type(reading)
        id_ = reading.id(self.fields.id, blanks=True)
        if id_ is None:
            expected = "a positive number or a short text is expected"
            raise Malformed("identity", f"{self.fields.id}: {expected}")
        happening = self._sms if type_ == _SMS else self._assigned
        return happening(id_, _Mapped(self.fields, reading), callback)

    def _type(self, reading: FieldReader) -> str:
        if self.fields.event is None:
            return _SMS
        type_ = self.types.get(reading.raw(self.fields.event))
        if type_ is None:
            raise Malformed("unknown_event", f"{self.fields.event}: none that `types` knows")
        return type_

    def _sms(self, id_: str, mapped: "_Mapped", callback: Callback) -> Happening:
        paths, reading = mapped
        code, text = read_code(mapped.text(paths.code), mapped.text(paths.text))
        if text is None and code is None:
            raise Malformed("malformed", f"{paths.text}, {paths.code}: neither was sent")
        message = mapped.id(paths.message)
        stated, when = self._stated(mapped, callback)
        subject = f"{self.subject}/{id_}"
        told = (mapped.raw(paths.from_), when.text, mapped.raw(paths.text), mapped.raw(paths.code))
        return Happening(
            subject=subject,
            time=stated.rfc3339(zone(self.timezone)) if stated else None,
            keys=_keys((_SMS, subject), message, told, when, callback),
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
                **self._ids(id_),
                **self.common(callback, reading, time_from=time_from(stated)),
            ),
        )

    def _ids(self, id_: str) -> dict[str, Any]:
        return {f"{self.subject}_id": id_}

    def _assigned(self, id_: str, mapped: "_Mapped", callback: Callback) -> Happening:
        paths, reading = mapped
        stated, _ = self._stated(mapped, callback)
        subject = f"{self.subject}/{id_}"
        return Happening(
            subject=subject,
            time=stated.rfc3339(zone(self.timezone)) if stated else None,
            keys=(Key(parts=(_ASSIGNED, subject)),),
            data=NumberAssigned(
                to=reading.number(paths.to, self.region) if paths.to else None,
                country=mapped.country(),
                service=service(mapped.text(paths.service)),
                price=reading.price(paths.price, self.currency) if paths.price else None,
                request_id=id_ if self.subject == "request" else None,
                **self.common(callback, reading, time_from=time_from(stated)),
            ),
        )

    def _stated(self, mapped: "_Mapped", callback: Callback) -> tuple[Stated | None, SentTime]:
        """The time if it makes sense, and as it stands in a key."""
        path = mapped.paths.time
        text = mapped.text(path)
        stated = any_written(text) if text is not None else None
        # Keys of times that the first versions did not read stay as they were.
        keyed = None if lost_its_plus(text or "") else stated
        when = sent(keyed, mapped.raw(path))
        if stated is not None and stated.makes_sense(zone(self.timezone), callback.received):
            return stated, when
        if text is not None and path is not None:
            mapped.reading.warn(path)
        return None, when

    @property
    def home(self) -> str | None:
        return self.region

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        if kind not in self.kinds:
            raise ValueError(f"kind: {kind!r} is not sms")
        values = {path: value for path, value in self._sample(number, now) if path is not None}
        if self.each is not None:
            return self._sample_of_each(values)
        fields = _nested(values) if encoding == "json" else values
        return encoded(fields, encoding, number=number)

    def _sample_of_each(self, values: Mapping[str, str]) -> Sample:
        """A list is JSON, whatever encoding was asked for."""
        tops = {path.removeprefix(_TOP): it for path, it in values.items() if _is_top(path)}
        item = _nested({path: it for path, it in values.items() if not _is_top(path)})
        if self.each == _BODY:
            body: object = [item]
        else:
            body = _nested({**tops, str(self.each): [item]})
        return Sample(content_type="application/json", body=msgspec.json.encode(body))

    def _sample(self, number: int, now: datetime) -> Iterator[tuple[str | None, str]]:
        """Path and value; the later ones count, where two have one path."""
        code, paths = code_of(number), self.fields
        yield paths.country, "US"
        yield paths.price, "1.25"
        yield paths.service, "Google"
        yield paths.time, f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        yield paths.to, f"+1850555{100 + number % 100:04d}"
        yield paths.from_, "22000"
        yield paths.code, code
        yield paths.text, f"G-{code} is your Google verification code."
        yield paths.message, str(90_001 + number)
        yield paths.id, str(10_000_001 + number)
        yield paths.event, next((name for name, of in self.types.items() if of == _SMS), "")


class _Mapped(NamedTuple):
    """What stands at the paths of one callback; where there is no path, nothing does."""

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


def _keys(
    what: tuple[str, str],
    message: str | None,
    told: tuple[str, ...],
    when: SentTime,
    callback: Callback,
) -> tuple[Key, ...]:
    """A message's own id tells it from others, whatever else a later copy says of it."""
    if message is not None:
        grows = int(message) % 2**32 if message.isascii() and message.isdecimal() else 0
        return (Key(second=grows, parts=(*what, "msg", message)),)
    return keys(*what, *told, second=when.second, otherwise=(), received=callback.received)


_Find = Callable[[object, str], object]


def _at(fields: Fields, path: str, find: _Find) -> object:
    """What stands there; None where nothing does. A field that is called so comes first."""
    if path in fields:
        return fields[path]
    value: object = fields.get(LIST, fields)
    for name in path.split("."):
        value = find(value, name)
    return value


def _exactly(value: object, name: str) -> object:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isascii() and name.isdecimal():
        return value[int(name)] if len(name) <= _LONGEST_INDEX and int(name) < len(value) else None
    return None


def _in_any_case(value: object, name: str) -> object:
    if not isinstance(value, dict) or name in value:
        return _exactly(value, name)
    wanted = name.casefold()
    return next((value[key] for key in value if key.casefold() == wanted), None)


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    """`{"data.text": "…"}` as `{"data": {"text": "…"}}`."""
    whole: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        inner = whole
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return whole
