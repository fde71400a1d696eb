"""The conditions that smshook reports: their events, and what they say to people."""

from collections.abc import Mapping
from typing import Any

import msgspec

from core import event
from core.clock import rfc3339
from core.event import SYSTEM, System

from ..conditions import Severity

#: The fields of an event beside the common ones.
Details = Mapping[str, Any]

#: The page of the runbooks. Each kind has a heading there.
_RUNBOOKS = "docs/alerts.md"
#: The summary if its sink or source was removed, or its alert switched off.
_GONE = "smshook no longer checks {subject} for {alert}, after {lasted}: the configuration changed"
_GB = 1e9
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60))


class AlertKind(msgspec.Struct, frozen=True, kw_only=True):
    """A condition, or a thing that is reported once."""

    begin: type[System]
    #: None: its end is not reported.
    end: type[System] | None = None
    severity: Severity = Severity.WARNING
    #: The summaries, with the names of details, and `lasted` at the end.
    text: str
    end_text: str = ""
    #: The subject and the details of a test.
    subject: str
    sample: Details

    @property
    def name(self) -> str:
        return self.begin.type.removeprefix(SYSTEM)

    def summary(self, details: Details, *, now: float) -> str:
        """Return one line for people about its begin, as it reads now."""
        return self.text.format_map({**details, **_words(details, now)})

    def make(
        self,
        subject: str,
        details: Details,
        *,
        severity: Severity,
        since: float,
        now: float,
        labels: Mapping[str, str],
        sample: bool = False,
    ) -> System:
        """Return the data of the event about its begin."""
        details = self.named(subject, details)
        summary = self.summary(details, now=now)
        return self.begin(
            **_common(self.name, subject, since=since, labels=labels, sample=sample),
            severity=severity,
            state="once" if self.end is None else "raised",
            summary=f"Sample: {summary}" if sample else summary,
            **details,
        )

    def make_end(
        self,
        subject: str,
        details: Details,
        *,
        severity: Severity,
        since: float,
        ended: float,
        raised_by: str,
        labels: Mapping[str, str],
        is_gone: bool = False,
    ) -> System | None:
        """Return the data of the event about its end. `raised_by` is the id of the first event.

        `is_gone`: the service has stopped looking, so it may still hold.
        """
        if self.end is None:
            return None
        details = self.named(subject, details)
        lasted = max(0.0, ended - since)
        named = {"alert": self.name, "subject": subject, "lasted": written(lasted)}
        said = {**details, **_words(details, ended), **named}
        return self.end(
            **_common(self.name, subject, since=since, labels=labels, sample=False),
            severity=severity,
            state="cleared",
            summary=(_GONE if is_gone else self.end_text).format_map(said),
            for_=round(lasted, 3),
            id_raised=raised_by,
            **details,
        )

    def named(self, subject: str, details: Details) -> Details:
        """Return the details with the source that the subject names, for events that have it."""
        has_source = "source" in self.begin.__struct_fields__
        return {"source": subject.partition("/")[2], **details} if has_source else details


def _common(
    name: str, subject: str, *, since: float, labels: Mapping[str, str], sample: bool
) -> dict[str, Any]:
    """Return the fields that all events about the service have, beside those that differ."""
    began = rfc3339(since)
    return {
        "provider": None,
        "channel": "service",
        "labels": labels,
        "sample": sample,
        "time_from": "received",
        "since": began,
        "dedup": f"{name} {subject} {began}",
        "runbook": f"{_RUNBOOKS}#{name}",
    }


