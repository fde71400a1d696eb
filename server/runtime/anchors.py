"""Takes signed states of the audit log away from the machine: to anchors and to witnesses.

An anchor keeps them. A witness signs them, too, if they continue those that it has seen. One that
is slow or hangs delays no other.
"""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from core.clock import WallClock
from core.errors import Unavailable
from core.event import SOURCE
from journal import Journal
from journal.audit.note import Checkpoint, Note, Signature, VerifierKey
from journal.reads import ConsistencyProof, Moment
from journal.writes import AddSignatures, RecordOwn, SetMoment
from receiver.callback import Happening, Key
from sinks.file.rotation import MODE, fsync_folder
from sinks.file.writer import word_of
from sinks.sink import Failed

from ..config.options import Anchor, Config, Witness
from .accept import Recorder
from .alert_kinds import KINDS
from .audit import AuditFacts, AuditKeeper, SignedLog
from .identity import Identity
from .outputs import Output
from .supervisor import repeat
from .witness import Forked, WitnessClient

#: Seconds between two looks at what is due.
LOOK_EVERY = 1.0
#: Seconds between two states of an anchor that is no file, if its options do not say it.
EVERY = 3600.0
#: Seconds until what failed is tried again.
RETRY = 60.0
#: Seconds that a look waits for witnesses, and then for anchors. Anchors get the signatures that
#: come in this time.
PATIENCE = 1.0
#: Seconds for a command.
WITHIN = 30.0
#: Bytes at the end of a file of notes, which hold a whole note.
_TAIL = 64 * 1024
_SIGNATURE = "\u2014 ".encode()
_ORIGIN = b"smshook/"

log = structlog.get_logger()


class _Place:
    """An anchor or a witness, and when it is due. Times are of the clock that only goes forward."""

    def __init__(self, options: Anchor | Witness, output: Output) -> None:
        self.options, self.output = options, output
        self.due = float("-inf")
        #: The state that it got last: lines, and how many of our own lines were written by then.
        self.size, self.ours = 0, 0
        #: When it got the last one, in seconds since the epoch; None: not known yet.
        self.at: float | None = None
        self.note = ""
        self.refuses = self.is_loaded = False


class AnchorState(msgspec.Struct, frozen=True, kw_only=True):
    """An anchor or a witness, as people see it. Times are seconds since the epoch."""

    name: str
    #: The lines of the last state that it got; None: not known.
    size: int | None
    #: None: not known.
    at: float | None
    failing_since: float | None
    refuses: bool


