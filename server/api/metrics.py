"""Metrics for Prometheus: the figures of the service at the time of the scrape."""

import asyncio
import contextlib
import platform
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from litestar import Response, get
from litestar.types import Guard

from core.errors import Unavailable
from journal.reads import Consumers, Counters, JournalStats, OldestPending, TokenUses
from journal.records import group_of
from journal.seal import Kind

from .. import __version__
from ..metrics import CONTENT_TYPE, Exposition, add_process
from ..runtime.alert_kinds import KINDS
from ..runtime.backfill import RUN_ERRORS
from ..runtime.keys import codes_read
from ..runtime.parts import Parts
from .operation import Operation, refuse_parameters
from .router import ApiRouter

_OUTCOMES = ("accepted", "duplicate", "quarantined", "rejected", "unavailable")
#: Names of consumers with a series of their own, and the label of the others.
MOST_CONSUMERS, OTHERS = 100, "*"
_ENDS = ("delivered", "dead", "expired")


def metrics(parts: Parts, *, guards: list[Guard]) -> ApiRouter:
    """Return the scrape. Without guards it needs no key."""
    started_at = parts.clock.now()

    @get(
        "/metrics",
        guards=guards,
        before_request=refuse_parameters,
        operation=Operation(answers={200: str}, media_type="text/plain", errors=("bad_parameter",)),
    )
    async def scraped() -> Response[str]:
        """Get the metrics.

        In the text format of Prometheus. With `admin_listen: same`, the call needs a key.
        """
        found = Exposition()
        found.add("smshook_start_time_seconds", started_at)
        _add_service(found, parts)
        # If the journal cannot be read, the other figures are needed most.
        with contextlib.suppress(Unavailable):
            await _add_stored(found, parts)
            await _add_readers(found, parts)
        _add_callbacks(found, parts)
        _add_sinks(found, parts)
        _add_sources(found, parts)
        _add_keys(found, parts)
        # The disk may hang.
        await asyncio.to_thread(_add_files, found, parts.config.journal.path)
        return Response(found.text(), headers={"Content-Type": CONTENT_TYPE})

    return ApiRouter("/", route_handlers=[scraped])


def _add_service(found: Exposition, parts: Parts) -> None:
    versions = (__version__, platform.python_version(), sqlite3.sqlite_version)
    found.add("smshook_build_info", 1, *versions)
    found.add("smshook_ready", parts.ready())
    meters = parts.journal.meters
    found.add("smshook_journal_commits_total", meters.commits)
    found.add("smshook_journal_operations_total", meters.operations)
    found.add_histogram("smshook_journal_commit_seconds", meters.seconds)
    found.add("smshook_journal_waiting", parts.journal.waiting)
    found.add("smshook_streams", parts.hub.streams, "api")
    found.add("smshook_waits", parts.hub.waits)
    exporter = parts.tracer.exporter
    found.add("smshook_trace_spans_total", exporter.sent, "sent")
    found.add("smshook_trace_spans_total", exporter.dropped, "dropped")
    for state, count in parts.orders.states.items():
        found.add("smshook_orders", count, state)
    _add_audit(found, parts)
    raised = {one.name for one in parts.alerts.raised()}
    for name in KINDS:
        found.add("smshook_alerts", name in raised, name)
    for kind, seconds in parts.pruner.overdue().items():
        found.add("smshook_erasure_overdue_seconds", seconds, kind)
    if parts.period_keys is not None:
        for sealed in Kind:
            found.add("smshook_seal_periods", len(parts.period_keys.periods(sealed)), sealed)


def _add_audit(found: Exposition, parts: Parts) -> None:
    for output in (parts.audit_file.output, *parts.anchors.outputs()):
        if output is not parts.audit_file.output or parts.audit_file.is_on:
            since, last = output.failing_since or 0, output.succeeded_at or 0
            found.add("smshook_audit_failing_since_seconds", since, output.name)
            found.add("smshook_audit_last_success_seconds", last, output.name)
    verdict = parts.audit_verifier.verdict
    if verdict.at is not None:
        found.add("smshook_audit_verified", verdict.outcome == "unchanged")
    signed = None if parts.audit is None else parts.audit.newest
    if signed is not None:
        found.add("smshook_audit_leaves", signed.size)
        found.add("smshook_audit_checkpoint_seconds", signed.at)
    for anchor, at in parts.anchors.anchored_at().items():
        found.add("smshook_audit_anchored_at_seconds", at or 0, anchor)
    for witness, refuses in parts.anchors.refusing().items():
        found.add("smshook_audit_refused", refuses, witness)


async def _add_stored(found: Exposition, parts: Parts) -> None:
    """Add the figures that the journal counts."""
    journal = parts.journal
    found.add("smshook_quarantine", (await journal.ask(JournalStats())).quarantine)
    counters = await journal.ask(Counters())
    by_kind: dict[str, dict[str, int]] = {}
    for name, count in counters.items():
        kind, _, rest = name.partition("/")
        by_kind.setdefault(kind, {})[rest] = count
    for kind, name in (
        ("events", "smshook_events_total"),
        ("unrouted", "smshook_events_unrouted_total"),
        ("orders", "smshook_orders_total"),
    ):
        for rest, count in by_kind.get(kind, {}).items():
            source, _, word = rest.partition("/")
            found.add(name, count, source, word)
    await _add_deliveries(found, parts, by_kind)
    last: dict[str, float] = {}
    for use in await journal.ask(TokenUses()):
        last[use.source] = max(use.last_at, last.get(use.source, 0.0))
    for source in parts.sources:
        found.add("smshook_source_last_callback_seconds", last.get(source, 0), source)