def _words(details: Details, now: float) -> Mapping[str, str]:
    """Return further values for the texts, made from the details.

    `asks`: the names of sources. `why`: the error of a sink with its status, as in `(status 503)`.
    `pending`, `deliveries`, `waiting`, `lines`: a number, with words that agree with it. `lost`:
    how many deliveries, and to which sink. `key_ends`: which key or certificate ends, and when.
    `room`: the free space of the disk. `full`: when it is full, if that is known. `last_line`: the
    last line that an anchor has, if that is known.
    """
    count, owed, size = (details.get(one, 0) for one in ("count", "owed", "size"))
    name, days = details.get("name"), details.get("days_left")
    error = [str(details[one]) for one in ("error", "status") if details.get(one) is not None]
    room = f"{_size(details.get('free', 0))} of {_size(details.get('total', 0))}"
    sink = f"to the sink {details.get('sink')}"
    at = details.get("ends_at")
    ends = f"{'expired' if at is not None and at <= rfc3339(now) else 'ends'} at {at}"
    orders = details.get("waiting_orders", 0)
    return {
        "asks": ", ".join(details.get("asked", ())),
        "why": f" ({' '.join(error)})" if error else "",
        "room": room,
        "full": "" if days is None else f"; it is full in {days:.1f} days",
        "pending": _counted(owed, "is pending", "are pending"),
        "deliveries": _counted(owed, "delivery is pending", "deliveries are pending"),
        "waiting": _counted(orders, "order waits", "orders wait"),
        "lines": _counted(size, "line", "lines"),
        "last_line": f" since line {size}" if size else "",
        "lost": _counted(count, f"delivery {sink} was", f"deliveries {sink} were"),
        "key_ends": {
            "api_key": f"the API key {name} {ends}",
            "certificate": f"the certificate of the sink {name} {ends}",
            "provider_key": f"the provider refuses the key of the source {name}",
        }.get(str(details.get("kind")), ""),
    }


def _counted(count: int, one: str, several: str) -> str:
    """Return `1 delivery` or `2 deliveries`."""
    return f"{count} {one if count == 1 else several}"


def _size(of: int) -> str:
    """Return `900 MB` or `1.5 GB`."""
    return f"{of / _GB:.1f} GB" if of >= _GB else f"{of / 1e6:.0f} MB"


def written(seconds: float) -> str:
    """Return `10m`: rounded to the largest unit of which there are two or more."""
    unit, size = next((one for one in _UNITS if seconds >= 2 * one[1]), ("s", 1))
    return f"{round(seconds / size)}{unit}"


