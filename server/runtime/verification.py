"""Verifies the audit log of this service, in small steps beside its work.

Rules that live here: all lines are read after the start, once a day and on demand; new lines as
soon as a signed state covers them. A log that was changed stays so until all lines are read again.
It finds changes to the file. Whoever can change this program, too, is found by an auditor only.
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog

from core.clock import WallClock
from core.errors import Unavailable
from journal import Journal
from journal.actor import ACTING, SERVICE, Actor
from journal.audit.check import Changed, LogCheck
from journal.audit.lines import Fact
from journal.audit.note import Checkpoint, VerifierKey
from journal.reads import AuditLog, AuditLogs, Checkpoints, LeavesAt, LogBeginning

from .audit import AuditFacts
from .supervisor import repeat

#: Seconds between two looks at what is due.
LOOK_EVERY = 1.0
#: Seconds between two checks of new lines, and between two of all lines.
EVERY, WHOLE_EVERY = 30.0, 86_400.0
#: Lines of one step.
_STEP = 1_024
#: The pause after a step: a multiple of the time that it took, and at least these seconds.
_PAUSES, _BETWEEN = 3.0, 0.01
#: Lines after the newest signed state that may name an erased line.
_REST = 10_000
_NAMES = b'"do":"audit.erased"'
_PRUNED = b'"do":"audit.pruned"'

log = structlog.get_logger()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the last check of the log said. Times are seconds since the epoch."""

    outcome: Literal["unchecked", "unchanged", "changed"] = "unchecked"
    #: The first lines of the log that signed states prove.
    size: int = 0
    #: When they were compared last, or since when a change is known; when all lines were read last.
    at: float | None = None
    whole_at: float | None = None
    #: Where it was changed, in words.
    error: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a check of all lines is."""

    lines: int
    of: int


class _Pruned(Exception):
    """Old lines were removed while they were read."""


class AuditVerifier:
    """Verifies the log, from time to time and if asked."""

    def __init__(self, journal: Journal, facts: AuditFacts, clock: WallClock) -> None:
        self._journal, self._facts, self._clock = journal, facts, clock
        self.verdict = Verdict()
        #: None: all lines are not read just now.
        self.progress: Progress | None = None
        #: Those who asked for a check that has not begun.
        self._asked: list[Actor] = []
        #: The check of the present log, and the place of its first line. None: there is none that
        #: can go on.
        self._check: tuple[LogCheck, int] | None = None
        self._next = self._next_whole = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether a check of all lines was asked for, or is under way."""
        return bool(self._asked) or self.progress is not None

    def start(self) -> None:
        """Read all lines again, on behalf of the actor of this context."""
        self._asked.append(ACTING.get())

    async def run(self, *, every: float = LOOK_EVERY) -> None:
        """Do what is due, until cancelled."""
        await repeat(self.look, every)

    async def look(self) -> None:
        """Do what is due. Raises Unavailable."""
        at, check = self._clock.ticks(), self._check
        if self._asked or at >= self._next_whole:
            actors, self._asked = self._asked, []
            self.progress = Progress(0, 0)
            try:
                await self._judge(None)
            except Unavailable:
                self._asked = [*actors, *self._asked]
                raise
            except _Pruned:
                self._asked = [*actors, *self._asked]
                return
            finally:
                self.progress = None
            self._next_whole = at + WHOLE_EVERY
            self._next = self._clock.ticks() + EVERY
            self._report(actors)
        elif check is not None and at >= self._next:
            self._next = at + EVERY
            try:
                await self._judge(check)
            except _Pruned:
                self._next_whole = at
            if self.verdict.outcome == "changed":
                self._report(())

    def _report(self, actors: Sequence[Actor]) -> None:
        """Record the verdict for those who asked; without them, only that of a change."""
        verdict = self.verdict
        if verdict.outcome == "changed":
            log.error("audit.changed", where=verdict.error)
            actors = actors or (SERVICE,)
        said = {"size": verdict.size, "outcome": verdict.outcome}
        for actor in actors if verdict.outcome != "unchecked" else ():
            self._facts.later(Fact("audit.verified", {**actor.fields, **said}))

    async def _judge(self, check: tuple[LogCheck, int] | None) -> None:
        """Go on with a check, or read all lines, and keep the verdict. Raises _Pruned."""
        verdict, found = self.verdict, None
        try:
            if check is None:
                found = await self._read_all()
            else:
                await self._read(*check)
                found = check
        except Changed as changed:
            self._check = None
            since = verdict.at if verdict.outcome == "changed" else self._clock.now()
            self.verdict = Verdict(
                outcome="changed", size=verdict.size, at=since, error=str(changed)
            )
            return
        self._check = found
        if found is not None:
            now = self._clock.now()
            self.verdict = Verdict(
                outcome="unchanged",
                size=found[0].covered,
                at=now,
                whole_at=now if check is None else verdict.whole_at,
            )

    # --- reading --------------------------------------------------------------------------

    async def _read_all(self) -> tuple[LogCheck, int] | None:
        """Read all logs; return the check of the present one. None: it is not signed yet."""
        logs = await self._journal.ask(AuditLogs())
        total, before = sum(one.size - one.pruned for one in logs), 0
        checked = None
        for found, following in zip(logs, [*logs[1:], None], strict=True):
            checked = None
            if found.key is not None:
                try:
                    check = await self._begin(found)
                    await self._read(check, found.first, Progress(before, total))
                    if following is not None:
                        await self._end(check, found, following)
                except Changed as changed:
                    older = "" if following is None else f"the log {found.origin}: "
                    raise Changed(f"{older}{changed}") from None
                checked = check, found.first
            before += found.size - found.pruned
        return checked

    async def _begin(self, found: AuditLog) -> LogCheck:
        try:
            beginning = await self._journal.ask(LogBeginning(found.first, found.pruned))
            return LogCheck(found.origin, VerifierKey.parse(found.key or ""), beginning)
        except ValueError:
            raise Changed("the keys of the log are damaged") from None

    async def _read(self, check: LogCheck, first: int, progress: Progress | None = None) -> None:
        """Read up to the newest signed state. `progress` is that before this log."""
        stored = await self._journal.ask(Checkpoints(first))
        newest = max((one.size for one in stored), default=0)
        check.expect(one.note for one in stored if one.size >= check.size)
        begin = check.size
        while check.size < newest:
            await self._step(check, first, newest)
            if progress is not None:
                self.progress = Progress(progress.lines + check.size - begin, progress.of)
        unnamed, pruned_to = check.unnamed, check.pruned_to
        if unnamed or pruned_to < check.start:
            # The line that names it may not be signed yet.
            rest = await self._journal.ask(LeavesAt(first, check.size, _REST))
            unnamed -= {json.loads(line)["of"] for line in rest if _NAMES in line}
            pruned = (json.loads(line)["to"] for line in rest if _PRUNED in line)
            pruned_to = max(pruned_to, *pruned, 0)
        if pruned_to < check.start:
            raise Changed(f"lines before {check.start} are gone, but no line audit.pruned says so")
        if unnamed:
            raise Changed(f"line {min(unnamed)} is erased, but no line audit.erased names it")

    async def _step(self, check: LogCheck, first: int, until: int) -> None:
        began, at = self._clock.ticks(), check.size
        count = min(_STEP, until - at)
        try:
            lines = await self._journal.ask(LeavesAt(first, at, count))
            await asyncio.to_thread(check.take, lines)
            if len(lines) < count:
                raise Changed(f"line {check.size} is missing")  # noqa: TRY301 - may be pruned
        except Changed:
            logs = await self._journal.ask(AuditLogs())
            if not any(one.first == first and one.pruned <= at for one in logs):
                raise _Pruned from None
            raise
        await asyncio.sleep(max(_BETWEEN, _PAUSES * (self._clock.ticks() - began)))

    async def _end(self, check: LogCheck, ended: AuditLog, following: AuditLog) -> None:
        """Read the lines after the last signed state. The next log names the end of this one."""
        while check.size < ended.size:
            await self._step(check, ended.first, ended.size)
        line, *_ = [*await self._journal.ask(LeavesAt(following.first, 0, 1)), b"{}"]
        fact = json.loads(line)
        if fact.get("do") == "journal.restored":  # else it is pruned or erased
            state = Checkpoint(fact["origin"], fact["size"], base64.b64decode(fact["root"]))
            check.meets(state, "the log that follows")
