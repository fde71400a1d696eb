"""What a batch writes to SQLite, in the one thread that writes."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from . import Arrival, Owed, Planned, Quarantined, Recorded, Rejection
from .commit import Broken, Unavailable, Unfit
from .event import SUBJECTS, Attempt, Delivery, Event, State

#: Copies are all counted; when and from where is kept of so many.
DUPLICATES_KEPT = 100
#: Of all peers together; what comes beyond is counted under the peer `*`.
REJECTIONS_KEPT = 10_000

#: A commit after one of these may "succeed" without being on disk. Beginnings of names: that a
#: file is corrupt has several (SQLITE_CORRUPT_INDEX).
FATAL = ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC", "SQLITE_CORRUPT", "SQLITE_NOTADB")


class Record(msgspec.Struct, frozen=True):
    arrival: Arrival
    plans: tuple[Planned, ...]
    #: Leaves quarantine in the same transaction.
    replaces: str | None


class Keep(msgspec.Struct, frozen=True):
    arrival: Arrival
    id: str
    fingerprint: bytes
    reason: str
    detail: str


class Dismiss(msgspec.Struct, frozen=True):
    id: str


class Settle(msgspec.Struct, frozen=True):
    delivery: Delivery
    attempt: Attempt | None
    state: State
    due_at: float | None


class Take(msgspec.Struct, frozen=True):
    sink: str
    limit: int
    now: float


class Probe(msgspec.Struct, frozen=True):
    sink: str


class Hasten(msgspec.Struct, frozen=True):
    sink: str
    limit: int
    now: float


class Touch(msgspec.Struct, frozen=True):
    pass


class Reject(msgspec.Struct, frozen=True):
    rejections: tuple[Rejection, ...]


Op = Record | Keep | Dismiss | Settle | Take | Probe | Hasten | Touch | Reject
Result = Recorded | Quarantined | bool | int | tuple[Delivery, ...] | None


class BatchWriter:
    """Applies batches of operations, each batch one transaction, through one connection."""

    def __init__(self, conn: sqlite3.Connection, start: int) -> None:
        self._conn, self._start = conn, start
        #: Whether the last that was to be written could be.
        self.working = True
        self._last_seq = self._last("events")
        self._last_callback = self._last("callbacks")
        self._last_delivery = self._last("deliveries")

    def write(self, ops: Sequence[Op]) -> list[Result]:
        """One result an operation, durable; or an exception of `commit`, and nothing stored."""
        batch = _Batch(
            self._conn, self._start, self._last_seq, self._last_callback, self._last_delivery
        )
        before = self._conn.total_changes
        try:
            self._conn.execute("begin immediate")
            results = [batch.apply(op) for op in ops]
            batch.flush()
            self._conn.execute("commit")
        except Exception as exc:
            # Whatever it is, MemoryError too: an open transaction would fail the next batch.
            verdict = judged(exc)
            self.working = isinstance(verdict, Unfit) and self.working
            if not isinstance(verdict, Broken):
                self._rollback()
            raise verdict from exc
        # A look that found nothing is committed on a full disk too.
        self.working = self.working or self._conn.total_changes > before
        self._last_seq, self._last_callback = batch.seq, batch.callback
        self._last_delivery = batch.delivery
        return results

    def _rollback(self) -> None:
        try:
            if self._conn.in_transaction:
                self._conn.execute("rollback")
        except sqlite3.Error as exc:
            # An open transaction would swallow the next batch: it must not go on like this.
            raise Broken(error_name(exc)) from exc

    def _last(self, table: str) -> int:
        row = self._conn.execute("select seq from sqlite_sequence where name = ?", (table,))
        return int((row.fetchone() or (0,))[0])


def judged(exc: Exception) -> Exception:
    """Which of the three it is: this row's fault, not this time, or never again."""
    if isinstance(exc, sqlite3.IntegrityError | sqlite3.DataError | UnicodeError | OverflowError):
        return Unfit(error_name(exc))
    name = error_name(exc)
    return Broken(name) if name.startswith(FATAL) else Unavailable(name)


def error_name(exc: Exception) -> str:
    # The name only: SQLite's text may quote a value.
    return str(getattr(exc, "sqlite_errorname", None) or type(exc).__name__)


