"""What a simulated provider must say: which command was given, what it answers, what it sends."""

from datetime import timedelta
from typing import ClassVar

from .account import Account, Message, SimulatedOrder
from .exchange import Answer, OutgoingCallback, Request, plain_answer
from .schedule import Schedule

#: What is said before the script is reached: plain text, also among JSON.
_BUSY = "Service temporarily unavailable"


class Simulated:
    """One simulated provider. Subclass, and say the rest in its own words."""

    #: As a source's `provider` is written.
    name: ClassVar[str]
    #: What can be ordered; the first is the default.
    kinds: ClassVar[tuple[str, ...]]
    #: Commands that change nothing. Any other counts as writing, also one that nobody knows.
    reads: ClassVar[frozenset[str]]
    #: None: it sends no callbacks.
    schedule: ClassVar[Schedule | None]
    #: Its words for a service and a country, the first id of its orders, and their life.
    service: ClassVar[str]
    country: ClassVar[str]
    first_id: ClassVar[int]
    #: Where its API begins.
    path: ClassVar[str]
    life: ClassVar[timedelta] = timedelta(minutes=20)

    def __init__(self, account: Account) -> None:
        self.account = account

    def command(self, request: Request) -> str | None:
        """The command that is given; None where nothing of this provider is."""
        raise NotImplementedError

    def has_key(self, request: Request) -> bool:
        raise NotImplementedError

    def answer(self, command: str, request: Request) -> Answer:
        """Of a command that reads; others are refused. The key is right."""
        raise NotImplementedError

    def wrong_key(self) -> Answer:
        raise NotImplementedError

    def refused(self) -> Answer:
        """To what writes, and to what is not simulated."""
        raise NotImplementedError

    def busy(self) -> Answer:
        return plain_answer(_BUSY)

    def too_many(self) -> Answer:
        return plain_answer("Too Many Requests", 429)

    def broken(self) -> Answer:
        return plain_answer("Internal Server Error", 500)

    def garbled(self, answer: Answer) -> Answer:
        """The same as JSON that no strict reader takes."""
        raise NotImplementedError

    def callback(self, order: SimulatedOrder, message: Message) -> OutgoingCallback | None:
        """What it sends of a message; None where it sends nothing."""
        raise NotImplementedError

    def assigned(self, _order: SimulatedOrder) -> OutgoingCallback | None:
        """What it sends once an awaited number is there."""
        return None

    def renewed(self, _before: SimulatedOrder, _after: SimulatedOrder) -> OutgoingCallback | None:
        """What it sends of a rental that goes on as another."""
        return None

    def not_renewed(self, _order: SimulatedOrder, _reason: str) -> OutgoingCallback | None:
        """What it sends of a rental that could not be renewed."""
        return None

    def number(self) -> str:
        """One that belongs to nobody, as this provider writes it."""
        raise NotImplementedError
