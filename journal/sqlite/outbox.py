"""The writes of deliveries and sinks: take, settle, bring forward, retry, reorder, shift."""

import json
import math
import operator
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from core.delivery import ERASED, Attempt, Delivery, State, Turn
from core.paths import Path, order_at, parse

from ..feed import Committed
from ..reads import DeliveryById
from ..records import BriefDelivery, Settled, StoredDelivery, group_of
from ..rows import Changes
from ..seal import Kind, Opener, Opening, Reason, Sealer, kinds_at
from ..writes import (
    BringForward,
    Clamp,
    EndDeliveries,
    Hold,
    PauseSink,
    Probe,
    Reorder,
    ResumeSink,
    RetryDeliveries,
    RetryDelivery,
    Settle,
    Shift,
    Take,
)
from . import sealed
from .bulk import OWNED, deliver, insert, note_results
from .deliveries import GIVEN_UP, TURNS, delivery

#: Selects the unfinished deliveries of an `ordering`. The partial index has the same condition.
#: Only older versions stored `sending`: today it is a pending delivery with an owner.
_UNFINISHED = "sink = ? and ordering = ? and state in ('pending', 'sending')"

#: With the plus, SQLite uses the partial indexes and does not read all delivered rows.
FIRST_UNFINISHED = (
    "select min(id) from ("
    "select min(+id) as id from deliveries where state = 'pending' and attempts = 0"
    " union all select min(+id) from deliveries where state = 'pending' and attempts > 0)"
)


#: When a delivery that waits in line may be sent. Before its first attempt, `scheduled_at` is then
#: the end of the first wait of its schedule.
IN_LINE_UNTIL = "coalesce(iif(attempts = 0, scheduled_at, null), deliveries.accepted_at)"
#: Puts a delivery in line.
_IN_LINE = (
    "due_at = null, scheduled_at = iif(attempts = 0, coalesce(due_at, scheduled_at), scheduled_at)"
)

#: Comes before the stored path while deliveries are put in its order.
_REORDERING = " "

#: Selects the deliveries that the caller does not have.
_UNKNOWN = "deliveries.id not in (select value from json_each(?))"


_ATTEMPTS = "attempts (delivery, n, at, outcome, status, error, took_ms, answer, sealed)"
#: Adds a probe to those of the same number.
_PROBED = """
    insert into probes (delivery, n, at, outcome, status, error, took_ms, answer, sealed, count)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set
      at = excluded.at, outcome = excluded.outcome, status = excluded.status,
      error = excluded.error, took_ms = excluded.took_ms, answer = excluded.answer,
      sealed = excluded.sealed, count = count + excluded.count
"""

#: Keeps a delivery that was given up where a retry of all that match finds it.
_GIVE_UP = """
    insert into given_up (state, id, sink, event, event_id, source, recorded_at)
    select state, deliveries.id, sink, event, events.id, source, recorded_at
    from deliveries cross join events on seq = event where deliveries.id = ?
"""


class _PendingRow(NamedTuple):
    """A pending delivery and its event."""

    id: int
    owner: int | None
    attempts: int
    begun: int
    accepted_at: float
    ordering: str | None
    replay: int
    due_at: float
    scheduled_at: float | None
    fixed: int
    event_id: str
    body: str
    codes: bytes | None
    people: bytes | None
    erased_at: float | None


class EndedDelivery(NamedTuple):
    """A pending delivery that is given up."""

    id: int
    sink: str
    attempts: int
    #: The line in which another delivery moves up. None: it has no line, or the whole line ends.
    ordering: str | None = None


class GivenUp(NamedTuple):
    """A pending delivery that ended without a further attempt."""

    id: int
    sink: str
    state: State
    error: str


class Shifting(msgspec.Struct, frozen=True):
    """A clock jump. Rows after `done`, up to `last`, are not moved yet: they lag by `by`."""

    number: int
    by: float
    done: int
    last: int


class _Results:
    """The outcomes of the attempts of one batch at one sink."""

    __slots__ = ("error_at", "failing_since", "last_error", "status", "succeeded", "success_at")

    def __init__(self) -> None:
        self.success_at: float | None = None
        self.error_at: float | None = None
        self.last_error: str | None = None
        self.status: int | None = None
        self.failing_since: float | None = None
        #: Something succeeded in this batch, so an older `failing_since` ends.
        self.succeeded = False

    def add(self, attempt: Attempt) -> None:
        if attempt.outcome == "delivered":
            self.success_at, self.failing_since, self.succeeded = attempt.at, None, True
            return
        self.error_at, self.last_error, self.status = attempt.at, attempt.error, attempt.status
        if attempt.outcome == "failed" and self.failing_since is None:
            self.failing_since = attempt.at


