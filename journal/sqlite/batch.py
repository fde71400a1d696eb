"""What a batch writes to SQLite, in the one thread that writes."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from core.delivery import Delivery
from core.errors import Broken, InvalidRow, Unavailable
from core.event import SUBJECTS, Event
from core.order import Order, told_by

from ..records import Arrival, Planned, Quarantined, Recorded, Registered, Rejection
from ..writes import (
    CancelOrder,
    CountRejections,
    DismissQuarantined,
    ExpireOrder,
    HideCredentials,
    IndexVisible,
    LapseOrder,
    MoveOrders,
    QuarantineCallback,
    Record,
    RegisterOrder,
    SetBalance,
    SetMoment,
    Shift,
    Touch,
    Write,
)
from .balances import set_balance
from .bulk import add, insert, owners
from .copies import claim, gain, note
from .credentials import hide, log_is_in_clear, mark_log_clean
from .errors import error_name, judged
from .files import JournalFiles
from .orders import cancel, expire, join, lapse, link, move, place, tell
from .outbox import Outbox, Owing, Shifting
from .times import TOLERATED, newest_possible, note_disorder
from .visible import fill

#: The channel of what was asked for.
_POLL = "poll"
#: Copies are all counted; when and from where is kept of so many.
DUPLICATES_KEPT = 100
#: The channel of what stands in place of a callback, where an event was brought by none.
NO_CALLBACK = "none"
#: Of all peers together; what comes beyond is counted under the peer `*`.
REJECTIONS_KEPT = 10_000


#: Bytes of a page in the write-ahead log (sqlite.org/fileformat2.html, 4.1).
_FRAME = 4096 + 24
#: How large the log grows until it is written back, and how much further until the next time.
#: A log of the second size is cut off, too: until then its space is used again.
CHECKPOINT_AT, TRUNCATE_AT = 2_000 * _FRAME, 4_000 * _FRAME
CHECKPOINT_STEP = 500 * _FRAME
#: Milliseconds that a transaction waits for somebody else's.
BUSY_MS = 1_000


class BatchWriter:
    """Applies batches of operations, each batch one transaction, through one connection.

    It also writes the log back (checkpoints): SQLite's automatic checkpoint keeps a failed fsync to
    itself.
    """

    def __init__(
        self, conn: sqlite3.Connection, start: int, files: JournalFiles | None = None
    ) -> None:
        self._conn, self._start, self._files = conn, start, files
        self._checkpoint_at = CHECKPOINT_AT
        #: Whether the last that was to be written could be.
        self.working = True
        self._last_seq = self._last("events")
        self._last_callback = self._last("callbacks")
        self._last_delivery = self._last("deliveries")
        self._newest = newest_possible(conn)
        self._shifts: Mapping[int, Shifting] = {}
        #: Cut the log off at the next checkpoint: it holds secrets.
        self._log_in_clear = False

    def write(self, ops: Sequence[Write[Any]]) -> list[Any]:
        """One result an operation, durable; or an exception of `commit`, and nothing stored."""
        batch = _Batch(
            self._conn,
            self._start,
            self._last_seq,
            self._last_callback,
            self._last_delivery,
            self._newest,
            self._shifts,
        )
        before = self._conn.total_changes
        try:
            self._conn.execute("begin immediate")
            batch.look_up(ops)
            results = [batch.apply(op) for op in ops]
            batch.flush()
            self._conn.execute("commit")
        except Exception as exc:
            # Whatever it is, MemoryError too: an open transaction would fail the next batch.
            verdict = judged(exc)
            self.working = isinstance(verdict, InvalidRow) and self.working
            if not isinstance(verdict, Broken):
                self._rollback()
            if not isinstance(verdict, InvalidRow):
                self._begin_shifts(ops)
            raise verdict from exc
        # A look that found nothing is committed on a full disk too.
        self.working = self.working or self._conn.total_changes > before
        self._last_seq, self._last_callback = batch.seq, batch.callback
        self._last_delivery, self._newest = batch.outbox.last_id, batch.newest
        self._shifts = batch.outbox.shifts
        self._log_in_clear = self._log_in_clear or batch.log_in_clear
        self.look()
        return results

    def _begin_shifts(self, ops: Sequence[Write[Any]]) -> None:
        """What comes after a jump is made by the new clock, also where its first step failed."""
        outbox = Outbox(self._conn, self._start, self._last_delivery, Counter(), self._shifts)
        for op in ops:
            if isinstance(op, Shift):
                outbox.begin_shift(op)
        self._shifts = outbox.shifts

    # --- the files ------------------------------------------------------------------------

    @property
    def log_size(self) -> int:
        """Bytes of the write-ahead log at the last look."""
        return 0 if self._files is None else self._files.log_size

    @property
    def has_to_checkpoint(self) -> bool:
        return self._log_in_clear or self.log_size >= self._checkpoint_at

    def look(self) -> None:
        """Raise Broken where a file of the journal is not where it was."""
        if self._files is not None:
            self._files.check()

    def write_back(self) -> None:
        """Empty the log, before the connection is closed. Raises Broken or Unavailable."""
        checkpoint(self._conn, "truncate")

    def checkpoint(self) -> bool:
        """Write the log back into the file; whether it begins from the start again.

        Raises Broken. What else fails is tried again when the log has grown.
        """
        cut_off = self._log_in_clear or self.log_size >= TRUNCATE_AT
        try:
            done = checkpoint(self._conn, "truncate" if cut_off else "passive")
            if done and self._log_in_clear:
                mark_log_clean(self._conn)
        except Broken:
            raise
        except Unavailable:
            done = False
        self._log_in_clear = False  # the next HideCredentials asks again where it is not done
        self.look()
        self._checkpoint_at = max(CHECKPOINT_AT, self.log_size + CHECKPOINT_STEP)
        return done

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


def checkpoint(conn: sqlite3.Connection, mode: str) -> bool:
    """Write the log back into the file; whether all of it was. Raises Broken or Unavailable.

    `passive` waits for nobody and leaves the log as long as it is; `truncate` cuts it off, where no
    reader needs it.
    """
    conn.execute("pragma busy_timeout = 0")  # callbacks wait behind this
    try:
        busy, pages, written = conn.execute(f"pragma wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as exc:
        raise judged(exc) from exc
    finally:
        conn.execute(f"pragma busy_timeout = {BUSY_MS}")
    return bool(not busy and pages == written)


@lru_cache(maxsize=1024)
def _names(routes: tuple[str, ...]) -> str:
    return json.dumps(routes)


class _Batch:
    """One transaction: rows gather and are inserted together, counters are changed once."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        start: int,
        seq: int,
        callback: int,
        delivery: int,
        newest: float,
        shifts: Mapping[int, Shifting],
    ) -> None:
        self._conn = conn
        self.seq, self.callback = seq, callback
        #: The orders that the events of the current operation name.
        self._told: list[Order] = []
        #: No event so far was recorded later.
        self.newest = newest
        #: The last that is older than one before it by more than is tolerated.
        self._disorder = 0
        self._counts: Counter[str] = Counter()
        self.outbox = Outbox(conn, start, delivery, self._counts, shifts)
        #: The log holds secrets that no table holds any more.
        self.log_in_clear = False
        self._uses: dict[tuple[str, str], list[float]] = {}
        #: The events that have a key, as (seq, id): those that had it before, and the new ones.
        self._owners: dict[tuple[str, bytes], tuple[int, str]] = {}
        self._rows: dict[str, list[tuple[object, ...]]] = {
            table: [] for table in ("callbacks", "events", "keys")
        }

    def look_up(self, ops: Sequence[Write[Any]]) -> None:
        """What is asked for all at once; must come before anything is applied."""
        keys = {
            (plan.event.source, key)
            for op in ops
            if isinstance(op, Record)
            for plan in op.plans
            for key in plan.keys
        }
        self._owners = owners(self._conn, list(keys))
        self.outbox.deliver(ops)

    def apply(self, op: Write[Any]) -> Any:
        verb = _VERBS.get(type(op))
        return self.outbox.apply(op) if verb is None else verb(self, op)

    def flush(self) -> None:
        self._flush_rows()
        if self._disorder:
            note_disorder(self._conn, self._disorder)
        self.outbox.flush()
        # Without what changes nothing: a look that found nothing would cost an fsync.
        add(self._conn, {name: change for name, change in self._counts.items() if change})
        for (source, token), (count, at) in self._uses.items():
            self._conn.execute(
                "insert into token_uses values (?, ?, ?, ?) on conflict do update set"
                " callbacks = callbacks + excluded.callbacks,"
                " last_at = max(last_at, excluded.last_at)",
                (source, token, int(count), at),
            )

    def _flush_rows(self) -> None:
        for table, rows in self._rows.items():
            insert(self._conn, table, rows)
            rows.clear()

    # --- events ---------------------------------------------------------------------------

    def record(self, op: Record) -> Recorded:
        ids: list[str] = []
        new: list[bool] = []
        deliveries: list[Delivery] = []
        callback: int | None = None
        self._told = []
        for plan in op.plans:
            known = self._known(plan) or self._twin(plan)
            if known is None:
                callback = callback or self._callback(op.arrival)
                deliveries += self._event(plan, callback)
            else:
                self._claim(plan, known)
                self._gain(plan, known[0])
                self._duplicate(known[0], op.arrival)
                self._join(plan, known[0])
            ids.append(plan.event.id if known is None else known[1])
            new.append(known is None)
        if op.replaces is None:
            self._used(op.arrival)
        else:
            self.dismiss(DismissQuarantined(op.replaces))
        return Recorded(
            ids=tuple(ids),
            new=tuple(new),
            deliveries=tuple(deliveries),
            orders=tuple(self._told),
        )

    def _known(self, plan: Planned) -> tuple[int, str] | None:
        """The event that has one of these keys already, as (seq, id)."""
        for key in plan.keys:
            found = self._owners.get((plan.event.source, key))
            if found is not None:
                return found
        return None

    def _twin(self, plan: Planned) -> tuple[int, str] | None:
        """The event that came the other way, as (seq, id)."""
        if plan.twin is None:
            return None
        return claim(self._conn, plan.event, plan.twin)

    def _claim(self, plan: Planned, owner: tuple[int, str]) -> None:
        """All keys of a copy are the event's from now on: a chain of retries stays one."""
        for key in plan.keys:
            name = (plan.event.source, key)
            if name not in self._owners:  # else it is another event's already, and stays that
                self._owners[name] = owner
                self._rows["keys"].append((*name, owner[0]))

    def _gain(self, plan: Planned, event: int) -> None:
        """What came the other way may say more than the first did."""
        if plan.twin is not None or plan.event.data.channel == _POLL:
            self._flush_rows()
            gain(self._conn, event, plan.event, plan.twin)

    def _join(self, plan: Planned, event: int) -> None:
        """A copy may say whose it is where the first did not."""
        if plan.order is not None:
            self._flush_rows()
            # By ids: the time does not matter.
            join(self._conn, plan.order, event, told_by(plan.event.data, time=None, at=plan.at))

    def _event(self, plan: Planned, callback: int) -> list[Delivery]:
        event = plan.event
        self.seq += 1
        if plan.at < self.newest - TOLERATED:
            self._disorder = self.seq
        self.newest = max(self.newest, plan.at)
        for key in dict.fromkeys(plan.keys):
            self._owners[event.source, key] = (self.seq, event.id)
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
                _names(plan.routes),
                plan.body.decode(),
                event.data.reference,
            )
        )
        if plan.tells is not None:
            self._flush_rows()
            self._told.append(tell(self._conn, plan.tells, self.seq, event.type, plan.taken))
        elif plan.order is not None:
            link(self._conn, plan.order, self.seq, event.type, plan.taken)
        self._counts["events"] += 1
        if plan.twin is not None:
            self._flush_rows()
            note(self._conn, self.seq, plan.twin)
        elif any(owed.ordering is not None for owed in plan.owed):
            self._flush_rows()  # its deliveries are rows at once, and may be taken in this batch
        return self.outbox.owe(
            Owing(seq=self.seq, event_id=event.id, body=plan.body, at=plan.at), plan.owed
        )[1]

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
                msgspec.json.encode(arrival.headers).decode(),
                arrival.body,
            )
        )
        return self.callback

    def _duplicate(self, event: int, arrival: Arrival) -> None:
        if arrival.channel == _POLL and self._polled(event):
            return  # each poll tells it again
        self._counts["duplicates"] += 1
        (kept,) = self._conn.execute(
            "select count(*) from duplicates where event = ?", (event,)
        ).fetchone()
        if kept < DUPLICATES_KEPT:
            self._conn.execute(
                "insert into duplicates values (?, ?, ?, ?, ?)",
                (event, kept + 1, arrival.at, arrival.channel, arrival.peer),
            )

    def _polled(self, event: int) -> bool:
        """It came by a poll, too, or by nothing else."""
        self._flush_rows()
        (polled,) = self._conn.execute(
            "select exists(select 1 from duplicates where event = :event and channel = :poll)"
            " or exists(select 1 from events join callbacks on callbacks.id = events.callback"
            " where events.seq = :event and callbacks.channel = :poll)",
            {"event": event, "poll": _POLL},
        ).fetchone()
        return bool(polled)

    def _used(self, arrival: Arrival) -> None:
        if arrival.channel == _POLL:
            return  # nobody called
        use = self._uses.setdefault((arrival.source, arrival.token), [0, 0.0])
        use[0] += 1
        use[1] = max(use[1], arrival.at)

    # --- orders ---------------------------------------------------------------------------

    def place(self, op: RegisterOrder) -> Registered:
        self._flush_rows()  # what came before it may be of this batch
        return place(self._conn, op)

    def cancel(self, op: CancelOrder) -> Order | None:
        return cancel(self._conn, op)

    def expire(self, op: ExpireOrder) -> Recorded | None:
        return self._uncalled(op.plan) if expire(self._conn, op) else None

    def lapse(self, op: LapseOrder) -> Order | None:
        return lapse(self._conn, op)

    def move(self, op: MoveOrders) -> None:
        move(self._conn, op)

    def set_balance(self, op: SetBalance) -> Recorded | None:
        crossed = set_balance(self._conn, op)
        return self._uncalled(op.plan) if crossed and op.plan is not None else None

    def _uncalled(self, plan: Planned) -> Recorded:
        """Keep an event that no callback brought."""
        callback = self._callback(_no_callback(plan))
        deliveries = self._event(plan, callback)
        return Recorded(ids=(plan.event.id,), new=(True,), deliveries=tuple(deliveries))

    # --- what is no event -----------------------------------------------------------------

    def keep(self, op: QuarantineCallback) -> Quarantined:
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

    def dismiss(self, op: DismissQuarantined) -> bool:
        gone = self._conn.execute("delete from quarantine where id = ?", (op.id,)).rowcount
        self._counts["quarantine"] -= gone
        return bool(gone)

    def touch(self, _op: Touch) -> None:
        # SQLite does not compare: the page is written.
        self._conn.execute("update counters set value = value where name = 'events'")

    def reject(self, op: CountRejections) -> None:
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

    def hide(self, op: HideCredentials) -> bool:
        self._flush_rows()
        if hide(self._conn, op.hidden, op.limit):
            return True
        self.log_in_clear = log_is_in_clear(self._conn)
        return self.log_in_clear

    def index_visible(self, op: IndexVisible) -> bool:
        self._flush_rows()
        return fill(self._conn, op.limit)

    def note(self, op: SetMoment) -> None:
        self._conn.execute(
            "insert into moments values (?, ?) on conflict do update set at = excluded.at",
            (op.name, op.at),
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
_VERBS: Mapping[type, Callable[[_Batch, Any], Any]] = {
    Record: _Batch.record,
    QuarantineCallback: _Batch.keep,
    DismissQuarantined: _Batch.dismiss,
    Touch: _Batch.touch,
    RegisterOrder: _Batch.place,
    CancelOrder: _Batch.cancel,
    ExpireOrder: _Batch.expire,
    LapseOrder: _Batch.lapse,
    MoveOrders: _Batch.move,
    SetBalance: _Batch.set_balance,
    CountRejections: _Batch.reject,
    SetMoment: _Batch.note,
    HideCredentials: _Batch.hide,
    IndexVisible: _Batch.index_visible,
}


def _no_callback(plan: Planned) -> Arrival:
    """In place of the callback that brought an event which none did."""
    return Arrival(
        source=plan.event.source,
        channel=NO_CALLBACK,
        token="",
        peer="",
        at=plan.at,
        headers=(),
        body=b"",
    )


def other_subject(event: Event) -> str | None:
    """What an event happened to besides its subject: an SMS of a request may name its rental."""
    subjects = (
        f"{kind}/{id_}"
        for kind, name in SUBJECTS.items()
        if (id_ := getattr(event.data, name, None)) is not None
    )
    return next((subject for subject in subjects if subject != event.subject), None)
