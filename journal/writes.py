"""Writes of the journal: each is a Struct that names its result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from core.delivery import Attempt, Delivery, State, Turn
from core.order import TIME_UP, Order

from .actor import Actor
from .audit.lines import Fact
from .audit.note import Checkpoint
from .records import (
    AccountBalance,
    Arrival,
    BriefDelivery,
    Erased,
    ErasedNumber,
    LineErasure,
    Made,
    Owed,
    Planned,
    Pruned,
    PrunedKeys,
    Quarantined,
    Recorded,
    Registered,
    Rejection,
    Replayed,
    Retained,
    SealedStep,
    Settled,
    StoredCondition,
    StoredConsumer,
    StoredDelivery,
    StoredKey,
    StoredReplay,
    StoredSubscription,
)
from .seal import Opening

Result = TypeVar("Result")

#: Takes a source and the headers of one of its callbacks; returns the headers to store.
Hidden = Callable[[str, tuple[tuple[str, str], ...]], tuple[tuple[str, str], ...]]


class Write(msgspec.Struct, Generic[Result], frozen=True):
    """A change that `Journal.submit` makes durable, with a `Result`."""

    #: Whether it may wait a few milliseconds, to share a transaction with other writes.
    patient: ClassVar[bool] = False
    #: Whether it waits for a stalled disk: its result must not be lost.
    endless: ClassVar[bool] = False


# --- events -------------------------------------------------------------------------------------


class Record(Write[Recorded], frozen=True):
    """Keep the events of one callback and their deliveries, all or nothing."""

    arrival: Arrival
    plans: tuple[Planned, ...]
    #: The id of a quarantined callback that leaves quarantine in the same transaction.
    replaces: str | None = None


class ReplayEvent(Write[Replayed | None], frozen=True):
    """Make new deliveries of a stored event; None: there is no such event."""

    event_id: str
    owed: tuple[Owed, ...]
    at: float


# --- replays ------------------------------------------------------------------------------------


class StartReplay(Write[StoredReplay], frozen=True):
    """Keep a new replay; return it."""

    replay: StoredReplay


class AdvanceReplay(Write[StoredReplay | None], frozen=True):
    """Make the deliveries of the next events of a replay, and move its place.

    Nothing is made if the replay is not running, or is not at the place `after`. Return it as it is
    now; None: there is no such replay.
    """

    id: str
    #: The place that the events follow, and the place of the last of them.
    after: int
    to: int
    #: The place of each event, and its deliveries.
    owed: tuple[tuple[int, tuple[Owed, ...]], ...]
    at: float
    #: No event is left.
    ends: bool = False
    patient: ClassVar[bool] = True


class CancelReplay(Write[StoredReplay | None], frozen=True):
    """End a running replay; return it as it is now. None: there is no such replay."""

    id: str
    at: float


# --- consumers ---------------------------------------------------------------------------------


class MoveConsumer(Write[StoredConsumer | None], frozen=True):
    """Set the place of a named reader and return it. A missing one is created.

    None: nothing was changed, because the key has `most` others.
    """

    #: The name of the key that it belongs to.
    key: str
    name: str
    place: int
    at: float
    #: Whether it may go back; else it stays at a later place.
    back: bool = False
    most: int = 1000


class DropConsumer(Write[bool], frozen=True):
    """Remove a named reader; False: it was not there."""

    key: str
    name: str


# --- deliveries ---------------------------------------------------------------------------------


class Take(Write[Sequence[Delivery]], frozen=True):
    """Take due deliveries of a sink, oldest first. Deliveries of an earlier start are due.

    If there are fewer than `limit`, the news of the commit say when the next one is due.
    """

    sink: str
    turn: Turn
    limit: int
    now: float
    #: Ids of deliveries that the caller has already.
    known: tuple[int, ...] = ()
    #: Take only deliveries that were accepted by then. None: all.
    accepted_by: float | None = None
    patient: ClassVar[bool] = True
    endless: ClassVar[bool] = True


class Probe(Write[Sequence[Delivery]], frozen=True):
    """Take the oldest failed delivery of a sink, due or not: at most one."""

    sink: str
    #: Look only at deliveries with a later id.
    after: int = 0
    #: Ids of deliveries that the caller has already.
    known: tuple[int, ...] = ()
    patient: ClassVar[bool] = True
    endless: ClassVar[bool] = True


class Settle(Write[Settled | None], frozen=True):
    """Store the outcome of an attempt; None: the delivery is no longer ours."""

    delivery: Delivery
    attempt: Attempt | None
    state: State
    due_at: float | None
    #: The sink named the time: no success brings it forward.
    asked: bool = False
    #: The sink named a date: a jump of our clock does not move it.
    fixed: bool = False
    #: It waits because of an outage: `BringForward` finds it.
    held: bool = False
    #: What the sink was sent in clear: `codes`, `people`.
    clear: tuple[str, ...] = ()
    patient: ClassVar[bool] = True
    endless: ClassVar[bool] = True


class BringForward(Write[Sequence[int]], frozen=True):
    """Make held deliveries of a sink due now, the lowest ids first; return their ids.

    They are no longer held. `Take` returns them as probes: before their time.
    """

    sink: str
    limit: int
    now: float
    endless: ClassVar[bool] = True


class Hold(Write[bool], frozen=True):
    """Mark failed deliveries: they wait because of an outage."""

    ids: tuple[int, ...]
    patient: ClassVar[bool] = True
    endless: ClassVar[bool] = True


class RetryDelivery(Write[StoredDelivery | None], frozen=True):
    """Make a delivery due now, and restart its schedule; return the changed delivery.

    A delivered one is not changed. A delivery with an owner keeps it: no attempt may be under way.
    None: there is no such delivery.
    """

    delivery: int
    now: float
    #: For the answers in the result.
    opening: Opening | None = None


class RetryDeliveries(Write[Sequence[BriefDelivery]], frozen=True):
    """Do as RetryDelivery with several; return those that are due now.

    Their states are those before. Delivered and missing ones are left out.
    """

    deliveries: tuple[int, ...]
    now: float


class Shift(Write[bool], frozen=True):
    """Move unfinished deliveries because the wall clock jumped; return whether rows are left.

    Submit it at once when the clock jumps, and again with the same `number` until it returns
    False. After the first one, all instants in writes and results are those of the new clock, even
    if rows are not moved yet, or if the first one failed. Results before it have the old clock.
    """

    #: The number of the jump, counted from the start of the process.
    number: int
    #: Seconds by which the clock went forward.
    by: float
    #: Ids of one step.
    limit: int
    endless: ClassVar[bool] = True


class Clamp(Write[int], frozen=True):
    """Bring back pending deliveries that are due too far ahead; return their number."""

    sink: str
    now: float
    #: The longest wait from now, in seconds. `asked`: the same for a time that the sink named.
    longest: float
    asked: float
    endless: ClassVar[bool] = True


# --- sinks --------------------------------------------------------------------------------------


class PauseSink(Write[bool], frozen=True):
    """Pause a sink, also after a restart; False: it is paused already.

    An automatic pause does not replace the operator's.
    """

    sink: str
    by: str
    at: float


class ResumeSink(Write[bool], frozen=True):
    """Resume a sink; False: it is not paused."""

    sink: str
    #: Resume the sink only if this paused it.
    by: str | None = None


class Reorder(Write[int | None], frozen=True):
    """Order the next pending deliveries of a sink by another path.

    It returns the `after` of the next write; None: all are ordered. Callbacks are stored in
    between. No worker may hold deliveries of the sink: all of them lose their owner.
    """

    sink: str
    ordered_by: str | None
    #: The first write has 0.
    after: int = 0
    #: The number of rows to look at, also those of other sinks.
    limit: int = 250
    endless: ClassVar[bool] = True


# --- subscriptions ------------------------------------------------------------------------------


class CreateSubscription(Write[int], frozen=True):
    """Keep a subscription; return its place in the list."""

    subscription: StoredSubscription


class ChangeSubscription(Write[bool], frozen=True):
    """Replace the fields of a subscription; False: there is no such subscription."""

    subscription: StoredSubscription


class DeleteSubscription(Write[bool], frozen=True):
    """Remove a subscription and the record of its sink; False: there is no such subscription.

    Then submit `EndDeliveries` until it returns less than its `limit`.
    """

    id: str
    sink: str


class EndDeliveries(Write[int], frozen=True):
    """Give up pending deliveries of a sink; return their number. They become `dead`.

    Each gets a refused attempt with `error`.
    """

    sink: str
    error: str
    at: float
    #: Deliveries of one step.
    limit: int = 1000


# --- orders -------------------------------------------------------------------------------------


class RegisterOrder(Write[Registered], frozen=True):
    """Keep an order, once for each source and id; join it with its earlier events."""

    order: Order
    #: The requested `expires_at`, if any.
    end: float | None


class CancelOrder(Write[Order | None], frozen=True):
    """Cancel an order; return the changed order. None: there is no such order."""

    id: str
    at: float


class ExpireOrder(Write[Recorded | None], frozen=True):
    """End an order and keep the event about it. None: no event was kept.

    A received order keeps its state, and stores `reason`.
    """

    #: Its `order` is the one that expires.
    plan: Planned
    reason: str = TIME_UP
    #: The provider reported the end. The order ends, even before its time. An order that ended
    #: without an event gets its event. Otherwise only a user's waiting order ends.
    at_once: bool = False


class LapseOrder(Write[Order | None], frozen=True):
    """End a provider's order after its time, without an event; return the changed order."""

    id: str
    at: float


