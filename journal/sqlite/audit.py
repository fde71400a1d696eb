"""Writes the audit log: each line in the transaction of what it reports.

One thread writes. The right edge of the tree is in its memory; a failed commit leaves it as it was.
"""

import itertools
import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from core.clock import rfc3339
from core.errors import InvalidRow, Unavailable

from ..actor import SERVICE, Actor
from ..audit.lines import NEEDED, Fact, encode, erased_line, line_erased, restored
from ..audit.note import Checkpoint, Note
from ..audit.tree import TILE_WIDTH, frontier_at, leaf_hash, prove_inclusion
from ..decide import POLL
from ..facts import (
    TRAFFIC,
    AuditOptions,
    accepted_line,
    attempted_line,
    end_of_delivery,
    events_of,
    facts_of,
    facts_of_changes,
    is_plain,
)
from ..reads import Checkpoints
from ..records import Erased, LineErasure, Pruned, Quarantined, Recorded, Settled
from ..rows import Changes
from ..writes import (
    AddSignatures,
    EraseLine,
    PackLog,
    PruneLog,
    Record,
    RecordFacts,
    RecordFactsLater,
    Settle,
    SignCheckpoint,
    Write,
)
from .audit_lines import (
    checkpoints,
    decode_line,
    end_of,
    frontier,
    hash_at,
    is_packed,
    last_time,
    pack,
    rows,
    text_of,
    unpack,
)
from .outbox import GivenUp

_HOUR, _DAY = 3_600.0, 86_400.0
#: Seconds in which a checkpoint of each hour stays.
_HOURLY = 7 * _DAY


class AuditWriter:
    """The end of the log. Use it in the thread that writes."""

    def __init__(self, conn: sqlite3.Connection, options: AuditOptions) -> None:
        """Read the end of the log. The caller has begun it."""
        self.conn, self.options = conn, options
        (self.first, self.origin) = conn.execute(
            "select first, origin from audit_logs order by first desc limit 1"
        ).fetchone()
        self.frontier = frontier(conn, self.first)
        #: A note that the lines do not fit: they were changed since. It stays, as evidence.
        self.unfit = _unfit_note(conn, self.first)
        end = end_of(conn)
        self.at = next((last_time(run) or 0.0 for _, run in rows(conn, end - 1, end)), 0.0)

    def begin(self) -> "AuditBatch":
        """Return the lines of one transaction. Call `take` with it after the commit."""
        return AuditBatch(self)

    def take(self, batch: "AuditBatch") -> None:
        """Keep the state after a transaction that was committed."""
        self.frontier, self.at = batch.frontier, batch.at


