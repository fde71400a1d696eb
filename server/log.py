"""Logs: JSON lines for machines, one readable line a thing for a terminal."""

import asyncio
import contextlib
import json
import logging
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, BinaryIO

import structlog

from journal.event import rfc3339
from journal.plain import plain

Fields = MutableMapping[str, Any]
Render = Callable[[Any, str, Fields], bytes]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: Longer values are cut: a provider's word for a service may be pages long.
_LONGEST = 200
#: Accepted events whose delivery a terminal's line still waits for.
_REMEMBERED = 1000


def configure(out: BinaryIO, *, people: bool, level: str, now: Callable[[], float]) -> None:
    """Set it up, once: everything that logs in this process comes out here.

    `out` is unbuffered: what a reader that has gone did not take must not wait for it, and fail
    again at exit.
    """
    render: Render = Readable(now) if people else json_line
    lines = _Lines(out)
    _lines[:] = [lines]
    structlog.configure(
        processors=[_Stamp(now), render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_args: lines,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def write_out() -> None:
    """What was said must be written now: the process is about to end."""
    for lines in _lines:
        lines.write_out()


class _Lines:
    """Writes whole lines; a reader that has gone away must not stop the service.

    What is said in one turn of the event loop is written at its end, at once: each write lets the
    interpreter's other threads go first.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._torn = False
        self._said: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will write it out

    def msg(self, line: bytes) -> None:
        if not line:
            return
        self._said.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write_out()
            return
        if loop is not self._loop:
            self._loop = loop
            loop.call_soon(self.write_out)

    def write_out(self) -> None:
        self._loop = None
        said, self._said = self._said, []
        if said:
            self._write(b"".join(said))

    def _write(self, lines: bytes) -> None:
        left = memoryview(b"\n" + lines if self._torn else lines)
        whole = len(left)
        with contextlib.suppress(OSError, ValueError):
            while left and (written := self._out.write(left)):
                left = left[written:]
            self._out.flush()
        if len(left) < whole:
            # The disk became full in the middle: what comes next begins a line of its own.
            self._torn = len(left) > 0

    debug = info = warning = error = critical = msg


#: The one that is set up.
_lines: list[_Lines] = []


class _Forward(logging.Handler):
    """What libraries say: where, not what. Their texts may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        where = f"{record.name}:{record.lineno}"
        if exc is not None and exc.__traceback__ is not None:
            last = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{last.filename}:{last.lineno}"
        log = structlog.get_logger()
        # A library may have levels of its own; ours are two from here on.
        complain = log.error if record.levelno >= logging.ERROR else log.warning
        complain(
            "library.complained",
            logger=record.name,
            error=type(exc).__name__ if exc else None,
            where=where,
        )


class _Stamp:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def __call__(self, _logger: Any, method: str, fields: Fields) -> Fields:
        said = {"ts": rfc3339(self._now()), "level": method, "event": fields.pop("event")}
        for name, value in fields.items():
            said[name] = _cut(value) if type(value) is str and len(value) > _LONGEST else value
        return said


def _cut(text: str) -> str:
    return text[:_LONGEST] + "…"


def json_line(_logger: Any, _method: str, fields: Fields) -> bytes:
    """One line of ASCII: no value can end it, forge another, or drive a terminal."""
    said = {name: value for name, value in fields.items() if value is not None}
    return _encode(said).encode() + b"\n"


def _kind(value: object) -> str:
    # A value that JSON does not know might be a secret's holder: its kind is all that is said.
    return f"<{type(value).__name__}>"


_encode = json.JSONEncoder(separators=(",", ":"), default=_kind).encode


class Readable:
    """`18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms`.

    An event's line is written when its delivery was attempted; until then what was said at the
    door is remembered.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._accepted: OrderedDict[str, str] = OrderedDict()

    def __call__(self, _logger: Any, _method: str, fields: Fields) -> bytes:
        said = self._said(fields)
        if said is None:
            return b""
        clock = time.strftime("%H:%M:%S", time.localtime(self._now()))
        mark = {"warning": "! ", "error": "!! "}.get(fields["level"], "")
        return f"{clock} {mark}{plain(said)}\n".encode(errors="replace")

    def _said(self, fields: Fields) -> str | None:
        match fields["event"]:
            case "callback.accepted" | "order.expired":
                return self._remember(fields)
            case "delivery.attempted":
                return f"{self._event(fields['event_id'])} → {_outcome(fields, self._now())}"
            case "callback.duplicate":
                return f"{self._event(fields['event_id'])} came again: duplicate"
            case "service.started":
                return None  # the welcome says more
        words = _WORDS.get(fields["event"])
        return words(fields) if words else _others(fields)

    def _remember(self, fields: Fields) -> str | None:
        words = (fields["type"], fields["source"], fields.get("service"), fields.get("to"))
        line = " ".join(str(word) for word in words if word)
        self._accepted[fields["event_id"]] = line
        if len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        return None if fields["sinks"] else f"{line} → no route takes it; kept"

    def _event(self, event_id: str) -> str:
        return self._accepted.get(event_id, event_id)


def _outcome(fields: Mapping[str, Any], now: float) -> str:
    sink = fields["sink"]
    if fields["outcome"] == "delivered":
        again = f", attempt {fields['attempt']}" if fields["attempt"] > 1 else ""
        return f"{sink} ok {fields['since_ms']:.0f} ms{again}"
    status = f" {fields['status']}" if fields.get("status") else ""
    why = _WHY.get(fields["error"], fields["error"])
    if fields.get("due_at") is None:
        return f"{sink} {fields['outcome']}: {why}{status}, given up"
    wait = _seconds(max(0, fields["due_at"] - now))
    return f"{sink} {fields['outcome']}: {why}{status}, again in {wait}"


def _seconds(wait: float) -> str:
    """`0.2 s`; whole ones from 1 s on."""
    return f"{wait:.0f} s" if round(wait, 1) >= 1 else f"{wait:.1f} s"


def _quarantined(fields: Mapping[str, Any]) -> str:
    source, reason = fields.get("source"), fields.get("reason")
    what = f"was not understood ({reason})"
    if reason == "address":
        what = f"came from {fields.get('peer')}, which allow_from does not name; it is kept"
    show = f"smshook quarantine show {fields.get('quarantine_id')}"
    return f"{source}: a callback {what}; {show}"


def _rejected(fields: Mapping[str, Any]) -> str:
    who = ", ".join(str(it) for it in (fields.get("source"), fields.get("peer")) if it)
    return f"turned away: {fields.get('reason')}" + (f" ({who})" if who else "")


#: Warnings that people see, in words.
def _backfilled(fields: Mapping[str, Any]) -> str | None:
    """A round that was due and brought nothing is nothing to read."""
    source, error = fields["source"], fields.get("error")
    if error is not None:
        return f"{source}: its provider was asked and {error}: {fields.get('detail')}"
    if fields["why"] == "timer" and not fields["new"]:
        return None
    notices = ", ".join(fields.get("notices") or ())
    found = f"{fields['new']} new, {fields['known']} known"
    return f"{source}: its provider was asked: {found}{notices and f' ({notices})'}"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "backfill.finished": _backfilled,
    "callback.quarantined": _quarantined,
    "callback.rejected": _rejected,
    "journal.sqlite_old": lambda fields: (
        f"SQLite {fields.get('version')} is old; safe here, see docs/operations.md"
    ),
    "sink.readable_by_others": lambda fields: (
        f"others can read {fields.get('path')}; chmod 600 keeps it to you"
    ),
    "sink.mended": lambda fields: (
        f"{fields.get('path')}: a last line that was cut short is taken off"
        f" ({fields.get('bytes')} bytes); what was in it is sent again"
    ),
}
#: Our words for errors that need more of them.
_WHY = {"missing": "its folder is missing"}


def _others(fields: Mapping[str, Any]) -> str:
    rest = (
        f"{name}={value}"
        for name, value in fields.items()
        if name not in ("ts", "level", "event", "request_id") and value is not None
    )
    return " ".join((str(fields["event"]), *rest))