class MoveOrders(Write[None], frozen=True):
    """Change the times of waiting orders; leave out those that changed meanwhile."""

    #: Orders as they were and as they are to be.
    moved: tuple[tuple[Order, Order], ...]
    endless: ClassVar[bool] = True


class RenewOrders(Write[bool], frozen=True):
    """Seal the numbers of open orders under the newest key; return whether work is left.

    Submit it when a new day begins: the number of an open order must not be erased.
    """

    now: float
    #: Orders of one step.
    limit: int = 500
    patient: ClassVar[bool] = True


class SetBalance(Write[Recorded | None], frozen=True):
    """Keep a balance, and the event of `plan` if the last balance was not low."""

    balance: AccountBalance
    #: The event for a balance that fell below the threshold.
    plan: Planned | None = None


class RecordOwn(Write[Recorded | None], frozen=True):
    """Record an event of the service itself."""

    plan: Planned


class SetCondition(Write[Recorded], frozen=True):
    """Keep a condition, and the event that reports it.

    An event with the same key is not recorded again: an earlier write may have stored it. A
    condition that was cleared before `forget` is removed.
    """

    condition: StoredCondition
    #: None: its end is not reported.
    plan: Planned | None
    forget: float


# --- the door -----------------------------------------------------------------------------------


class QuarantineCallback(Write[Quarantined], frozen=True):
    """Keep the bytes of a callback, once for each source and fingerprint."""

    arrival: Arrival
    id: str
    fingerprint: bytes
    reason: str
    detail: str


