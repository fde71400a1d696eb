"""Signs the audit log with keys that are destroyed, keeps it small, and records other facts."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from core.clock import AgeClock, WallClock, rfc3339
from core.errors import Broken, Unavailable
from core.instants import parse_rfc3339
from journal import Journal, JournalHealth
from journal.actor import ACTING
from journal.audit.lines import Action, Fact, next_epoch
from journal.audit.note import Algorithm, Checkpoint, Note, SigningKey
from journal.facts import AuditOptions
from journal.keyring import EPOCH, LOG, Epoch, KeyFile, Keyring, KeySpan, WrappedKey
from journal.reads import (
    AuditLines,
    AuditLogs,
    Checkpoints,
    EventCount,
    EventFilter,
    Moments,
)
from journal.seal import Kind
from journal.writes import (
    Leaves,
    PackLog,
    PruneLog,
    RecordFacts,
    RecordFactsLater,
    SetMoment,
    SignCheckpoint,
    Write,
)
from sinks.redact import clear_codes
from sinks.worker import Worker

from ..config.options import Auditing, Config
from ..log.facts import log_facts
from ..log.frequent import FrequentLines
from .interrupted import interrupted_reads, newest_place
from .retention import AGES

#: Seconds between two looks at what is due.
LOOK_EVERY = 1.0
#: Seconds between two runs that pack lines, and between two that remove old ones.
PACK_EVERY, PRUNE_EVERY = 5.0, 3600.0
#: Seconds after which a sink that never succeeds counts as failing.
FAILING_AFTER = 60.0
#: Seconds between two steps of them.
BETWEEN = 0.02
#: Seconds that facts are counted, if they could be many.
COUNTED = 60.0
#: Seconds until a job that failed is tried again.
RETRY = 10.0
#: The kinds of keys that seal parts of events.
_OF_EVENTS = frozenset({Kind.CODES, Kind.PEOPLE, Kind.RAW})
#: The moments of keys with a line that says that they were made.
_KEY = "key/"
#: Different facts that are counted at a time; the others are counted together.
_COUNTS = 200
#: The most facts that wait while the journal cannot be written. Beyond that, the oldest are lost.
_WAITING = 10_000

log = structlog.get_logger()


class AuditFacts:
    """Records facts about what is not stored in the journal. They are written soon.

    Some are logged, too, once they are on disk.
    """

    def __init__(self, journal: Journal, lines: FrequentLines | None = None) -> None:
        self._journal, self._lines = journal, lines
        self._waiting: list[Fact] = []
        #: By action, reason and subject: how often, and the peers, at most two.
        self._counts: dict[tuple[Action, str, str], tuple[int, set[str]]] = {}

    def add(
        self,
        do: Action,
        fields: Mapping[str, Any] = {},
        then: Callable[[int | None], None] | None = None,
    ) -> None:
        """Record a fact on behalf of the actor of this context.

        `then` is called once, with the number of its line; None: it is not on disk, or has none.
        """
        self._submit((Fact(do, {**ACTING.get().fields, **fields}),), then)

    async def record(self, *facts: Fact) -> None:
        """Record facts that name their actor; return when they are on disk. Raises Unavailable."""
        log_facts(self._lines, facts, await self._journal.submit(RecordFacts(facts)))

    def count(self, do: Action, reason: str, subject: str, peer: str) -> None:
        """Count a fact that strangers could cause; it is recorded once a minute."""
        name = (do, reason, subject)
        if name not in self._counts and len(self._counts) >= _COUNTS:
            name = (do, reason, "*")
        count, peers = self._counts.get(name, (0, set()))
        if len(peers) < 2:  # noqa: PLR2004 - one peer, or several
            peers.add(peer)
        self._counts[name] = (count + 1, peers)

    def later(self, *facts: Fact, then: Callable[[int | None], None] | None = None) -> None:
        """Record facts that name their actor. They are written again if that fails.

        `then` is as for `add`.
        """
        self._submit(facts, then)

    def write_counts(self) -> None:
        """Record the counted facts."""
        counts, self._counts = self._counts, {}
        facts = []
        for (do, reason, subject), (count, peers) in counts.items():
            named = {"source" if do == "callback.rejected" else "key": subject} if subject else {}
            peer = min(peers) if len(peers) == 1 else "*"
            fields = {**named, "from": peer, "reason": reason, "count": count}
            facts.append(Fact(do, fields))
        if facts:
            self._submit(tuple(facts))

    def write_waiting(self) -> None:
        """Record the facts that could not be written."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._submit(tuple(waiting))

    def _submit(
        self, facts: tuple[Fact, ...], then: Callable[[int | None], None] | None = None
    ) -> None:
        def ended(outcome: Leaves | Exception) -> None:
            if then is not None:
                then(outcome[-1] if isinstance(outcome, tuple) else None)
            if isinstance(outcome, Unavailable):
                self._waiting = [*self._waiting, *facts][-_WAITING:]
            elif not isinstance(outcome, Exception):
                log_facts(self._lines, facts, outcome)

        self._journal.put(RecordFactsLater(facts), ended)


