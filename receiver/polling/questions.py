"""How a provider is asked for what was missed: what to ask, and what came of it; no network here.

    poll = source.poll(known, since=…, now=…)      a generator
    poll yields Ask    -> is sent what `ask.read` made of the answer, or None where it failed
    poll yields Switch -> the same, for the one command that does more than read
    poll yields Found  -> happenings of one row, to be accepted like those of a callback
    poll yields Notice -> something a person should know
    poll yields Listed, Ended or Balance -> what the provider says of an order or of the account

Whoever drives it (`backfill.py`) keeps the pace, reads answers, and stops it where going on makes
no sense.
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

_ID = re.compile(r"[^\s/?#&%]{1,64}")


class BadKey(Exception):
    """The provider does not know our key, or has locked the account: stop, and say so."""


class Busy(Exception):
    """Not now: asked too often, or the provider is unwell. Back off."""

    def __init__(self, word: str, retry_after: float | None = None) -> None:
        super().__init__(word)
        #: Seconds, as the provider asked for.
        self.word, self.retry_after = word, retry_after


class Unreadable(Exception):
    """The answer was not understood. Says of which command, never what it said."""

    def __init__(self, command: str, detail: str) -> None:
        super().__init__(f"{command}: {detail}")
        self.command, self.detail = command, detail


class ProviderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider answered."""

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
    #: The whole of it: the key stands in its path or in its query.
    url: Secret
    #: What the answer says. Raises BadKey, Busy or Unreadable.
    read: Callable[[ProviderAnswer], Any]

    def __post_init__(self) -> None:
        if self.command not in self.api.reads:
            raise ValueError(f"{self.command}: the provider does not declare that it only reads")


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One GET that changes a setting at the provider; sent only where the source's options say so.

    A type of its own, so that no `Ask` can ever be more than reading.
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
    """What is remembered between the polls of one source, for as long as its client lives."""

    def __init__(self) -> None:
        #: Commands that the provider does not have; they are not asked for again.
        self.missing: set[str] = set()
        #: The day on which a setting was last switched on, by the provider's id of its telephone.
        self.switched_on: dict[str, date] = {}


class FoundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The happenings of one row of an answer, with that row."""

    #: One or more; a row such as `Test SMS 1|Test SMS 2` holds several.
    happenings: "tuple[Happening, ...]"
    #: The row as if it had been sent to us: body, `received`, and the channel `poll`. It is stored
    #: once, however many happenings it holds.
    callback: "Callback"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know; the poll goes on."""

    #: A word of ours: `auto_check_off`, `missing_command`, `unreadable_row`.
    word: str
    #: What of, such as `telephone/23354` or a command.
    about: str


class ListedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An activation, rental or request that the provider lists as active."""

    #: `request_id`, `activation_id`, `rental_id` or `number`.
    kind: str
    #: The provider's id of it, or the number.
    name: str
    #: E.164.
    number: str | None = None
    #: As the provider calls it.
    service: str | None = None
    #: ISO 3166-1 alpha-2.
    country: str | None = None
    price: Price | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An activation, rental or request that the provider says is over."""

    #: As in `Listed`.
    kind: str
    name: str
    #: `expired`, `cancelled`, `finished`, `rejected`, `revoked` or `failed`.
    reason: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The money left in the account."""

    #: Decimal digits as sent, such as `12.50`.
    amount: str
    #: ISO 4217; None: the provider does not say.
    currency: str | None = None


#: Is sent what `read` gave of an Ask or a Switch, None where that failed and after all else.
Poll: TypeAlias = Generator[
    Ask | Switch | FoundMessage | Notice | ListedOrder | Ended | Balance, Any, None
]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An order to look after: one of its ids, and what else is known."""

    request_id: str | None = None
    activation_id: str | None = None
    rental_id: str | None = None
    #: E.164.
    number: str | None = None
    #: As the provider calls it.
    service: str | None = None

    def __post_init__(self) -> None:
        for id_ in (self.request_id, self.activation_id, self.rental_id, self.number):
            if id_ is not None and not _ID.fullmatch(id_):
                raise ValueError("an order's id: up to 64 characters, no blank, none of / ? # & %")