_AT = "2026-12-01T09:30:00.000000Z"
_SINK = {"sink": "crm", "owed": 12, "oldest": _AT}
_KINDS = (
    AlertKind(
        begin=event.SinkFailing,
        end=event.SinkRecovered,
        text="no delivery to the sink {sink} succeeds{why}; {pending}",
        end_text="the sink {sink} works again after {lasted}; {deliveries}",
        subject="sink/crm",
        sample={**_SINK, "status": 503, "error": "status", "failing_since": _AT},
    ),
    AlertKind(
        begin=event.SinkPaused,
        end=event.SinkResumed,
        text="the sink {sink} is paused ({by}); its deliveries wait",
        end_text="the sink {sink} was resumed after {lasted}",
        subject="sink/crm",
        sample={"sink": "crm", "by": "failing"},
    ),
    AlertKind(
        begin=event.DeliveryDead,
        text="{lost} given up ({ended})",
        subject="sink/crm",
        sample={
            "sink": "crm",
            "count": 1,
            "events": ("01931c5e-0000-7000-8000-000000000000",),
            "ended": "dead",
        },
    ),
    AlertKind(
        begin=event.OwedOld,
        end=event.OwedRecovered,
        text="a delivery to the sink {sink} has been pending since {oldest}; {pending}",
        end_text="no delivery to the sink {sink} is pending for long any more, after {lasted}",
        subject="sink/crm",
        sample=_SINK,
    ),
    AlertKind(
        begin=event.SourceSilent,
        end=event.SourceHeard,
        text="callbacks of {source} are overdue; {waiting} for one",
        end_text="callbacks of {source} come again after {lasted}",
        subject="source/tellabot",
        sample={"source": "tellabot", "expect_every": 3600.0, "last_at": _AT, "waiting_orders": 0},
    ),
    AlertKind(
        begin=event.QuarantineGrowing,
        end=event.QuarantineQuiet,
        text="{count} callbacks of {source} were not understood ({reason}): {hint}",
        end_text="callbacks of {source} are understood again, after {lasted}",
        subject="source/tellabot",
        sample={
            "source": "tellabot",
            "count": 6,
            "reason": "malformed",
            "hint": "smshook quarantine list",
        },
    ),
    AlertKind(
        begin=event.RejectionsGrowing,
        end=event.RejectionsQuiet,
        text="{count} requests were rejected ({reason}, the last from {peer}): {hint}",
        end_text="few requests are rejected again, after {lasted}",
        subject="door",
        sample={
            "reason": "token",
            "peer": "192.0.2.7",
            "count": 21,
            "hint": "smshook rejections",
        },
    ),
    AlertKind(
        begin=event.DiskLow,
        end=event.DiskRecovered,
        text="{room} are free on the disk of the journal{full}",
        end_text="the disk of the journal has room again, after {lasted}: {room} are free",
        subject="service",
        sample={
            "free": 900 << 20,
            "total": 40 << 30,
            "days_left": 2.5,
            "journal_bytes": 12 << 30,
        },
    ),
    AlertKind(
        begin=event.ClockOff,
        end=event.ClockRecovered,
        text="the clock of this machine is off by {offset:+.1f} s, compared with {against}",
        end_text="the clock of this machine is right again, after {lasted}",
        subject="service",
        sample={"offset": 12.5, "against": "sink/crm"},
    ),
    AlertKind(
        begin=event.KeyExpiring,
        text="{key_ends}",
        subject="key/dashboard",
        sample={"kind": "api_key", "name": "dashboard", "ends_at": _AT},
    ),
    AlertKind(
        begin=event.BackfillFailing,
        end=event.BackfillRecovered,
        text="the provider of {source} cannot be asked for missed messages ({error})",
        end_text="the provider of {source} answers again, after {lasted}",
        subject="source/tellabot",
        sample={"source": "tellabot", "error": "busy"},
    ),
    AlertKind(
        begin=event.ReadsUnusual,
        text="the key {key} read {count} codes within {within:g} s, most of them by {how}",
        subject="key/ana",
        sample={"key": "ana", "count": 101, "within": 900.0, "how": "list"},
    ),
    AlertKind(
        begin=event.AuditNotAnchored,
        end=event.AuditAnchored,
        text="{anchor} has received no lines of the audit log{last_line}",
        end_text="{anchor} receives the audit log again, after {lasted}",
        subject="anchor/disk2",
        sample={"anchor": "disk2", "size": 120},
    ),
    AlertKind(
        begin=event.AuditRefused,
        severity=Severity.CRITICAL,
        text="the witness {anchor} has seen a different audit log",
        subject="anchor/friend",
        sample={"anchor": "friend", "size": 120},
    ),
    AlertKind(
        begin=event.AuditCheckpoint,
        severity=Severity.INFO,
        text="the audit log has {lines}; keep this signed state",
        subject="audit",
        # No program may take it for a checkpoint.
        sample={"anchor": "git", "size": 120, "note": "This is a sample, and not signed.\n"},
    ),
    AlertKind(
        begin=event.ErasureLate,
        end=event.ErasureRecovered,
        severity=Severity.CRITICAL,
        text="{kind}: kept {overdue:.0f} s longer than `retention` allows",
        end_text="nothing is kept longer than `retention` allows, after {lasted}",
        subject="service",
        sample={"kind": "codes", "overdue": 7300.0},
    ),
    AlertKind(
        begin=event.ConfigRejected,
        text="a reload failed, so the former configuration stays in force: {complaints.first}",
        subject="service",
        sample={"complaints": event.Complaints(count=1, first="smshook.yaml:14: sinks.log.type")},
    ),
    AlertKind(
        begin=event.Gap,
        text="no callbacks were accepted until {until}; asked for them: {asks}",
        subject="service",
        sample={"until": _AT, "asked": ("tellabot",)},
    ),
)
#: By name, such as `sink_failing`.
KINDS: Mapping[str, AlertKind] = {kind.name: kind for kind in _KINDS}
