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


#: Types of events of the service about itself begin with it. Readers get them only if they name the
#: type.
SYSTEM = "system."
#: Their `source`. No source may have this name.
SOURCE = "smshook"


class System(Data, frozen=True, kw_only=True):
    """The fields of all events of the service about itself."""

    #: `info`, `warning` or `critical`.
    severity: str
    #: `raised` when it begins and `cleared` when it ends; `once`: nothing ends it.
    state: str
    #: One line for people, without secrets.
    summary: str
    #: When it began: RFC 3339, UTC.
    since: str
    #: How many seconds it lasted. Null unless it is cleared.
    for_: float | None = msgspec.field(default=None, name="for")
    #: The id of the event that it was raised with. Null unless it is cleared.
    id_raised: str | None = None
    #: The same text when it begins and when it ends: the `dedup_key` of PagerDuty, the `alias` of
    #: Opsgenie.
    dedup: str
    #: What to do, as a path in the source code.
    runbook: str


class SinkFailing(System, frozen=True, kw_only=True):
    """No delivery to a sink has succeeded for a while."""

    type: ClassVar[str] = "system.sink_failing"

    #: The name of the sink.
    sink: str
    #: The HTTP status of the last failure. Null: there was no answer.
    status: int | None
    #: Our word for the last failure: `timeout`, `refused`.
    error: str | None
    #: When it began to fail: RFC 3339, UTC.
    failing_since: str
    #: Its pending deliveries.
    owed: int
    #: When the oldest of them was accepted: RFC 3339, UTC. Null: none is pending.
    oldest: str | None


class SinkRecovered(SinkFailing, frozen=True, kw_only=True):
    """A failing sink works again."""

    type: ClassVar[str] = "system.sink_recovered"


class SinkPaused(System, frozen=True, kw_only=True):
    """A sink was paused: its deliveries wait."""

    type: ClassVar[str] = "system.sink_paused"

    #: The name of the sink.
    sink: str
    #: `operator`, or `failing`: by its `pause_after`.
    by: str


class SinkResumed(SinkPaused, frozen=True, kw_only=True):
    """A paused sink was resumed."""

    type: ClassVar[str] = "system.sink_resumed"


class DeliveryDead(System, frozen=True, kw_only=True):
    """Deliveries to a sink were given up."""

    type: ClassVar[str] = "system.delivery_dead"

    #: The name of the sink.
    sink: str
    #: How many since the last such event of the sink.
    count: int
    #: The ids of the first 20 events.
    events: tuple[str, ...]
    #: `dead` (the last attempt failed, or the sink refused it), `expired` (too old) or `both`.
    ended: str


class OwedOld(System, frozen=True, kw_only=True):
    """A delivery has been pending for a long time."""

    type: ClassVar[str] = "system.owed_old"

    #: The name of the sink.
    sink: str
    #: Its pending deliveries.
    owed: int
    #: When the oldest of them was accepted: RFC 3339, UTC. Null: none is pending.
    oldest: str | None


class OwedRecovered(OwedOld, frozen=True, kw_only=True):
    """No delivery to the sink is pending for long any more."""

    type: ClassVar[str] = "system.owed_recovered"


class SourceSilent(System, frozen=True, kw_only=True):
    """A source sends no callbacks, though some are expected."""

    type: ClassVar[str] = "system.source_silent"

    #: The name of the source.
    source: str
    #: The source's `expect_every`, in seconds.
    expect_every: float | None
    #: When its last callback came: RFC 3339, UTC. Null: none since the start.
    last_at: str | None
    #: Orders that wait longer than codes usually take.
    waiting_orders: int


class SourceHeard(SourceSilent, frozen=True, kw_only=True):
    """A silent source sends callbacks again."""

    type: ClassVar[str] = "system.source_heard"


class QuarantineGrowing(System, frozen=True, kw_only=True):
    """Many callbacks of a source were not understood."""

    type: ClassVar[str] = "system.quarantine_growing"

    #: The name of the source.
    source: str
    #: How many within the time.
    count: int
    #: Why the last of them was not understood: `malformed`.
    reason: str
    #: What to do.
    hint: str


class QuarantineQuiet(QuarantineGrowing, frozen=True, kw_only=True):
    """The callbacks of the source are understood again."""

    type: ClassVar[str] = "system.quarantine_quiet"


class RejectionsGrowing(System, frozen=True, kw_only=True):
    """Many requests were rejected."""

    type: ClassVar[str] = "system.rejections_growing"

    #: Why the last of them was rejected: `token`.
    reason: str
    #: The address that it came from.
    peer: str
    #: How many within the time.
    count: int
    #: What to do.
    hint: str


class RejectionsQuiet(RejectionsGrowing, frozen=True, kw_only=True):
    """Few requests are rejected again."""

    type: ClassVar[str] = "system.rejections_quiet"


class DiskLow(System, frozen=True, kw_only=True):
    """The disk of the journal is nearly full. Critical: callbacks are answered 503."""

    type: ClassVar[str] = "system.disk_low"

    #: Free bytes.
    free: int
    #: Bytes of the disk.
    total: int
    #: Days until it is full, at the pace of the last day. Null: it does not fill up, or it is not
    #: known yet.
    days_left: float | None
    #: Bytes of the journal and its log.
    journal_bytes: int


