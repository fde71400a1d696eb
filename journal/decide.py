"""The changes that a batch of writes makes. Pure: every database shares it.

A database calls `find_needs`, looks those rows up with one query a kind, calls `decide`, and
writes the changes. All of it happens in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from core.copies import Copy, PossibleCopy, find_copy
from core.delivery import Delivery, State
from core.event import SUBJECTS, SYSTEM, Data, Event
from core.order import Order

from .decide_orders import OrderChanges, order_name
from .records import (
    Arrival,
    Owed,
    Planned,
    Quarantined,
    Recorded,
    Registered,
    Replayed,
    ReplayState,
    StoredReplay,
)
from .rows import Changes, EventRow, LookedUp, Needs, NewDelivery, NewEvent, change_data
from .writes import (
    AdvanceReplay,
    CancelOrder,
    CancelReplay,
    CountRejections,
    CreateKey,
    DismissQuarantined,
    ExpireOrder,
    LapseOrder,
    MoveOrders,
    NoteKeyUses,
    QuarantineCallback,
    Record,
    RecordOwn,
    RegisterOrder,
    ReplayEvent,
    RevokeKey,
    SetBalance,
    SetCondition,
    SetMoment,
    StartReplay,
)

Decided = (
    Record
    | QuarantineCallback
    | DismissQuarantined
    | CountRejections
    | SetMoment
    | RegisterOrder
    | CancelOrder
    | ExpireOrder
    | LapseOrder
    | MoveOrders
    | SetBalance
    | RecordOwn
    | SetCondition
    | ReplayEvent
    | StartReplay
    | AdvanceReplay
    | CancelReplay
    | CreateKey
    | RevokeKey
    | NoteKeyUses
)
Decision = Recorded | Quarantined | Registered | Replayed | StoredReplay | Order | str | bool | None

CALLBACK, POLL = "callback", "poll"
#: The stored channel of an event without a callback.
NO_CALLBACK = "none"
#: All copies of an event are counted. Only this many are stored with time and peer.
DUPLICATES_KEPT = 100
#: The limit for all peers together. Further peers are counted under the peer `*`.
REJECTIONS_KEPT = 10_000
#: A copy is compared with this many events of its subject, the newest.
COMPARED = 200
#: An SMS and a call are copies of each other: a callback does not say that its code was spoken.
ALIKE = {"sms.received": "call.received", "call.received": "sms.received"}
#: Fields that a stored event takes from its copy if they are null.
_FILLED = ("to", "from", "country", "service", "price", "text", "code")
_PENDING = f"deliveries.{State.PENDING}"


def find_needs(writes: Iterable[Decided]) -> Needs:
    """Return the rows that must be looked up before these writes are decided."""
    needs = Needs()
    for write in writes:
        match write:
            case Record():
                for plan in write.plans:
                    _need_plan(needs, plan)
                if write.replaces is not None:
                    needs.quarantined.add(write.replaces)
            case ReplayEvent():
                needs.events.add(write.event_id)
                _need_orderings(needs, write.owed)
            case AdvanceReplay() | CancelReplay():
                _need_replay(needs, write)
            case (
                ExpireOrder(plan=Planned() as plan)
                | RecordOwn(plan=Planned() as plan)
                | SetCondition(plan=Planned() as plan)
            ):
                _need_plan(needs, plan)
            case SetBalance():
                needs.balances.add(write.balance.source)
                if write.plan is not None:
                    _need_plan(needs, write.plan)
            case _:
                _need_others(needs, write)
    return needs


def _need_plan(needs: Needs, plan: Planned) -> None:
    source = plan.event.source
    for key in (*plan.keys, *plan.older_keys):
        needs.keys.add((source, key))
    if plan.copy is not None:
        needs.copies.append(plan)
    if plan.order is not None:
        needs.orders.add(plan.order)
    if plan.named_order is not None:
        _need_order(needs, RegisterOrder(plan.named_order, None))
        needs.joined.add(order_name(plan.named_order))
    if plan.owed:
        _need_orderings(needs, plan.owed)


def _need_others(needs: Needs, write: Decided) -> None:
    """Add the rows of a write that brings no event."""
    match write:
        case RegisterOrder():
            _need_order(needs, write)
        case CancelOrder() | LapseOrder():
            needs.orders.add(write.id)
        case MoveOrders():
            needs.orders.update(was.id for was, _ in write.moved)
        case QuarantineCallback():
            needs.fingerprints.add((write.arrival.source, write.fingerprint))
        case DismissQuarantined():
            needs.quarantined.add(write.id)
        case CreateKey():
            needs.api_keys.add(write.key.name)
        case RevokeKey():
            needs.api_keys.add(write.id)
        case CountRejections():
            for one in write.rejections:
                needs.rejections.add((one.reason, one.source, one.peer))
                needs.rejections.add((one.reason, one.source, "*"))


def _need_replay(needs: Needs, write: AdvanceReplay | CancelReplay) -> None:
    needs.replays.add(write.id)
    if isinstance(write, AdvanceReplay):
        _need_orderings(needs, [one for _, owed in write.owed for one in owed])


def _need_order(needs: Needs, write: RegisterOrder) -> None:
    needs.registered.setdefault(order_name(write.order), []).append(write)


def _need_orderings(needs: Needs, owed: Iterable[Owed]) -> None:
    needs.orderings.update((one.sink, one.ordering) for one in owed if one.ordering is not None)


def decide(
    writes: Sequence[Decided], looked_up: LookedUp, *, owner: int
) -> tuple[Changes, list[Decision]]:
    """Return the rows to write, and one result for each write, in their order.

    `looked_up` holds at least the rows of `find_needs(writes)`; it is changed. `owner` is the start
    of the process that takes deliveries.
    """
    batch = _Batch(looked_up, owner)
    return batch.changes, [_DECISIONS[type(write)](batch, write) for write in writes]


class _Batch:
    """The rows after the earlier writes of the batch, and the changes so far."""

    def __init__(self, looked_up: LookedUp, owner: int) -> None:
        self.changes = Changes()
        self._counts = self.changes.counts
        self._owner = owner
        self._rows, self._keys = looked_up, looked_up.keys
        self._orders = OrderChanges(looked_up, self.changes)
        #: The events of a subject, by (source, subject), in ascending order.
        self._of_subject: dict[tuple[str, str], list[EventRow]] = {}
        for row in looked_up.events.values():
            self._of_subject.setdefault((row.source, row.subject), []).append(row)
        #: The number of new events that have a row in `looked_up`.
        self._shown = 0

    @property
    def events(self) -> dict[int, EventRow]:
        """The stored events and those of the batch."""
        self._show_new()
        return self._rows.events

    @property
    def orders(self) -> OrderChanges:
        """The orders. They look at all events."""
        self._show_new()
        return self._orders

    def _show_new(self) -> None:
        """Make rows of the events of the batch so far: few batches need them."""
        for new in self.changes.events[self._shown :]:
            self._rows.events[new.seq] = row = new.row()
            self._of_subject.setdefault((row.source, row.subject), []).append(row)
        self._shown = len(self.changes.events)

    # --- events ---------------------------------------------------------------------------

    def record(self, write: Record) -> Recorded:
        arrival = write.arrival
        ids: list[str] = []
        new: list[bool] = []
        orders: list[Order] = []
        callback = 0
        for plan in write.plans:
            known = self._find(plan)
            if known is None and (pruned := self._find_pruned(plan)) is not None:
                self._counts["duplicates"] += arrival.channel != POLL
                ids.append(pruned)
                new.append(False)
                continue
            if known is None:
                callback = callback or self._add_callback(arrival)
                self._add_event(plan, callback, arrival.channel, orders)
            else:
                self._add_copy(known, plan, arrival)
            ids.append(plan.event.id if known is None else known.id)
            new.append(known is None)
        if write.replaces is not None:
            self.dismiss(write.replaces)
        else:
            self._count_use(arrival)
        return Recorded(ids=tuple(ids), new=tuple(new), orders=tuple(orders))

    def _find(self, plan: Planned) -> EventRow | None:
        """Return the stored event with one of the plan's keys, or the one that it copies."""
        event, copy = plan.event, plan.copy
        for key in (*plan.keys, *plan.older_keys):
            seq = self._keys.get((event.source, key))
            if seq is not None and seq not in self._rows.pruned:
                return self.events[seq]
        if copy is None:
            return None
        events = self.events
        rows = [
            row
            for row in self._of_subject.get((event.source, event.subject), ())
            if row.type in (event.type, ALIKE.get(event.type)) and copy.form not in row.forms
        ]
        possible: list[PossibleCopy] = []
        for row in rows[-COMPARED:]:
            stored = _decode_copy(row.body)
            data = stored.data
            if data.channel == copy.form == CALLBACK:
                continue  # the keys of two callbacks are enough; old events have no forms
            if data.time_from != "received":
                second: float | None = datetime.fromisoformat(stored.time).timestamp()
            else:
                # An event without its own time has the time of its copies.
                second = min((one for one in row.forms.values() if one is not None), default=None)
            said = Copy(form=data.channel, text=data.text, code=data.code, second=second)
            is_erased = row.erased and said.text is None and said.code is None
            possible.append(PossibleCopy(seq=row.seq, id=row.id, copy=said, erased=is_erased))
        found = find_copy(copy, possible)
        return None if found is None else events[found.seq]

    def _find_pruned(self, plan: Planned) -> str | None:
        """Return the id of the removed event with one of the plan's keys."""
        source, pruned = plan.event.source, self._rows.pruned
        if not pruned:
            return None
        found = (self._keys.get((source, key)) for key in (*plan.keys, *plan.older_keys))
        return next((pruned[seq] for seq in found if seq in pruned), None)

    def _add_event(
        self,
        plan: Planned,
        callback: int,
        channel: str,
        orders: list[Order],
    ) -> None:
        """Store the event with its deliveries; add the order that it names to `orders`."""
        event, rows, changes = plan.event, self._rows, self.changes
        also = None
        for kind, name in _subjects(type(event.data)):
            id_ = getattr(event.data, name)
            if id_ is not None and event.subject != (subject := f"{kind}/{id_}"):
                also = subject  # such as the rental of a request's SMS
                break
        rows.last_event = seq = rows.last_event + 1
        self._add_keys(plan, seq)
        changes.events.append(NewEvent(seq, callback, channel, plan, also))
        if not event.type.startswith(SYSTEM):
            self._counts["events"] += 1
        self._counts[f"events/{event.source}/{event.type}"] += 1
        if not plan.routes:
            self._counts[f"unrouted/{event.source}/{event.type}"] += 1
        if plan.named_order is not None:
            row = self.events[seq]
            orders.append(self.orders.register_named(plan.named_order, row, plan.taken))
        elif plan.order is not None:
            self.orders.link(self.events[seq], plan.order, plan.taken)
        if plan.copy is not None:
            self._add_form(self.events[seq], plan.copy)
        if plan.owed:
            self._add_deliveries(seq, event.id, plan.body, plan.at, plan.owed)

    def _add_keys(self, plan: Planned, seq: int) -> None:
        source = plan.event.source
        for key in plan.keys:
            if (source, key) not in self._keys:
                self._keys[source, key] = seq
                self.changes.keys.append((source, key, seq))

    def _add_callback(self, arrival: Arrival) -> int:
        self._rows.last_callback += 1
        self.changes.callbacks.append((self._rows.last_callback, arrival))
        return self._rows.last_callback

    def _add_copy(self, row: EventRow, plan: Planned, arrival: Arrival) -> None:
        # All keys of a copy lead to the event from now on: retries of copies match, too.
        self._add_keys(plan, row.seq)
        if plan.copy is not None:
            self._add_form(row, plan.copy)
        if plan.copy is not None or plan.event.data.channel == POLL:
            self._fill_gaps(row, plan.event)
        polled = arrival.channel == POLL
        # Each poll returns the event again: only the first counts as a duplicate.
        if not (polled and (row.polled or row.channel == POLL)):
            self._counts["duplicates"] += 1
            if row.duplicates < DUPLICATES_KEPT:
                row.duplicates += 1
                row.polled = row.polled or polled
                self.changes.duplicates.append(
                    (row.seq, row.duplicates, arrival.at, arrival.channel, arrival.peer)
                )
        if plan.order is not None:
            self.orders.join_copy(row, plan)

    def _add_form(self, row: EventRow, copy: Copy) -> None:
        if copy.form not in row.forms:
            row.forms[copy.form] = copy.second
            self.changes.copies.append((row.seq, copy.form, copy.second))

    def _fill_gaps(self, row: EventRow, event: Event) -> None:
        """Fill fields that the event lacks from its copy."""
        body = msgspec.json.decode(row.body)
        data, offered = body["data"], msgspec.to_builtins(event.data)
        news = {
            name: offered[name]
            for name in _FILLED
            if data.get(name, "") is None and offered.get(name) is not None
        }
        if "text" in news:
            news["urls"] = offered["urls"]
        if news:
            change_data(row, body, news, self.changes)

    def _count_use(self, arrival: Arrival) -> None:
        if arrival.channel != POLL:
            name = (arrival.source, arrival.token)
            count, last_at = self.changes.token_uses.get(name, (0, 0.0))
            self.changes.token_uses[name] = (count + 1, max(last_at, arrival.at))

    def _record_without_callback(self, plan: Planned) -> Recorded:
        """Store an event without a callback."""
        arrival = Arrival(
            source=plan.event.source,
            channel=NO_CALLBACK,
            token="",
            peer="",
            at=plan.at,
            headers=(),
            body=b"",
        )
        self._add_event(plan, self._add_callback(arrival), NO_CALLBACK, [])
        return Recorded(ids=(plan.event.id,), new=(True,))

    # --- deliveries -----------------------------------------------------------------------

    def replay(self, write: ReplayEvent) -> Replayed | None:
        row = next((row for row in self.events.values() if row.id == write.event_id), None)
        if row is None:
            return None
        first = self._rows.last_delivery + 1
        self._add_deliveries(row.seq, row.id, b"", write.at, write.owed, replay=True)
        return Replayed(ids=tuple(range(first, self._rows.last_delivery + 1)))

    def start_replay(self, write: StartReplay) -> StoredReplay:
        return self._put_replay(write.replay)

    def advance_replay(self, write: AdvanceReplay) -> StoredReplay | None:
        known = self._rows.replays.get(write.id)
        if known is None or (known.state, known.place) != (ReplayState.RUNNING, write.after):
            return known
        before = self._rows.last_delivery
        for seq, owed in write.owed:
            self._add_deliveries(seq, "", b"", write.at, owed, replay=True)
        return self._put_replay(
            msgspec.structs.replace(
                known,
                place=write.to,
                replayed=known.replayed + len(write.owed),
                created=known.created + self._rows.last_delivery - before,
                state=ReplayState.DONE if write.ends else ReplayState.RUNNING,
                ended_at=write.at if write.ends else None,
            )
        )

    def cancel_replay(self, write: CancelReplay) -> StoredReplay | None:
        known = self._rows.replays.get(write.id)
        if known is None or known.state is not ReplayState.RUNNING:
            return known
        return self._put_replay(
            msgspec.structs.replace(known, state=ReplayState.CANCELLED, ended_at=write.at)
        )

    def _put_replay(self, replay: StoredReplay) -> StoredReplay:
        self._rows.replays[replay.id] = self.changes.replays[replay.id] = replay
        return replay

    def _add_deliveries(
        self,
        seq: int,
        event_id: str,
        body: bytes,
        at: float,
        owed: Sequence[Owed],
        *,
        replay: bool = False,
    ) -> None:
        """Add a delivery for each sink. A due delivery gets an owner, which sends it at once.

        Replays are read from the journal: `event_id` and `body` are not used then.
        """
        for one in owed:
            self._rows.last_delivery = number = self._rows.last_delivery + 1
            waits = False
            if one.ordering is not None:
                waits = (one.sink, one.ordering) in self._rows.unfinished
                self._rows.unfinished.add((one.sink, one.ordering))
            is_due = not waits and not one.wait
            if waits and one.wait:
                self.changes.not_before.append((at + one.wait, number))
            self.changes.deliveries.append(
                NewDelivery(
                    number,
                    seq,
                    one.sink,
                    State.PENDING,
                    None if waits else at + one.wait,
                    self._owner if is_due else None,
                    at,
                    one.ordering,
                    replay,
                )
            )
            self._counts[_PENDING] += 1
            self._counts[f"pending/{one.sink}"] += 1
            if is_due and not replay:
                self.changes.due.append(
                    Delivery(
                        id=number,
                        event_id=event_id,
                        body=body,
                        sink=one.sink,
                        owner=self._owner,
                        attempts=0,
                        accepted_at=at,
                        ordering=one.ordering,
                        replay=replay,
                    )
                )

    # --- others ---------------------------------------------------------------------------

    def expire(self, write: ExpireOrder) -> Recorded | None:
        return self._record_without_callback(write.plan) if self.orders.expire(write) else None

    def record_own(self, write: RecordOwn) -> Recorded:
        return self._record_without_callback(write.plan)

    def set_condition(self, write: SetCondition) -> Recorded:
        condition, plan = write.condition, write.plan
        recorded = Recorded(ids=(), new=())
        if plan is not None:
            known = self._find(plan)
            if known is None:
                recorded = self._record_without_callback(plan)
            else:
                recorded = Recorded(ids=(known.id,), new=(False,))
            if condition.event == plan.event.id:
                condition = msgspec.structs.replace(condition, event=recorded.ids[0])
        self.changes.conditions[condition.name, condition.subject] = condition
        self.changes.forget_conditions = write.forget
        return recorded

    def set_balance(self, write: SetBalance) -> Recorded | None:
        balance, low = write.balance, self._rows.low
        fell = balance.low and balance.source not in low
        (low.add if balance.low else low.discard)(balance.source)
        self.changes.balances[balance.source] = balance
        return (
            self._record_without_callback(write.plan) if fell and write.plan is not None else None
        )

    def quarantine(self, write: QuarantineCallback) -> Quarantined:
        self._count_use(write.arrival)
        name = (write.arrival.source, write.fingerprint)
        id_ = self._rows.quarantined.setdefault(name, write.id)
        new = id_ == write.id
        self._counts["quarantine" if new else "duplicates"] += 1
        self.changes.quarantine.setdefault(id_, []).append(write)
        return Quarantined(id=id_, new=new)

    def dismiss(self, quarantine_id: str) -> bool:
        known = self._rows.quarantined
        name = next((name for name, id_ in known.items() if id_ == quarantine_id), None)
        if name is None:
            return False
        del known[name]
        self.changes.quarantine.pop(quarantine_id, None)
        self.changes.dismissed.add(quarantine_id)
        self._counts["quarantine"] -= 1
        return True

    def count_rejections(self, write: CountRejections) -> None:
        rows, changes = self._rows, self.changes
        for one in write.rejections:
            name = (one.reason, one.source, one.peer)
            if name not in rows.rejections and rows.rejections_kept >= REJECTIONS_KEPT:
                name = (one.reason, one.source, "*")
            counted = msgspec.structs.replace(one, peer=name[2])
            if name in rows.rejections:
                changes.rejections.append(counted)
            else:
                rows.rejections.add(name)
                rows.rejections_kept += 1
                changes.new_rejections.append(counted)

    def set_moment(self, write: SetMoment) -> None:
        self.changes.moments[write.name] = write.at

    def create_key(self, write: CreateKey) -> str | None:
        if write.key.name in self._rows.api_keys.values():
            return None
        self._rows.api_keys[write.key.id] = write.key.name
        self.changes.api_keys.append(write)
        return write.key.id

    def revoke_key(self, write: RevokeKey) -> bool:
        if self._rows.api_keys.pop(write.id, None) is None:
            return False
        self.changes.api_keys.append(write)
        return True

    def note_key_uses(self, write: NoteKeyUses) -> None:
        self.changes.key_uses.update(write.uses)