class AuditBatch:
    """The lines of one transaction."""

    def __init__(self, log: AuditWriter) -> None:
        self._log, self.conn, self._options = log, log.conn, log.options
        self.first, self.unfit = log.first, log.unfit
        self._everything = log.options.everything
        #: The tree with the lines so far.
        self.frontier = log.frontier.copy()
        # The wall clock may go back: a line never has an earlier time than the one before.
        self.at = max(log.at, log.options.now())
        self._stamp = rfc3339(self.at)
        self._lines: list[bytes] = []
        self._events: list[tuple[str, int]] = []
        #: Signs the log at the end of the transaction.
        self.sign: Callable[[Checkpoint, float], str] | None = None

    # --- adding lines ---------------------------------------------------------------------

    def add(self, fact: Fact) -> int | None:
        """Add a line; return its number. None: the log does not keep such facts.

        Raises InvalidRow if it is too long, or no JSON.
        """
        if not self._everything and fact.do in TRAFFIC:
            return None
        n = self.frontier.size
        try:
            line, names = encode(n, self.at, fact), events_of(fact)
        except Exception as exc:
            raise _fault(exc) from exc
        self._events += [(event, self.first + n) for event in names]
        self._extend((line,))
        return n

    def add_changes(self, changes: Changes, results: Sequence[Any]) -> Sequence[Any]:
        """Add the lines of new and changed events. Raises as `add` does, and Unavailable.

        Return the results of the writes, with the numbers of their lines.
        """
        if not self._everything:
            return results
        numbers = itertools.count(self.frontier.size)
        try:
            self._add_changes(changes)
        except Exception as exc:
            raise _fault(exc) from exc
        numbered = []
        for result in results:
            if type(result) is not Recorded or True not in result.new:
                numbered.append(result)
                continue
            if len(result.new) == 1:  # nearly always
                leaves: tuple[int | None, ...] = (next(numbers),)
            else:
                leaves = tuple([next(numbers) if new else None for new in result.new])
            numbered.append(replace(result, leaves=leaves))
        return numbered

    def _add_changes(self, changes: Changes) -> None:
        commit, stamp, events = self._options.commit, self._stamp, changes.events
        if events:
            arrivals = dict(changes.callbacks)
            plans = [new.plan for new in events]
            commitments = commit([(plan.event.id, plan.body, plan.at) for plan in plans])
            numbered = enumerate(zip(events, commitments, strict=True), self.frontier.size)
            self._extend(
                [
                    accepted_line(n, stamp, new, arrivals[new.callback], c)
                    for n, (new, c) in numbered
                ]
            )
        for row in changes.changed.values():
            (c,) = commit(((row.id, row.body.encode(), row.at),))
            self.add(Fact("event.gained", {"event": row.id} | ({} if c is None else {"c": c})))
        for fact in facts_of_changes(changes):
            self.add(fact)

    def add_ended(self, ended: Sequence[GivenUp], results: list[Any]) -> None:
        """Add the lines of pending deliveries that were given up, and their numbers to results."""
        shown = self._options.shown
        leaves = {
            one.id: self.add(end_of_delivery(one.id, one.sink, one.state, one.error, shown))
            for one in ended
        }
        for i, result in enumerate(results if leaves else ()):
            if type(result) in (Pruned, Erased) and result.expired:
                expired = tuple([one._replace(leaf=leaves.get(one.id)) for one in result.expired])
                results[i] = replace(result, expired=expired)

    def last_line(self, before: int, result: Any) -> int | None:
        """Return the number of the last line about a write that `add_write` added.

        `before` is the size of the log before it.
        """
        if self.frontier.size > before:
            return self.frontier.size - 1
        # `add_changes` added the line of a new event.
        leaves = result.leaves if type(result) is Recorded else None
        return leaves[-1] if leaves else None

    def add_write(self, write: Write[Any], result: Any, actor: Actor = SERVICE) -> Any:
        """Add the lines of a write with its result. Raises as `add` does.

        Return the result, with the numbers of the lines about a callback or a delivery.
        """
        if type(write) is Record and write.replaces is None and False not in result.new:
            return result  # the most frequent writes: `add_changes` added their lines
        n = self.frontier.size
        try:
            if type(write) is Settle and self._everything and result and write.attempt is not None:
                self._extend((attempted_line(n, self._stamp, write, self._options.shown),))
            if not is_plain(write, result, everything=self._everything):
                for fact in facts_of(write, result, actor, self._options.shown):
                    self.add(fact)
        except Exception as exc:
            raise _fault(exc) from exc
        if not self._everything or self.frontier.size == n:
            return result
        if type(result) is Settled:
            return Settled(n)
        if type(result) is Quarantined:
            return replace(result, leaf=n)
        if type(write) is Record and write.arrival.channel != POLL:
            # Its duplicates come first, in the order of the ids.
            numbers, leaves = itertools.count(n), result.leaves or (None,) * len(result.ids)
            leaves = tuple([next(numbers) if leaf is None else leaf for leaf in leaves])
            return replace(result, leaves=leaves)
        return result

    def _extend(self, lines: Sequence[bytes]) -> None:
        self._lines += lines
        self.frontier.extend(map(leaf_hash, lines))

    # --- writing them ---------------------------------------------------------------------

    def flush(self, ops: Sequence[Write[Any]], results: list[Any]) -> None:
        """Write the lines, and sign the log where a write asks for it: its result is set."""
        signing = [(i, op) for i, op in enumerate(ops) if type(op) is SignCheckpoint]
        for i, op in signing.copy():
            if op.closing is not None:
                ended = self._closed()
                if ended is None:
                    self.add(op.closing)
                else:  # an earlier try has ended the epoch, and its answer was lost
                    results[i] = ended
                    signing.remove((i, op))
        self._write_lines()
        if not signing and self.sign is None:
            return  # nearly always: the root of the tree takes as long as several lines
        state = Checkpoint(self._log.origin, self.frontier.size, self.frontier.root())
        if self.sign is not None:
            _store_checkpoint(self, state.size, self.sign(state, self.at), closes=False)
        for i, op in signing:
            results[i] = op.sign(state, self.at)
            closes = op.closing is not None
            _store_checkpoint(self, state.size, results[i], closes=closes)
            if op.keys is not None:
                self.conn.execute(
                    "update audit_logs set key = ?, signer = ? where first = ? and key is null",
                    (*op.keys, self.first),
                )

    def _closed(self) -> str | None:
        """Return the newest note if it ends an epoch: no key of another one has signed yet."""
        row = self.conn.execute(
            "select note, closes from audit_checkpoints where log = ? order by seq desc limit 1",
            (self.first,),
        ).fetchone()
        return row[0] if row is not None and row[1] else None

    def _write_lines(self) -> None:
        if not self._lines:
            return
        first = self.first
        place = first + self.frontier.size - len(self._lines)
        self.conn.execute(
            "insert into audit (n, count, lines) values (?, ?, ?)",
            (place, len(self._lines), b"\n".join(self._lines)),
        )
        if self.frontier.completed:
            self.conn.executemany(
                "insert into audit_hashes (log, level, n, hash) values (?, ?, ?, ?)",
                [(first, *one) for one in self.frontier.completed],
            )
        if self._events:
            self.conn.executemany(
                "insert or ignore into audit_events (event, n) values (?, ?)", self._events
            )