class SignedLog(msgspec.Struct, frozen=True):
    """The newest signed state of a log."""

    #: The place of its first line.
    first: int
    #: As the journal stores it.
    note: str
    #: When it was signed: seconds since the epoch.
    at: float

    @property
    def size(self) -> int:
        """Return the number of its lines."""
        return Checkpoint.parse(Note.parse(self.note).text).size


class AuditKeeper:
    """Signs, packs and prunes the audit log.

    `keys` are those of the key file, in which the keys of the log lie. `records` are the options
    that the journal was opened with. `seals`: the journal is sealed.
    """

    def __init__(
        self,
        journal: Journal,
        keys: Keyring,
        facts: AuditFacts,
        records: AuditOptions,
        *,
        clock: WallClock,
        version: str,
        seals: bool,
    ) -> None:
        self.facts = facts
        self._journal, self._keys, self._clock = journal, keys, clock
        self._records = records
        self._version, self._seals = version, seals
        self._options = Auditing()
        self._codes_kept: float | None = None
        self._origin, self._first = "", 0
        #: The number of the line about this start.
        self.started: int | None = None
        #: None: the log is not signed yet.
        self.newest: SignedLog | None = None
        self._epoch: Epoch | None = None
        #: The sinks whose last line says that they fail.
        self._failing: set[str] = set()
        #: Destroyed keys that have no line yet.
        self._destroyed: list[WrappedKey] = []
        #: Since when the journal cannot be written; None: it can.
        self._broken_since: float | None = None
        #: A clock that is set forward removes nothing.
        self._ages = AgeClock(clock, None)
        #: When the present epoch was made or found, by the clock that only goes forward.
        self._epoch_since = clock.ticks()
        #: When each job is due next, by the clock that only goes forward.
        self._due: dict[str, float] = {}

    def use(self, config: Config) -> None:
        """Keep the log as the configuration says, from now on."""
        self._options, self._codes_kept = config.audit, config.retention.codes
        self._records.everything = config.audit.record == "all"
        at = self._clock.ticks() + config.audit.checkpoint
        self._due["sign"] = min(at, self._due.get("sign", at))

    # --- start and end --------------------------------------------------------------------

    async def begin(self, config: Config) -> str | None:
        """Record the start and sign the log. Finish an interrupted change of its key.

        Return the first verifier key of a log that was not signed before. Raises Unavailable.
        """
        self._ages = AgeClock(self._clock, await self._journal.ask(AGES))
        logs = await self._journal.ask(AuditLogs())
        self._first, self._origin = logs[-1].first, logs[-1].origin
        last = await self._journal.ask(Checkpoints(self._first, newest=True))
        await self._record_start(config, since=last[0].at if last else None)
        await self._catch_up_with_keys()
        if not last:
            # Earlier epochs, of another log, end with it.
            self._epoch = await self._make_epoch()
            key = str(self._epoch_key(self._epoch).verifier)
            signer = str(log_key(self._origin, self._keys).verifier)
            await self._sign(self._epoch, keys=(key, signer))
            await self._forget_epochs()
            return key
        note, epochs = Note.parse(last[0].note), self._keys.epochs()
        self._epoch = epochs[-1]
        if not self._is_by(note, epochs[-1]) and not last[0].closes:
            signed = next(one for one in epochs if self._is_by(note, one))
            await self._close(signed, self._epoch)
        await self._sign(self._epoch)
        await self._forget_epochs()
        return None

    async def _record_start(self, config: Config, *, since: float | None) -> None:
        last = await self._last_line()
        facts = []
        if last is not None and last.get("do") not in ("service.stopping", "journal.restored"):
            gap = {} if since is None else {"since": rfc3339(since)}
            facts.append(Fact("service.gap", {"by": "service", **gap}))
            at = parse_rfc3339(last.get("at", ""))
            facts += await interrupted_reads(self._journal, max(at or 0.0, since or 0.0))
        started = {"by": "service", "version": self._version}
        loaded = {"by": "service", **loaded_fields(config)}
        place = len(facts)
        facts += [Fact("service.started", started), Fact("config.loaded", loaded)]
        if last is None:
            keys = filter(_has_lines, self._keys.file.keys.values())
            facts += [Fact("seal.made", {"by": "service", **_key_fields(key)}) for key in keys]
        leaves = await self._journal.submit(RecordFacts(tuple(facts)))
        self.started = None if leaves is None else leaves[place]

    async def _last_line(self) -> Mapping[str, Any] | None:
        """Return the last line of a service. Commands also write lines while no service runs."""
        after: int | None = None
        while True:
            page = await self._journal.ask(AuditLines(after=after, limit=10, desc=True))
            for _, text in page.items:
                line: Mapping[str, Any] = msgspec.json.decode(text)
                if not line.get("by", "").startswith("cli/") or line["do"] == "journal.restored":
                    return line
            if not page.has_more:
                return None
            after = page.next_seq

    async def end(self) -> None:
        """Record the end of the service, and sign the log. Raises Unavailable."""
        await self.record_keys()
        self.facts.write_counts()
        stopping = RecordFacts((Fact("service.stopping", {"by": "service"}),))
        recorded = self._journal.submit(stopping)
        if self._epoch is not None:
            failed = self._keys.epochs()[-1].start > self._epoch.start
            await self._sign(await self._change_epoch(self._epoch) if failed else self._epoch)
        await recorded

    async def _catch_up_with_keys(self) -> None:
        """Follow keys, and record what has no line because the process died before it."""
        # At the first start of this version there are no names. The keys of before need no lines.
        names = await self._journal.ask(Moments(_KEY))
        self.follow_keys()
        file = self._keys.file
        if names:
            self._keys_changed(KeyFile.of_names(names, self._keys.root), file)
        else:
            for key in filter(_has_lines, file.keys.values()):
                self._keep(key, self._clock.now(), self.started)

    def follow_keys(self) -> None:
        """Record from now on what happens to keys."""
        self._keys.listen(partial(_call_soon, asyncio.get_running_loop(), self._keys_changed))

    @property
    def sign(self) -> Callable[[Checkpoint, float], str] | None:
        """What signs a state of the log now; None: another key is about to sign it."""
        epoch = self._epoch
        is_last = epoch is not None and self._keys.epochs()[-1].start <= epoch.start
        return self._signing(epoch) if epoch is not None and is_last else None

    async def record_keys(self) -> None:
        """Record what happened to keys until now. Raises Unavailable."""
        await asyncio.sleep(0)  # changes arrive as callbacks of the loop
        await self._record_destroyed()
        self.facts.write_waiting()

    # --- jobs -----------------------------------------------------------------------------

    async def run(self, workers: Mapping[str, Worker] = {}, *, every: float = LOOK_EVERY) -> None:
        """Do what is due, until cancelled. `workers` are those of all sinks, by name."""
        jobs: Mapping[str, Callable[[], Any]] = {
            "sign": self._sign_again,
            "count": self._write_counts,
            "destroyed": self._record_destroyed,
            "pack": self._pack,
            "prune": self._prune,
        }
        while True:
            await asyncio.sleep(every)
            self.facts.write_waiting()
            self._look_at_journal()
            self._look_at_sinks(workers)
            for name, job in jobs.items():
                if self._clock.ticks() >= self._due.get(name, 0.0):
                    try:
                        self._due[name] = self._clock.ticks() + await job()
                    except Broken:
                        return  # the service ends
                    except Unavailable as exc:
                        # A damaged row fails each time.
                        self._due[name] = self._clock.ticks() + RETRY
                        log.error("audit.error", job=name, error=str(exc), then="tried again")  # noqa: TRY400 - a traceback says no more

    def _look_at_journal(self) -> None:
        """Record a failure of the journal once it is over."""
        works, since = self._journal.health is JournalHealth.WORKING, self._broken_since
        if not works and since is None:
            self._broken_since = self._clock.now()
        elif works and since is not None:
            self._broken_since = None
            self.facts.add("journal.error", {"since": rfc3339(since)})

    def _look_at_sinks(self, workers: Mapping[str, Worker]) -> None:
        for name, worker in workers.items():
            failing_for = worker.failing_for
            if failing_for is None and name in self._failing:
                self._failing.remove(name)
                self.facts.add("sink.recovered", {"sink": name})
            elif name not in self._failing and (failing_for or 0.0) >= FAILING_AFTER:
                self._failing.add(name)
                self.facts.add("sink.failing", {"sink": name})
        self._failing &= workers.keys()

    async def _sign_again(self) -> float:
        """Sign the log, under another key after the end of an epoch; return when to do it again."""
        epoch, options = self._epoch, self._options
        if epoch is not None:
            # A shorter `epoch` holds for the present one, too. After a clock was ahead, its start
            # may be far in the future.
            is_over = self._clock.now() >= min(epoch.end * 60, epoch.start * 60 + options.epoch)
            if is_over or self._clock.ticks() >= self._epoch_since + options.epoch:
                epoch = await self._change_epoch(epoch)
            before = self.newest
            await self._sign(epoch)
            # The first and the last note are parts of the start and of the end.
            if self.newest is not None and (before is None or self.newest.size > before.size):
                log.info("audit.checkpoint", size=self.newest.size)
            await self._forget_epochs()
        return options.checkpoint

    async def _write_counts(self) -> float:
        self.facts.write_counts()
        return COUNTED

    async def _pack(self) -> float:
        await self._repeat(PackLog)
        return PACK_EVERY

    async def _prune(self) -> float:
        if self._ages.wait:
            return self._ages.wait
        keep = self._options.keep
        if keep is not None:
            await self._repeat(lambda: PruneLog(self._ages.before(keep)))
        if not self._seals:
            # Retention destroys the keys of a sealed journal.
            kept = self._codes_kept or keep
            if kept is not None:
                await asyncio.to_thread(self._keys.destroy, Kind.CODES, self._ages.before(kept))
        return PRUNE_EVERY

    async def _repeat(self, write: Callable[[], Write[Any]]) -> None:
        """Write until nothing is left to do. Callbacks come first."""
        left = True
        while left:
            left = bool(await self._journal.submit(write()))
            await asyncio.sleep(BETWEEN)

    # --- keys -----------------------------------------------------------------------------

    def _epoch_key(self, epoch: Epoch) -> SigningKey:
        return epoch_key(self._origin, epoch)

    def _is_by(self, note: Note, epoch: Epoch) -> bool:
        return _is_signed(note, self._epoch_key(epoch))

    async def _make_epoch(self) -> Epoch:
        lasts = self._options.epoch
        begin = partial(self._keys.begin_epoch, self._clock.now(), lasts=lasts)
        return await asyncio.to_thread(begin)

    async def _change_epoch(self, ended: Epoch) -> Epoch:
        """End an epoch, and return the next one. Call it again after it has failed."""
        newest = self._keys.epochs()[-1]
        # After a failure, the end may be stored already: it names this key.
        begun = newest if newest.start > ended.start else await self._make_epoch()
        await self._close(ended, begun)
        self._epoch, self._epoch_since = begun, self._clock.ticks()
        return begun

    async def _forget_epochs(self) -> None:
        """Destroy the keys of earlier epochs, after a note of the present one is stored."""
        if self._epoch is not None and len(self._keys.epochs()) > 1:
            await asyncio.to_thread(self._keys.end_epochs, self._epoch)

    async def _close(self, ended: Epoch, begun: Epoch) -> None:
        """End an epoch: its last line names the next key, its last note covers that line."""
        closing = next_epoch(self._epoch_key(begun).verifier)
        await self._journal.submit(SignCheckpoint(self._signing(ended), closing))

    async def _sign(self, epoch: Epoch, *, keys: tuple[str, str] | None = None) -> None:
        note = await self._journal.submit(SignCheckpoint(self._signing(epoch), keys=keys))
        self.newest = SignedLog(self._first, note, self._clock.now())

    def _signing(self, epoch: Epoch) -> Callable[[Checkpoint, float], str]:
        keys = (log_key(self._origin, self._keys), self._epoch_key(epoch))
        return lambda state, at: str(state.sign(keys, at))

    def _keys_changed(self, before: KeyFile, after: KeyFile) -> None:
        """Record which keys were made, destroyed and wrapped again."""
        if {key.root for key in before.keys.values()}.isdisjoint(
            key.root for key in after.keys.values()
        ):
            self.facts.add("seal.rotated", {"root": next(iter(after.keys.values())).root})
            return
        for name, key in after.keys.items():
            if name not in before.keys and _has_lines(key):
                then = partial(self._keep, key, self._clock.now())
                self.facts.add("seal.made", _key_fields(key), then)
        self._destroyed += [
            key for name, key in before.keys.items() if name not in after.keys and _has_lines(key)
        ]

    def _keep(self, key: WrappedKey, at: float | None, line: int | None) -> None:
        """Keep the name of a key whose line says that it was made. `at` None: forget it.

        `line` None: that line is not on disk, and the next start records it.
        """
        if line is not None:
            self._journal.put(SetMoment(f"{_KEY}{key.name}", at), lambda _outcome: None)

    async def _record_destroyed(self) -> float:
        """Record destroyed keys, with the number of events that they sealed. Raises Unavailable."""
        while self._destroyed:
            key = self._destroyed[0]
            fields: dict[str, Any] = {**ACTING.get().fields, **_key_fields(key)}
            if key.span is not None and key.kind in _OF_EVENTS:
                fields["events"] = await self._count_events(key.span)
            self._destroyed.pop(0)
            then = partial(self._keep, key, None)
            self.facts.later(Fact("seal.destroyed", fields), then=then)
        return LOOK_EVERY

    async def _count_events(self, span: KeySpan) -> int:
        wanted = EventFilter(since=span.start * 60.0, until=span.end * 60.0)
        newest, count = await newest_place(self._journal), 0
        place: int | None = 0
        while place is not None:
            part = await self._journal.ask(EventCount(after=place, upto=newest, filter=wanted))
            count, place = count + part.count, part.next_seq
        return count