@cache
def _subjects(kind: type[Data]) -> Sequence[tuple[str, str]]:
    """Return the kinds of subjects that a type of event may have, and the fields of their ids."""
    return [(subject, name) for subject, name in SUBJECTS.items() if hasattr(kind, name)]


#: The decision on each kind of write.
_DECISIONS: Mapping[type, Callable[[_Batch, Any], Decision]] = {
    Record: _Batch.record,
    ReplayEvent: _Batch.replay,
    RegisterOrder: lambda batch, write: batch.orders.register(write),
    CancelOrder: lambda batch, write: batch.orders.cancel(write),
    ExpireOrder: _Batch.expire,
    LapseOrder: lambda batch, write: batch.orders.lapse(write),
    MoveOrders: lambda batch, write: batch.orders.move(write),
    SetBalance: _Batch.set_balance,
    RecordOwn: _Batch.record_own,
    SetCondition: _Batch.set_condition,
    QuarantineCallback: _Batch.quarantine,
    DismissQuarantined: lambda batch, write: batch.dismiss(write.id),
    CountRejections: _Batch.count_rejections,
    SetMoment: _Batch.set_moment,
    StartReplay: _Batch.start_replay,
    AdvanceReplay: _Batch.advance_replay,
    CancelReplay: _Batch.cancel_replay,
    CreateKey: _Batch.create_key,
    RevokeKey: _Batch.revoke_key,
    NoteKeyUses: _Batch.note_key_uses,
}
#: The kinds of writes that are decided here.
DECIDED = frozenset(_DECISIONS)


class _CopyData(msgspec.Struct, frozen=True):
    channel: str
    time_from: str
    text: str | None = None
    code: str | None = None


class _CopyEvent(msgspec.Struct, frozen=True):
    time: str
    data: _CopyData


_decode_copy = msgspec.json.Decoder(_CopyEvent).decode