class _Batch:
    """One transaction: rows gather and are inserted together, counters are changed once."""

    def __init__(
        self, conn: sqlite3.Connection, start: int, seq: int, callback: int, delivery: int
    ) -> None:
        self._conn, self._start = conn, start
        self.seq, self.callback, self.delivery = seq, callback, delivery
        self._counts: Counter[str] = Counter()
        self._uses: dict[tuple[str, str], list[float]] = {}
        self._new_keys: dict[tuple[str, bytes], tuple[int, str]] = {}
        self._rows: dict[str, list[tuple[object, ...]]] = {
            table: [] for table in ("callbacks", "events", "keys", "deliveries")
        }

    def apply(self, op: Op) -> Result:
        return _VERBS[type(op)](self, op)

    def flush(self) -> None:
        for table, rows in self._rows.items():
            _insert(self._conn, table, rows)
        for name, change in self._counts.items():
            if change:  # else a look that found nothing would cost an fsync
                self._conn.execute(
                    "update counters set value = value + ? where name = ?", (change, name)
                )
        for (source, token), (count, at) in self._uses.items():
            self._conn.execute(
                "insert into token_uses values (?, ?, ?, ?) on conflict do update set"
                " callbacks = callbacks + excluded.callbacks,"
                " last_at = max(last_at, excluded.last_at)",
                (source, token, int(count), at),
            )

    # --- events ---------------------------------------------------------------------------

    def record(self, op: Record) -> Recorded:
        ids: list[str] = []
        new: list[bool] = []
        deliveries: list[Delivery] = []
        callback: int | None = None
        for plan in op.plans:
            known = self._known(plan)
            if known is None:
                callback = callback or self._callback(op.arrival)
                deliveries += self._event(plan, callback)
            else:
                self._duplicate(known[0], op.arrival)
                self._claim(plan, known)
            ids.append(plan.event.id if known is None else known[1])
            new.append(known is None)
        if op.replaces is None:
            self._used(op.arrival)
        else:
            self.dismiss(Dismiss(op.replaces))
        return Recorded(ids=tuple(ids), new=tuple(new), deliveries=tuple(deliveries))

    def _known(self, plan: Planned) -> tuple[int, str] | None:
        """The event that has one of these keys already, as (seq, id)."""
        for key in plan.keys:
            found = (
                self._new_keys.get((plan.event.source, key))
                or self._conn.execute(
                    "select events.seq, events.id from keys join events on events.seq = keys.event"
                    " where keys.source = ? and keys.key = ?",
                    (plan.event.source, key),
                ).fetchone()
            )
            if found is not None:
                return int(found[0]), str(found[1])
        return None

    def _claim(self, plan: Planned, owner: tuple[int, str]) -> None:
        """All keys of a copy are the event's from now on: a chain of retries stays one."""
        if len(plan.keys) == 1:
            return  # it is how the event was found
        for key in plan.keys:
            name = (plan.event.source, key)
            if name not in self._new_keys and self._insert_key(name, owner[0]):
                self._new_keys[name] = owner

    def _insert_key(self, name: tuple[str, bytes], event: int) -> bool:
        """False: it is another event's already, and stays that."""
        inserted = self._conn.execute(
            "insert into keys values (?, ?, ?) on conflict do nothing", (*name, event)
        )
        return bool(inserted.rowcount)

    def _event(self, plan: Planned, callback: int) -> list[Delivery]:
        event = plan.event
        self.seq += 1
        for key in dict.fromkeys(plan.keys):
            self._new_keys[event.source, key] = (self.seq, event.id)
            self._rows["keys"].append((event.source, key, self.seq))
        self._rows["events"].append(
            (
                self.seq,
                event.id,
                event.source,
                event.type,
                event.subject,
                other_subject(event),
                plan.at,
                callback,
                json.dumps(plan.routes),
                plan.body.decode(),
            )
        )
        self._counts["events"] += 1
        return [delivery for owed in plan.owed if (delivery := self._owe(plan, owed))]

    def _owe(self, plan: Planned, owed: Owed) -> Delivery | None:
        """Make the delivery a row; one that is taken is handed back."""
        self.delivery += 1
        state = State.SENDING if owed.taken else State.PENDING
        due_at, owner = (None, self._start) if owed.taken else (plan.at + owed.wait, None)
        self._rows["deliveries"].append(
            (self.delivery, self.seq, owed.sink, state, 0, due_at, owner, plan.at)
        )
        self._counts[f"deliveries.{state}"] += 1
        if not owed.taken:
            return None
        return Delivery(
            id=self.delivery,
            event_id=plan.event.id,
            body=plan.body,
            sink=owed.sink,
            attempts=0,
            accepted_at=plan.at,
        )

    def _callback(self, arrival: Arrival) -> int:
        self.callback += 1
        self._rows["callbacks"].append(
            (
                self.callback,
                arrival.source,
                arrival.channel,
                arrival.token,
                arrival.peer,
                arrival.at,
                json.dumps(arrival.headers),
                arrival.body,
            )
        )
        return self.callback

    def _duplicate(self, event: int, arrival: Arrival) -> None:
        self._counts["duplicates"] += 1
        (kept,) = self._conn.execute(
            "select count(*) from duplicates where event = ?", (event,)
        ).fetchone()
        if kept < DUPLICATES_KEPT:
            self._conn.execute(
                "insert into duplicates values (?, ?, ?, ?, ?)",
                (event, kept + 1, arrival.at, arrival.channel, arrival.peer),
            )

    def _used(self, arrival: Arrival) -> None:
        use = self._uses.setdefault((arrival.source, arrival.token), [0, 0.0])
        use[0] += 1
        use[1] = max(use[1], arrival.at)

    # --- deliveries -----------------------------------------------------------------------

    def settle(self, op: Settle) -> bool:
        """Fenced by owner and attempts: only who took it last is believed."""
        attempts = op.delivery.attempts + (op.attempt is not None)
        changed = self._conn.execute(
            "update deliveries set state = ?, attempts = ?, due_at = ?, owner = null"
            " where id = ? and owner = ? and attempts = ? and state = 'sending'",
            (
                op.state,
                attempts,
                op.due_at,
                op.delivery.id,
                self._start,
                op.delivery.attempts,
            ),
        ).rowcount
        if not changed:
            return False
        if op.attempt is not None:
            self._attempt(op.delivery.id, attempts, op.attempt)
        self._counts["deliveries.sending"] -= 1
        self._counts[f"deliveries.{op.state}"] += 1
        return True

    def _attempt(self, delivery: int, n: int, attempt: Attempt) -> None:
        self._conn.execute(
            "insert into attempts values (?, ?, ?, ?, ?, ?, ?)",
            (
                delivery,
                n,
                attempt.at,
                attempt.outcome,
                attempt.status,
                attempt.error,
                attempt.took_ms,
            ),
        )

    def take(self, op: Take) -> tuple[Delivery, ...]:
        due = "sink = ? and state = 'pending' and due_at <= ? order by due_at, id limit ?"
        return self._make_ours(op.sink, due, (op.sink, op.now, op.limit))

    def probe(self, op: Probe) -> tuple[Delivery, ...]:
        failed = "sink = ? and state = 'pending' and attempts > 0 order by id limit 1"
        due_at = self._conn.execute(
            f"select due_at from deliveries where {failed}",  # noqa: S608 - our words
            (op.sink,),
        ).fetchone()
        return tuple(
            msgspec.structs.replace(delivery, due_at=due_at[0])
            for delivery in self._make_ours(op.sink, failed, (op.sink,))
        )

    def _make_ours(self, sink: str, which: str, values: Sequence[object]) -> tuple[Delivery, ...]:
        rows = self._conn.execute(
            f"""
            update deliveries set state = 'sending', owner = ?, due_at = null
            where id in (select id from deliveries where {which})
            returning id, attempts, accepted_at,
                      (select id from events where seq = deliveries.event),
                      (select body from events where seq = deliveries.event)
            """,  # noqa: S608 - our words
            (self._start, *values),
        ).fetchall()
        self._counts["deliveries.pending"] -= len(rows)
        self._counts["deliveries.sending"] += len(rows)
        return tuple(
            Delivery(
                id=id_,
                event_id=event_id,
                body=body.encode(),
                sink=sink,
                attempts=attempts,
                accepted_at=accepted_at,
            )
            for id_, attempts, accepted_at, event_id, body in sorted(rows)
        )

    def hasten(self, op: Hasten) -> int:
        return self._conn.execute(
            """
            update deliveries set due_at = ? where id in (
              select id from deliveries
              where sink = ? and state = 'pending' and due_at > ? and attempts > 0 limit ?)
            """,
            (op.now, op.sink, op.now, op.limit),
        ).rowcount

    # --- what is no event -----------------------------------------------------------------

    def keep(self, op: Keep) -> Quarantined:
        self._used(op.arrival)
        arrival = op.arrival
        (id_,) = self._conn.execute(
            """
            insert into quarantine (id, source, fingerprint, reason, detail, token, peer, at,
                                    last_at, headers, body)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict (source, fingerprint) do update
              set count = count + 1, last_at = max(last_at, excluded.last_at)
            returning id
            """,
            (
                op.id,
                arrival.source,
                op.fingerprint,
                op.reason,
                op.detail,
                arrival.token,
                arrival.peer,
                arrival.at,
                arrival.at,
                json.dumps(arrival.headers),
                arrival.body,
            ),
        ).fetchone()
        new = id_ == op.id
        self._counts["quarantine" if new else "duplicates"] += 1
        return Quarantined(id=id_, new=new)

    def dismiss(self, op: Dismiss) -> bool:
        gone = self._conn.execute("delete from quarantine where id = ?", (op.id,)).rowcount
        self._counts["quarantine"] -= gone
        return bool(gone)

    def touch(self, _op: Touch) -> None:
        # SQLite does not compare: the page is written.
        self._conn.execute("update counters set value = value where name = 'events'")

    def reject(self, op: Reject) -> None:
        (kept,) = self._conn.execute("select count(*) from rejections").fetchone()
        for rejection in op.rejections:
            if self._count_again(rejection, rejection.peer):
                continue
            peer = rejection.peer if kept < REJECTIONS_KEPT else "*"
            if peer == "*" and self._count_again(rejection, peer):
                continue
            kept += 1
            self._conn.execute(
                "insert into rejections (reason, source, peer, count, first_at, last_at)"
                " values (?, ?, ?, ?, ?, ?)",
                (
                    rejection.reason,
                    rejection.source,
                    peer,
                    rejection.count,
                    rejection.first_at,
                    rejection.last_at,
                ),
            )

    def _count_again(self, rejection: Rejection, peer: str) -> bool:
        return bool(
            self._conn.execute(
                "update rejections set count = count + ?, last_at = max(last_at, ?)"
                " where reason = ? and source = ? and peer = ?",
                (rejection.count, rejection.last_at, rejection.reason, rejection.source, peer),
            ).rowcount
        )


#: What a batch does for each kind of operation.
_VERBS: Mapping[type, Callable[[_Batch, Any], Result]] = {
    Record: _Batch.record,
    Settle: _Batch.settle,
    Take: _Batch.take,
    Probe: _Batch.probe,
    Hasten: _Batch.hasten,
    Keep: _Batch.keep,
    Dismiss: _Batch.dismiss,
    Touch: _Batch.touch,
    Reject: _Batch.reject,
}


def other_subject(event: Event) -> str | None:
    """What an event happened to besides its subject: an SMS of a request may name its rental."""
    subjects = (
        f"{kind}/{id_}"
        for kind, name in SUBJECTS.items()
        if (id_ := getattr(event.data, name, None)) is not None
    )
    return next((subject for subject in subjects if subject != event.subject), None)


def _insert(conn: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Several rows a statement: executemany is a fifth slower. Few shapes, so they stay cached."""
    done = 0
    for shape in (64, 16, 4, 1):
        while len(rows) - done >= shape:
            part = rows[done : done + shape]
            one = f"({', '.join('?' * len(part[0]))})"
            conn.execute(
                f"insert into {table} values {', '.join([one] * shape)}",  # noqa: S608 - our names
                [value for row in part for value in row],
            )
            done += shape
