"""Looks at the service every two seconds, and passes what it finds to the alerts.

It reads counters in memory. Only pending deliveries are read from the journal, less often, by its
counters and indexes.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog

from core.clock import rfc3339
from core.errors import Unavailable, origin
from journal.reads import Counters, OldestPending
from journal.records import owed_in
from receiver.addresses import Peers
from receiver.source_health import ENOUGH
from sinks.health import Pause
from sinks.http.certificate import certificate_end
from sinks.sink import Sink
from sinks.worker import Worker

from ..conditions import Severity, Timing, Window
from ..config.alerting import Alerting, GrowingQuarantine
from .alert_kinds import Details
from .alerts import Seen
from .parts import Parts

#: Seconds between two looks, and between two at the pending deliveries and at the disk.
EVERY, SELDOM = 2.0, 10.0
_DAY = 86_400.0
#: Seconds after which a sink is asked for its certificate again, and while its end is raised.
_CERTIFICATES, _CERTIFICATES_RAISED = _DAY / 2, 3600.0
#: A disk has room again if this much more is free.
_MORE = 1.1
_AT_ONCE = Timing()
#: The time in which is counted what no alert was on for.
_OFF = 900.0
_QUARANTINE_HINT = "see `smshook quarantine list`; replay them after an upgrade"
_QUARANTINE_HINTS = {
    "method": "let the provider send POST, not GET",
    "encoding": "let the provider send no Content-Encoding",
}
_REJECTION_HINT = "see `smshook rejections`"
_REJECTION_HINTS = {
    "token": "somebody uses an old URL, or guesses URLs: see `smshook sources url`",
    "address": "the provider has new addresses, or somebody has the URL: see allow_from",
    "rate": "raise the rate of the source if these are real callbacks",
}
_PROXY_HINT = "a private address: your proxy? Name it in server.trusted_proxies"

log = structlog.get_logger()


class Watching:
    """Looks at the parts of a service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        #: By sink.
        self._owed: Mapping[str, int] = {}
        #: None: not read yet.
        self._oldest: Mapping[str, float] | None = None
        self._seldom = float("-inf")
        #: By the alert's name and its subject: the counts, and the total at the last look.
        self._windows: dict[tuple[str, str], tuple[Window, float]] = {}
        self._totals: dict[tuple[str, str], int] = {}
        #: The end of the certificate of each sink, in seconds since the epoch.
        self.certificates: dict[str, float] = {}
        #: The URL of each sink that was asked for it, and when, in ticks.
        self._asked: dict[str, tuple[str, float]] = {}
        #: When the deliveries that were given up were last reported, in ticks.
        self._reported: dict[str, float] = {}

    async def run(self) -> None:
        """Look every two seconds, until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except Exception as exc:  # noqa: BLE001 - a bug in an alert ends no service
                    log.error("alert.fault", error=type(exc).__name__, where=origin(exc))  # noqa: TRY400 - a traceback shows values
                await asyncio.sleep(EVERY)
        finally:
            await self._report_given_up(self._parts.config.alerts, at_once=True)

    async def look_at_certificates(self) -> None:
        """Ask each sink that uses TLS when its certificate ends, twice a day.

        While `key_expiring` is raised for a certificate, ask each hour, to notice the new one.
        """
        ticks = self._parts.clock.ticks()
        for name, sink in tuple(self._parts.config.sinks.items()):
            url = _tls_url(sink)
            before, asked_at = self._asked.get(name, ("", float("-inf")))
            is_raised = self._parts.alerts.is_raised("key_expiring", f"sink/{name}")
            every = _CERTIFICATES_RAISED if is_raised else _CERTIFICATES
            is_known = before == url and ticks - asked_at < every
            if self._parts.config.alerts.key_expiring is None or is_known or url is None:
                continue
            if before != url:
                self.certificates.pop(name, None)
            self._asked[name] = url, ticks
            end = await certificate_end(url, within=sink.timeout)
            # A sink that cannot be reached still has its certificate.
            if end is not None:
                self.certificates[name] = end

    async def look(self) -> None:
        """Look once, and report what changed."""
        ticks = self._parts.clock.ticks()
        is_due = ticks - self._seldom >= SELDOM
        if is_due:
            is_first, self._seldom = self._seldom == float("-inf"), ticks
            if is_first:
                with contextlib.suppress(Unavailable):  # the list of recent alerts is then shorter
                    await self._parts.alerts.load_recent()
            await self._parts.disk.look(self._parts.config.journal.path)
        # An alert that may begin or end now names the deliveries that are pending now.
        if is_due or self._a_sink_changes():
            await self._look_at_pending()
        options = self._parts.config.alerts
        await self._report_given_up(options)
        await self._parts.alerts.look(list(self._seen(options)))

    def _a_sink_changes(self) -> bool:
        """Return whether a sink fails that is not reported as failing, or the other way."""
        return self._parts.config.alerts.sink_failing is not None and any(
            (worker.failing_for is not None)
            != self._parts.alerts.is_raised("sink_failing", f"sink/{name}")
            for name in self._parts.config.sinks
            if (worker := self._parts.workers.get(name)) is not None
        )

    async def _look_at_pending(self) -> None:
        parts = self._parts
        with contextlib.suppress(Unavailable):  # the figures of the last look stay
            owed = owed_in(await parts.journal.ask(Counters()))
            names = tuple(name for name in parts.config.sinks if owed.get(name))
            found = await parts.journal.ask(OldestPending(names)) if names else {}
            self._oldest = {name: one.accepted_at for name, one in found.items()}
            self._owed = owed

    # --- what is looked at ----------------------------------------------------------------

    def _seen(self, options: Alerting) -> Iterator[Seen]:
        for name in self._parts.config.sinks:
            worker = self._parts.workers.get(name)
            if worker is not None:
                yield from self._sink(options, name, worker)
        yield from self._sources(options)
        yield from self._backfills(options)
        yield from self._counted(options)
        yield from self._disk_low(options)
        yield from self._clock_off(options)
        yield from self._keys(options)
        yield from self._audit(options)
        yield from self._erasure(options)

    def _sink(self, options: Alerting, name: str, worker: Worker) -> Iterator[Seen]:
        now, oldest = self._parts.clock.now(), (self._oldest or {}).get(name)
        pending = {
            "sink": name,
            "owed": self._owed.get(name, 0),
            "oldest": _written(oldest),
        }
        failing = options.sink_failing
        if failing is not None:
            failing_for, last = worker.failing_for, worker.last_failure
            since = None if failing_for is None else now - failing_for
            # When it works again, the time at which it began to fail stays.
            began = {} if since is None else {"failing_since": rfc3339(since)}
            yield Seen(
                name="sink_failing",
                subject=f"sink/{name}",
                holds=since is not None,
                since=since,
                timing=Timing(after=failing.after, clear=failing.clear, quiet=options.quiet),
                details=lambda: {
                    **pending,
                    **began,
                    "status": None if last is None else last.status,
                    "error": None if last is None else last.error,
                },
            )
        paused = worker.paused
        by_itself = paused is not None and paused is not Pause.OPERATOR
        yield Seen(
            name="sink_paused",
            subject=f"sink/{name}",
            holds=paused is not None,
            severity=Severity.WARNING if by_itself else Severity.INFO,
            timing=Timing(quiet=options.quiet),
            details=lambda: (
                {"sink": name} if paused is None else {"sink": name, "by": paused.value}
            ),
        )
        old = options.owed_old
        if old is not None:
            yield Seen(
                name="owed_old",
                subject=f"sink/{name}",
                holds=None
                if self._oldest is None
                else oldest is not None and now - oldest > old.older_than,
                timing=Timing(quiet=options.quiet),
                details=lambda: pending,
            )

    def _sources(self, options: Alerting) -> Iterator[Seen]:
        if options.source_silent is None:
            return
        now = self._parts.clock.now()
        for name, state in self._parts.sources.items():
            since = self._parts.source_monitor.silent_since(state)
            # After a start, it is not known whether a silent source is still silent.
            unknown = since is None and not state.health.was_heard
            expected = state.source.expect_every
            details = {
                "expect_every": None if expected is None else float(expected),
                "last_at": _written(state.health.last_at(now)),
                "waiting_orders": len(self._parts.orders.overdue(name)),
            }
            yield Seen(
                name="source_silent",
                subject=f"source/{name}",
                holds=None if unknown else since is not None,
                since=since,
                timing=Timing(quiet=options.quiet),
                details=_fixed(details),
            )

    def _backfills(self, options: Alerting) -> Iterator[Seen]:
        failing = options.backfill_failing
        for name in self._parts.sources if failing is not None else ():
            backfiller = self._parts.backfills.of(name)
            if failing is None or backfiller is None:
                continue
            failures = backfiller.failures
            fails = backfiller.stopped or (failures or 0) >= failing.after
            # Fewer failures neither begin nor end it.
            holds = True if fails else False if failures == 0 else None
            error = None if backfiller.last is None else backfiller.last.error
            yield Seen(
                name="backfill_failing",
                subject=f"source/{name}",
                holds=holds,
                severity=Severity.CRITICAL if backfiller.stopped else Severity.WARNING,
                timing=Timing(quiet=options.quiet),
                details=_fixed({} if error is None else {"error": error}),
            )

    # --- what is counted ------------------------------------------------------------------

    def _counted(self, options: Alerting) -> Iterator[Seen]:
        parts = self._parts
        for name in parts.sources:
            reason = parts.intake.quarantined.get(name, "malformed")
            yield from self._growing(
                *("quarantine_growing", f"source/{name}", options.quarantine_growing, options),
                total=parts.intake.outcomes.get((name, "quarantined"), 0),
                details={
                    "reason": reason,
                    "hint": _QUARANTINE_HINTS.get(reason, _QUARANTINE_HINT),
                },
            )
        totals: dict[str, int] = dict.fromkeys(("", *parts.sources), 0)
        for (_, source), count in parts.rejections.totals.items():
            if source in totals:  # those of removed sources were counted in their time
                totals[source] += count
        for name, total in totals.items():
            reason, peer = parts.rejections.latest.get(name, ("", ""))
            hint = _REJECTION_HINTS.get(reason, _REJECTION_HINT)
            if self._is_proxy(peer):
                # A wrong address is the only reason that a proxy explains alone.
                hint = _PROXY_HINT if reason == "address" else f"{hint}; {_PROXY_HINT}"
            subject = f"source/{name}" if name else "door"
            yield from self._growing(
                *("rejections_growing", subject, options.rejections_growing, options),
                total=total,
                details={
                    "reason": reason,
                    "peer": peer,
                    "hint": hint,
                },
            )
        rule = options.reads_unusual
        for name, its in parts.keys.readers().items():
            yield from self._growing(
                *("reads_unusual", f"key/{name}", rule, options),
                total=sum(its.values()),
                details={
                    "key": name,
                    "within": 0.0 if rule is None else float(rule.within),
                    "how": max(its, key=lambda how: its[how], default=""),
                },
            )

    def _is_proxy(self, peer: str) -> bool:
        """Return whether a caller seems to be a proxy that is not trusted yet."""
        try:
            is_private = ipaddress.ip_address(peer).is_private  # this machine is, too
        except ValueError:
            return False
        return is_private and not Peers(self._parts.config.server.trusted_proxies).trusts(peer)

    def _growing(
        self,
        name: str,
        subject: str,
        rule: GrowingQuarantine | None,
        options: Alerting,
        *,
        total: int,
        details: Details,
    ) -> Iterator[Seen]:
        """Yield whether a total grew by more than the rule allows within its time."""
        ticks, known = self._parts.clock.ticks(), self._windows.get((name, subject))
        # It is counted while it is off. Otherwise, all of it would be new when it is on again.
        off = _OFF if known is None else known[1]
        within = off if rule is None else rule.within
        if known is None or known[1] != within:
            window = Window(within)
            if rule is not None and self._parts.alerts.is_raised(name, subject):
                # The counts before are lost: it holds until its time has passed.
                window.add(rule.more_than + 1, ticks)
            self._windows[name, subject] = window, within
        window, _ = self._windows[name, subject]
        before = self._totals.get((name, subject), 0)
        # A key whose options changed is counted from 0 again.
        more = total - before if total >= before else total
        self._totals[name, subject] = total
        if more:
            window.add(more, ticks)
        count = window.count(ticks)
        if rule is not None:
            yield Seen(
                name=name,
                subject=subject,
                holds=count > rule.more_than,
                timing=Timing(quiet=options.quiet),
                details=_fixed({**details, "count": count}),
            )

    async def _report_given_up(self, options: Alerting, *, at_once: bool = False) -> None:
        rule, ticks = options.delivery_dead, self._parts.clock.ticks()
        for sink in self._parts.given_up.sinks():
            last = self._reported.get(sink)
            waits = last is not None and rule is not None and ticks - last < rule.quiet
            if waits and not at_once:
                continue
            found = self._parts.given_up.take(sink)
            if rule is None or sink not in self._parts.config.sinks:
                continue
            self._reported[sink] = ticks
            ended = "both" if len(found.states) > 1 else next(iter(found.states)).value
            details = {
                "sink": sink,
                "count": found.count,
                "events": tuple(found.events),
                "ended": ended,
            }
            await self._parts.alerts.report("delivery_dead", f"sink/{sink}", details)

    # --- the machine ----------------------------------------------------------------------

    def _disk_low(self, options: Alerting) -> Iterator[Seen]:
        rule, disk = options.disk_low, self._parts.disk.last
        if rule is None:
            return
        if disk is None:
            yield _unknown("disk_low", "service")
            return
        days, alerts = self._parts.disk.days_left(), self._parts.alerts
        more = _MORE if alerts.is_raised("disk_low", "service") else 1.0
        is_full = disk.free < rule.free * more
        is_low = self._parts.space.is_low
        holds = is_low or is_full or (days is not None and days < rule.days * more)
        # After a restart, the pace that it was raised for is not known yet.
        had_days = alerts.details("disk_low", "service").get("days_left") is not None
        is_unknown = had_days and not self._parts.disk.knows_pace
        yield Seen(
            name="disk_low",
            subject="service",
            holds=holds or (None if is_unknown else False),
            severity=Severity.CRITICAL if is_low else Severity.WARNING,
            timing=Timing(quiet=options.quiet),
            details=lambda: {
                "free": disk.free,
                "total": disk.total,
                "days_left": None if days is None else round(days, 1),
                "journal_bytes": disk.journal,
            },
        )

    def _clock_off(self, options: Alerting) -> Iterator[Seen]:
        rule = options.clock_off
        if rule is None:
            return
        offsets = sorted(self._offsets(), key=lambda one: one[0])
        if not offsets:
            yield _unknown("clock_off", "service")
            return
        # The middle one: a provider that reports late, or one wrong clock, says nothing.
        lower, upper = offsets[(len(offsets) - 1) // 2], offsets[len(offsets) // 2]
        offset, against = min(lower, upper, key=lambda one: abs(one[0]))
        yield Seen(
            name="clock_off",
            subject="service",
            holds=abs(offset) > rule.by,
            timing=Timing(quiet=options.quiet),
            details=lambda: {"offset": round(offset, 3), "against": against},
        )

    def _offsets(self) -> Iterator[tuple[float, str]]:
        """Yield the seconds by which our clock is ahead of others, and their names."""
        parts, now = self._parts, self._parts.clock.now()
        for name, state in parts.sources.items():
            health = state.health
            is_known = health.measured >= ENOUGH and health.wrong_zone(now) is None
            if is_known and health.offset is not None:
                yield health.offset, f"source/{name}"
        for name in parts.config.sinks:
            worker = parts.workers.get(name)
            if worker is not None and worker.clock_offset is not None:
                yield worker.clock_offset, f"sink/{name}"

    # --- keys, the audit log and retention ------------------------------------------------

    def _keys(self, options: Alerting) -> Iterator[Seen]:
        rule, parts = options.key_expiring, self._parts
        if rule is None:
            return
        ends: list[tuple[str, str, str, float | None]] = [
            ("api_key", f"key/{known.access.name}", known.access.name, known.access.expires_at)
            for known in parts.keys.known()
            if known.state != "shadowed"  # the configured key of that name is looked at
        ]
        ends += [
            ("certificate", f"sink/{name}", name, self.certificates.get(name))
            for name, sink in parts.config.sinks.items()
            if _tls_url(sink) is not None
        ]
        now = parts.clock.now()
        for kind, subject, name, at in ends:
            if at is None and kind == "certificate":
                yield _unknown("key_expiring", subject)
            elif at is not None:
                yield Seen(
                    name="key_expiring",
                    subject=subject,
                    # One that has expired is the worst. It stays raised until it is replaced.
                    holds=at - now <= rule.before,
                    since=at - rule.before,
                    timing=_AT_ONCE,
                    details=_fixed({"kind": kind, "name": name, "ends_at": rfc3339(at)}),
                )
        for name in parts.sources:
            backfiller = parts.backfills.of(name)
            if backfiller is not None:
                # Before the first complete run, it is not known whether the key is accepted.
                works = False if backfiller.failures == 0 else None
                yield Seen(
                    name="key_expiring",
                    subject=f"source/{name}",
                    holds=backfiller.stopped or works,
                    timing=_AT_ONCE,
                    details=_fixed({"kind": "provider_key", "name": name, "ends_at": None}),
                )

    def _audit(self, options: Alerting) -> Iterator[Seen]:
        rule, now = options.audit_not_anchored, self._parts.clock.now()
        anchors = self._parts.anchors
        refusing = anchors.refusing()
        for output in anchors.outputs():
            name, since = output.name.partition("/")[2], output.failing_since
            works = since is None and output.succeeded_at is not None
            if rule is not None:
                # A failure that is not long enough neither begins nor ends it.
                fails = since is not None and now - since >= rule.after
                yield Seen(
                    name="audit_not_anchored",
                    subject=output.name,
                    holds=True if fails else False if works else None,
                    since=since,
                    timing=Timing(quiet=options.quiet),
                    details=_fixed({"anchor": name, "size": output.size}),
                )
            if output.name in refusing:
                yield Seen(
                    name="audit_refused",
                    subject=f"anchor/{name}",
                    holds=refusing[output.name] or (False if works else None),
                    severity=Severity.CRITICAL,
                    timing=_AT_ONCE,
                    details=_fixed({"anchor": name, "size": output.refused_size}),
                )

    def _erasure(self, options: Alerting) -> Iterator[Seen]:
        rule, pruner = options.erasure_late, self._parts.pruner
        overdue = pruner.overdue()
        if rule is None or not overdue:
            return
        kind = max(overdue, key=lambda one: overdue[one])
        is_late = overdue[kind] > rule.after
        yield Seen(
            name="erasure_late",
            subject="service",
            # After a start, it is not known before each kind was pruned.
            holds=True if is_late else False if pruner.has_pruned_all else None,
            severity=Severity.CRITICAL,
            timing=Timing(quiet=options.quiet),
            details=_fixed({"kind": kind.value, "overdue": round(overdue[kind], 1)}),
        )


def _unknown(name: str, subject: str) -> Seen:
    return Seen(name=name, subject=subject, holds=None, timing=_AT_ONCE, details=dict)


def _tls_url(sink: Sink) -> str | None:
    """Return the URL of a sink that shows its certificate to us; None: it shows none."""
    urls = {option: secret.reveal() for option, secret in sink.urls().items()}
    url = urls.get("url", "")
    return url if "proxy" not in urls and urlsplit(url).scheme == "https" else None


def _fixed(details: Mapping[str, Any]) -> Callable[[], Details]:
    return lambda: details


def _written(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
