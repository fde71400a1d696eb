"""The guarantees of a configuration in words: callers, routes, retries, who sees codes."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import fields

from core import erasure
from core.errors import Unavailable
from core.event import SOURCE, Event, SinkFailing
from core.units import Duration
from journal.reads import PendingBySink
from journal.sqlite.deliveries import pending_by_sink
from journal.sqlite.inspection import may_be_in_clear
from journal.sqlite.read_only import open_read_only
from journal.sqlite.schema import WrongJournal
from routes.index import is_tried_always
from routes.match import compile_filter
from routes.table import Route, compile_table
from sinks.erased import needed
from sinks.http.client import masked_url
from sinks.redact import CODES, clear_codes
from sinks.sink import Sink

from ..config.kept import key_kept, with_events
from ..config.options import Anchor, Auditing, Config, Retention
from ..config.shapes import tag_of
from ..config.show import plain as written

#: Attempts to add up; a longer schedule is cut off.
_ADDED = 1000
#: Of a journal without `seal`.
IN_CLEAR = "texts, numbers and codes are stored in clear: smshook seal init"


def promises(config: Config) -> Iterator[str]:
    """Yield a line for each source, route and sink."""
    yield "sources" if config.sources else "sources: none, so no callback is accepted"
    for name, source in config.sources.items():
        tokens = "1 token" if len(source.tokens) == 1 else f"{len(source.tokens)} tokens"
        callers = ", ".join(source.allow_from)
        addresses = f"only from {callers}" if callers else "from any address"
        rate = f", at most {written(source.rate)}" if source.rate else ""
        yield f"  {name}: {tag_of(type(source))}; {tokens}, {addresses}{rate}"
    yield "routes" if config.routes else "routes: none, so events are stored but not sent"
    for name, route in config.routes.items():
        costs = "; tried for every event" if _is_tried_always(name, route) else ""
        yield f"  {name}: {_route(route, config.sinks)}{costs}"
    yield "sinks" if config.sinks else "sinks: none"
    for name, sink in config.sinks.items():
        clear = list(clear_codes(sink.redact))
        if len(clear) == len(CODES):
            codes = "codes in clear"
        else:
            codes = f"codes in clear in {_and(clear)}" if clear else "codes masked"
        yield f"  {name}: {sink.place(config.folder)}; {codes}"
    yield from _kept(config.retention)
    yield from _audited(config.audit, config.folder)
    yield from _alerted(config)
    if config.subscriptions.allow_networks:
        networks = ", ".join(config.subscriptions.allow_networks)
        yield f"subscriptions: endpoints may also be in private networks: {networks}"


def _kept(retention: Retention) -> Iterator[str]:
    yield "retention"
    shown = {field.name: getattr(retention, field.name) for field in fields(retention)}
    for kind, kept in shown.items():
        is_removed = retention.events is not None and kind != "quarantine"
        stays = "kept as long as the event" if is_removed else "kept forever"
        words = stays if kept is None else f"erased after {written(kept)}"
        yield f"  {kind}: {words}{_but(kind, retention)}"


def _audited(audit: Auditing, folder: Path) -> Iterator[str]:
    """Yield what the audit log records, and who could show that it was changed."""
    yield "audit"
    what = "everything" if audit.record == "all" else "acts only, no callbacks and deliveries"
    kept = "forever" if audit.keep is None else f"for {written(audit.keep)}"
    yield f"  records {what}, kept {kept}"
    if audit.file is not None:
        yield f"  file {_near(audit.file, folder)}: the same lines"
    for name, anchor in audit.anchors.items():
        yield f"  anchor {name}: {_anchor(anchor, folder)}"
    for name, witness in audit.witnesses.items():
        yield f"  witness {name}: {masked_url(witness.url)} signs each state"
    if not audit.anchors and not audit.witnesses:
        yield "  no anchor: nobody notices if today's lines are cut off or rewritten"


def _anchor(anchor: Anchor, folder: Path) -> str:
    if anchor.file is not None:
        when = "with each checkpoint" if anchor.every is None else f"each {written(anchor.every)}"
        return f"a signed state to {_near(anchor.file, folder)} {when}"
    every = "1h" if anchor.every is None else written(anchor.every)
    if anchor.command is not None:
        return f"a signed state to {anchor.command[0]} each {every}"
    return f"a signed state to the sink {anchor.sink} each {every}"


def _near(file: str, folder: Path) -> Path:
    path = Path(file)
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _but(kind: str, retention: Retention) -> str:
    """Return what another rule does to this kind of data."""
    codes = retention.codes
    if kind == "raw" and retention.callbacks != retention.raw:
        return f"; with the codes and numbers in them, after {written(retention.callbacks)}"
    longer = retention.quarantine is None or (codes or 0) < retention.quarantine
    if kind == "quarantine" and codes is not None and longer:
        return f"; they may hold codes, which are erased after {written(codes)} elsewhere"
    return ""


def _alerted(config: Config) -> Iterator[str]:
    """Yield who is notified when a sink fails."""
    yield "alerts"
    at = "2026-12-01T09:30:00.000000Z"
    data = SinkFailing(
        provider=None,
        channel="service",
        labels={},
        sample=False,
        time_from="received",
        severity="warning",
        state="raised",
        summary="",
        since=at,
        dedup="",
        runbook="",
        sink=next(iter(config.sinks), ""),
        status=503,
        error="status",
        failing_since=at,
        owed=1,
        oldest=at,
    )
    event = Event(
        id="",
        source=SOURCE,
        type=data.type,
        subject=f"sink/{data.sink}",
        time=at,
        recordedtime=at,
        dedupekey="",
        data=data,
    )
    fields: Mapping[str, object] = msgspec.to_builtins(event)
    table = compile_table(config.routes)
    sinks = list(dict.fromkeys(to for route in table if route.matches(fields) for to in route.to))
    if not sinks:
        yield "  nobody is told when a sink fails: add a route for system.*"
    elif len(sinks) == 1:
        yield f"  to {sinks[0]} only: nobody is notified if it fails itself; add a second sink"
    else:
        yield f"  to {_and(sinks)}"
    if config.heartbeat.url is not None:
        yield f"  heartbeat each {written(config.heartbeat.every)}"


def secrecy(config: Config, root_files: Sequence[Path | None]) -> Iterator[str]:
    """Yield what is encrypted, when it is erased, and what a thief of the journal's disk gets.

    `root_files` has the file of each root key; None: it comes from the environment.
    """
    yield "secrecy"
    journal, keys = config.journal.path, config.seal.path
    if config.seal.is_on:
        yield (
            f"  {journal.name}: texts, codes, numbers and callbacks encrypted, also in its"
            " backups; services, states and times in clear"
        )
        with contextlib.suppress(Unavailable, WrongJournal):  # `forgotten` says so
            if may_be_in_clear(journal):
                yield (
                    f"  {journal.name}: rows from before it was encrypted stay in clear, also in"
                    " its backups, until `smshook seal migrate` is done"
                )
        yield f"  {keys.name}: their keys, wrapped with the root key"
        yield f"  keys are destroyed: {', '.join(_destroyed(config))}"
        yield f"  {_thief(config, root_files)}"
    else:
        yield f"  {journal.name}: {IN_CLEAR}"
        yield (
            f"  {keys.name}: the keys of the audit log, wrapped with server.secret;"
            " this does not protect them from anyone who has the configuration"
        )
    for name, sink in config.sinks.items():
        codes = ["texts", "codes"] if needed(sink, erasure.CODES) else []
        clear = [*codes, *(["numbers"] if needed(sink, erasure.PEOPLE) else [])]
        for path in sink.written_files().values() if clear else ():
            yield f"  {path.name} of {name}: {_and(clear)} in clear; smshook erases none of them"


def _destroyed(config: Config) -> Iterator[str]:
    """Yield when the keys of each kind are destroyed: after its time, at the end of a period."""
    period, day = config.seal.period, Duration(86400)
    unused = with_events(config.retention)
    for kind, its in (("codes", period), ("people", day), ("raw", period), ("quarantine", day)):
        kept = key_kept(config.retention, kind)
        if kept is None:
            yield f"{kind} never"
        elif kind in unused:
            yield f"{kind} with their events within {written(Duration(kept + day))}"
        else:
            yield f"{kind} within {written(Duration(kept + its))}"


def _thief(config: Config, root_files: Sequence[Path | None]) -> str:
    """Return what a thief of the journal's disk gets."""
    disk = _device(config.journal.path.parent)
    only = "a stolen disk opens the journal only if it holds"
    if _device(config.seal.path.parent) != disk:
        return f"the keys lie on another file system: {only} them, too"
    if any(path is not None and _device(path) == disk for path in root_files):
        return "the root key lies on the journal's disk: a stolen disk opens it"
    if config.seal.command:
        return f"{config.seal.command[0]} prints the root key: {only} what that needs"
    if None in root_files:
        return f"the root key comes from the environment: {only} that key, too"
    return f"the root key lies on another file system: {only} that key, too"