def _has_lines(key: WrappedKey) -> bool:
    """Return whether lines say when a key was made and destroyed."""
    return key.kind not in (EPOCH, LOG)


def _key_fields(key: WrappedKey) -> Mapping[str, str]:
    period = {} if key.span is None else {"period": rfc3339(key.span.start * 60)}
    return {"kind": key.kind, **period, "root": key.root}


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    call: Callable[[KeyFile, KeyFile], None],
    before: KeyFile,
    after: KeyFile,
) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop has ended
        loop.call_soon_threadsafe(call, before, after)


def log_key(origin: str, keys: Keyring) -> SigningKey:
    """Return the key that signs the log as long as it exists. Raises Unavailable."""
    seed = keys.entry(LOG)
    if seed is None:
        raise Unavailable("the key file has no key of the audit log")
    return SigningKey(origin, Algorithm.ED25519, seed)


def epoch_key(origin: str, epoch: Epoch) -> SigningKey:
    return SigningKey(f"{origin}/epoch", Algorithm.COSIGNATURE, epoch.seed)


def is_signed(keys: Keyring, note: str) -> bool:
    """Return whether the keys of the file signed a note: the log can go on with them."""
    origin, parsed = note.partition("\n")[0], Note.parse(note)
    signing = [epoch_key(origin, epoch) for epoch in keys.epochs()]
    return _is_signed(parsed, log_key(origin, keys)) and any(
        _is_signed(parsed, key) for key in signing
    )


def _is_signed(note: Note, key: SigningKey) -> bool:
    try:
        return note.verify(key.verifier) is not None
    except ValueError:
        return False


def loaded_fields(config: Config) -> Mapping[str, Any]:
    """Return what a line says of a configuration: its hash, and the sinks that get codes."""
    clear = [name for name, sink in config.sinks.items() if clear_codes(sink.redact)]
    return {
        "sha256": config.digest,
        "record": config.audit.record,
        "clear": clear if len(clear) <= _COUNTS else len(clear),
    }