class DismissQuarantined(Write[bool], frozen=True):
    """Drop a callback from quarantine; False: it was not there."""

    id: str


class CountRejections(Write[None], frozen=True):
    """Add to the counts of rejected requests."""

    rejections: tuple[Rejection, ...]


# --- the API ------------------------------------------------------------------------------------


class Once(Write[Result], frozen=True):
    """Do a write unless a call with the same `Idempotency-Key` is stored; store the call with it.

    Both are in one transaction. If the call is stored already, the result is the error AlreadyMade.
    """

    write: Write[Result]
    #: The digest of the key, and of the request.
    key: bytes
    request: bytes
    at: float
    #: Stored calls before this time do not count.
    since: float
    #: Takes the result of the write; returns the answer to store, or None to store nothing. It
    #: is called in the thread that writes.
    made: Callable[[Any], Made | None]


class Guard(Protocol):
    """Takes the write of a call; returns the write to submit, such as a `Once`."""

    def __call__(self, write: Write[Result], /) -> Write[Result]: ...


def unguarded(write: Write[Result]) -> Write[Result]:
    """Return the write as it is, for calls without an `Idempotency-Key`."""
    return write


class KeepCall(Write[None], frozen=True):
    """Change nothing. In a `Once`, it stores a call that changed nothing in the journal."""


