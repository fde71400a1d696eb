"""TellABot: https://www.tellabot.com, "API", part "HTTP Callback"."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from core.canonical import canonical_code, canonical_text
from core.event import (
    NumberAssigned,
    RentalBilled,
    RentalRenewalFailed,
    RentalRenewed,
    Service,
    SmsReceived,
)

from ...callback import Callback, Fields, Happening, Key, Malformed, Sample
from ...fields.dedupe import SentTime, keys, sent, windows
from ...fields.numbers import as_written, digits
from ...fields.reader import FieldReader
from ...fields.services import named_service
from ...fields.text import links
from ...fields.times import FIRST, Stated, epoch, time_from, written
from ...polling.options import PollingApi
from ...polling.questions import Known, Poll, PollMemory
from ...samples import code_of, encoded
from ...source import Source
from .poll import poll

_US = "US"
#: "server's time zone is America/New_York"
_NEW_YORK = ZoneInfo("America/New_York")
#: The sender of the message log's entries that hold the price of a rental.
_BILLING = "Billing"
#: `date_time` says the same less exactly, and is asked only in the other's place.
_TIMES = (("timestamp", epoch), ("date_time", written))


class TellABot(Source, tag="tellabot", frozen=True, kw_only=True):
    """Its documentation does not name the encoding, so all three are taken. Nothing is signed."""

    country: ClassVar[str | None] = _US
    encodings: ClassVar[frozenset[str]] = frozenset({"form", "multipart", "json"})
    paste_at: ClassVar[str] = "Account > Profile, HTTP callback URL"
    polling_api: ClassVar[PollingApi | None] = PollingApi(
        api_url="https://www.tellabot.com/sims/api_command.php",
        every=300.0,
        # "Wait at least 15 seconds between `request_status` calls"; of the others it does not say.
        min_interval=15.0,
        reads=frozenset({"balance", "read_sms", "request_status"}),
        requires_user=True,
    )
    kinds: ClassVar[tuple[str, ...]] = (
        "sms",
        "rental-sms",
        "billing",
        "renewal",
        "renewal-failed",
        "assigned",
    )

    def __post_init__(self) -> None:
        if self.backfill is not None and not self.backfill.user:
            raise ValueError("backfill: user: TellABot wants the user name or email with the key")

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,  # noqa: ARG002 - two days, whatever is asked for
        now: datetime,
        memory: PollMemory | None = None,  # noqa: ARG002 - nothing is learned
    ) -> Poll:
        return poll(self, known, now=now)

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        reading = FieldReader(fields)
        match fields.get("event"), fields.get("status"):
            case "incoming_message", _:
                return (self._message(reading, callback),)
            case "ltr_renewal", "ok":
                return (self._renewed(reading, callback),)
            case "ltr_renewal", "error":
                return (self._renewal_failed(reading, callback),)
            # Its newer documentation says priority, the older one premium.
            case "premium_request" | "priority_request", "ok":
                return (self._assigned(reading, callback),)
        raise Malformed("unknown_event", "event, status: unknown or missing")

    def _message(self, reading: FieldReader, callback: Callback) -> Happening:
        billed = reading.raw("from") == _BILLING
        request, rental = reading.id("id"), reading.id("ltr_id")
        subject = _subject(request, rental, _number(reading, callback), billed=billed)
        code, text = reading.message("pin", "reply")
        if not billed and text is None and code is None:
            raise Malformed("malformed", "reply, pin: neither was sent")
        to, stated = reading.number("to", _US), _stated(reading, callback.received)
        type_ = RentalBilled if billed else SmsReceived
        return Happening(
            subject=subject,
            time=stated.rfc3339(_NEW_YORK) if stated else None,
            keys=_message_keys(reading, callback, to, subject),
            data=type_(
                to=to,
                from_=reading.sender("from", _US),
                country=_US,
                service=_service(reading),
                text=text,
                code=code,
                urls=links(text or ""),
                price=reading.price("price", self.currency),
                request_id=request,
                rental_id=rental,
                first_rental_id=reading.id("first_ltr_id"),
                **self.common(callback, reading, time_from=time_from(stated)),
            ),
        )

    def _renewed(self, reading: FieldReader, callback: Callback) -> Happening:
        rental, previous = _identity(reading, "new_ltr_id"), reading.id("previous_ltr_id")
        return Happening(
            subject=f"rental/{rental}",
            time=None,
            keys=(Key(parts=("renewal", "ok", reading.raw("previous_ltr_id"), rental)),),
            data=RentalRenewed(
                to=reading.number("mdn", _US),
                country=_US,
                service=_service(reading),
                price=reading.price("price", self.currency),
                rental_id=rental,
                previous_rental_id=previous,
                expires=_expires(reading),
                **self.common(callback, reading, time_from="received"),
            ),
        )

    def _renewal_failed(self, reading: FieldReader, callback: Callback) -> Happening:
        previous, reason = _identity(reading, "previous_ltr_id"), reading.text("message")
        # "Low balance" again tomorrow is news; again in ten minutes it is a retry.
        parts = ("renewal", "error", previous, reading.raw("message"))
        return Happening(
            subject=f"rental/{previous}",
            time=None,
            keys=windows(parts, callback.received),
            data=RentalRenewalFailed(
                to=reading.number("mdn", _US),
                country=_US,
                service=_service(reading),
                previous_rental_id=previous,
                reason=reason,
                **self.common(callback, reading, time_from="received"),
            ),
        )

    def _assigned(self, reading: FieldReader, callback: Callback) -> Happening:
        request = _identity(reading, "id")
        return Happening(
            subject=f"request/{request}",
            time=None,
            keys=(Key(parts=("bid", request)),),
            data=NumberAssigned(
                to=reading.number("mdn", _US),
                country=_US,
                service=_service(reading),
                price=reading.price("price", self.currency),
                request_id=request,
                **self.common(callback, reading, time_from="received"),
            ),
        )

    def service(self, id_: str | None) -> Service | None:
        return named_service(id_)

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        return encoded(_SAMPLES[kind](number, now), encoding, number=number)


def _identity(reading: FieldReader, name: str) -> str:
    identity = reading.id(name)
    if identity is None:
        raise Malformed("identity", f"{name}: a positive number or a short text is expected")
    return identity


def _number(reading: FieldReader, callback: Callback) -> str | None:
    """Of a polled message whose order is known by its number alone."""
    return reading.text("number") if callback.channel == "poll" else None


def _subject(
    request: str | None, rental: str | None, number: str | None = None, *, billed: bool
) -> str:
    if rental is not None and (billed or request is None):
        return f"rental/{rental}"
    if request is not None:
        return f"request/{request}"
    if number is not None:
        return f"number/{number}"
    raise Malformed("identity", "id, ltr_id: a positive number or a short text is expected")


def _stated(reading: FieldReader, received: datetime) -> Stated | None:
    for name, read in _TIMES:
        text = reading.text(name)
        stated = read(text) if text is not None else None
        if stated is not None and stated.makes_sense(_NEW_YORK, received):
            return stated
        if text is not None:
            reading.warn(name)
    return None


def _sent(reading: FieldReader) -> SentTime:
    """The first time that can stand in a key, else what stood in the first field."""
    untimed = None
    for name, read in _TIMES:
        raw = reading.raw(name)
        if not raw:
            continue
        one = sent(read(raw), raw)
        if one.second is not None:
            return one
        untimed = untimed or one
    return untimed or SentTime(second=None, text="")


def _message_keys(
    reading: FieldReader, callback: Callback, to: str | None, subject: str
) -> tuple[Key, ...]:
    """Service, pin and price may be corrected later, and polled rows do not say the request.

    Where no text was sent the pin stands in its place. Without a time the request is needed to
    tell two messages of one text apart. The first keys are those that journals of 0.1 have: a
    billing entry's had its subject, which a poll may name otherwise than its callback did.
    """
    billed = reading.raw("from") == _BILLING
    when = _sent(reading)
    text, pin = reading.raw("reply"), reading.raw("pin")

    def make(number: str, words: str, *more: str) -> tuple[Key, ...]:
        return keys(
            *("billing" if billed else "sms", number, reading.raw("from"), when.text, words),
            *more,
            second=when.second,
            otherwise=() if billed else (subject,),
            received=callback.received,
        )

    written = as_written(reading.raw("to"), _US)
    named = (subject,) if billed else ()
    first = make(digits(written) if written else reading.raw("to"), text or pin, *named)
    words = canonical_text(text) if text else canonical_code(pin)
    number = digits(to) if to else reading.raw("to").strip()
    plain = make(number, words, *(named if when.second is None else ()))
    return (*first, *(key for key in plain if key not in first))


def _service(reading: FieldReader) -> Service | None:
    """Services are sent by name."""
    return named_service(reading.text("service"))


def _expires(reading: FieldReader) -> str | None:
    text = reading.text("expires")
    if text is None:
        return None
    stated = written(text)
    if stated is None or stated.instant(_NEW_YORK) < FIRST:
        reading.warn("expires")
        return None
    return stated.rfc3339(_NEW_YORK)


# -- samples --------------------------------------------------------------------------------------

_Sent = Mapping[str, Any]


def _mdn(number: int) -> str:
    """555-0100 to 555-0199 belong to nobody."""
    return f"1850555{100 + number % 100:04d}"


def _sample_sms(number: int, now: datetime) -> _Sent:
    code = code_of(number)
    return {
        "event": "incoming_message",
        "id": str(10_000_001 + number),
        "timestamp": str(int(now.timestamp())),
        "date_time": f"{now.astimezone(_NEW_YORK):%Y-%m-%d %H:%M:%S %Z}",
        "from": "22000",
        "to": _mdn(number),
        "service": "Google",
        "reply": f"G-{code} is your Google verification code.",
        "pin": f"G-{code}",
        "price": 1.25,
    }


def _sample_rental_sms(number: int, now: datetime) -> _Sent:
    fields = dict(_sample_sms(number, now))
    del fields["id"]
    return fields | {"ltr_id": str(2_000_001 + number), "first_ltr_id": "2000001"}


def _sample_billing(number: int, now: datetime) -> _Sent:
    fields = dict(_sample_rental_sms(number, now))
    del fields["pin"]
    return fields | {
        "from": _BILLING,
        "reply": f"Subscription, period {number % 1000}",
        "price": 9.75,
    }


def _sample_renewal(number: int, now: datetime) -> _Sent:
    return {
        "event": "ltr_renewal",
        "status": "ok",
        "new_ltr_id": str(2_000_002 + number),
        "previous_ltr_id": str(2_000_001 + number),
        "mdn": _mdn(number),
        "service": "Google",
        "price": 9.75,
        "expires": f"{now.replace(year=now.year + 1, day=1):%Y-%m-%d} 23:59:59",
    }


def _sample_renewal_failed(number: int, _now: datetime) -> _Sent:
    return {
        "event": "ltr_renewal",
        "status": "error",
        "message": "Low balance",
        "previous_ltr_id": str(2_000_001 + number),
        "mdn": _mdn(number),
        "service": "Google",
    }


def _sample_assigned(number: int, _now: datetime) -> _Sent:
    return {
        "event": "priority_request",
        "status": "ok",
        "id": str(10_000_001 + number),
        "mdn": _mdn(number),
        "service": "Amazon",
        "price": 0.75,
    }


_SAMPLES = {
    "sms": _sample_sms,
    "rental-sms": _sample_rental_sms,
    "billing": _sample_billing,
    "renewal": _sample_renewal,
    "renewal-failed": _sample_renewal_failed,
    "assigned": _sample_assigned,
}
