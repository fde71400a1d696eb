"""Events, as CloudEvents 1.0 has them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """The service that a number was taken for. Null where the provider does not say it."""

    #: As the provider sent it: `go`, `Google`.
    id: str
    #: The name in the provider's own table, or as sent where the provider sends names.
    name: str | None
    #: One word across providers, for conditions: `google`.
    key: str | None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A price. Null where the provider does not say it."""

    #: The digits as sent: `1.20`.
    amount: str
    #: The account's currency, where the configuration says it.
    currency: str | None


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that every type of event has."""

    #: The event's `type`; one subclass a type.
    type: ClassVar[str]

    #: The `provider` of the source. Null in events of the service itself.
    provider: str | None
    #: `callback`, `poll` for an event that a backfill found, or `service` for one that smshook
    #: itself made.
    channel: str
    #: The `labels` of the source, as configured then; an order's labels override them.
    labels: Mapping[str, str]
    #: The `reference` of the order that this belongs to. Null without such an order.
    reference: str | None = None
    #: True for a test event: from `smshook send`, from `smshook simulate` or from a sink test.
    sample: bool
    #: The origin of `time`: `provider` (sent with its zone, or as seconds since 1970),
    #: `timezone` (sent without a zone: the zone of the source or of its provider was used) or
    #: `received` (no plausible time was sent: `time` is `recordedtime`).
    time_from: str
    #: The provider's names of fields that were invalid and became null.
    warnings: tuple[str, ...] = ()


class SmsReceived(Data, frozen=True, kw_only=True):
    """An SMS was received."""

    type: ClassVar[str] = "sms.received"

    #: The number that received it, in E.164: `+18503814729`.
    to: str | None = None
    #: The sender: E.164 for a number, otherwise as sent (short codes, names).
    from_: str | None = msgspec.field(default=None, name="from")
    #: The number's country, ISO 3166-1 alpha-2: `US`.
    country: str | None = None
    #: The service that the number was taken for.
    service: Service | None = None
    #: As sent. Masked for keys without `codes:read`, and for sinks that redact.
    text: str | None = None
    #: As sent, such as `G-804036`; if none was sent, as found in the text. Masked like the text.
    code: str | None = None
    #: Links in the text. Masked like the text; null only where it was erased.
    urls: tuple[str, ...] | None = ()
    #: The price.
    price: Price | None = None
    #: The provider's id of the request for the number, or of its check for SMS.
    request_id: str | None = None
    #: The provider's id of the activation.
    activation_id: str | None = None
    #: The provider's id of the rental.
    rental_id: str | None = None
    #: The rental's first id, before it was renewed.
    first_rental_id: str | None = None
    #: The provider's id of the telephone, which stays when its number is changed.
    telephone_id: str | None = None
    #: The provider's id of this message, where it has one.
    message_id: str | None = None


class CallReceived(SmsReceived, frozen=True, kw_only=True):
    """A call was received: `text` is its transcript. Its fields are those of `sms.received`."""

    type: ClassVar[str] = "call.received"


class RentalBilled(SmsReceived, frozen=True, kw_only=True):
    """A rental was billed. Its fields are those of `sms.received`."""

    type: ClassVar[str] = "rental.billed"


class RentalRenewed(Data, frozen=True, kw_only=True):
    """A rental was renewed."""

    type: ClassVar[str] = "rental.renewed"

    #: The rented number, in E.164.
    to: str | None = None
    #: The number's country, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The service that the number was rented for.
    service: Service | None = None
    #: The price of the renewal.
    price: Price | None = None
    #: The rental's new id.
    rental_id: str | None = None
    #: The rental's former id.
    previous_rental_id: str | None = None
    #: When it ends: RFC 3339, UTC.
    expires: str | None = None


class RentalRenewalFailed(Data, frozen=True, kw_only=True):
    """A rental could not be renewed."""

    type: ClassVar[str] = "rental.renewal_failed"

    #: The rented number, in E.164.
    to: str | None = None
    #: The number's country, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The service that the number was rented for.
    service: Service | None = None
    #: The rental's id.
    previous_rental_id: str | None = None
    #: Why, in the provider's words.
    reason: str | None = None


class NumberAssigned(Data, frozen=True, kw_only=True):
    """A request was given its number."""

    type: ClassVar[str] = "number.assigned"

    #: The number, in E.164.
    to: str | None = None
    #: The number's country, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The service that the number was taken for.
    service: Service | None = None
    #: The price of the number.
    price: Price | None = None
    #: The provider's id of the request.
    request_id: str | None = None


class NumberChanged(Data, frozen=True, kw_only=True):
    """A telephone was given another number."""

    type: ClassVar[str] = "number.changed"

    #: The new number, in E.164.
    to: str | None = None
    #: The former number, in E.164.
    previous_to: str | None = None
    #: The number's country, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The provider's id of the telephone, which stays; null where it is no longer listed.
    telephone_id: str | None = None


class OrderExpired(Data, frozen=True, kw_only=True):
    """An order ended without an SMS."""

    type: ClassVar[str] = "order.expired"

    #: The number that was taken, in E.164.
    to: str | None = None
    #: The number's country, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The service that the number was taken for.
    service: Service | None = None
    #: The provider's id of the request.
    request_id: str | None = None
    #: The provider's id of the activation.
    activation_id: str | None = None
    #: The provider's id of the rental.
    rental_id: str | None = None
    #: Why it ended: `expired` (its time was up), or as the provider says: `cancelled`,
    #: `finished`, `rejected`, `revoked`, `failed`, `expired`.
    reason: str


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of money."""

    #: Decimal digits as sent: `4.20`.
    amount: str
    #: ISO 4217; null where neither the provider nor the configuration says it.
    currency: str | None