def _fault(exc: Exception) -> Exception:
    """Return the error of a line that cannot be made: only its own write fails, not its batch."""
    if isinstance(exc, InvalidRow | MemoryError | Unavailable):
        return exc
    return InvalidRow(type(exc).__name__)  # the text may quote a value


def open_log(conn: sqlite3.Connection, origin: str, options: AuditOptions) -> AuditWriter:
    """Return the end of the log, in the transaction of the caller. Without a log, begin it.

    A log that was signed with other keys cannot go on: another one begins.
    """
    if conn.execute("select first from audit_logs").fetchone() is None:
        _begin_log(conn, origin)
    writer = AuditWriter(conn, options)
    if not goes_on(conn, options):
        reason = "the keys of the log were lost"
        writer = begin_next_log(writer, f"{origin}/{uuid.uuid4().hex}", SERVICE, reason=reason)
    return writer


def goes_on(conn: sqlite3.Connection, options: AuditOptions) -> bool:
    """Return whether the keys at hand signed the newest log. Without a note, any key may."""
    first, origin = conn.execute(
        "select first, origin from audit_logs order by first desc limit 1"
    ).fetchone()
    last = checkpoints(conn, Checkpoints(first, newest=True))
    return not last or (last[0].note.startswith(f"{origin}\n") and options.signed(last[0].note))


def _unfit_note(conn: sqlite3.Connection, log: int) -> int | None:
    """Return the place of the newest note if the stored tree does not have its root."""
    row = conn.execute(
        "select seq, note from audit_checkpoints where log = ? order by seq desc limit 1", (log,)
    ).fetchone()
    if row is None:
        return None
    seq, note = row
    try:
        state = Checkpoint.parse(Note.parse(note).text)
        fits = frontier_at(state.size, hash_at(conn, log)).root() == state.root
    except (IndexError, ValueError):  # lines or hashes are missing
        fits = False
    return None if fits else int(seq)


def begin_next_log(ended: AuditWriter, origin: str, actor: Actor, **fields: str) -> AuditWriter:
    """Begin another log, in the transaction of the caller. Its first line names the ended one."""
    conn, tree = ended.conn, ended.frontier
    _begin_log(conn, origin)
    writer = AuditWriter(conn, ended.options)
    batch = writer.begin()
    old = Checkpoint(ended.origin, tree.size, tree.root())
    batch.add(restored(old, by=actor.by, **fields))
    batch.flush((), [])
    writer.take(batch)
    return writer


