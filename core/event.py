"""What we keep: events, in the words of CloudEvents 1.0, and what they are owed."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the number was taken for. Null as a whole where it was not said."""

    #: As the provider sent it: `go`, `Google`.
    id: str
    #: As the provider's own table calls it, or as sent where it sends names.
    name: str | None
    #: One word across providers, for conditions: `google`.
    key: str | None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What it cost. Null as a whole where it was not said."""

    #: The digits as sent: `1.20`.
    amount: str
    #: What the account is kept in, where the configuration says so.
    currency: str | None


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What every type of event says."""

    #: The event's `type`; one subclass a type.
    type: ClassVar[str]

    #: Whose words they were: the `provider` of the source.
    provider: str
    #: `callback`, or `poll` for what a backfill brought.
    channel: str
    #: The `labels` of the source, as they were configured then; an order's own go over them.
    labels: Mapping[str, str]
    #: What a downstream service calls the order that this belongs to. Null without such an order.
    reference: str | None = None
    #: Sent by `smshook send`, proven by its signature.
    sample: bool
    #: Who says what `time` is: `provider` (sent with its zone, or as seconds since 1970),
    #: `timezone` (sent without one: the source's `timezone` was used, New York's for TellABot) or
    #: `received` (none that makes sense was sent: `time` is `recordedtime`).
    time_from: str
    #: The provider's names of fields that made no sense and became null.
    warnings: tuple[str, ...] = ()


class SmsReceived(Data, frozen=True, kw_only=True):
    """An SMS came."""

    type: ClassVar[str] = "sms.received"

    #: The number that it came to, in E.164: `+18503814729`.
    to: str | None = None
    #: Who sent it: E.164 where it is a number, else as sent (short codes, names).
    from_: str | None = msgspec.field(default=None, name="from")
    #: Of the number, ISO 3166-1 alpha-2: `US`.
    country: str | None = None
    #: What the number was taken for.
    service: Service | None = None
    #: As sent. Masked for keys without `codes:read`, and for sinks that redact.
    text: str | None = None
    #: As sent, also `G-804036`; where none was sent, as found in the text. Masked as the text is.
    code: str | None = None
    #: http and https links in the text. Masked as the text is.
    urls: tuple[str, ...] = ()
    #: What it cost.
    price: Price | None = None
    #: TellABot's id of the request that the number was taken with; SMSPins' of its check for SMS.
    request_id: str | None = None
    #: The SMS-Activate dialect's id of the activation.
    activation_id: str | None = None
    #: The provider's id of the rental.
    rental_id: str | None = None
    #: The id that this rental began with, before it was renewed.
    first_rental_id: str | None = None
    #: SMSPins' id of the number itself, which stays when the number is changed.
    telephone_id: str | None = None
    #: The provider's id of this message, where it has one.
    message_id: str | None = None


class CallReceived(SmsReceived, frozen=True, kw_only=True):
    """A call came, and was read out: `text` is its transcript. Its fields are those of an SMS."""

    type: ClassVar[str] = "call.received"


class RentalBilled(SmsReceived, frozen=True, kw_only=True):
    """TellABot's log entry from the sender `Billing`. Its fields are those of `sms.received`."""

    type: ClassVar[str] = "rental.billed"


class RentalRenewed(Data, frozen=True, kw_only=True):
    """A rental was renewed."""

    type: ClassVar[str] = "rental.renewed"

    #: The rented number, in E.164.
    to: str | None = None
    #: Of the number, ISO 3166-1 alpha-2.
    country: str | None = None
    #: What the number was rented for.
    service: Service | None = None
    #: What the renewal cost.
    price: Price | None = None
    #: The rental's id from now on.
    rental_id: str | None = None
    #: Its id until now.
    previous_rental_id: str | None = None
    #: When it ends: RFC 3339, UTC.
    expires: str | None = None


class RentalRenewalFailed(Data, frozen=True, kw_only=True):
    """A rental could not be renewed."""

    type: ClassVar[str] = "rental.renewal_failed"

    #: The rented number, in E.164.
    to: str | None = None
    #: Of the number, ISO 3166-1 alpha-2.
    country: str | None = None
    #: What the number was rented for.
    service: Service | None = None
    #: The rental's id.
    previous_rental_id: str | None = None
    #: Why, in the provider's words.
    reason: str | None = None


class NumberAssigned(Data, frozen=True, kw_only=True):
    """A request got its number."""

    type: ClassVar[str] = "number.assigned"

    #: The number, in E.164.
    to: str | None = None
    #: Of the number, ISO 3166-1 alpha-2.
    country: str | None = None
    #: What the number was taken for.
    service: Service | None = None
    #: What the number costs.
    price: Price | None = None
    #: TellABot's id of the request.
    request_id: str | None = None


class NumberChanged(Data, frozen=True, kw_only=True):
    """A number that is kept was exchanged for another."""

    type: ClassVar[str] = "number.changed"

    #: The new number, in E.164.
    to: str | None = None
    #: The number until then, in E.164.
    previous_to: str | None = None
    #: Of the number, ISO 3166-1 alpha-2.
    country: str | None = None
    #: The provider's id of the number itself, which stays; null where it is not listed any more.
    telephone_id: str | None = None


class OrderExpired(Data, frozen=True, kw_only=True):
    """An order ended, and no SMS had come."""

    type: ClassVar[str] = "order.expired"

    #: The number that was taken, in E.164.
    to: str | None = None
    #: Of the number, ISO 3166-1 alpha-2.
    country: str | None = None
    #: What the number was taken for.
    service: Service | None = None
    #: TellABot's id of the request.
    request_id: str | None = None
    #: The SMS-Activate dialect's id of the activation.
    activation_id: str | None = None
    #: The provider's id of the rental.
    rental_id: str | None = None
    #: Why it ended: `expired` (its time was up), or the provider's word: `cancelled`, `finished`,
    #: `rejected`, `revoked`, `failed`, `expired`.
    reason: str


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of money."""

    #: Decimal digits as sent: `4.20`.
    amount: str
    #: ISO 4217. Null: neither the provider nor the configuration says it.
    currency: str | None


class AccountLow(Data, frozen=True, kw_only=True):
    """The balance of a source's account fell below its `low_balance`."""

    type: ClassVar[str] = "account.low"

    #: What is left.
    balance: Money
    #: The source's `low_balance`, as configured.
    threshold: str


#: The kinds of subjects that an event's ids also name: `request/10000001` is request_id 10000001.
SUBJECTS: Mapping[str, str] = {
    "request": "request_id",
    "activation": "activation_id",
    "rental": "rental_id",
    "telephone": "telephone_id",
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, in our words. Leaves as it was kept.

    Attributes are CloudEvents 1.0's, `recordedtime` and `dedupekey` its extensions.
    """

    #: Of CloudEvents: `1.0`.
    specversion: str = "1.0"
    #: UUIDv7, made here; the same on every attempt and replay. Compare it to notice what you have
    #: already got.
    id: str
    #: The configured source's name.
    source: str
    #: What happened: `sms.received`. It says which fields `data` has.
    type: str
    #: What it happened to, a kind and its id: `request/10000001`, `activation/…`, `rental/…`.
    subject: str
    #: When it happened, says the provider: RFC 3339, UTC, fractions as sent.
    time: str
    #: When it was accepted here: RFC 3339, UTC, microseconds.
    recordedtime: str
    #: Opaque. Two callbacks of one source with one key are one event.
    dedupekey: str
    #: Of `data`: `application/json`.
    datacontenttype: str = "application/json"
    #: What is said of it; its fields are those of the type.
    data: Data