def _device(path: Path) -> int | None:
    """Return the number of the disk of a file; None if there is no file."""
    with contextlib.suppress(OSError):
        return path.stat().st_dev
    return None


def forgotten(config: Config) -> Iterator[str]:
    """Yield a warning for each removed sink with pending deliveries."""
    path = config.journal.path
    if not path.exists():
        return
    try:
        with contextlib.closing(open_read_only(path)) as conn:
            owed = pending_by_sink(conn, PendingBySink())
    except sqlite3.Error as exc:
        yield f"{path.name}: cannot read the pending deliveries: {exc}"
        return
    for name, count in owed.items():
        if name not in config.sinks:
            deliveries = "1 delivery is" if count == 1 else f"{count} deliveries are"
            yield (
                f"{path.name}: {deliveries} pending for {name!r}, which is no longer a sink; "
                "they wait until a sink has that name"
            )


def _is_tried_always(name: str, route: Route) -> bool:
    """Return whether a route has conditions, but no equality clause."""
    if route.when is None:
        return False
    return is_tried_always(compile_filter(route.when, f"routes.{name}.when"))


def _route(route: Route, sinks: Mapping[str, Sink]) -> str:
    if route.when is None:
        what = "every sms, call, rental, number and account event"
    else:
        what = f"each event with {json.dumps(route.when, ensure_ascii=False)}"
    if not route.to:
        return f"{what} is stored but not sent"
    patience = {name: _patience(sinks[name]) for name in route.to}
    if len(set(patience.values())) == 1:
        [words, *_] = patience.values()
    else:
        words = "; ".join(f"{name}: {words}" for name, words in patience.items())
    return f"{what} goes to {_and(list(patience))}; delivered at least once, {words}"


def _and(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _patience(sink: Sink) -> str:
    waits = [sink.retry.wait(failures, lambda: 0.0) for failures in range(_ADDED)]
    scheduled = [wait for wait in waits if wait is not None]
    longest = sum(scheduled)
    expires = sink.expire_after
    if expires is not None and expires <= longest:
        return f"retried until it expires, {_about(expires)} after acceptance"
    if len(scheduled) == 1:
        words = "tried once, then dead"
    elif len(scheduled) == _ADDED:
        words = f"retried for {_about(longest)} or more"
    else:
        words = f"retried for about {_about(longest)}, then dead"
    if expires is not None:
        # This happens, for example, if the service was stopped for a while.
        words += f"; expired if {_about(expires)} pass before that"
    return words


def _about(seconds: float) -> str:
    """Return `37 h`: the largest unit of which there are two or more."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
