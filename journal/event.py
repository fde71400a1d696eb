"""What we keep: events, in the words of CloudEvents 1.0, and what they are owed."""

import enum
from collections.abc import Mapping
from typing import ClassVar

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the number was taken for."""

    #: As the provider sent it: `go`, `Google`.
    id: str
    #: From the provider's table, or as sent where it sends names.
    name: str | None
    #: One slug across providers: `google`.
    key: str | None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    #: The digits as sent: `1.20`.
    amount: str
    #: What the account is kept in, where the configuration says so.
    currency: str | None


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What every type of event says. Null where it was not said."""

    #: The event's `type`; one subclass a type.
    type: ClassVar[str]

    provider: str
    #: `callback`, or `poll` for what a backfill brought.
    channel: str
    labels: Mapping[str, str]
    reference: str | None = None
    #: Sent by `smshook send`, proven by its signature.
    sample: bool
    #: `provider`, `timezone` or `received`: who says what `time` is.
    time_from: str
    #: The provider's names of fields that made no sense and became null.
    warnings: tuple[str, ...] = ()


class SmsReceived(Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "sms.received"

    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    #: ISO 3166-1 alpha-2.
    country: str | None = None
    service: Service | None = None
    text: str | None = None
    code: str | None = None
    urls: tuple[str, ...] = ()
    price: Price | None = None
    request_id: str | None = None
    activation_id: str | None = None
    rental_id: str | None = None
    first_rental_id: str | None = None
    telephone_id: str | None = None
    message_id: str | None = None


class RentalBilled(SmsReceived, frozen=True, kw_only=True):
    """TellABot's log entry from the sender `Billing`."""

    type: ClassVar[str] = "rental.billed"


class RentalRenewed(Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "rental.renewed"

    to: str | None = None
    country: str | None = None
    service: Service | None = None
    price: Price | None = None
    rental_id: str | None = None
    previous_rental_id: str | None = None
    #: RFC 3339, UTC.
    expires: str | None = None


class RentalRenewalFailed(Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "rental.renewal_failed"

    to: str | None = None
    country: str | None = None
    service: Service | None = None
    previous_rental_id: str | None = None
    reason: str | None = None


class NumberAssigned(Data, frozen=True, kw_only=True):
    type: ClassVar[str] = "number.assigned"

    to: str | None = None
    country: str | None = None
    service: Service | None = None
    price: Price | None = None
    request_id: str | None = None


#: The kinds of subjects that an event's ids also name: `request/10000001` is request_id 10000001.
SUBJECTS: Mapping[str, str] = {
    "request": "request_id",
    "activation": "activation_id",
    "rental": "rental_id",
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, in our words. Leaves as it was kept.

    Attributes are CloudEvents 1.0's, `recordedtime` and `dedupekey` its extensions.
    """

    specversion: str = "1.0"
    #: UUIDv7, made here; the same on every attempt and replay.
    id: str
    #: The configured source's name.
    source: str
    type: str
    #: What it happened to: `request/10000001`.
    subject: str
    #: When it happened, says the provider: RFC 3339, UTC, fractions as sent.
    time: str
    #: When it was accepted here: RFC 3339, UTC, microseconds.
    recordedtime: str
    #: Opaque. Two callbacks of one source with one key are one event.
    dedupekey: str
    datacontenttype: str = "application/json"
    data: Data


class State(enum.StrEnum):
    """Where a delivery stands.

    sending -> delivered | pending | dead | expired; pending -> sending;
    dead, expired -> pending where a person asks for a retry
    """

    PENDING = "pending"  # to be attempted at `due_at`
    SENDING = "sending"  # taken by a start of the process
    DELIVERED = "delivered"  # the sink has it for good
    DEAD = "dead"  # given up
    EXPIRED = "expired"  # not delivered before its `expire_after`


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event owed to one sink, taken by this start of the process."""

    id: int
    event_id: str
    #: The CloudEvent as kept, encoded once.
    body: bytes
    sink: str
    #: Attempts made so far, the coming one excluded.
    attempts: int
    #: How many of them its schedule does not count: a person's retry began it anew.
    begun: int = 0
    #: When the event was accepted, or this delivery asked for again: seconds since the epoch.
    accepted_at: float
    #: When it is due by its schedule, where it was taken before that: a probe.
    due_at: float | None = None
    #: Of deliveries of one sink that have the same here, one is sent at a time; None: no order.
    ordering: str | None = None
    #: Asked for by somebody, after it was owed at acceptance.
    replay: bool = False

    @property
    def failures(self) -> int:
        """Attempts that its schedule counts, all of them failed."""
        return self.attempts - self.begun


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a delivery, with its outcome."""

    #: Seconds since the epoch.
    at: float
    #: `delivered`, `failed` or `refused`.
    outcome: str
    #: The sink's own status, such as an HTTP status.
    status: int | None = None
    #: A word of ours, never a library's text: that may hold a secret.
    error: str | None = None
    #: Milliseconds.
    took_ms: float
    #: How the sink's answer begins; it may repeat what was sent.
    answer: bytes | None = None