class Outbox:
    """The deliveries in one transaction."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        start: int,
        shifts: Mapping[int, Shifting],
        opener: Opener,
        sealer: Sealer | None = None,
    ) -> None:
        """`sealer` None: new rows are stored in clear."""
        self.conn = conn
        self._start = start
        self.opener, self._sealer = opener, sealer
        #: The changes of counters, by name.
        self.counts: dict[str, int] = defaultdict(int)
        #: The clock jumps by number, also the finished ones.
        self.shifts = dict(shifts)
        #: The pending deliveries that were given up.
        self.given_up: list[GivenUp] = []
        #: The sinks without pending deliveries: all were given up.
        self._ended: set[str] = set()
        self._attempts: list[tuple[object, ...]] = []
        self._results: dict[str, _Results] = defaultdict(_Results)
        #: Ids that `deliver` settled and that `settle` has not seen yet.
        self._delivered: set[int] = set()
        #: News for the listeners: see `Committed`.
        self._events: list[tuple[int, bytes]] = []
        self._changed: dict[int, bytes] = {}
        self._made: dict[str, list[Delivery]] = {}
        self._due: dict[tuple[str, Turn], float] = {}

    def deliver(self, ops: Sequence[object]) -> None:
        """Settle the successes in one statement, before any operation is applied."""
        delivered = [op.delivery for op in ops if type(op) is Settle and _is_delivered(op)]
        alike: dict[int, list[int]] = {}
        for one in delivered:
            alike.setdefault(one.attempts, []).append(one.id)
        for attempts, ids in alike.items():
            self._delivered |= deliver(
                self.conn,
                ids,
                owner=self._start,
                attempts=attempts,
                forgets=self._sealer is not None,
            )

    def flush(self) -> None:
        insert(self.conn, _ATTEMPTS, self._attempts)
        for succeeded in (False, True):
            rows = [
                (sink, its.failing_since, its.success_at, its.error_at, its.last_error, its.status)
                for sink, its in self._results.items()
                if its.succeeded is succeeded
            ]
            note_results(self.conn, rows, succeeded=succeeded)

    def forget_ended(self) -> None:
        """Delete the counters of sinks that ended. Call it after the counters were written."""
        if self._ended:  # a statement without rows takes time, too
            self.conn.executemany(
                "delete from counters where name = ? and value = 0",
                [(f"pending/{sink}",) for sink in self._ended],
            )

    # --- news -----------------------------------------------------------------------------

    def announce(self, changes: Changes) -> None:
        changed = changes.changed
        self._events += [
            (new.seq, changed[new.seq].body.encode() if new.seq in changed else new.plan.body)
            for new in changes.events
        ]
        if changed:
            its = {new.seq for new in changes.events}
            self._changed.update(
                (seq, row.body.encode()) for seq, row in changed.items() if seq not in its
            )
        for due in changes.due:
            self._made.setdefault(due.sink, []).append(due)
        for new in changes.deliveries:
            if new.owner is None or new.replay:
                self._note_due(new.sink, new.due_at, Turn.of(0, replay=new.replay))

    def committed(self) -> Committed | None:
        """Return the news for the listeners, or None."""
        if not (self._events or self._changed or self._made or self._due):
            return None
        return Committed(
            events=self._events,
            changed=tuple(self._changed.items()),
            deliveries=self._made,
            due=self._due,
            jumped=sum(shifting.by for shifting in self.shifts.values()),
        )

    def _note_due(self, sink: str, at: float | None, turn: Turn) -> None:
        if at is not None:
            self._due[sink, turn] = min(at, self._due.get((sink, turn), math.inf))

    # --- take and settle ------------------------------------------------------------------

    def settle(self, op: Settle) -> Settled | None:
        """Store an outcome. Owner and attempts are the fence: only the last taker is believed."""
        delivery, attempt = op.delivery, op.attempt
        attempts = delivery.attempts + (attempt is not None and not attempt.probes)
        if _is_delivered(op):
            # Only the first of several outcomes in this batch counts.
            if delivery.id not in self._delivered:
                return None
            self._delivered.remove(delivery.id)
        elif not self._update(op, attempts):
            return None
        if attempt is not None:
            if attempt.error != ERASED:  # no attempt at the sink
                self._results[delivery.sink].add(attempt)
            number = attempts + bool(attempt.probes)
            row = (
                *(delivery.id, number, attempt.at, attempt.outcome, attempt.status),
                *(attempt.error, attempt.took_ms, *self._answer(delivery, number, attempt)),
            )
            if attempt.probes:
                self.conn.execute(_PROBED, (*row, attempt.probes))
            else:
                self._attempts.append(row)
        self.counts["deliveries.pending"] -= 1
        self.counts[f"deliveries.{op.state}"] += 1
        if op.state is not State.PENDING:
            self.counts[f"pending/{delivery.sink}"] -= 1
            self.counts[f"{op.state}/{group_of(delivery.sink)}"] += 1
        if delivery.ordering is not None and op.state is not State.PENDING:
            self._advance(delivery.sink, delivery.ordering)
        return Settled()

    def _answer(
        self, delivery: Delivery, number: int, attempt: Attempt
    ) -> tuple[bytes | None, bytes | None]:
        """Return the columns `answer` and `sealed` of an attempt. It is erased with its event."""
        if self._sealer is None or attempt.answer is None:
            return attempt.answer, None
        is_probe = attempt.probes > 0
        id_ = sealed.answer_id(delivery.event_id, delivery.id, number, probe=is_probe)
        at, beside = delivery.accepted_at, delivery.codes
        part = self._sealer.seal_beside(Kind.CODES, id_, attempt.answer, at, beside)
        if part is None and beside is None:  # the event is older than all keys
            at = self._sealer.newest(Kind.CODES, at)
            part = self._sealer.seal_part(Kind.CODES, id_, attempt.answer, at)
        return None, part

    def _update(self, op: Settle, attempts: int) -> bool:
        """Store the state of a delivery; return whether it is ours."""
        lag = 0.0 if op.fixed else self._lag(op.delivery.id)
        due_at = None if op.due_at is None else op.due_at - lag
        changed = self.conn.execute(
            "update deliveries set state = ?, attempts = ?, due_at = ?, scheduled_at = ?,"  # noqa: S608 - our words
            " fixed = ?, held = ?, ordering = iif(?, null, ordering),"
            f" owner = null where id = ? and {OWNED} and attempts = ?",
            (
                *(op.state, attempts, due_at, due_at if op.asked else None, op.fixed, op.held),
                # The `ordering` may be a number: it is not kept longer than it is needed.
                self._sealer is not None and op.state is not State.PENDING,
                *(op.delivery.id, self._start, op.delivery.attempts),
            ),
        ).rowcount
        if changed:
            turn = Turn.of(attempts, replay=op.delivery.replay)
            self._note_due(op.delivery.sink, op.due_at, turn)
            if op.state in GIVEN_UP:
                self.conn.execute(_GIVE_UP, (op.delivery.id,))
        return bool(changed)

    def _advance(self, sink: str, ordering: str) -> None:
        """Make the first delivery of an ordering due, as of its acceptance and its first wait."""
        found = self.conn.execute(
            f"""
            update deliveries set due_at = {IN_LINE_UNTIL},
              scheduled_at = iif(attempts = 0, null, scheduled_at)
            where state = 'pending' and due_at is null
              and id = (select id from deliveries where {_UNFINISHED} order by id limit 1)
            returning due_at, attempts, replay
            """,  # noqa: S608 - our words
            (sink, ordering),
        ).fetchall()
        for due_at, attempts, replay in found:
            self._note_due(sink, due_at, Turn.of(attempts, replay=replay))

    def take(self, op: Take) -> tuple[Delivery, ...]:
        """Return due deliveries. Those of an earlier start get this start as their owner.

        The news say when the next one is due.
        """
        where = f"sink = ? and state = 'pending' and {TURNS[op.turn]} and due_at <= ?"
        values: list[object] = [op.sink, op.now]
        for shifting in self.shifts.values():
            if shifting.done < shifting.last:
                # A row that lags behind must not look due.
                behind = "deliveries.id > ? and deliveries.id <= ? and not fixed"
                where += f" and due_at + ? * ({behind}) <= ?"
                values += [shifting.by, shifting.done, shifting.last, op.now]
        if op.known:
            where += f" and {_UNKNOWN}"
            values.append(json.dumps(op.known))
        if op.accepted_by is not None:
            where += " and deliveries.accepted_at <= ?"
            values.append(op.accepted_by)
        rows = self._read(f"{where} order by due_at, deliveries.id limit ?", [*values, op.limit])
        free = [row.id for row in rows if row.owner != self._start]
        if free:
            self.conn.execute(
                "update deliveries set owner = ? where id in (select value from json_each(?))",
                (self._start, json.dumps(free)),
            )
        if len(rows) < op.limit and op.accepted_by is None:
            known = json.dumps([*op.known, *(row.id for row in rows)])
            found = self.conn.execute(
                f"select due_at from deliveries where sink = ? and state = 'pending' and {_UNKNOWN}"  # noqa: S608 - our words
                f" and {TURNS[op.turn]} and due_at is not null order by due_at limit 1",
                (op.sink, known),
            ).fetchone()
            self._note_due(op.sink, found and found[0], op.turn)
        rows.sort(key=operator.attrgetter("id"))
        return tuple(self._delivery(op.sink, row, now=op.now) for row in rows)

    def probe(self, op: Probe) -> tuple[Delivery, ...]:
        where = "sink = ? and state = 'pending' and attempts > 0 and due_at is not null"
        rows = self._read(
            f"{where} and deliveries.id > ? and {_UNKNOWN} order by deliveries.id limit 1",
            (op.sink, op.after, json.dumps(op.known)),
        )
        if not rows:
            return ()
        (row,) = rows
        # If this start ends meanwhile, it is due at once for the next start.
        self.conn.execute(
            "update deliveries set owner = ?, due_at = min(due_at, accepted_at), fixed = 0"
            " where id = ?",
            (self._start, row.id),
        )
        due_at = row.due_at if row.scheduled_at is None else row.scheduled_at
        probed = msgspec.structs.replace(
            self._delivery(op.sink, row),
            due_at=due_at + (0.0 if row.fixed else self._lag(row.id)),
            asked=row.due_at == row.scheduled_at,
            fixed=bool(row.fixed),
        )
        return (probed,)

    def _read(self, where: str, values: Sequence[object]) -> list[_PendingRow]:
        rows = self.conn.execute(
            f"""
            select deliveries.id, owner, attempts, begun, accepted_at, ordering, replay, due_at,
                   scheduled_at, fixed, {sealed.BODY}
            from deliveries cross join events on seq = event where {where}
            """,  # noqa: S608 - our words
            values,
        )
        return [_PendingRow(*row) for row in rows]

    def _delivery(self, sink: str, row: _PendingRow, *, now: float = math.inf) -> Delivery:
        """Return the row as a delivery; `due_at` is set for a probe, which is taken early."""
        lag = self._lag(row.id)
        scheduled_at = None if row.scheduled_at is None else row.scheduled_at + lag
        return Delivery(
            id=row.id,
            event_id=row.event_id,
            body=row.body.encode(),
            is_masked=row.codes is not None or row.people is not None,
            codes=row.codes,
            people=row.people,
            sink=sink,
            owner=self._start,
            attempts=row.attempts,
            begun=row.begun,
            accepted_at=row.accepted_at + lag,
            ordering=row.ordering,
            replay=bool(row.replay),
            due_at=scheduled_at if scheduled_at is not None and scheduled_at > now else None,
        )

    def bring_forward(self, op: BringForward) -> tuple[int, ...]:
        rows = self.conn.execute(
            "select id from deliveries where sink = ? and state = 'pending' and held = 1"
            " and due_at is not null and owner is not ? order by id limit ?",
            (op.sink, self._start, op.limit),
        ).fetchall()
        self.conn.executemany(
            "update deliveries set held = 0, scheduled_at = due_at, due_at = min(due_at, ?)"
            " where id = ?",
            [(op.now - self._lag(id_), id_) for (id_,) in rows],
        )
        if rows:
            self._note_due(op.sink, op.now, Turn.RETRIED)
        return tuple(id_ for (id_,) in rows)

    def hold(self, op: Hold) -> bool:
        """Hold deliveries that wait for a retry, unless the sink named the time."""
        self.conn.executemany(
            "update deliveries set held = 1 where id = ? and state = 'pending' and attempts > 0"
            " and scheduled_at is null and owner is null",
            [(id_,) for id_ in op.ids],
        )
        return True

    # --- when the wall clock jumps --------------------------------------------------------

    def shift(self, op: Shift) -> bool:
        """Move the next rows; True: there are more.

        Rows from before the first step lag behind until they are moved. Until then, `_lag` corrects
        each read or write of their instants. So no row is moved twice.
        """
        shifting = self.begin_shift(op)
        (first,) = self.conn.execute(FIRST_UNFINISHED).fetchone()
        begin = max(shifting.done, (first or self._last_id() + 1) - 1)
        done = min(begin + op.limit, shifting.last)
        self.conn.execute(
            "update deliveries set due_at = due_at + iif(fixed, 0, ?),"
            " scheduled_at = scheduled_at + iif(fixed, 0, ?), accepted_at = accepted_at + ?"
            " where id > ? and id <= ? and state = 'pending'",
            (op.by, op.by, op.by, begin, done),
        )
        self.shifts[op.number] = msgspec.structs.replace(shifting, done=done)
        return done < shifting.last

    def begin_shift(self, op: Shift) -> Shifting:
        if op.number not in self.shifts:
            shifting = Shifting(number=op.number, by=op.by, done=0, last=self._last_id())
            self.shifts[op.number] = shifting
            for sink, made in self._made.items():
                self._made[sink] = [
                    msgspec.structs.replace(one, accepted_at=one.accepted_at + op.by)
                    for one in made
                ]
            self._due = {lane: at + op.by for lane, at in self._due.items()}
        return self.shifts[op.number]

    def _last_id(self) -> int:
        row = self.conn.execute("select seq from sqlite_sequence where name = 'deliveries'")
        return int((row.fetchone() or (0,))[0])

    def _lag(self, delivery_id: int) -> float:
        """Return the seconds by which the instants of a row lag behind the present clock."""
        return sum(
            shifting.by
            for shifting in self.shifts.values()
            if shifting.done < delivery_id <= shifting.last
        )

    def clamp(self, op: Clamp) -> int:
        """Bring back deliveries that are due further ahead than any wait; return their number."""
        # Two statements, each with its own index. One statement would read all delivered rows.
        return sum(
            self.conn.execute(
                f"""
                update deliveries set
                  due_at = ? + iif(scheduled_at = due_at, ?, ?),
                  scheduled_at = iif(scheduled_at = due_at, ? + ?, scheduled_at)
                where sink = ? and state = 'pending' and {tried}
                  and due_at > ? + iif(scheduled_at = due_at, ?, ?)
                """,  # noqa: S608 - our words
                (
                    *(op.now, op.asked, op.longest, op.now, op.asked),
                    *(op.sink, op.now, op.asked, op.longest),
                ),
            ).rowcount
            for tried in ("attempts = 0", "attempts > 0")
        )

    # --- what a person asks for -----------------------------------------------------------

    def retry(self, op: RetryDelivery) -> StoredDelivery | None:
        self._retry(op.delivery, op.now)
        return delivery(self.conn, DeliveryById(op.delivery, op.opening), self.opener)

    def retry_all(self, op: RetryDeliveries) -> Sequence[BriefDelivery]:
        every = [self._retry(id_, op.now) for id_ in op.deliveries]
        return [one for one in every if one is not None and one.state is not State.DELIVERED]

    def _retry(self, id_: int, at: float) -> BriefDelivery | None:
        """Make a delivery due; return it as it was. None: there is no such delivery."""
        row = self.conn.execute(
            "select events.id, recorded_at, state, sink, owner, attempts, replay,"  # noqa: S608 - our words
            f" {sealed.BODY} from deliveries"
            " join events on events.seq = deliveries.event where deliveries.id = ?",
            (id_,),
        ).fetchone()
        if row is None:
            return None
        event_id, recorded_at, state, sink, owner, attempts, replay, *stored = row
        now = at - self._lag(id_)
        if owner is not None:
            self.conn.execute(
                "update deliveries set begun = attempts, accepted_at = ?, due_at = ? where id = ?",
                (now, now, id_),
            )
        elif state != State.DELIVERED:
            # The `ordering` of a finished delivery may be old: `ordered_by` may have changed.
            path = self._ordered_by(sink)
            ordering = None if path is None else self._order_at(stored, parse(path))
            self.conn.execute(
                "update deliveries set state = 'pending', due_at = ?, scheduled_at = null,"
                " begun = attempts, fixed = 0, held = 0,"
                " accepted_at = ?, ordering = ? where id = ?",
                (now, now, ordering, id_),
            )
            self.conn.execute("delete from given_up where state = ? and id = ?", (state, id_))
            self.counts[f"deliveries.{state}"] -= 1
            self.counts["deliveries.pending"] += 1
            self.counts[f"pending/{sink}"] += state != State.PENDING
            self._note_due(sink, at, Turn.of(attempts, replay=replay))
            if ordering is not None:
                self._line_up(sink, ordering)
        return BriefDelivery(id_, event_id, sink, State(state), recorded_at)

    def _ordered_by(self, sink: str) -> str | None:
        stored = self._stored_order(sink)
        return None if stored is None else stored.removeprefix(_REORDERING) or None

    def _stored_order(self, sink: str) -> str | None:
        row = self.conn.execute("select ordered_by from sinks where name = ?", (sink,)).fetchone()
        return None if row is None else row[0]

    def _order_at(self, stored: Sequence[Any], path: Path) -> str | None:
        """Return the `ordering` of a delivery. `stored` is a row of BODY."""
        opening = Opening(kinds_at(path), Reason.LINE)
        opened = self.opener.open(sealed.stored_body(stored), opening)
        ordering = order_at(msgspec.json.decode(opened.body), path)
        if ordering is None or self._sealer is None:
            return ordering
        return self._sealer.hash_line(ordering)

    def _line_up(self, sink: str, ordering: str) -> None:
        """Let only the first delivery be due, or no delivery while one is being sent."""
        rows = self.conn.execute(
            f"select id, owner from deliveries where {_UNFINISHED} order by id",  # noqa: S608 - our words
            (sink, ordering),
        ).fetchall()
        free = [id_ for id_, owner in rows if owner is None]
        busy = len(free) < len(rows)
        for id_ in free if busy else free[1:]:
            self.conn.execute(f"update deliveries set {_IN_LINE} where id = ?", (id_,))  # noqa: S608 - our words
        if not busy:
            self._advance(sink, ordering)

    def end(self, op: EndDeliveries) -> int:
        """Give up pending deliveries, also those under way: their `settle` is ignored."""
        rows: list[tuple[int, int]] = []
        for tried in ("attempts = 0", "attempts > 0"):  # each has its own index
            rows += self.conn.execute(
                "select id, attempts from deliveries"  # noqa: S608 - our words
                f" where sink = ? and state = 'pending' and {tried} limit ?",
                (op.sink, op.limit - len(rows)),
            )
        ended = [EndedDelivery(id_, op.sink, attempts) for id_, attempts in rows]
        self.give_up(ended, State.DEAD, op.error, op.at)
        self._ended.add(op.sink)
        return len(rows)

    def give_up(self, ended: Sequence[EndedDelivery], state: State, error: str, at: float) -> None:
        """End pending deliveries. Each gets a refused attempt with `error`."""
        self.conn.executemany(
            "update deliveries set state = ?, attempts = attempts + 1, due_at = null,"
            " scheduled_at = null, owner = null, held = 0, fixed = 0,"
            " ordering = iif(?, null, ordering) where id = ?",
            [(state, self._sealer is not None, one.id) for one in ended],
        )
        self.conn.executemany(_GIVE_UP, [(one.id,) for one in ended])
        for one in ended:
            self.given_up.append(GivenUp(one.id, one.sink, state, error))
            number = one.attempts + 1
            self._attempts.append((one.id, number, at, "refused", None, error, 0.0, None, None))
            self.counts["deliveries.pending"] -= 1
            self.counts[f"deliveries.{state}"] += 1
            self.counts[f"pending/{one.sink}"] -= 1
            self.counts[f"{state}/{group_of(one.sink)}"] += 1
        for sink, ordering in {(one.sink, one.ordering) for one in ended}:
            if ordering is not None:
                self._advance(sink, ordering)

    def announce_due(self, ids: Sequence[int]) -> None:
        """Note when these pending deliveries are due: they were changed."""
        for sink, due_at, attempts, replay in self.conn.execute(
            "select sink, due_at, attempts, replay from deliveries"
            " where state = 'pending' and id in (select value from json_each(?))",
            (json.dumps(ids),),
        ):
            self._note_due(sink, due_at, Turn.of(attempts, replay=replay))

    # --- sinks ----------------------------------------------------------------------------

    def pause(self, op: PauseSink) -> bool:
        """Pause a sink; an automatic pause does not replace the operator's."""
        changed = self.conn.execute(
            "insert into sinks (name, paused, paused_at) values (?, ?, ?)"
            " on conflict do update set paused = excluded.paused, paused_at = excluded.paused_at"
            " where paused is null or excluded.paused = 'operator'",
            (op.sink, op.by, op.at),
        ).rowcount
        return bool(changed)

    def resume(self, op: ResumeSink) -> bool:
        """Resume a sink and forget its `failing_since`."""
        changed = self.conn.execute(
            "update sinks set paused = null, paused_at = null, failing_since = null"
            " where name = ? and paused is not null and (? is null or paused = ?)",
            (op.sink, op.by, op.by),
        ).rowcount
        return bool(changed)

    def reorder(self, op: Reorder) -> int | None:
        """Order pending deliveries by another path: they are sent with the current options.

        After a crash it begins again, also if the path is the former one.
        """
        if self._stored_order(op.sink) == op.ordered_by:
            return None
        (first,) = self.conn.execute(FIRST_UNFINISHED).fetchone()
        last = self._last_id()
        begin = max(op.after, (first or last + 1) - 1)
        end = begin + op.limit
        self._reorder(op.sink, op.ordered_by, begin, end)
        ends = end >= last
        self.conn.execute(
            "insert into sinks (name, ordered_by) values (?, ?)"
            " on conflict do update set ordered_by = excluded.ordered_by",
            (op.sink, op.ordered_by if ends else f"{_REORDERING}{op.ordered_by or ''}"),
        )
        return None if ends else end

    def _reorder(self, sink: str, ordered_by: str | None, begin: int, end: int) -> None:
        """Order the deliveries after `begin` up to `end`. Earlier ones are ordered already."""
        path = None if ordered_by is None else parse(ordered_by)
        rows = self.conn.execute(
            f"select deliveries.id, coalesce(due_at, {IN_LINE_UNTIL}), {sealed.BODY}"  # noqa: S608 - our words
            " from deliveries join events on events.seq = deliveries.event"
            " where deliveries.id > ? and deliveries.id <= ? and sink = ? and state = 'pending'"
            " order by deliveries.id",
            (begin, end, sink),
        )
        lines: set[str] = set()
        first: list[tuple[str | None, float, int]] = []
        behind: list[tuple[str | None, int]] = []
        for id_, due_at, *stored in rows:
            ordering = None if path is None else self._order_at(stored, path)
            if ordering is not None:
                if ordering in lines or self._has_line(sink, ordering, begin):
                    behind.append((ordering, id_))
                    continue
                lines.add(ordering)
            first.append((ordering, due_at, id_))
        self.conn.executemany(
            "update deliveries set ordering = ?, due_at = ?, owner = null where id = ?", first
        )
        self.conn.executemany(
            f"update deliveries set ordering = ?, owner = null, {_IN_LINE} where id = ?",  # noqa: S608 - our words
            behind,
        )

    def _has_line(self, sink: str, ordering: str, last: int) -> bool:
        """Return whether a delivery up to `last` is in this line."""
        found = self.conn.execute(
            f"select 1 from deliveries where {_UNFINISHED} and id <= ? limit 1",  # noqa: S608 - our words
            (sink, ordering, last),
        )
        return found.fetchone() is not None


def _is_delivered(op: Settle) -> bool:
    """Return whether the outcome is a success. One statement settles dozens of these."""
    return op.state is State.DELIVERED and op.attempt is not None


#: The method for each kind of write.
VERBS: Mapping[type, Callable[[Outbox, Any], Any]] = {
    Settle: Outbox.settle,
    Take: Outbox.take,
    Probe: Outbox.probe,
    BringForward: Outbox.bring_forward,
    Hold: Outbox.hold,
    Shift: Outbox.shift,
    Clamp: Outbox.clamp,
    RetryDelivery: Outbox.retry,
    RetryDeliveries: Outbox.retry_all,
    PauseSink: Outbox.pause,
    ResumeSink: Outbox.resume,
    Reorder: Outbox.reorder,
    EndDeliveries: Outbox.end,
}
