"""The questions and findings of a poll. Nothing here uses the network.

    poll = source.poll(known, since=…, now=…)      a generator
    poll yields Ask          -> is sent the result of `ask.read`, or None if that failed
    poll yields Switch       -> the same, for a command that changes a setting
    poll yields FoundMessage -> happenings of one row, to be accepted like those of a callback
    poll yields Notice       -> something a person should know
    poll yields ListedOrder, Ended or Balance -> what the provider says about an order or account

`client.py` drives the poll: it keeps the pace, reads answers, and stops when the rest would fail.
"""

import re
from collections.abc import Callable, Generator, Mapping
from datetime import date
from typing import Any, TypeAlias

import msgspec

from core.event import Price
from core.secret import Secret

from ..callback import Callback, Happening
from .options import PollingApi

#: A provider's id. It becomes part of the URL by which the provider is asked.
PROVIDER_ID = re.compile(r"[^\s/?#&%]{1,64}")


class BadKey(Exception):
    """The provider refuses our key: stop, and report it."""


class Busy(Exception):
    """The provider limits our calls or is unavailable: wait."""

    def __init__(self, word: str, retry_after: float | None = None) -> None:
        super().__init__(word)
        #: The wait that the provider asked for, in seconds.
        self.word, self.retry_after = word, retry_after


class Unreadable(Exception):
    """An answer was not understood. Names the command, never the content of the answer."""

    def __init__(self, command: str, detail: str) -> None:
        super().__init__(f"{command}: {detail}")
        self.command, self.detail = command, detail


class ProviderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's HTTP answer."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One GET that only reads."""

    #: The provider's declaration. Its `reads` must have the command.
    api: PollingApi
    command: str
    #: The whole URL, with the key in its path or query.
    url: Secret
    #: Reads the answer. Raises BadKey, Busy or Unreadable.
    read: Callable[[ProviderAnswer], Any]

    def __post_init__(self) -> None:
        if self.command not in self.api.reads:
            raise ValueError(f"{self.command}: the provider does not declare that it only reads")


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One GET that changes a setting at the provider, if an option of the source allows it.

    It is a type of its own, so that an `Ask` can only read.
    """

    #: The provider's declaration. Its `switches` must have the command.
    api: PollingApi
    command: str
    #: As in `Ask`.
    url: Secret
    read: Callable[[ProviderAnswer], Any]

    def __post_init__(self) -> None:
        if self.command not in self.api.switches:
            raise ValueError(f"{self.command}: the provider does not declare it as a switch")


class PollMemory:
    """The memory that the polls of one source share, while its client lives."""

    def __init__(self) -> None:
        #: Commands that the provider does not have; they are not sent again.
        self.missing: set[str] = set()
        #: The day on which a setting was last switched on, by the provider's id of its telephone.
        self.switched_on: dict[str, date] = {}


class FoundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The happenings of one row of an answer, with that row."""

    #: One or more, because one row may have several messages.
    happenings: "tuple[Happening, ...]"
    #: The row as a callback with the channel `poll`. It is stored once for all its happenings.
    callback: "Callback"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know. The poll continues."""

    #: `auto_check_off`, `missing_command` or `unreadable_row`.
    word: str
    #: Its subject, such as `telephone/23354` or a command.
    about: str


class ListedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An activation, rental or request that the provider lists as active."""

    #: `request_id`, `activation_id`, `rental_id` or `number`.
    kind: str
    #: The provider's id, or the number.
    name: str
    #: E.164.
    number: str | None = None
    #: The provider's name or id of it.
    service: str | None = None
    #: ISO 3166-1 alpha-2.
    country: str | None = None
    price: Price | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An activation, rental or request that the provider says is over."""

    #: As in `ListedOrder`.
    kind: str
    name: str
    #: `expired`, `cancelled`, `finished`, `rejected`, `revoked` or `failed`.
    reason: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The money left in the account."""

    #: Decimal digits as sent: `12.50`.
    amount: str
    #: ISO 4217; None if the provider does not send it.
    currency: str | None = None


#: It is sent the result of `read` for an Ask or a Switch; None after a failure or another step.
Poll: TypeAlias = Generator[
    Ask | Switch | FoundMessage | Notice | ListedOrder | Ended | Balance, Any, None
]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An order to ask about: one of its ids, and what else is known."""

    request_id: str | None = None
    activation_id: str | None = None
    rental_id: str | None = None
    #: E.164.
    number: str | None = None
    #: The provider's name or id of it.
    service: str | None = None

    def __post_init__(self) -> None:
        for id_ in (self.request_id, self.activation_id, self.rental_id, self.number):
            if id_ is not None and not PROVIDER_ID.fullmatch(id_):
                raise ValueError("an order's id: up to 64 characters, no spaces and no / ? # & %")