def _begin_log(conn: sqlite3.Connection, origin: str) -> None:
    """Begin a log after the lines that are there. A log without lines is replaced."""
    conn.execute(
        "insert or replace into audit_logs (first, origin) values (?, ?)", (end_of(conn), origin)
    )


# --- writes -----------------------------------------------------------------------------------


def _record(batch: AuditBatch, op: RecordFacts, _actor: Actor) -> tuple[int | None, ...]:
    return tuple([batch.add(fact) for fact in op.facts])


def _pack_runs(batch: AuditBatch, op: PackLog, _actor: Actor) -> bool:
    """Pack full runs of lines; return whether some are left."""
    conn, first = batch.conn, batch.first
    (packed,) = conn.execute("select packed from audit_logs where first = ?", (first,)).fetchone()
    full = (end_of(conn) - first) // TILE_WIDTH * TILE_WIDTH
    until = min(full, packed + op.limit * TILE_WIDTH)
    if until <= packed:
        return False
    begin, end = first + packed, first + until
    rows = conn.execute(
        "delete from audit where n >= ? and n < ? returning n, count, lines", (begin, end)
    ).fetchall()
    packed_rows, run, size = list[tuple[int, int, bytes]](), list[bytes](), 0
    for _, count, row in sorted(rows):
        text, left = text_of(row), count
        while size + left >= TILE_WIDTH:  # lines are only split where a run ends
            fill = TILE_WIDTH - size
            parts = text.split(b"\n", fill)
            place = begin + len(packed_rows) * TILE_WIDTH
            packed_rows.append((place, TILE_WIDTH, pack([*run, *parts[:fill]])))
            text, left = b"".join(parts[fill:]), left - fill
            run, size = [], 0
        if left:
            run.append(text)
            size += left
    place = begin + len(packed_rows) * TILE_WIDTH
    if place < end:  # rows were removed by another hand: the log stays evidence
        packed_rows.append((place, TILE_WIDTH, pack(run)))
        run = []
    until = max(until, place - first)  # the last row may have ended more runs
    rest_rows = [(first + until, size, b"\n".join(run))] if run else []
    conn.executemany(
        "insert into audit (n, count, lines) values (?, ?, ?)", [*packed_rows, *rest_rows]
    )
    conn.execute("update audit_logs set packed = ? where first = ?", (until, first))
    return bool(until < full)


def _prune(batch: AuditBatch, op: PruneLog, _actor: Actor) -> int:
    """Remove the oldest packed lines; return their number. The ends of epochs are kept."""
    conn, first = batch.conn, batch.first
    older = _prune_older(conn, first, op.before)
    if older:
        return older
    packed, pruned = conn.execute(
        "select packed, pruned from audit_logs where first = ?", (first,)
    ).fetchone()
    (signed,) = conn.execute(
        "select coalesce(max(size), 0) from audit_checkpoints where log = ?", (first,)
    ).fetchone()
    until, kept = pruned, []
    for n, lines in conn.execute(
        "select n, lines from audit where n >= ? and n < ? order by n limit ?",
        (first + pruned, first + min(packed, signed - TILE_WIDTH + 1), op.limit),
    ):
        run = unpack(lines)
        if not _is_before(run, op.before):
            break
        until = n - first + TILE_WIDTH
        kept += [
            (place, line)
            for place, line in enumerate(run, n)
            if decode_line(line).do == "audit.epoch"
        ]
    if until == pruned:
        return 0
    stored = hash_at(conn, first)
    for place, line in kept:
        n = place - first
        proof = b"".join(prove_inclusion(n, n + 1, stored))
        conn.execute(
            "insert into audit_kept (n, line, proof) values (?, ?, ?)", (place, line, proof)
        )
    _remove(conn, first + until)
    conn.execute("update audit_logs set pruned = ? where first = ?", (until, first))
    batch.add(Fact("audit.pruned", {"by": "service", "to": until}))
    return int(until - pruned)


