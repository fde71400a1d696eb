"""Copies the lines of the audit log to a file, for programs that collect logs."""

import asyncio
import contextlib
import gzip
import os
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from core.clock import WallClock
from core.errors import Broken, Unavailable
from journal import Journal
from journal.audit.lines import leaf_of
from journal.reads import AuditLines, AuditLogs, LeavesAt, LineFilter, Moment
from journal.writes import SetMoment
from sinks.file.lines import LineForm
from sinks.file.writer import appending
from sinks.sink import Failed

from ..config.options import Auditing, Config
from .outputs import Output

#: Seconds between two looks at the log, and until a failed write is tried again.
LOOK_EVERY, RETRY = 1.0, 5.0
#: Seconds between two records of the place, beside that of the file itself.
_NOTED_EVERY = 60.0
#: Lines of one write.
_LINES = 1000
#: Bytes at the end of a file, which hold its last line.
_TAIL = 64 * 1024
_PLACE = "audit_file"

LINES: Final = LineForm(
    (b'{"n":', b'{"erased":"'),
    (frozenset({"n", "at", "do"}), frozenset({"erased"})),
    re.compile(rb'"at":"([^"]+)"'),
)


class _Line(msgspec.Struct, frozen=True):
    n: int
    at: datetime


class AuditFile:
    """Appends each line of the log to `audit.file`, in order.

    It continues after the last line of the file, so a crash neither loses nor repeats a line. After
    a restore, it may continue with the log that the restore began. If the file has no line, it
    continues at a place that the journal keeps. Lines of the last minute may then be repeated.
    """

    def __init__(self, journal: Journal, clock: WallClock) -> None:
        self._journal, self._clock = journal, clock
        self._options = Auditing()
        self._changed = asyncio.Event()
        self._noted = float("-inf")
        self.output = Output("file", clock.now)

    @property
    def is_on(self) -> bool:
        return self._options.file is not None

    def use(self, config: Config) -> None:
        """Write to the file that the configuration names, from now on."""
        before, self._options = self._options, config.audit
        if (before.file, before.rotate) != (config.audit.file, config.audit.rotate):
            self._changed.set()

    async def run(self, *, every: float = LOOK_EVERY) -> None:
        """Copy new lines, until cancelled."""
        while True:
            self._changed.clear()
            wait: float | None = RETRY
            try:
                await self._copy(lambda: self._wait(every))
                wait = None if self._options.file is None else 0.0
            except Failed as failure:
                self.output.failed(failure.word)
            except Broken:
                return  # the service ends
            except Unavailable:
                pass  # the journal's own monitor has logged it
            await self._wait(wait)

    async def finish(self) -> None:
        """Copy the last lines, after `run` was cancelled. Raises Unavailable."""

        async def end() -> bool:
            return False

        with contextlib.suppress(Failed):  # the next start copies them
            await self._copy(end)

    async def _wait(self, seconds: float | None) -> bool:
        """Wait; return False as soon as the options change."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        return not self._changed.is_set()

    async def _copy(self, more: Callable[[], Awaitable[bool]]) -> None:
        """Copy lines, as long as `more` returns True. Raises Failed and Unavailable."""
        options, file = self._options, self._options.file
        if file is None:
            return
        async with appending(file, options.rotate, now=self._clock.now, form=LINES) as append:
            place = await self._place(Path(file))
            while True:
                page = await self._journal.ask(AuditLines(after=place, limit=_LINES))
                if page.items:
                    await append(b"".join([line + b"\n" for _, line in page.items]))
                    place = page.next_seq
                    await self._note(place)
                self.output.succeeded()
                if not page.has_more and not await more():
                    return

    # --- the place ------------------------------------------------------------------------

    async def _place(self, path: Path) -> int:
        """Return the place of the last line that the file has."""
        line = await asyncio.to_thread(last_line, path)
        its = None
        with contextlib.suppress(msgspec.DecodeError):  # an erased line has no number
            its = None if line is None else msgspec.json.decode(line, type=_Line)
        if line is not None and its is not None:
            logs = await self._journal.ask(AuditLogs())
            # The lines of an earlier log have the same numbers.
            for log in reversed(logs):
                is_there = its.n < log.size
                found = await self._journal.ask(LeavesAt(log.first, its.n, 1)) if is_there else ()
                if [*map(leaf_of, found)] == [leaf_of(line)]:
                    return log.first + its.n + 1
            since = LineFilter(since=its.at.timestamp())
            younger = await self._journal.ask(AuditLines(limit=1, filter=since))
            # Places of pages count from 1.
            if len(logs) > 1 and all(place > logs[-1].first for place, _ in younger.items):
                # The line is younger than the restored backup: the file has all its lines.
                return logs[-1].first
        return int(await self._journal.ask(Moment(_PLACE)) or 0)

    async def _note(self, place: int) -> None:
        """Keep the place now and then: another program may take the file away."""
        if self._clock.ticks() >= self._noted + _NOTED_EVERY:
            await self._journal.submit(SetMoment(_PLACE, place))
            self._noted = self._clock.ticks()


def last_line(path: Path) -> bytes | None:
    """Return the last whole line of a file, or of the one that was last set aside, if any."""
    aside = path.with_name(f"{path.name}.1")
    for one in (path, aside, aside.with_name(f"{aside.name}.gz")):
        with contextlib.suppress(OSError, EOFError):
            lines = _tail(one).split(b"\n")
            found = next((line for line in reversed(lines) if LINES.is_line(line)), None)
            if found is not None:
                return found
    return None


def _tail(path: Path) -> bytes:
    if path.suffix == ".gz":
        with gzip.open(path) as packed:
            return packed.read()[-_TAIL:]
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        # Some file systems leave NUL bytes in place of lost data.
        return file.read().rstrip(b"\0")
