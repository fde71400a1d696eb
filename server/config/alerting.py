"""The options of alerts: the conditions that smshook reports of itself, and the heartbeat."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from core.secret import Secret
from core.units import Duration, Size

from .shapes import Check


def _positive(value: Any) -> Any:
    if value <= 0:
        raise ValueError("write more than 0, or null to switch it off")
    return value


def _heartbeat_url(url: Secret) -> Secret:
    text = url.reveal()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable():
        raise ValueError("write a URL such as https://hc-ping.com/ and your id")
    return url


Lasting = Annotated[Duration, Check(_positive)]
Count = Annotated[int, Check(_positive)]


class FailingSinks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a sink counts as failing."""

    #: How long no delivery may succeed. Lengthen it for a sink that restarts slowly.
    after: Duration = Duration(60)
    #: How long it must work again before the end is reported.
    clear: Duration = Duration(60)


class DeadDeliveries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often deliveries that were given up are reported."""

    #: At most one event a sink in this time, with the number of deliveries.
    quiet: Duration = Duration(60)


class OldDeliveries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a pending delivery is old."""

    #: How old the oldest pending delivery of a sink may be.
    older_than: Lasting = Duration(300)


class SilentSources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Silence is measured by `expect_every` of each source, and by orders that wait."""


class GrowingQuarantine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many callbacks in quarantine are normal."""

    #: How many are normal in that time.
    more_than: Count = 5
    #: The time in which they are counted.
    within: Lasting = Duration(900)


class GrowingRejections(GrowingQuarantine, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many rejected requests are normal."""

    #: How many are normal in that time. Raise it if strangers scan your address.
    more_than: Count = 20


class UnusualReads(GrowingQuarantine, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many codes a key may read."""

    #: How many codes one key may read in that time. Raise it to what your services read.
    more_than: Count = 100


class LowDisk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the disk of the journal is low."""

    #: Report less free space than this.
    free: Size = Size(1 << 30)
    #: Report if it will be full within so many days, at the pace of the last day.
    days: Count = 3


class WrongClock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the clock of this machine is wrong."""

    #: How far the clock may be off, compared with providers and with sinks.
    by: Lasting = Duration(5)


class ExpiringKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the end of a key is reported."""

    #: How long before the end it is reported.
    before: Lasting = Duration(7 * 86400)


class FailingBackfills(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a backfill counts as failing."""

    #: How many runs must fail, one after the other.
    after: Count = 3


class MissedAnchors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an anchor of the audit log is missed."""

    #: How long an anchor or a witness may be out of reach.
    after: Duration = Duration(3600)


class LateErasure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When erasure is late."""

    #: How much longer than `retention` something may be kept.
    after: Duration = Duration(2 * 3600)


class Alerting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions that smshook reports as events `system.*`. null switches one off."""

    #: A sink to which no delivery succeeds.
    sink_failing: FailingSinks | None = FailingSinks()
    #: Deliveries that were given up.
    delivery_dead: DeadDeliveries | None = DeadDeliveries()
    #: Deliveries that have been pending for a long time.
    owed_old: OldDeliveries | None = OldDeliveries()
    #: A source from which callbacks are overdue.
    source_silent: SilentSources | None = SilentSources()
    #: A source whose callbacks are not understood.
    quarantine_growing: GrowingQuarantine | None = GrowingQuarantine()
    #: The disk of the journal.
    disk_low: LowDisk | None = LowDisk()
    #: The clock of this machine.
    clock_off: WrongClock | None = WrongClock()
    #: API keys that end, provider keys that are refused, certificates of sinks.
    key_expiring: ExpiringKeys | None = ExpiringKeys()
    #: A provider that cannot be asked for missed messages.
    backfill_failing: FailingBackfills | None = FailingBackfills()
    #: Requests that were rejected.
    rejections_growing: GrowingRejections | None = GrowingRejections()
    #: A key that reads many codes.
    reads_unusual: UnusualReads | None = UnusualReads()
    #: An anchor or a witness of the audit log that is out of reach.
    audit_not_anchored: MissedAnchors | None = MissedAnchors()
    #: Data that is kept longer than `retention` allows.
    erasure_late: LateErasure | None = LateErasure()
    #: A condition that comes and goes is reported no more often than this.
    quiet: Duration = Duration(900)


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to a service that reports its absence, such as healthchecks.io."""

    #: GET this URL. Set it: nothing else reports that smshook itself is gone. It may hold a secret,
    #: so it is masked wherever it is shown.
    url: Annotated[Secret, Check(_heartbeat_url)] | None = None
    #: The time between two of them. None is sent while the service is not ready.
    every: Lasting = Duration(60)