class DiskRecovered(DiskLow, frozen=True, kw_only=True):
    """The disk has room again."""

    type: ClassVar[str] = "system.disk_recovered"


class ClockOff(System, frozen=True, kw_only=True):
    """The clock of this machine seems to be wrong."""

    type: ClassVar[str] = "system.clock_off"

    #: Seconds by which this clock is ahead; negative: behind.
    offset: float
    #: The clock that it was compared with: `source/tellabot`, or `sink/crm` by its header `Date`.
    against: str


class ClockRecovered(ClockOff, frozen=True, kw_only=True):
    """The clock of this machine is right again."""

    type: ClassVar[str] = "system.clock_recovered"


class KeyExpiring(System, frozen=True, kw_only=True):
    """A key or certificate ends soon, or a provider refuses the key of a source."""

    type: ClassVar[str] = "system.key_expiring"

    #: `api_key`, `provider_key` or `certificate`.
    kind: str
    #: The name of the key, the source or the sink.
    name: str
    #: When it ends: RFC 3339, UTC. Null: it is refused already.
    ends_at: str | None


class BackfillFailing(System, frozen=True, kw_only=True):
    """A provider cannot be asked for missed messages. Critical: it refuses the key."""

    type: ClassVar[str] = "system.backfill_failing"

    #: The name of the source.
    source: str
    #: Our word for the last failure: `busy`, `unreadable`, `bad_key`.
    error: str


class BackfillRecovered(BackfillFailing, frozen=True, kw_only=True):
    """The provider answers again."""

    type: ClassVar[str] = "system.backfill_recovered"


class ReadsUnusual(System, frozen=True, kw_only=True):
    """A key read many codes."""

    type: ClassVar[str] = "system.reads_unusual"

    #: The name of the key.
    key: str
    #: How many within the time.
    count: int
    #: The time, in seconds.
    within: float
    #: The kind of call that read the most of them: `list`, `stream`.
    how: str


class AuditNotAnchored(System, frozen=True, kw_only=True):
    """An anchor or witness of the audit log cannot be reached."""

    type: ClassVar[str] = "system.audit_not_anchored"

    #: Its name in `audit.anchors` or `audit.witnesses`.
    anchor: str
    #: How many lines it got last; 0: not known.
    size: int


class AuditAnchored(AuditNotAnchored, frozen=True, kw_only=True):
    """The anchor or witness is reached again."""

    type: ClassVar[str] = "system.audit_anchored"


class AuditRefused(System, frozen=True, kw_only=True):
    """A witness refused the audit log: it has seen a log that this one does not continue."""

    type: ClassVar[str] = "system.audit_refused"

    #: The name of the witness in `audit.witnesses`.
    anchor: str
    #: How many lines the refused log has.
    size: int


class AuditCheckpoint(System, frozen=True, kw_only=True):
    """A signed state of the audit log. Whoever keeps it can later show that the log was changed."""

    type: ClassVar[str] = "system.audit_checkpoint"

    #: The name of the anchor in `audit.anchors`.
    anchor: str
    #: How many lines the log has.
    size: int
    #: The checkpoint with its signatures, as a note: c2sp.org/tlog-checkpoint.
    note: str


class ErasureLate(System, frozen=True, kw_only=True):
    """Data is kept longer than `retention` allows."""

    type: ClassVar[str] = "system.erasure_late"

    #: The kind of data that is the latest: `codes`.
    kind: str
    #: Seconds by which its oldest data is too old.
    overdue: float


class ErasureRecovered(ErasureLate, frozen=True, kw_only=True):
    """No data is kept longer than `retention` allows."""

    type: ClassVar[str] = "system.erasure_recovered"


class Complaints(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a configuration."""

    #: How many complaints; 0: another error.
    count: int
    #: The place of the first one: `smshook.yaml:14: sinks.log.type`. Else the kind of error.
    first: str


class ConfigRejected(System, frozen=True, kw_only=True):
    """A reload failed: the former configuration stays in force."""

    type: ClassVar[str] = "system.config_rejected"

    #: What is wrong with it. The log and `smshook check` show all.
    complaints: Complaints


class Gap(System, frozen=True, kw_only=True):
    """The service took no callbacks for a while. Providers are asked for what was missed."""

    type: ClassVar[str] = "system.gap"

    #: When it ended: RFC 3339, UTC. `since` has its begin.
    until: str
    #: The names of the sources that are asked.
    asked: tuple[str, ...]


def kinds(base: type[Data] = Data) -> tuple[type[Data], ...]:
    """Return the class of each type of event, in the order of their definition."""
    found = (kind for child in base.__subclasses__() for kind in (child, *kinds(child)))
    return tuple(kind for kind in found if hasattr(kind, "type"))


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
    #: `telephone/…`, `number/…` or `account/…`; `sink/…`, `source/…`, `key/…`, `anchor/…`, `door`,
    #: `audit` or `service` for smshook itself. Null where it was a number that was erased.
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