class Anchors:
    """Gives each anchor and each witness what it is due."""

    def __init__(
        self,
        keeper: AuditKeeper | None,
        facts: AuditFacts,
        *,
        journal: Journal,
        recorder: Recorder,
        identity: Identity,
        clock: WallClock,
    ) -> None:
        """`keeper` has the newest signed state."""
        self._keeper, self._journal, self._facts = keeper, journal, facts
        self._recorder, self._identity, self._clock = recorder, identity, clock
        self._folder = Path()
        self._places: dict[str, _Place] = {}
        self._clients: dict[str, WitnessClient] = {}
        #: The lines about anchoring. If no other line is new, there is nothing to anchor.
        self._ours = 0
        #: A stored note, and the same with the signatures of witnesses.
        self._signed = ("", "")
        self._signing = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()

    def _newest(self) -> SignedLog | None:
        return None if self._keeper is None else self._keeper.newest

    def use(self, config: Config) -> None:
        """Serve the anchors and witnesses of the configuration, from now on."""
        self._folder = config.folder
        audit, before = config.audit, self._places
        wanted: Mapping[str, Anchor | Witness] = {
            **{f"anchor/{name}": anchor for name, anchor in audit.anchors.items()},
            **{f"witness/{name}": witness for name, witness in audit.witnesses.items()},
        }
        self._places = {
            name: before[name]
            if name in before and before[name].options == options
            else _Place(options, Output(name, self._clock.now))
            for name, options in wanted.items()
        }
        self._clients = {
            name: self._clients[name]
            if before.get(name) is place
            else WitnessClient(place.options.url, VerifierKey.parse(place.options.key))
            for name, place in self._places.items()
            if isinstance(place.options, Witness)
        }

    def outputs(self) -> Sequence[Output]:
        return [place.output for place in self._places.values()]

    def anchored_at(self) -> Mapping[str, float | None]:
        """Return when each anchor, by name, got its last state; None: it is not known yet."""
        return {
            place.output.name: place.at
            for place in self._places.values()
            if isinstance(place.options, Anchor)
        }

    def refusing(self) -> Mapping[str, bool]:
        """Return for each witness, by name, whether it refuses the log."""
        return {
            place.output.name: place.refuses
            for place in self._places.values()
            if isinstance(place.options, Witness)
        }

    def states(self) -> Sequence[AnchorState]:
        return [
            AnchorState(
                name=place.output.name,
                size=place.output.size or None,
                at=place.at or place.output.succeeded_at,
                failing_since=place.output.failing_since,
                refuses=place.refuses,
            )
            for place in self._places.values()
        ]

    async def run(self, *, every: float = LOOK_EVERY) -> None:
        """Do what is due, until cancelled."""
        try:
            await repeat(self.look, every)
        finally:
            await self._cancel()

    async def look(self, *, patience: float = PATIENCE) -> None:
        """Do what is due. Raises Unavailable."""
        newest = self._newest()
        if newest is None:
            return
        places = list(self._places.values())
        witnesses = [one for one in places if isinstance(one.options, Witness)]
        await self._begin(
            patience,
            *(self._ask_witness(one, newest) for one in witnesses if self._is_new(one, newest)),
        )
        note = Note.parse(self._with_signatures(newest))
        state = Checkpoint.parse(note.text)
        for place in places:
            await self._load(place, state.origin)
        anchors = [
            one for one in places if isinstance(one.options, Anchor) and self._is_due(one, state)
        ]
        await self._begin(patience, *(self._anchor(one, note, state) for one in anchors))

    async def _begin(self, patience: float, *works: Coroutine[Any, Any, None]) -> None:
        """Begin works, and wait a while for them; others end meanwhile. Raises Unavailable."""
        begun = {asyncio.create_task(work) for work in works}
        self._under_way |= begun
        if begun:
            await asyncio.wait(begun, timeout=patience)
        done = {task for task in self._under_way if task.done()}
        self._under_way -= done
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    async def _cancel(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    async def finish(self) -> None:
        """Give files the last state, after `run` was cancelled."""
        await self._cancel()
        newest = self._newest()
        for place in self._places.values() if newest is not None else ():
            options = place.options
            if newest is not None and isinstance(options, Anchor) and options.file is not None:
                with contextlib.suppress(Failed):  # the next start does it
                    await asyncio.to_thread(append_note, Path(options.file), newest.note)

    # --- witnesses ------------------------------------------------------------------------

    def _is_new(self, place: _Place, newest: SignedLog) -> bool:
        return place.note != newest.note and self._clock.ticks() >= place.due

    async def _ask_witness(self, place: _Place, newest: SignedLog) -> None:
        """Ask a witness, and store its signatures with the note."""
        note = Note.parse(newest.note)
        more = await self._ask(place, newest, note)
        if not more:
            return
        async with self._signing:  # the journal compares the note with the stored one
            before = Note.parse(self._with_signatures(newest))
            signed = str(Note(note.text, (*before.signatures, *more)))
            if await self._journal.submit(AddSignatures(newest.first, str(before), signed)):
                self._signed = (newest.note, signed)

    async def _ask(self, place: _Place, newest: SignedLog, note: Note) -> Sequence[Signature]:
        state = Checkpoint.parse(note.text)

        async def prove(old: int) -> Sequence[bytes] | None:
            return await self._journal.ask(ConsistencyProof(newest.first, old, state.size))

        output = place.output
        place.due = self._clock.ticks() + RETRY
        try:
            signatures = await self._clients[output.name].cosign(note, prove)
        except Forked:
            output.failed("refused")
            self._refused(place, state)
        except Failed as failure:
            output.failed(failure.word)
        else:
            place.note, place.due, place.refuses = newest.note, float("-inf"), False
            output.succeeded(state.size)
            with contextlib.suppress(Unavailable):  # the signatures matter more
                await self._journal.submit(SetMoment(_size(place, state.origin), state.size))
            return signatures
        return ()

    def _refused(self, place: _Place, state: Checkpoint) -> None:
        """Log the refusal, once until the witness signs again."""
        if not place.refuses:
            name = place.output.name.partition("/")[2]
            log.error("audit.refused", witness=name, size=state.size)
        place.refuses = True
        place.output.refused_size = state.size

    def _with_signatures(self, newest: SignedLog) -> str:
        note, signed = self._signed
        return signed if note == newest.note else newest.note

    # --- anchors --------------------------------------------------------------------------

    async def _load(self, place: _Place, origin: str) -> None:
        """Read which state of this log it got before the service started, and when."""
        if place.is_loaded:
            return
        if place.at is None and isinstance(place.options, Anchor):
            place.at = await self._journal.ask(Moment(_moment(place, origin))) or 0.0
        size = await self._journal.ask(Moment(_size(place, origin)))
        place.output.size = place.output.size or int(size or 0)
        place.is_loaded = True

    def _is_due(self, place: _Place, state: Checkpoint) -> bool:
        options = place.options
        if self._clock.ticks() < place.due or not isinstance(options, Anchor):
            return False
        if options.file is not None and options.every is None:
            return state.size - place.size > self._ours - place.ours
        age = self._clock.now() - (place.at or 0.0)
        # A clock that was set back makes it due.
        return not 0 <= age < (options.every or EVERY)

    async def _anchor(self, place: _Place, note: Note, state: Checkpoint) -> None:
        options, output = place.options, place.output
        if not isinstance(options, Anchor):
            return
        name = output.name.partition("/")[2]
        place.due = self._clock.ticks() + RETRY
        try:
            if options.file is not None:
                await asyncio.to_thread(append_note, Path(options.file), str(note))
            elif options.command is not None:
                await run_command(options.command, self._folder, str(note).encode())
            elif options.sink is not None:
                await self._send(name, options.sink, note, state)
        except Failed as failure:
            output.failed(failure.word)
            return
        place.due, place.at = float("-inf"), self._clock.now()
        place.size = state.size
        # Its own line is one of them.
        place.ours = self._ours
        self._ours += 1
        output.succeeded(state.size)
        self._facts.add("audit.anchored", {"by": "service", "anchor": name, "size": state.size})
        await asyncio.gather(
            self._journal.submit(SetMoment(_moment(place, state.origin), place.at)),
            self._journal.submit(SetMoment(_size(place, state.origin), state.size)),
        )

    async def _send(self, name: str, sink: str, note: Note, state: Checkpoint) -> None:
        at = round(self._clock.now(), 6)
        kind = KINDS["audit_checkpoint"]
        details = {"anchor": name, "size": state.size, "note": str(note)}
        data = kind.make(kind.subject, details, severity=kind.severity, since=at, now=at, labels={})
        # A new id each time: two of them are never the same event.
        key = Key(parts=(data.type, self._identity.event_id(at)))
        happening = Happening(subject=kind.subject, time=None, keys=(key,), data=data)
        await self._recorder.record_own(SOURCE, happening, RecordOwn, at=at, sinks=(sink,))


def _moment(place: _Place, origin: str) -> str:
    return f"anchored/{origin}/{place.output.name}"


def _size(place: _Place, origin: str) -> str:
    return f"anchored_size/{origin}/{place.output.name}"


async def run_command(
    command: Sequence[str], folder: Path, note: bytes, *, within: float = WITHIN
) -> None:
    """Run a program in a folder, with a note on its stdin.

    Its stderr is that of this process. Raises Failed with `missing`, `permission` or the like,
    `timeout`, or `exit_N`.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(word_of(error)) from None
    try:
        async with asyncio.timeout(within):
            await process.communicate(note)
    except TimeoutError:
        raise Failed("timeout") from None
    finally:
        if process.returncode is None:
            # The programs that it started are of its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise Failed(f"exit_{process.returncode}")


def append_note(path: Path, note: str, *, fsync: Callable[[int], None] = os.fsync) -> None:
    """Append a note to a file of notes, and fsync. A note that a crash cut off is removed.

    Raises Failed with a word of `sinks.file.writer`, or `not_notes`: the file is another one.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, MODE)
        try:
            _append(fd, note.encode(), fsync)
            fsync_folder(path, fsync)
        finally:
            os.close(fd)
    except OSError as error:
        raise Failed(word_of(error)) from None


def _append(fd: int, note: bytes, fsync: Callable[[int], None]) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise Failed("not_a_file")
    end = _end_of_notes(fd, found.st_size)
    if end < found.st_size:
        os.ftruncate(fd, end)
    try:
        rest = memoryview(note)
        while rest:
            rest = rest[os.write(fd, rest) :]
        fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):  # else the next note removes it
            os.ftruncate(fd, end)
        raise


def _end_of_notes(fd: int, size: int) -> int:
    """Return where the last whole signature line ends. Raises Failed if the file has no notes."""
    begin = max(0, size - _TAIL)
    lines = os.pread(fd, size - begin, begin).splitlines(keepends=True)
    kept = len(lines)
    while kept and not (lines[kept - 1].startswith(_SIGNATURE) and lines[kept - 1][-1:] == b"\n"):
        kept -= 1
    if size and not kept and not (begin == 0 and lines[0].startswith(_ORIGIN)):
        raise Failed("not_notes")
    return begin + sum(map(len, lines[:kept]))
