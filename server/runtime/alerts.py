"""Reports conditions of the service as events, once when they begin and once when they end.

The state of each condition lies in the journal, in the transaction of its event. So a restart
reports nothing again, and reports the end of what ended meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from core.clock import WallClock
from core.errors import Unavailable
from core.event import SOURCE, AuditCheckpoint, Event, System
from journal import Journal
from journal.reads import Conditions, EventFilter, Events
from journal.records import Planned, StoredCondition
from journal.writes import Guard, LineNumber, RecordOwn, SetCondition, unguarded
from receiver.callback import Happening, Key

from ..conditions import Condition, ConditionChange, Severity, Timing
from .alert_kinds import KINDS, Details
from .current import Current
from .identity import Identity
from .planner import Planner

#: Events about the service that stay in memory, so that no call has to search the journal.
RECENT = 10
#: Their types. Checkpoints of the audit log are left out: they report no problem.
_TYPES = tuple(
    kind.type
    for one in KINDS.values()
    for kind in (one.begin, one.end)
    if kind is not None and kind is not AuditCheckpoint
)
#: Seconds that a condition which ended is kept. A longer `quiet` counts as long as this.
_KEPT = 7 * 86_400.0
#: The most reports of one commit, and seconds until the next ones. Callbacks wait for their events,
#: and would wait for many commits.
_TOGETHER, _BETWEEN = 5, 0.01

log = structlog.get_logger()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look found about one condition of one subject."""

    #: One of KINDS.
    name: str
    #: Such as `sink/crm`.
    subject: str
    #: None: it is not known, as after a restart.
    holds: bool | None
    timing: Timing
    #: Returns the details of the event. It is called if something is reported.
    details: Callable[[], Details]
    severity: Severity = Severity.WARNING
    #: When it began, in seconds since the epoch; None: at the first look that finds it.
    since: float | None = None
    #: Whether the service has stopped looking. The condition may still hold.
    is_gone: bool = False


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that was reported and holds. Times are seconds since the epoch."""

    name: str
    subject: str
    severity: str
    #: One line for people.
    summary: str
    since: float
    raised_at: float
    #: The id of the event that reported it.
    event: str


class RecentAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An event about the service, as it was stored."""

    #: Its id.
    event: str
    type: str
    subject: str
    severity: str
    #: `raised`, `cleared` or `once`.
    state: str
    #: One line for people.
    summary: str
    #: Whether it is a test.
    sample: bool
    #: When it was recorded: RFC 3339, UTC.
    at: str


class _StoredData(msgspec.Struct, frozen=True):
    severity: str
    state: str
    summary: str
    sample: bool