async def _add_deliveries(
    found: Exposition, parts: Parts, by_kind: Mapping[str, Mapping[str, int]]
) -> None:
    sinks = dict.fromkeys(map(group_of, parts.workers), 0)
    pending = by_kind.get("pending", {})
    since = await parts.journal.ask(OldestPending(tuple(sink for sink, n in pending.items() if n)))
    # A sink may have delivered its last one between the two reads. Without a time, its deliveries
    # would look as old as 1970.
    owed = sinks | _by_label({sink: n for sink, n in pending.items() if sink in since})
    oldest = dict[str, float]()
    for sink, (at, _) in since.items():
        oldest[group_of(sink)] = min(at, oldest.get(group_of(sink), at))
    # A sink that is no longer configured is listed while it has pending deliveries.
    for sink, count in owed.items():
        if count or sink in sinks:
            found.add("smshook_owed", count, sink)
            found.add("smshook_owed_oldest_seconds", oldest.get(sink, 0), sink)
    for state in _ENDS:
        ended = _by_label(by_kind.get(state, {}))
        for sink in sinks:
            found.add("smshook_deliveries_total", ended.get(sink, 0), sink, state)


async def _add_readers(found: Exposition, parts: Parts) -> None:
    await parts.hub.begin()
    consumers = await parts.journal.ask(Consumers())
    behind: dict[str, int] = {}
    counts = await parts.hub.behind([one.place for one in consumers])
    # The oldest have a series of their own: one that changes its name would look like a new one.
    for consumer, count in sorted(
        zip(consumers, counts, strict=True), key=lambda one: one[0].created_at
    ):
        # Consumers of several keys may share a name.
        is_named = consumer.name in behind or len(behind) < MOST_CONSUMERS
        name = consumer.name if is_named else OTHERS
        behind[name] = max(count, behind.get(name, 0))
    for name, count in behind.items():
        found.add("smshook_consumer_behind", count, name)


def _add_keys(found: Exposition, parts: Parts) -> None:
    for (name, how), count in codes_read(parts.keys.readers(), parts.codes_sent).items():
        found.add("smshook_codes_read_total", count, name, how)


def _by_label(counts: Mapping[str, int]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for sink, count in counts.items():
        summed[group_of(sink)] = summed.get(group_of(sink), 0) + count
    return summed


def _add_callbacks(found: Exposition, parts: Parts) -> None:
    intake = parts.intake
    known = {(source, outcome): 0 for source in parts.sources for outcome in _OUTCOMES}
    for (source, outcome), count in (known | intake.outcomes).items():
        found.add("smshook_callbacks_total", count, source, outcome)
    for source, seconds in intake.seconds.items():
        found.add_histogram("smshook_callback_seconds", seconds, source)
    for (reason, source), count in parts.rejections.totals.items():
        found.add("smshook_rejections_total", count, reason, source)


def _add_sinks(found: Exposition, parts: Parts) -> None:
    now = parts.clock.now()
    for name in parts.config.sinks:
        worker = parts.workers[name]
        meters, failing_for = worker.meters, worker.failing_for
        for (outcome, error), count in meters.attempts.items():
            found.add("smshook_attempts_total", count, name, outcome, error)
        found.add_histogram("smshook_attempt_seconds", meters.seconds, name)
        found.add_histogram("smshook_delivery_lag_seconds", meters.lag, name)
        since = 0 if failing_for is None else now - failing_for
        found.add("smshook_sink_failing_since_seconds", since, name)
        found.add("smshook_sink_paused", worker.paused is not None, name)
        found.add("smshook_sink_in_flight", len(worker.under_way), name)


def _add_sources(found: Exposition, parts: Parts) -> None:
    for name, state in parts.sources.items():
        silent = parts.source_monitor.silent_since(state) is not None
        found.add("smshook_source_silent", silent, name)
        if state.health.offset is not None:
            found.add("smshook_source_clock_offset_seconds", state.health.offset, name)
        backfiller = parts.backfills.of(name)
        if backfiller is not None:
            # From 0 on, so that the first failure is an increase, too.
            outcomes = dict.fromkeys(("complete", *RUN_ERRORS), 0) | backfiller.outcomes
            for outcome, count in outcomes.items():
                found.add("smshook_backfill_total", count, name, outcome)
            found.add("smshook_backfill_key_refused", backfiller.stopped, name)
            found.add("smshook_backfill_events_total", backfiller.found, name)
            succeeded_at = backfiller.succeeded_at or 0
            found.add("smshook_backfill_last_success_seconds", succeeded_at, name)
    for source, seconds in parts.orders.code_seconds.items():
        found.add_histogram("smshook_order_code_seconds", seconds, source)


def _add_files(found: Exposition, journal: Path) -> None:
    add_process(found)
    for name, path in (
        ("smshook_journal_bytes", journal),
        ("smshook_journal_wal_bytes", journal.with_name(f"{journal.name}-wal")),
    ):
        with contextlib.suppress(OSError):
            found.add(name, path.stat().st_size)
    with contextlib.suppress(OSError):
        found.add("smshook_disk_free_bytes", shutil.disk_usage(journal.parent).free)
