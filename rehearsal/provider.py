"""The base class of simulated providers."""

from datetime import timedelta
from typing import ClassVar

from .account import Account, Message, SimulatedOrder
from .exchange import Answer, OutgoingCallback, Request, plain_answer
from .schedule import Schedule

#: The answer of a server before its script runs: plain text instead of JSON.
_BUSY = "Service temporarily unavailable"


class Simulated:
    """A simulated provider: reads commands, and writes answers and callbacks. Subclass it."""

    #: The name that a source's `provider` has.
    name: ClassVar[str]
    #: The kinds of orders; the first is the default.
    kinds: ClassVar[tuple[str, ...]]
    #: Commands that change nothing. Any other command counts as writing.
    reads: ClassVar[frozenset[str]]
    #: None: it sends no callbacks.
    schedule: ClassVar[Schedule | None]
    #: Defaults of orders: service, country, first id, and lifetime (below).
    service: ClassVar[str]
    country: ClassVar[str]
    first_id: ClassVar[int]
    #: The path of its API.
    path: ClassVar[str]
    life: ClassVar[timedelta] = timedelta(minutes=20)

    def __init__(self, account: Account) -> None:
        self.account = account

    def command(self, request: Request) -> str | None:
        """Return the command in a request; None if it is not for this provider."""
        raise NotImplementedError

    def has_key(self, request: Request) -> bool:
        raise NotImplementedError

    def answer(self, command: str, request: Request) -> Answer:
        """Answer a command with the right key. Commands that write are refused."""
        raise NotImplementedError

    def wrong_key(self) -> Answer:
        raise NotImplementedError

    def refused(self) -> Answer:
        """Answer a command that writes or is not simulated."""
        raise NotImplementedError

    def busy(self) -> Answer:
        return plain_answer(_BUSY)

    def too_many(self) -> Answer:
        return plain_answer("Too Many Requests", 429)

    def broken(self) -> Answer:
        return plain_answer("Internal Server Error", 500)

    def garbled(self, answer: Answer) -> Answer:
        """Return the answer as invalid JSON, as in the provider's documentation."""
        raise NotImplementedError

    def callback(self, order: SimulatedOrder, message: Message) -> OutgoingCallback | None:
        """Return the callback of a message; None if the provider sends no callback."""
        raise NotImplementedError

    def assigned(self, _order: SimulatedOrder) -> OutgoingCallback | None:
        """Return the callback of an order that was given its number."""
        return None

    def renewed(self, _before: SimulatedOrder, _after: SimulatedOrder) -> OutgoingCallback | None:
        """Return the callback of a rental that was renewed under another id."""
        return None

    def not_renewed(self, _order: SimulatedOrder, _reason: str) -> OutgoingCallback | None:
        """Return the callback of a rental that could not be renewed."""
        return None

    def number(self) -> str:
        """Return a number that is never assigned, as this provider writes it."""
        raise NotImplementedError
