"""TellABot: https://www.tellabot.com, "API", part "HTTP Callback"."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from core.canonical import canonical_code, canonical_text
from core.event import (
    Data,
    NumberAssigned,
    RentalBilled,
    RentalRenewalFailed,
    RentalRenewed,
    Service,
    SmsReceived,
)

from ...callback import Callback, Fields, Happening, Key, Malformed, Sample
from ...fields.dedupe import SentTime, make_keys, make_windows, read_sent_time
from ...fields.numbers import as_written
from ...fields.reader import FieldReader
from ...fields.services import named_service
from ...fields.text import links
from ...fields.times import FIRST, NEW_YORK, ProviderTime, epoch, read_time, time_from
from ...polling.options import PollingApi
from ...polling.questions import Known, Poll, PollMemory
from ...samples import encode_sample
from ...source import Source
from .poll import poll
from .samples import SAMPLES

_US = "US"
#: The sender of the message log's entries that hold the price of a rental.
_BILLING = "Billing"
#: `date_time` is less exact, and is only read if `timestamp` is missing or implausible.
_TIMES = (("timestamp", epoch), ("date_time", read_time))


class TellABot(Source, tag="tellabot", frozen=True, kw_only=True):
    """The documentation names no encoding, so all three are accepted. Nothing is signed."""

    country: ClassVar[str | None] = _US
    encodings: ClassVar[frozenset[str]] = frozenset({"form", "multipart", "json"})
    paste_at: ClassVar[str] = "Account > Profile, HTTP callback URL"
    polling_api: ClassVar[PollingApi | None] = PollingApi(
        api_url="https://www.tellabot.com/sims/api_command.php",
        every=300.0,
        # "Wait at least 15 seconds between `request_status` calls". Others have no limit.
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
        since: datetime,  # noqa: ARG002 - the API always returns two days
        now: datetime,
        memory: PollMemory | None = None,  # noqa: ARG002 - nothing to remember
    ) -> Poll:
        return poll(self, known, now=now)

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        reading = FieldReader(fields)
        keys: tuple[Key, ...]
        data: Data
        match fields.get("event"), fields.get("status"):
            case "incoming_message", _:
                return (self._message(reading, callback),)
            case "ltr_renewal", "ok":
                rental = _required_id(reading, "new_ltr_id")
                previous, order = reading.id("previous_ltr_id"), _order(reading)
                price, written = reading.price("price", self.currency), reading.text("expires")
                expires = read_time(written) if written is not None else None
                if written is not None and (expires is None or expires.instant(NEW_YORK) < FIRST):
                    reading.warn("expires")
                    expires = None
                subject = f"rental/{rental}"
                keys = (Key(parts=("renewal", "ok", reading.raw("previous_ltr_id"), rental)),)
                data = RentalRenewed(
                    price=price,
                    rental_id=rental,
                    previous_rental_id=previous,
                    expires=expires.rfc3339(NEW_YORK) if expires else None,
                    **order,
                    **self.common(callback, reading, time_from="received"),
                )
            case "ltr_renewal", "error":
                rental, reason = _required_id(reading, "previous_ltr_id"), reading.text("message")
                subject = f"rental/{rental}"
                # "Low balance" again tomorrow is another event; in ten minutes it is a retry.
                parts = ("renewal", "error", rental, reading.raw("message"))
                keys = make_windows(parts, callback.received)
                data = RentalRenewalFailed(
                    previous_rental_id=rental,
                    reason=reason,
                    **_order(reading),
                    **self.common(callback, reading, time_from="received"),
                )
            # The newer documentation says `priority`, the older one `premium`.
            case "premium_request" | "priority_request", "ok":
                request = _required_id(reading, "id")
                subject, keys = f"request/{request}", (Key(parts=("bid", request)),)
                data = NumberAssigned(
                    **_order(reading),
                    price=reading.price("price", self.currency),
                    request_id=request,
                    **self.common(callback, reading, time_from="received"),
                )
            case _:
                raise Malformed("unknown_event", "event, status: unknown or missing")
        return (Happening(subject=subject, time=None, keys=keys, data=data),)

    def _message(self, reading: FieldReader, callback: Callback) -> Happening:
        billed = reading.raw("from") == _BILLING
        request, rental = reading.id("id"), reading.id("ltr_id")
        # A polled message may belong to an order that is known by its number alone.
        number = reading.text("number") if callback.channel == "poll" else None
        if rental is not None and (billed or request is None):
            subject = f"rental/{rental}"
        elif request is not None:
            subject = f"request/{request}"
        elif number is not None:
            subject = f"number/{number}"
        else:
            expected = "a positive number or a short text is expected"
            raise Malformed("identity", f"id, ltr_id: {expected}")
        code, text = reading.message("pin", "reply")
        if not billed and text is None and code is None:
            raise Malformed("malformed", "reply, pin: neither was sent")
        to = reading.number("to", _US)
        time, when = _read_time(reading, callback.received)
        type_ = RentalBilled if billed else SmsReceived
        return Happening(
            subject=subject,
            time=time.rfc3339(NEW_YORK) if time else None,
            keys=_message_keys(reading, callback, to, when, subject, billed=billed),
            data=type_(
                to=to,
                from_=reading.sender("from", _US),
                country=_US,
                service=named_service(reading.text("service")),
                text=text,
                code=code,
                urls=links(text or ""),
                price=reading.price("price", self.currency),
                request_id=request,
                rental_id=rental,
                first_rental_id=reading.id("first_ltr_id"),
                **self.common(callback, reading, time_from=time_from(time)),
            ),
        )

    def service(self, id_: str | None) -> Service | None:
        return named_service(id_)

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        return encode_sample(SAMPLES[kind](number, now), encoding, number=number)


def _required_id(reading: FieldReader, name: str) -> str:
    identity = reading.id(name)
    if identity is None:
        raise Malformed("identity", f"{name}: a positive number or a short text is expected")
    return identity


def _order(reading: FieldReader) -> dict[str, Any]:
    """Return the fields that all events about an order itself have."""
    return {
        "to": reading.number("mdn", _US),
        "country": _US,
        "service": named_service(reading.text("service")),
    }


def _read_time(reading: FieldReader, received: datetime) -> tuple[ProviderTime | None, SentTime]:
    """Return the first plausible time, and the first time for a key.

    If no time can be in a key, the text of the first field is.
    """
    sent = SentTime(None, "")
    for name, read in _TIMES:
        text = reading.text(name)
        if text is None:
            continue
        time = read(text)
        if sent.second is None:
            one = read_sent_time(time, text)
            sent = one if one.second is not None or not sent.text else sent
        if time is not None and time.is_plausible(NEW_YORK, received):
            return time, sent
        reading.warn(name)
    return None, sent


def _message_keys(
    reading: FieldReader,
    callback: Callback,
    to: str | None,
    when: SentTime,
    subject: str,
    *,
    billed: bool,
) -> tuple[Key, ...]:
    """Return the keys of a message without service and price, which may be corrected later.

    Polled rows have no request, so a key has it only if there is no time to distinguish two
    messages with one text. Without a text, the pin replaces it. The first keys are those in
    journals of 0.1: the key of a billing entry had its subject, which may differ in a poll.
    """
    text, pin, sent_to = reading.raw("reply"), reading.raw("pin"), reading.raw("to")
    kind, sender = "billing" if billed else "sms", reading.raw("from")
    to_as_written = as_written(sent_to, _US) if sent_to[:1] == " " else to
    as_sent = to_as_written.removeprefix("+") if to_as_written else sent_to
    named = (subject,) if billed else ()
    first = (kind, as_sent, sender, when.text, text or pin, *named)
    words = canonical_text(text) if text else canonical_code(pin)
    number = to.removeprefix("+") if to else sent_to.strip()
    plain = (kind, number, sender, when.text, words, *(named if when.second is None else ()))
    otherwise = () if billed else (subject,)
    keys = make_keys(first, when.second, otherwise, callback.received)
    if plain == first:
        return keys
    more = make_keys(plain, when.second, otherwise, callback.received)
    return (*keys, *(key for key in more if key not in keys))