class ForgetCalls(Write[bool], frozen=True):
    """Remove stored calls from before a time; return whether some are left."""

    before: float
    #: Calls of one step.
    limit: int = 500
    patient: ClassVar[bool] = True


class CreateKey(Write[str | None], frozen=True):
    """Keep an API key and return its id; None: its name is taken."""

    key: StoredKey
    #: The digest of its filter and the filter, which is indexed from now on: see `Filters`.
    filter: tuple[str, Callable[[Mapping[str, Any]], bool]] | None = None


class RevokeKey(Write[bool], frozen=True):
    """Remove an API key and its last use; False: there is no such key."""

    id: str
    #: The digest of its filter, and a function that takes the stored keys that are left. It returns
    #: whether another key has that filter, too. It is called in the thread that writes.
    filter: tuple[str, Callable[[Sequence[StoredKey]], bool]] | None = None


class ChangeFilters(Write[None], frozen=True):
    """Index events for other filters of API keys from now on: see `Filters`."""

    #: Further filters, by digest.
    added: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {}
    #: The digests of filters that no key has any more.
    removed: tuple[str, ...] = ()


class NoteKeyUses(Write[None], frozen=True):
    """Keep the last use of API keys."""

    #: (name, at).
    uses: tuple[tuple[str, float], ...]
    patient: ClassVar[bool] = True


# --- retention and erasure ------------------------------------------------------------------------


class Prune(Write[Pruned], frozen=True):
    """Remove or erase data of one kind from before a time, the oldest first.

    Submit it again with the returned place until there is no more. Begin with `after` None: the
    journal stores the first place that later passes need.
    """

    kind: Retained
    #: In seconds since the epoch, as all times here.
    before: float
    #: Now.
    at: float
    after: int | None = None
    #: Rows of one step, also of those that are skipped.
    limit: int = 50
    #: Sinks that need nothing of the erased content. Their pending deliveries stay.
    spared: tuple[str, ...] = ()
    patient: ClassVar[bool] = True


class PruneKeys(Write[PrunedKeys], frozen=True):
    """Remove the dedupe keys of events that were recorded before a time and are removed."""

    before: float
    #: (source, key).
    after: tuple[str, bytes] = ("", b"")
    limit: int = 1000
    patient: ClassVar[bool] = True


class ForgetPruned(Write[bool], frozen=True):
    """Forget the ids of events that were recorded before a time; return whether some are left.

    Only after `PruneKeys` has looked at all keys with the same time.
    """

    before: float
    limit: int = 500
    patient: ClassVar[bool] = True


class EraseContent(Write[Erased], frozen=True):
    """Erase the content of events, whatever their age. Then the log must be emptied.

    It erases what `Retained.CODES`, `PEOPLE` and `RAW` erase. Ended orders lose their number, and
    callbacks leave quarantine. The read `ErasedUpTo` returns the last id afterwards.
    """

    #: Ids, at least one: of events, of orders and of callbacks in quarantine. They may be gone.
    events: tuple[str, ...]
    at: float
    #: As in `Prune`.
    spared: tuple[str, ...] = ()


class EraseNumber(Write[ErasedNumber], frozen=True):
    """Erase a number from ended orders, and drop the callbacks in quarantine that hold it."""

    #: E.164.
    number: str
    #: As of `EraseContent`, the last id that is erased with it; None: there is none.
    last: str | None = None