class _Stored(msgspec.Struct, frozen=True):
    """The fields of a stored event that RecentAlert has."""

    id: str
    type: str
    subject: str
    recordedtime: str
    data: _StoredData


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the journal does not have yet."""

    name: str
    subject: str
    #: None: it is reported once, and is no condition.
    change: ConditionChange | None
    severity: Severity
    since: float
    #: When it ended; `since` if it did not end.
    ended: float
    details: Details
    #: As of Seen.
    is_gone: bool = False


class Alerts:
    """Reports conditions, and knows what is raised now."""

    def __init__(
        self,
        *,
        journal: Journal,
        planner: Planner,
        identity: Identity,
        current: Current,
        clock: WallClock,
    ) -> None:
        self._journal, self._planner, self._identity = journal, planner, identity
        self._current, self._clock = current, clock
        self._conditions: dict[tuple[str, str], Condition] = {}
        #: As the journal has them.
        self._stored: dict[tuple[str, str], StoredCondition] = {}
        self._unwritten: list[_Report] = []
        #: When something was reported once, by `ticks`.
        self._reported: dict[tuple[str, str], float] = {}
        #: The newest events about the service, oldest first.
        self.recent: deque[RecentAlert] = deque(maxlen=RECENT)

    async def load(self) -> None:
        """Read the stored conditions. Raises Unavailable."""
        ticks = self._clock.ticks()
        ahead = self._clock.now() - ticks
        for stored in await self._journal.ask(Conditions()):
            if stored.name not in KINDS:
                continue  # of another version
            name = stored.name, stored.subject
            self._stored[name] = stored
            # A clock that was set back must not make it quiet for long.
            self._conditions[name] = Condition.restored(
                raised_at=min(ticks, stored.raised_at - ahead),
                since=min(ticks, stored.since - ahead),
                severity=Severity(stored.severity),
                cleared_at=None
                if stored.cleared_at is None
                else min(ticks, stored.cleared_at - ahead),
            )

    async def load_recent(self) -> None:
        """Add the newest events of earlier starts to `recent`. Raises Unavailable.

        It searches the newest part of the journal only.
        """
        wanted = EventFilter(type=_TYPES)
        page = await self._journal.ask(Events(filter=wanted, desc=True, limit=RECENT))
        known = {one.event for one in self.recent}
        for _, body in page.items:
            event = msgspec.json.decode(body, type=_Stored)
            if event.id not in known and len(self.recent) < RECENT:
                self.recent.appendleft(_recent_alert(event, event.data, event.id))

    def _keep(self, planned: Planned, event_id: str) -> None:
        data = planned.event.data
        is_listed = data.type in _TYPES and all(one.event != event_id for one in self.recent)
        if isinstance(data, System) and is_listed:
            self.recent.append(_recent_alert(planned.event, data, event_id))

    def raised(self) -> Sequence[Raised]:
        """Return what is raised now, the oldest first."""
        now = self._clock.now()
        found = [
            Raised(
                name=stored.name,
                subject=stored.subject,
                severity=stored.severity,
                summary=KINDS[stored.name].summary(_details_of(stored), now=now),
                since=stored.since,
                raised_at=stored.raised_at,
                event=stored.event,
            )
            for stored in self._stored.values()
            if stored.cleared_at is None
        ]
        return sorted(found, key=lambda one: (one.raised_at, one.name, one.subject))

    def is_raised(self, name: str, subject: str) -> bool:
        condition = self._conditions.get((name, subject))
        return condition is not None and condition.is_raised

    def details(self, name: str, subject: str) -> Details:
        """Return the details that were reported last, if it is raised; else none."""
        stored = self._stored.get((name, subject))
        is_raised = stored is not None and stored.cleared_at is None
        return _details_of(stored) if stored is not None and is_raised else {}

    # --- what is reported -----------------------------------------------------------------

    async def look(self, seen: Sequence[Seen]) -> None:
        """Report what began and what ended. A raised condition that nobody saw has ended."""
        names = {(one.name, one.subject) for one in seen}
        # Its sink or source is no longer configured, or its alert is switched off.
        gone = [
            Seen(
                name=name,
                subject=subject,
                holds=False,
                timing=Timing(),
                details=dict,
                is_gone=True,
            )
            for name, subject in self._conditions
            if (name, subject) not in names
        ]
        for one in (*seen, *gone):
            self._look(one)
        await self.write()

    def _look(self, seen: Seen) -> None:
        name, ticks = (seen.name, seen.subject), self._clock.ticks()
        condition = self._conditions.get(name)
        if condition is None:
            if not seen.holds:
                return
            condition = self._conditions[name] = Condition()
        ahead = self._clock.now() - ticks
        ended = condition.ended
        if seen.is_gone:
            change = condition.leave(ticks)
        else:
            change = condition.look(
                seen.holds,
                ticks,
                seen.timing,
                severity=seen.severity,
                since=None if seen.since is None else seen.since - ahead,
            )
        if change is None:
            return
        began = (ticks if condition.since is None else condition.since) + ahead
        report = _Report(
            name=seen.name,
            subject=seen.subject,
            change=change,
            severity=condition.severity,
            since=round(began, 6),
            ended=(ticks if ended is None else ended) + ahead,
            details=seen.details(),
            is_gone=seen.is_gone,
        )
        self._unwritten.append(report)

    async def report(
        self,
        name: str,
        subject: str,
        details: Details,
        *,
        since: float | None = None,
        quiet: float = 0.0,
    ) -> None:
        """Report a thing that has no end, at most once in `quiet` seconds."""
        ticks, now = self._clock.ticks(), self._clock.now()
        last = self._reported.get((name, subject))
        if last is not None and ticks - last < quiet:
            return
        self._reported[name, subject] = ticks
        report = _Report(
            name=name,
            subject=subject,
            change=None,
            severity=KINDS[name].severity,
            since=round(now if since is None else since, 6),
            ended=now,
            details=details,
        )
        self._unwritten.append(report)
        await self.write()

    async def test(self, name: str, guard: Guard = unguarded) -> Planned:
        """Report a sample of an alert, as one that was just raised. Raises Unavailable."""
        kind, at = KINDS[name], self._now()
        data = kind.make(
            kind.subject,
            kind.sample,
            severity=kind.severity,
            since=at,
            now=at,
            labels={},
            sample=True,
        )
        planned = self._plan(kind.subject, data, at, self._identity.event_id(at))
        await self._journal.submit(guard(RecordOwn(planned)))
        self._keep(planned, planned.event.id)
        return planned

    # --- events ---------------------------------------------------------------------------

    async def write(self) -> None:
        """Store what is not stored yet, in its order. What fails is tried at the next call."""
        waiting, self._unwritten = self._unwritten, []
        try:
            while waiting:
                together = _distinct(waiting)
                found = await asyncio.gather(*map(self._write, together), return_exceptions=True)
                results = list(zip(together, found, strict=True))
                failed = [one for one, result in results if isinstance(result, Unavailable)]
                waiting = failed + waiting[len(together) :]
                for _, result in results:
                    if isinstance(result, BaseException) and not isinstance(result, Unavailable):
                        raise result
                if failed:
                    break  # the journal's own monitor has logged it
                if waiting:
                    await asyncio.sleep(_BETWEEN)
        finally:
            self._unwritten = waiting + self._unwritten

    async def _write(self, report: _Report) -> None:
        kind, name = KINDS[report.name], (report.name, report.subject)
        at, labels = self._now(), self._labels(report.subject)
        stored = self._stored.get(name)
        planned: Planned | None
        line = LineNumber()
        if report.change is ConditionChange.CLEARED:
            if stored is None:
                return
            details = {**_details_of(stored), **report.details}
            data = kind.make_end(
                report.subject,
                details,
                severity=Severity(stored.severity),
                since=stored.since,
                ended=report.ended,
                raised_by=stored.event,
                labels=labels,
                is_gone=report.is_gone,
            )
            planned = None if data is None else self._plan(report.subject, data, at)
            # It is no longer checked. If it is checked again, `quiet` does not apply.
            raised_at = 0.0 if report.is_gone else stored.raised_at
            condition = msgspec.structs.replace(stored, cleared_at=at, raised_at=raised_at)
        else:
            is_worse = report.change is ConditionChange.WORSE and stored is not None
            since = stored.since if is_worse and stored is not None else report.since
            data = kind.make(
                report.subject,
                report.details,
                severity=report.severity,
                since=since,
                now=at,
                labels=labels,
            )
            # A severity that rose is another event about the same condition.
            planned = self._plan(report.subject, data, at, *([report.severity] * is_worse))
            if report.change is None:
                await self._journal.submit(RecordOwn(planned), line=line)
                self._keep(planned, planned.event.id)
                _log("alert.raised", report, planned.event.id, line.n)
                return
            condition = StoredCondition(
                name=report.name,
                subject=report.subject,
                since=since,
                raised_at=at,
                severity=report.severity,
                event=planned.event.id,
                data=msgspec.json.encode(report.details).decode(),
            )
            if is_worse and stored is not None:
                condition = msgspec.structs.replace(
                    condition, raised_at=stored.raised_at, event=stored.event
                )
        write = SetCondition(condition, planned, forget=at - _KEPT)
        recorded = await self._journal.submit(write, line=line)
        if planned is not None and recorded.ids and condition.event == planned.event.id:
            # An earlier write of this event may have been stored, though it seemed to fail.
            condition = msgspec.structs.replace(condition, event=recorded.ids[0])
        self._stored[name] = condition
        is_end = report.change is ConditionChange.CLEARED
        event_id = recorded.ids[0] if recorded.ids else None
        if planned is not None and event_id is not None:
            self._keep(planned, event_id)
        _log("alert.cleared" if is_end else "alert.raised", report, event_id, line.n)

    def _plan(self, subject: str, data: System, at: float, *parts: str) -> Planned:
        # The same after a restart: an event that is stored already is not recorded again.
        key = Key(parts=(data.type, subject, data.since, *parts))
        happening = Happening(subject=subject, time=None, keys=(key,), data=data)
        return self._planner.plan(SOURCE, happening, at)

    def _now(self) -> float:
        return round(self._clock.now(), 6)

    def _labels(self, subject: str) -> dict[str, str]:
        kind, _, name = subject.partition("/")
        state = self._current.sources.get(name) if kind == "source" else None
        return {} if state is None else dict(state.source.labels)


def _distinct(reports: Sequence[_Report]) -> Sequence[_Report]:
    """Return the first reports, up to the second one about the same thing, or _TOGETHER."""
    found: dict[tuple[str, str], _Report] = {}
    for one in reports[:_TOGETHER]:
        if (one.name, one.subject) in found:
            break
        found[one.name, one.subject] = one
    return tuple(found.values())


def _details_of(stored: StoredCondition) -> Details:
    """Return the details of a stored condition, with their types."""
    kind, found = KINDS[stored.name], msgspec.json.decode(stored.data)
    types = {field.name: field.type for field in msgspec.structs.fields(kind.begin)}
    details = {name: msgspec.convert(value, types[name]) for name, value in found.items()}
    return kind.named(stored.subject, details)


def _recent_alert(event: Event | _Stored, data: System | _StoredData, event_id: str) -> RecentAlert:
    return RecentAlert(
        event=event_id,
        type=event.type,
        subject=event.subject,
        severity=data.severity,
        state=data.state,
        summary=data.summary,
        sample=data.sample,
        at=event.recordedtime,
    )


def _log(event: str, report: _Report, event_id: str | None, leaf: int | None) -> None:
    fields = {
        "name": report.name,
        "subject": report.subject,
        "severity": report.severity.value,
        "event_id": event_id,
        "leaf": leaf,
    }
    if event == "alert.raised" and report.severity is Severity.CRITICAL:
        log.error(event, **fields)
    elif event == "alert.raised" and report.severity is Severity.WARNING:
        log.warning(event, **fields)
    else:
        log.info(event, **fields)
