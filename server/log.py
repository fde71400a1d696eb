"""Logs: JSON lines for machines, one readable line a thing for a terminal."""

import asyncio
import json
import logging
import select
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, BinaryIO

import structlog

from journal.event import rfc3339
from journal.plain import plain

Fields = MutableMapping[str, Any]
Render = Callable[[Any, str, Fields], bytes]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: Bytes of lines that wait for a reader; beyond it lines are dropped and counted.
BUFFERED = 1024 * 1024
#: Seconds in which lines gather before they are written.
_GATHER = 0.005
#: Bytes of one write.
_AT_ONCE = 64 * 1024
#: Longer values are cut: a provider's word for a service may be pages long.
_LONGEST = 200
#: Accepted events whose delivery a terminal's line still waits for.
_REMEMBERED = 1000


def configure(
    out: BinaryIO,
    *,
    people: bool,
    level: str,
    now: Callable[[], float],
    buffered: int = BUFFERED,
) -> None:
    """Send everything that this process logs to `out`, which is an unbuffered file.

    A thread of its own writes the lines: whoever logs never waits for a reader. Lines that do not
    fit into `buffered` bytes are dropped; `log.dropped` says how many, once the reader is back.
    """
    write_out()
    render: Render = Readable(now) if people else json_line
    stamp = _Stamp(now)

    def report(dropped: int) -> bytes:
        fields: Fields = {"event": "log.dropped", "lines": dropped}
        return render(None, "warning", stamp(None, "warning", fields))

    lines = _Lines(out, report, buffered)
    _lines[:] = [lines]
    structlog.configure(
        processors=[stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_args: lines,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def forward_stderr() -> None:
    """Log what Python itself would print to stderr, which may be a pipe that nobody reads."""
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _unraisable


def write_out(within: float = 1.0) -> bool:
    """Wait until every line is written, `within` seconds at most; False if some are left.

    For a process that is about to end.
    """
    return all(lines.flush(within) for lines in _lines)


def say(text: str) -> None:
    """Print a text for people between the lines of the log, without waiting for its reader."""
    for lines in _lines:
        lines.msg(f"{text}\n".encode(errors="backslashreplace"))


class _Lines:
    """Whole lines on their way to a reader who may be slow, stuck or gone.

    The lines of one turn of the event loop reach the writer together: waking it costs as much as
    making a line.
    """

    def __init__(self, out: BinaryIO, report: Callable[[int], bytes], buffered: int) -> None:
        self._out, self._report, self._buffered = out, report, buffered
        self._loop: asyncio.AbstractEventLoop | None = None  # that will wake the writer
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        #: Bytes that are not written yet.
        self._size = 0
        #: Lines that were lost since the last report.
        self._dropped = 0
        #: The last write worked.
        self._works = True
        #: The last line was cut short, by a full disk.
        self._torn = False
        self._writer: threading.Thread | None = None
        #: Never set: the writer waits for it for a moment.
        self._gathering = threading.Event()

    def msg(self, line: bytes) -> None:
        if not line:
            return
        with self._changed:
            if self._size + len(line) > self._buffered:
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
        self._wake_soon()

    debug = info = warning = error = critical = msg

    def flush(self, within: float) -> bool:
        if self._waits():
            self._wake()
        with self._changed:
            return self._changed.wait_for(lambda: not self._waits(), within)

    def _waits(self) -> bool:
        return self._size > 0 or (self._dropped > 0 and self._works)

    def _wake_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._wake()
            return
        if loop is not self._loop:
            self._loop = loop
            loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._loop = None
        with self._changed:
            if self._writer is None:
                # A daemon: a reader who never comes back must not keep the process.
                self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._writer.start()
            self._changed.notify_all()

    # In the writer's thread

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._waits)
            # Under load the lines of many turns are one write, and wake this thread once. Not
            # time.sleep: under libfaketime it can raise EINVAL, which would end this thread.
            self._gathering.wait(_GATHER)
            with self._changed:
                said = self._next()
            left = self._write(said)
            with self._changed:
                self._size -= len(said)
                self._works = not left
                self._dropped += left
                dropped = self._dropped if self._works else 0
            if dropped:
                works = not self._write(self._report(dropped))
                with self._changed:
                    self._works = works
                    self._dropped -= dropped if works else 0
            with self._changed:
                self._changed.notify_all()

    def _next(self) -> bytes:
        taken, size = [], 0
        while self._lines and size < _AT_ONCE:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def _write(self, lines: bytes) -> int:
        """How many lines were not written whole."""
        # What comes after a torn line begins a line of its own.
        left = memoryview(b"\n" + lines if self._torn and lines else lines)
        whole = len(left)
        try:
            while left:
                written = self._out.write(left)
                if written is None:  # somebody made it non-blocking, which all who have it share
                    _wait_until_writable(self._out.fileno())
                else:
                    left = left[written:]
        except (OSError, ValueError):  # the disk is full, the reader is gone
            pass
        if len(left) == whole:
            return lines.count(b"\n")
        self._torn = len(left) > 0
        return bytes(left).count(b"\n")


def _wait_until_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    structlog.get_logger().error("library.complained", error=args.exc_type.__name__)


#: The one that `configure` made.
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

    An event gets its line when a delivery was attempted; until then its words are remembered.
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
                return f"{self._event(fields)} → {_outcome(fields, self._now())}"
            case "delivery.dead" | "delivery.expired":
                return f"{self._event(fields)} → {_end(fields)}"
            case "callback.duplicate":
                return f"{self._event(fields)} received again: duplicate"
        words = _WORDS.get(fields["event"])
        return words(fields) if words else _others(fields)

    def _remember(self, fields: Fields) -> str | None:
        line = _event(fields)
        self._accepted[fields["event_id"]] = line
        if len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        return None if fields["sinks"] else f"{line} → no route matches; kept"

    def _event(self, fields: Fields) -> str:
        """An event from before the start is not remembered: its line says what the fields do."""
        id_ = str(fields["event_id"])
        return self._accepted.get(id_) or (_event(fields) if "type" in fields else id_)


def _event(fields: Mapping[str, Any]) -> str:
    words = (fields["type"], fields["source"], fields.get("service"), fields.get("to"))
    return " ".join(str(word) for word in words if word)


def _outcome(fields: Mapping[str, Any], now: float) -> str:
    sink = fields["sink"]
    if fields["outcome"] == "delivered":
        again = f", attempt {fields['attempt']}" if fields["attempt"] > 1 else ""
        return f"{sink} ok {_milliseconds(fields['since_ms'])}{again}"
    status = f" {fields['status']}" if fields.get("status") else ""
    why = _WHY.get(fields["error"], fields["error"])
    if fields.get("due_at") is None:
        return f"{sink} {fields['outcome']}: {why}{status}, given up"
    wait = _seconds(max(0, fields["due_at"] - now))
    if fields.get("probe"):
        return f"{sink} probe {fields['outcome']}: {why}{status}, next attempt in {wait}"
    return f"{sink} {fields['outcome']}: {why}{status}, again in {wait}"


def _end(fields: Mapping[str, Any]) -> str:
    sink, attempts = fields["sink"], f"after {_counted(fields['attempt'], 'attempt')}"
    if fields["event"] == "delivery.expired":
        return f"{sink} expired {attempts}"
    return f"{sink} dead {attempts}; smshook deliveries retry {fields['delivery_id']}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _milliseconds(took: float) -> str:
    return f"{took:.0f} ms" if took < 1000 else _seconds(took / 1000)  # noqa: PLR2004 - a second


def _seconds(wait: float) -> str:
    """`0.2 s`, `34 s`, `5 m 34 s`, `2 h 5 m`, `1 d 3 h`."""
    if round(wait, 1) < 1:
        return f"{wait:.1f} s"
    minutes, seconds = divmod(round(wait), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 0)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def _quarantined(fields: Mapping[str, Any]) -> str:
    source, reason = fields.get("source"), fields.get("reason")
    why = f"({reason})"
    if reason == "address":
        why = f"because allow_from does not name {fields.get('peer')}"
    show = f"smshook quarantine show {fields.get('quarantine_id')}"
    return f"{source}: callback quarantined {why}; {show}"


def _rejected(fields: Mapping[str, Any]) -> str:
    reason = str(fields.get("reason"))
    who = ", ".join(str(it) for it in (fields.get("source"), fields.get("peer")) if it)
    words = f"rejected: {_REASONS.get(reason, reason)}" + (f" ({who})" if who else "")
    return words + _and_more(fields)


def _unavailable(fields: Mapping[str, Any]) -> str:
    who = ", ".join(str(it) for it in (fields.get("source"), fields.get("peer")) if it)
    return "callback answered 503" + (f" ({who})" if who else "") + _and_more(fields)


def _and_more(fields: Mapping[str, Any]) -> str:
    return f"; {fields['unlogged']} more not shown" if fields.get("unlogged") else ""


def _backfilled(fields: Mapping[str, Any]) -> str | None:
    """None for a round on the timer that found nothing."""
    source, error = fields["source"], fields.get("error")
    if error is not None:
        return f"{source}: backfill failed: {error}: {fields.get('detail')}"
    if fields["why"] == "timer" and not fields["new"]:
        return None
    notices = ", ".join(fields.get("notices") or ())
    found = f"{fields['new']} new, {fields['known']} already stored"
    return f"{source}: backfill finished, {found}{notices and f' ({notices})'}"


def _stopped(fields: Mapping[str, Any]) -> str:
    pending = fields.get("pending")
    if pending is None:
        return "stopped"
    return f"stopped; {pending} {'delivery' if pending == 1 else 'deliveries'} pending"


def _nothing(_fields: Mapping[str, Any]) -> None:
    return None


def _money(fields: Mapping[str, Any]) -> str:
    currency = fields.get("currency")
    return f"{fields['amount']} {currency}" if currency else str(fields["amount"])


#: What people read in place of an event's name and fields.
_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "account.low": lambda fields: (
        f"{fields['source']}: balance {_money(fields)} is below {fields['threshold']}"
    ),
    "backfill.finished": _backfilled,
    "balance.unreadable": lambda fields: f"{fields['source']}: the balance is not a number",
    "callback.quarantined": _quarantined,
    "callback.rejected": _rejected,
    "callback.unavailable": _unavailable,
    "config.warning": lambda fields: str(fields.get("warning")),
    "connections.full": lambda fields: (
        f"{fields.get('most')} connections are open: idle ones are closed for new ones"
    ),
    "journal.sqlite_old": _nothing,
    "log.dropped": lambda fields: (
        f"{_counted(fields['lines'], 'line')} of this log dropped: nothing read it"
    ),
    "service.gap": lambda fields: (
        f"not running since {fields['since']}: backfill looks for missed messages"
    ),
    "service.started": _nothing,  # the welcome says more
    "service.stopping": _nothing,  # `stopped` follows within seconds
    "service.stopped": _stopped,
    "sink.paused": lambda fields: f"{fields.get('sink')} paused ({fields.get('reason')})",
    "sink.resumed": lambda fields: f"{fields.get('sink')} resumed",
    "sink.readable_by_others": lambda fields: (
        f"others can read {fields.get('path')}; keep it private with chmod 600"
    ),
    "sink.mended": lambda fields: (
        f"{fields.get('path')}: removed an unfinished last line ({fields.get('bytes')} bytes);"
        " its deliveries are sent again"
    ),
}
#: Why a request was rejected.
_REASONS = {
    "address": "address not in allow_from",
    "connections": "too many connections",
    "method": "method not allowed",
    "path": "unknown path",
    "rate": "over the source's rate",
    "signature": "invalid signature",
    "timeout": "body not complete in time",
    "token": "invalid token",
    "too_large": "body too large",
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