class SealStored(Write[SealedStep], frozen=True):
    """Seal rows that were stored in clear, each under the key of its own time.

    Submit it until there is no more. First make the keys of the `UnsealedTimes` with the same
    limit: this write would make them one by one. Afterwards the log must be emptied. A journal
    without keys does nothing.
    """

    #: In seconds since the epoch. A row of a later time gets the key of now.
    now: float
    #: Rows of one step, also of those that are sealed already.
    limit: int = 1000
    patient: ClassVar[bool] = True


# --- the audit log ------------------------------------------------------------------------------


class LineNumber(msgspec.Struct):
    """The number of a write's last line in the audit log. It is set when the write is done."""

    #: None: the log has no line about it.
    n: int | None = None


class OnBehalf(Write[Result], frozen=True):
    """Do a write on behalf of somebody: the lines about it name the actor."""

    write: Write[Result]
    actor: Actor
    line: LineNumber | None = None


#: The number of each fact's line in the audit log; None for a fact that the log does not keep. If
#: there is no audit log, None in place of the tuple.
Leaves = tuple[int | None, ...] | None


class RecordFacts(Write[Leaves], frozen=True):
    """Add facts to the audit log. They are durable when it is done."""

    facts: tuple[Fact, ...]


class RecordFactsLater(RecordFacts, frozen=True):
    """Add facts to the audit log, in the transaction of other writes."""

    patient: ClassVar[bool] = True


class SignCheckpoint(Write[str], frozen=True):
    """Sign the state of the audit log, with the lines of this transaction, and store the note.

    Return the note. Earlier ones are thinned out: one an hour stays for a week, one a day for ever.
    """

    #: Takes the state and the time; returns the note. It is called in the thread that writes.
    sign: Callable[[Checkpoint, float], str]
    #: The last fact of an epoch. It becomes the last line of this transaction, and the note stays.
    closing: Fact | None = None
    #: The verifier keys of the epoch and of the log, which are stored with its first note.
    keys: tuple[str, str] | None = None


class AddSignatures(Write[bool], frozen=True):
    """Replace a stored note by the same one with further signatures; False: it is not stored."""

    #: The place of the log's first line.
    log: int
    note: str
    signed: str
    patient: ClassVar[bool] = True


class PackLog(Write[bool], frozen=True):
    """Pack full runs of 256 lines of the audit log; return whether some are left."""

    #: Runs of one step.
    limit: int = 4
    patient: ClassVar[bool] = True


class PruneLog(Write[int], frozen=True):
    """Remove packed lines from before a time, up to a stored checkpoint; return their number."""

    before: float
    #: Runs of one step.
    limit: int = 256
    patient: ClassVar[bool] = True


class EraseLine(Write[LineErasure], frozen=True):
    """Replace a line by its hash. Another line names it, and both are signed together."""

    #: The number of the line in the present log.
    n: int
    reason: str
    #: As of `SignCheckpoint`; None: the next note covers it. Until then the log does not verify.
    sign: Callable[[Checkpoint, float], str] | None = None


# --- the journal itself -------------------------------------------------------------------------


class Touch(Write[None], frozen=True):
    """Change nothing: check whether the journal can be written."""


class SetMoment(Write[None], frozen=True):
    """Keep a time, or a place in a log; the `Moment` of this name returns it. None: forget it."""

    name: str
    at: float | None


class KeepFigures(Write[None], frozen=True):
    """Keep what a minute counted, and remove what was kept before a time."""

    #: The end of the minute, in seconds since the epoch. It replaces figures of the same minute.
    at: int
    counted: bytes
    before: int
    patient: ClassVar[bool] = True


class HideCredentials(Write[bool], frozen=True):
    """Replace secrets in the headers of stored callbacks; return whether work is left."""

    hidden: Hidden
    #: Callbacks of one step.
    limit: int = 1000
    patient: ClassVar[bool] = True


class IndexVisible(Write[bool], frozen=True):
    """Index stored events for the filters of API keys, then events of an older version for lists.

    Return whether work is left. Rows of filters that are no longer configured are removed.
    """

    #: Events of one step.
    limit: int = 500
    patient: ClassVar[bool] = True
