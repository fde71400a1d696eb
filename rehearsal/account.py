"""What one customer has at a simulated provider, in memory."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Literal

import msgspec

Fate = Literal[
    "rate_limit",
    "error",
    "bad_key",
    "plain_text",
    "invalid_json",
    "slow",
    "pages_from_1",
    "duplicate",
    "out_of_order",
]
#: Of a number's change, in SMSPins' words.
ChangeStatus = Literal["PENDING", "ACQUIRED", "STARTED", "SUCCESS", "FAILED", "CANCELED"]
#: Of those that a clock can be moved by.
Seconds = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]
#: Between the ids of two orders, so that none can be taken for a number that counts.
_STEP = 7


class SimulatedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A number taken: an activation, a request, a rental, a telephone."""

    id: str
    #: One of the provider's `kinds`.
    kind: str
    #: Digits as the provider writes them; empty while one is awaited.
    number: str
    #: The provider's word for it.
    service: str
    #: The provider's id of it.
    country: str
    price: float
    #: In the provider's life of an order; `active` is the first.
    status: Literal["active", "retry", "resend", "finished", "cancelled", "revoked"] = "active"
    #: Aware, UTC.
    made_at: datetime
    ends_at: datetime
    #: Where the callbacks of a rental go that was ordered with a URL of its own.
    url: str | None = None
    #: TellABot's: of a bid and of the number it won.
    state: str = ""
    markup: int = 0
    carrier: str = ""
    #: TellABot's: when a rented number goes online or offline, and when it is online next.
    is_online: bool = True
    changes_at: _Aware | None = None
    next_online_at: _Aware | None = None
    #: TellABot's: of the rental that this one goes on with; null: it is the first.
    first_id: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One SMS or call that a number received."""

    #: Counts; the provider's own id of it, where it has one.
    id: int
    order_id: str
    #: The number it came to: it may have been changed since.
    to: str
    from_: str
    text: str
    code: str
    at: datetime
    is_call: bool = False
    #: SMSPins: the SMS check that found it.
    check_id: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """SMSPins: a number that was changed for another, or was to be."""

    id: str
    order_id: str
    before: str
    #: None where there is none (yet).
    after: str | None
    at: datetime
    status: ChangeStatus = "SUCCESS"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong on request."""

    fault: Fate
    #: So often; null: until it is taken back.
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    #: Only for that command.
    command: str | None = None
    #: Until the answer (`slow`), or of `Retry-After` (`rate_limit`).
    seconds: Seconds = 5


class AskedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the provider was given; its key is not kept."""

    command: str
    #: What is not known to read only counts as writing.
    writes: bool
    parameters: dict[str, str]
    status: int
    at: datetime


class Account:
    """Orders and what they received, what was asked, and what shall go wrong."""

    def __init__(
        self, *, key: str, now: Callable[[], datetime], chance: Random, skipped: int = 0
    ) -> None:
        """`skipped`: so many ids of orders and messages are not given again."""
        self.key, self.now, self.chance = key, now, chance
        #: What is left in it; no order changes it.
        self.balance = "100.00"
        self.orders: dict[str, SimulatedOrder] = {}
        self.messages: list[Message] = []
        self.changes: list[Change] = []
        self.asked: list[AskedQuestion] = []
        self.faults: list[Fault] = []
        self._skipped = self._serial = skipped

    def add(self, order: SimulatedOrder) -> SimulatedOrder:
        self.orders[order.id] = order
        return order

    def receive(self, message: Message) -> Message:
        self.messages.append(message)
        return message

    def received(self, order_id: str) -> list[Message]:
        """The messages of that order, oldest first."""
        return sorted((it for it in self.messages if it.order_id == order_id), key=lambda it: it.at)

    def newest(self, kind: str) -> list[SimulatedOrder]:
        """The orders of that kind, newest first."""
        mine = [order for order in self.orders.values() if order.kind == kind]
        return sorted(mine, key=lambda order: order.made_at, reverse=True)

    def serial(self) -> int:
        """One more than the last time."""
        self._serial += 1
        return self._serial

    def order_id(self, first: int) -> str:
        """The next free from `first` on, but for what is skipped."""
        first += _STEP * self._skipped
        while str(first) in self.orders:
            first += _STEP
        return str(first)

    def until(self, end: datetime | None) -> int:
        """Whole seconds from now; 0 where it is past, or not set."""
        return 0 if end is None else max(0, int((end - self.now()) / timedelta(seconds=1)))

    def goes_wrong(self, fate: Fate, command: str | None = None) -> Fault | None:
        """The fault that is due now; one of its `times` is used up."""
        for place, fault in enumerate(self.faults):
            if fault.fault != fate or fault.command not in (None, command):
                continue
            if fault.times is not None:
                self._use_up(place, fault, fault.times)
            return fault
        return None

    def _use_up(self, place: int, fault: Fault, times: int) -> None:
        if times > 1:
            self.faults[place] = msgspec.structs.replace(fault, times=times - 1)
        else:
            del self.faults[place]
