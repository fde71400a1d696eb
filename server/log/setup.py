"""Logs: JSON lines for machines, readable lines for a terminal."""

import asyncio
import json
import logging
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import Any, BinaryIO

import structlog

from core.clock import rfc3339

from .people import Fields, Readable

Render = Callable[[Any, str, Fields], bytes]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: Bytes of lines that wait for a reader; beyond it lines are dropped and counted.
BUFFERED = 1024 * 1024
#: Seconds in which lines gather before they are written.
_GATHER = 0.005
#: Bytes of one write.
_AT_ONCE = 64 * 1024
#: Longer values are cut: a provider can send a service name of several pages.
_LONGEST = 200


def configure(
    out: BinaryIO,
    *,
    people: bool,
    level: str,
    now: Callable[[], float],
    buffered: int = BUFFERED,
) -> None:
    """Send everything that this process logs to `out`, which is an unbuffered file.

    A thread of its own writes the lines, so logging never waits for a reader. Lines that do not fit
    into `buffered` bytes are dropped. `log.dropped` counts them once the reader is back.
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
    """Log what Python would print to stderr, which may be a pipe without a reader."""

    def report(args: "sys.UnraisableHookArgs") -> None:
        structlog.get_logger().error("library.complained", error=args.exc_type.__name__)

    logging.captureWarnings(capture=True)
    sys.unraisablehook = report


def write_out(within: float = 1.0) -> bool:
    """Wait at most `within` seconds until every line is written; return False if some are left.

    Call this before the process ends.
    """
    return all(lines.flush(within) for lines in _lines)


def say(text: str) -> None:
    """Print a text for people between the lines of the log, without waiting for its reader."""
    for lines in _lines:
        lines.msg(f"{text}\n".encode(errors="backslashreplace"))


class _Lines:
    """Whole lines on their way to a reader that may be slow, stuck or gone.

    The lines of one turn of the event loop reach the writer together, because waking it costs as
    much as making a line.
    """

    def __init__(self, out: BinaryIO, report: Callable[[int], bytes], buffered: int) -> None:
        self._out, self._report, self._buffered = out, report, buffered
        self._loop: asyncio.AbstractEventLoop | None = None  # it will wake the writer
        self._lock = threading.Lock()  # entering it is cheaper than entering the condition
        self._changed = threading.Condition(self._lock)
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
        #: Never set. The writer waits for it to let lines gather.
        self._gathering = threading.Event()

    def msg(self, line: bytes) -> None:
        if not line:
            return
        with self._lock:
            if self._size + len(line) > self._buffered:
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._wake()
            return
        if loop is not self._loop:
            self._loop = loop
            loop.call_soon(self._wake)

    debug = info = warning = error = critical = msg

    def flush(self, within: float) -> bool:
        if self._waits():
            self._wake()
        with self._changed:
            return self._changed.wait_for(lambda: not self._waits(), within)

    def _waits(self) -> bool:
        return self._size > 0 or (self._dropped > 0 and self._works)

    def _wake(self) -> None:
        self._loop = None
        with self._changed:
            if self._writer is None:
                # A daemon: a reader that never comes back must not keep the process alive.
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
                taken, size = [], 0
                while self._lines and size < _AT_ONCE:
                    taken.append(self._lines.popleft())
                    size += len(taken[-1])
            left = self._write(b"".join(taken))
            with self._changed:
                self._size -= size
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

    def _write(self, lines: bytes) -> int:
        """Write lines; return how many were not written whole."""
        # Begin a new line after a torn one.
        left = memoryview(b"\n" + lines if self._torn and lines else lines)
        whole = len(left)
        try:
            while left:
                written = self._out.write(left)
                if written is None:  # another process that shares it made it non-blocking
                    poll = select.poll()
                    poll.register(self._out.fileno(), select.POLLOUT)
                    poll.poll()
                else:
                    left = left[written:]
        except (OSError, ValueError):  # the disk is full, the reader is gone
            pass
        if len(left) == whole:
            return lines.count(b"\n")
        self._torn = len(left) > 0
        return bytes(left).count(b"\n")


#: The one from `configure`.
_lines: list[_Lines] = []


class _Forward(logging.Handler):
    """Log the place of a library's message, not its text, which may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        # A filter of the HTTP server has replaced an exception by these.
        error = type(exc).__name__ if exc else getattr(record, "error", None)
        where = getattr(record, "where", f"{record.name}:{record.lineno}")
        if exc is not None and exc.__traceback__ is not None:
            last = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{last.filename}:{last.lineno}"
        log = structlog.get_logger()
        # A library can have levels of its own. Map them to two of ours.
        complain = log.error if record.levelno >= logging.ERROR else log.warning
        complain(
            "library.complained",
            logger=record.name,
            error=error,
            where=where,
        )


class _Stamp:
    """Put time, level and name of the event first, and cut long values."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now

    def __call__(self, _logger: Any, method: str, fields: Fields) -> Fields:
        line = {"ts": rfc3339(self.now()), "level": method, "event": fields.pop("event")}
        for name, value in fields.items():
            is_long = type(value) is str and len(value) > _LONGEST
            line[name] = f"{value[:_LONGEST]}…" if is_long else value
        return line


def json_line(_logger: Any, _method: str, fields: Fields) -> bytes:
    """Return one line of ASCII: no value can end it, forge another, or control a terminal."""
    line = {name: value for name, value in fields.items() if value is not None}
    return _encode(line).encode() + b"\n"


class _Encoder(json.JSONEncoder):
    def default(self, o: object) -> str:
        # A value unknown to JSON may hold a secret: show its type alone.
        return f"<{type(o).__name__}>"


_encode = _Encoder(separators=(",", ":")).encode


def json_output() -> Callable[[str], None] | None:
    """Return a function that logs a line of JSON with level `info`, or None if JSON is not logged.

    Its argument is the line from the event's name to the last field: `a.b","pid":7`.
    """
    config = structlog.get_config()
    stamp, *_, render = [None, *config["processors"]][-2:]
    if render is not json_line or not isinstance(stamp, _Stamp):
        return None
    now, write = stamp.now, config["logger_factory"]().msg

    def log(fields: str) -> None:
        line = f'{{"ts":"{rfc3339(now())}","level":"info","event":"{fields}}}\n'
        write(line.encode())

    return log


def json_value(value: object) -> str:
    """Return a value as a line of JSON has it."""
    if type(value) is str:
        return quote(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")
    return str(value) if type(value) is int else _encode(value)
