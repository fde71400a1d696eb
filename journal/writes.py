"""Writes of the journal. Each is a Struct."""

from collections.abc import Callable

import msgspec

from core.delivery import Attempt, Delivery, State
from core.order import Order

from .records import (
    AccountBalance,
    Arrival,
    Owed,
    Placed,
    Planned,
    Quarantined,
    Recorded,
    Rejection,
    Replayed,
)


class SetBalance(msgspec.Struct, frozen=True):
    balance: AccountBalance
    #: Says that it fell below the threshold.
    plan: Planned | None


#: Takes a source and the headers of one of its callbacks; returns what may be stored of them.
Hidden = Callable[[str, tuple[tuple[str, str], ...]], tuple[tuple[str, str], ...]]


class Place(msgspec.Struct, frozen=True):
    order: Order
    #: When it ends, where that was asked for.
    end: float | None


class Cancel(msgspec.Struct, frozen=True):
    id: str
    at: float


class Expire(msgspec.Struct, frozen=True):
    #: Its `order` is the one that expires.
    plan: Planned
    reason: str
    #: The provider said so: its time need not be up.
    at_once: bool


class Lapse(msgspec.Struct, frozen=True):
    id: str
    at: float


class Move(msgspec.Struct, frozen=True):
    #: Orders as they were and as they are to be, each with other times.
    moved: tuple[tuple[Order, Order], ...]


class Settle(msgspec.Struct, frozen=True):
    delivery: Delivery
    attempt: Attempt | None
    state: State
    due_at: float | None
    #: The sink named the time itself: no success brings it forward.
    asked: bool = False
    #: By a date: a step of the wall clock does not move it.
    fixed: bool = False
    #: It waits because of an outage: the sink's recovery brings it forward.
    held: bool = False


class Take(msgspec.Struct, frozen=True):
    sink: str
    #: Those that were never tried, or the others.
    fresh: bool
    limit: int
    now: float


class Probe(msgspec.Struct, frozen=True):
    sink: str
    #: The last that was tried so, where another is to be.
    after: int = 0


class BringForward(msgspec.Struct, frozen=True):
    sink: str
    limit: int
    now: float


class Hold(msgspec.Struct, frozen=True):
    ids: tuple[int, ...]


class Shift(msgspec.Struct, frozen=True):
    """The wall clock jumped: one step of moving what was made by the clock of before."""

    #: Which jump of this start it is: the first step of each begins it.
    number: int
    #: Seconds by which the clock went forward.
    by: float
    #: Ids of one step, whatever became of them.
    limit: int


class Clamp(msgspec.Struct, frozen=True):
    sink: str
    now: float
    #: Seconds that are the most ahead; `asked`: where the sink named the time itself.
    longest: float
    asked: float


class ReplayEvent(msgspec.Struct, frozen=True):
    event_id: str
    owed: tuple[Owed, ...]
    at: float


class RetryDelivery(msgspec.Struct, frozen=True):
    delivery: int
    now: float


class PauseSink(msgspec.Struct, frozen=True):
    sink: str
    by: str
    at: float


class ResumeSink(msgspec.Struct, frozen=True):
    sink: str
    #: Only where it is paused by that.
    by: str | None = None


class Arrange(msgspec.Struct, frozen=True):
    sink: str
    ordered_by: str | None


OutboxOp = (
    Settle
    | Take
    | Probe
    | BringForward
    | Hold
    | Shift
    | Clamp
    | ReplayEvent
    | RetryDelivery
    | PauseSink
    | ResumeSink
    | Arrange
)


OutboxResult = bool | int | State | Replayed | tuple[int, ...] | tuple[Delivery, ...] | None


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


class Touch(msgspec.Struct, frozen=True):
    pass


class Reject(msgspec.Struct, frozen=True):
    rejections: tuple[Rejection, ...]


class Hide(msgspec.Struct, frozen=True):
    """Replace secrets in the headers of so many stored callbacks."""

    hidden: Hidden
    limit: int


class LogIsClean(msgspec.Struct, frozen=True):
    """Note that the log holds no page from before secrets were replaced."""


class IndexVisible(msgspec.Struct, frozen=True):
    """Look at so many stored events for the filters of API keys."""

    limit: int


class Note(msgspec.Struct, frozen=True):
    moment: str
    at: float


_OrderOp = Place | Cancel | Expire | Lapse | Move | SetBalance


_ChoreOp = Hide | LogIsClean | IndexVisible


Op = _ChoreOp | Note | Record | Keep | Dismiss | Touch | Reject | _OrderOp | OutboxOp


Result = Recorded | Quarantined | Placed | Order | OutboxResult
