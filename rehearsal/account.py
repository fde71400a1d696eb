"""A customer's account at a simulated provider, in memory."""

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
#: The status of a number's change, in SMSPins' words.
ChangeStatus = Literal["PENDING", "ACQUIRED", "STARTED", "SUCCESS", "FAILED", "CANCELED"]
#: Seconds by which a time may differ from now.
Seconds = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]
#: The difference between two ids of orders, so that no id looks like a counter.
_STEP = 7


class SimulatedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was taken: an activation, a request, a rental or a telephone."""

    id: str
    #: One of the provider's `kinds`.
    kind: str
    #: Digits as the provider writes them; empty while the order waits for a number.
    number: str
    #: The provider's name or id of the service.
    service: str
    #: The provider's id of the country.
    country: str
    price: float
    #: The first is `active`.
    status: Literal["active", "retry", "resend", "finished", "cancelled", "revoked"] = "active"
    #: Aware, UTC.
    made_at: datetime
    ends_at: datetime
    #: A rental's own callback URL, if its order had one.
    url: str | None = None
    #: TellABot: details of a bid and of the number it won.
    state: str = ""
    markup: int = 0
    carrier: str = ""
    #: TellABot: when a rented number goes online or offline, and when it is online next.
    is_online: bool = True
    changes_at: _Aware | None = None
    next_online_at: _Aware | None = None
    #: TellABot: the id of the first rental that this one continues; null: this is the first.
    first_id: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One SMS or call that a number received."""

    #: A counter; the provider's id of the message, if it has ids.
    id: int
    order_id: str
    #: The recipient; the order's number may have changed since.
    to: str
    from_: str
    text: str
    code: str
    at: datetime
    is_call: bool = False
    #: SMSPins: the check that found it.
    check_id: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A requested change of a number (SMSPins)."""

    id: str
    order_id: str
    before: str
    #: None if there is no new number (yet).
    after: str | None
    at: datetime
    status: ChangeStatus = "SUCCESS"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that a user requests."""

    fault: Fate
    #: The number of times that it happens; null: until it is deleted.
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    #: The only command with the failure; null: all.
    command: str | None = None
    #: The delay of the answer (`slow`), or the value of `Retry-After` (`rate_limit`).
    seconds: Seconds = 5


class AskedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the provider received, without its key."""

    command: str
    #: True unless the command is known to read only.
    writes: bool
    parameters: dict[str, str]
    status: int
    at: datetime


class Account:
    """Orders, messages, received commands and requested failures."""

    def __init__(
        self, *, key: str, now: Callable[[], datetime], chance: Random, skipped: int = 0
    ) -> None:
        """`skipped` is the number of ids of orders and messages that are not used again."""
        self.key, self.now, self.chance = key, now, chance
        #: The balance, which no order changes.
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

    def add_fault(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def received(self, order_id: str) -> list[Message]:
        """Return the messages of an order, oldest first."""
        return sorted((it for it in self.messages if it.order_id == order_id), key=lambda it: it.at)

    def newest(self, kind: str) -> list[SimulatedOrder]:
        """Return the orders of a kind, newest first."""
        mine = [order for order in self.orders.values() if order.kind == kind]
        return sorted(mine, key=lambda order: order.made_at, reverse=True)

    def serial(self) -> int:
        """Return the next number of a counter."""
        self._serial += 1
        return self._serial

    def order_id(self, first: int) -> str:
        """Return the next free id from `first` on, after the skipped ones."""
        first += _STEP * self._skipped
        while str(first) in self.orders:
            first += _STEP
        return str(first)

    def until(self, end: datetime | None) -> int:
        """Return the whole seconds until an end; 0 if it is past or None."""
        return 0 if end is None else max(0, int((end - self.now()) / timedelta(seconds=1)))

    def goes_wrong(self, fate: Fate, command: str | None = None) -> Fault | None:
        """Return a fault that happens now, and count it; None without one."""
        for place, fault in enumerate(self.faults):
            if fault.fault != fate or fault.command not in (None, command):
                continue
            if fault.times == 1:
                del self.faults[place]
            elif fault.times is not None:
                self.faults[place] = msgspec.structs.replace(fault, times=fault.times - 1)
            return fault
        return None