def _prune_older(conn: sqlite3.Connection, first: int, before: float) -> int:
    """Remove the oldest log before the present one, if all of its lines are old."""
    logs = conn.execute("select first from audit_logs order by first limit 2").fetchall()
    if logs[0][0] == first:
        return 0
    (log,), (end,) = logs
    row = conn.execute("select lines from audit where n < ? order by n desc limit 1", (end,))
    last = row.fetchone()
    if last is not None and not _is_before(unpack(last[0]), before):
        return 0
    _remove(conn, end)
    for table, column in (
        ("audit_hashes", "log"),
        ("audit_checkpoints", "log"),
        ("audit_logs", "first"),
    ):
        conn.execute(f"delete from {table} where {column} = ?", (log,))  # noqa: S608 - our words
    conn.execute("delete from audit_kept where n < ?", (end,))
    return int(end - log)


def _remove(conn: sqlite3.Connection, end: int) -> None:
    conn.execute("delete from audit where n < ?", (end,))
    conn.execute("delete from audit_events where n < ?", (end,))


def _is_before(run: Sequence[bytes], before: float) -> bool:
    at = last_time(run)
    return at is None or at < before


def _erase(batch: AuditBatch, op: EraseLine, actor: Actor) -> LineErasure:
    """Replace a line by its hash, and say so in another line."""
    conn, place = batch.conn, batch.first + op.n
    row = conn.execute(
        "select n, lines from audit where n <= ? and n + count > ? order by n desc limit 1",
        (place, place),
    ).fetchone()
    if row is None or op.n < 0:  # of this log
        return LineErasure.MISSING
    n, lines = row
    found = unpack(lines)
    line = found[place - n]
    its = decode_line(line)
    if its.erased is not None:
        return LineErasure.MISSING
    if its.do in NEEDED:
        return LineErasure.NEEDED
    found[place - n] = erased_line(leaf_hash(line))
    changed = pack(found) if is_packed(lines) else b"\n".join(found)
    conn.execute("update audit set lines = ? where n = ?", (changed, n))
    named = {name: text for name, text in (("event", its.event), ("id", its.id)) if text}
    batch.add(line_erased(op.n, by=actor.by, reason=op.reason, **named))
    batch.sign = op.sign
    return LineErasure.DONE


def _store_checkpoint(batch: AuditBatch, size: int, note: str, *, closes: bool) -> None:
    """Store a note. The one before goes, unless it is the last of its hour or closes an epoch."""
    conn, log, at, unfit = batch.conn, batch.first, batch.at, batch.unfit
    last = conn.execute(
        "select seq, at, closes from audit_checkpoints where log = ? order by seq desc limit 1",
        (log,),
    ).fetchone()
    conn.execute(
        "insert into audit_checkpoints (log, size, at, closes, note) values (?, ?, ?, ?, ?)",
        (log, size, at, closes, note),
    )
    if last is None:
        return
    seq, before, closed = last
    if before // _HOUR == at // _HOUR and not closed and seq != unfit:
        conn.execute("delete from audit_checkpoints where seq = ?", (seq,))
    else:
        # Of days that are a week old only the last one stays.
        conn.execute(
            "delete from audit_checkpoints where log = :log and at < :before and not closes"
            " and exists (select 1 from audit_checkpoints as later where later.log = :log"
            " and later.seq > audit_checkpoints.seq"
            " and cast(later.at / :day as integer)"
            " = cast(audit_checkpoints.at / :day as integer))",
            {"log": log, "before": at - _HOURLY, "day": _DAY},
        )


def _add_signatures(batch: AuditBatch, op: AddSignatures, _actor: Actor) -> bool:
    changed = batch.conn.execute(
        "update audit_checkpoints set note = ? where log = ? and note = ?",
        (op.signed, op.log, op.note),
    )
    return changed.rowcount > 0


#: The function of each write of the log itself.
VERBS: Mapping[type, Callable[[AuditBatch, Any, Actor], Any]] = {
    AddSignatures: _add_signatures,
    RecordFacts: _record,
    RecordFactsLater: _record,
    PackLog: _pack_runs,
    PruneLog: _prune,
    EraseLine: _erase,
}