class AccountLow(Data, frozen=True, kw_only=True):
    """The balance of a source's account fell below its `low_balance`."""

    type: ClassVar[str] = "account.low"

    #: The balance now.
    balance: Money
    #: The source's `low_balance`, as configured.
    threshold: str


class AuditCheckpoint(Data, frozen=True, kw_only=True):
    """A signed state of the audit log. Whoever keeps it can later show that the log was changed."""

    type: ClassVar[str] = "system.audit_checkpoint"

    #: `info`.
    severity: str = "info"
    #: `once`: nothing ends it.
    state: str = "once"
    #: One line for people.
    summary: str
    #: The name of the anchor in `audit.anchors`.
    anchor: str
    #: How many lines the log has.
    size: int
    #: The checkpoint with its signatures, as a note: c2sp.org/tlog-checkpoint.
    note: str


class AuditRefused(Data, frozen=True, kw_only=True):
    """A witness refused the audit log: it has seen a log that this one does not continue."""

    type: ClassVar[str] = "system.audit_refused"

    #: `critical`.
    severity: str = "critical"
    #: `once`: nothing ends it.
    state: str = "once"
    #: One line for people.
    summary: str
    #: The name of the witness in `audit.witnesses`.
    anchor: str
    #: How many lines the refused log has.
    size: int


def kinds(base: type[Data] = Data) -> tuple[type[Data], ...]:
    """Return the class of each type of event, in the order of their definition."""
    return tuple(kind for child in base.__subclasses__() for kind in (child, *kinds(child)))


#: The fields of ids that a subject repeats: `request/10000001` is request_id 10000001.
SUBJECTS: Mapping[str, str] = {
    "request": "request_id",
    "activation": "activation_id",
    "rental": "rental_id",
    "telephone": "telephone_id",
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. It is sent as it was stored.

    Attributes are those of CloudEvents 1.0; `recordedtime`, `dedupekey` and `erasedtime` are
    extensions.
    """

    #: The version of CloudEvents: `1.0`.
    specversion: str = "1.0"
    #: UUIDv7, the same on every attempt and replay. Compare it to recognize an event that you
    #: already have.
    id: str
    #: The configured source's name.
    source: str
    #: The type of event: `sms.received`. It determines the fields of `data`.
    type: str
    #: The thing it happened to, as kind and id: `request/10000001`, `activation/…`, `rental/…`,
    #: `telephone/…`, `number/…` or `account/…`; `audit` or `anchor/…` for smshook itself. Null
    #: where it was a number that was erased.
    subject: str
    #: When it happened, by the provider's clock: RFC 3339, UTC, fractions as sent.
    time: str
    #: When smshook accepted it: RFC 3339, UTC, microseconds.
    recordedtime: str
    #: Opaque. Two callbacks of one source with the same key are one event.
    dedupekey: str
    #: The media type of `data`: `application/json`.
    datacontenttype: str = "application/json"
    #: When content of the event was erased: RFC 3339, UTC. The erased fields are null: texts, codes
    #: and links, or numbers. Missing: nothing was erased.
    erasedtime: str | msgspec.UnsetType = msgspec.UNSET
    #: The details; their fields depend on the type.
    data: Data


#: Each encoded event with a code contains this. Inside a text, the quotes would be escaped.
_CODE = b'"code":"'


def has_code(body: bytes) -> bool:
    """Return whether an encoded event has a code."""
    return _CODE in body


class _Secrets(msgspec.Struct):
    """The fields of `data` that only `codes:read` may see: see `core.erasure.CODES`."""

    text: str | None = None
    code: str | None = None
    urls: Sequence[str] | None = None


class _Named(msgspec.Struct):
    id: str
    data: _Secrets


_decode = msgspec.json.Decoder(_Named).decode
_SECRETS = _Secrets.__struct_fields__


def id_of(body: bytes) -> str:
    """Return the id of an encoded event."""
    return _decode(body).id


def secrets_of(body: bytes) -> tuple[str, ...]:
    """Return the names of those fields of an encoded event that are not empty."""
    data = _decode(body).data
    return tuple([name for name in _SECRETS if getattr(data, name)])


def content_of(body: bytes) -> Sequence[str]:
    """Return the values of those fields, links one by one."""
    data = _decode(body).data
    return [one for one in (data.code, data.text, *(data.urls or ())) if one]
