"""A source: who may call us, and what their words mean in ours."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import msgspec

from journal import Twin
from journal.event import Data, Service
from journal.quantity import Duration, Rate, Secret

from .polling import Asking, Backfill, Known, Memory, Poll, Polled
from .services import service

#: RFC 9110, 8.3.1.
_CONTENT_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( ?;[ -~]{1,80})?"
)

#: What a form, its parts or a JSON object decode to. A number in JSON stays the text it was sent
#: as (`Number`), so that `1.20` is not `1.2`; objects and arrays nest.
Fields = Mapping[str, object]


class Number(str):
    """A JSON number, as the digits that were sent."""

    __slots__ = ()


class Malformed(Exception):
    """Authentic, but not understood: the callback goes to quarantine with this reason.

    `reason` is one of our words (`malformed`, `identity`, `unknown_event`, `encoding`, `empty`);
    `detail` names fields, never values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP request as a provider sent it, byte for byte."""

    #: Names in lower case, latin-1 as HTTP has them, in the order they came; no proxy's secrets.
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: The address it came from, trusted proxies looked through.
    peer: str
    #: When its last byte was here. Aware, UTC.
    received: datetime
    #: Proven to be sent by ourselves, as a sample.
    sample: bool = False
    #: `poll` where it is what a provider answered when it was asked.
    channel: str = "callback"

    def header(self, name: str) -> str | None:
        """The first field of that (lower case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def joined(self, name: str) -> str:
        """All fields of that (lower case) name, as one (RFC 9110, 5.3)."""
        return ", ".join([value for key, value in self.headers if key == name])


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two callbacks of one source one event.

    It becomes bytes that begin with the provider's time, so that keys grow with time (a random
    key costs SQLite several times the work), and end in a keyed hash of the parts.
    """

    #: Of the provider's time as sent, seconds since 2000-01-01; 0 where it said none. Where an id
    #: alone decides, that number: it grows too.
    second: int = 0
    parts: tuple[str, ...]


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a callback tells, in our words; the pipeline makes an event of it."""

    subject: str
    #: RFC 3339, UTC; None where no time that makes sense was sent (`data.time_from` is `received`).
    time: str | None
    data: Data
    keys: tuple[Key, ...]
    #: How a copy that comes another way is known, where keys cannot tell; None: keys can.
    twin: Twin | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as this provider would send it, for `smshook send`."""

    content_type: str
    body: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider is answered in place of our JSON when its callback was kept."""

    #: Such as `text/plain`.
    content_type: str
    #: The whole answer, such as `OK`.
    body: str = ""

    def __post_init__(self) -> None:
        if not _CONTENT_TYPE.fullmatch(self.content_type):
            raise ValueError("content_type: not a media type; write text/plain or text/xml")


class Source(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="provider", forbid_unknown_fields=True
):
    """A configured account of a provider. Subclass, tag, and write `normalize` and `sample`."""

    #: The secret part of the callback URL: the first is current, the rest are still accepted
    #: while you change it at the provider. A text, or `sha256:` and the hex digest of one.
    tokens: tuple[Secret, ...] = ()
    #: Addresses or networks that callbacks may come from, or `documented` for those that the
    #: provider publishes. Empty: any; the token alone decides.
    allow_from: tuple[str, ...] = ()
    #: Copied to `data.labels` of each event, to route and filter by.
    labels: Mapping[str, str] = {}
    #: What this account's prices are in, if you know it.
    currency: str | None = None
    #: More callbacks than this are answered 429, such as `10/s`. Unset: no limit.
    rate: Rate | None = None
    #: Where nothing comes for so long, the source is reported as silent: in the log and in
    #: `/v1/sources`. Set it where you know how often something must come.
    expect_every: Duration | None = None
    #: What it is answered with status 200, if it wants another body than our JSON:
    #: `{content_type: text/plain, body: OK}`. Samples of ours are answered in JSON.
    answer: Answer | None = None
    #: Send one event `account.low` each time the account's balance falls below this amount, such as
    #: "5". The balance is part of what `backfill` asks for. Unset: no event.
    low_balance: str | None = None
    #: Ask the provider, read-only, for what was missed. Unset: it is not asked.
    backfill: Backfill | None = None

    #: Which encodings the provider may use: of `form`, `multipart`, `json`.
    #: None of them: it calls nobody, and is only asked.
    encodings: ClassVar[frozenset[str]]
    #: Which of them it uses itself, where it may use several.
    usual_encoding: ClassVar[str] = "form"
    #: How it is asked where `backfill` does not say; None: it cannot be asked.
    polled: ClassVar[Polled | None] = None
    #: The addresses that its documentation says callbacks come from.
    documented: ClassVar[tuple[str, ...]] = ()
    #: Of all its numbers, if they are of one: ISO 3166-1 alpha-2.
    country: ClassVar[str | None] = None
    #: Where in the provider's settings a callback URL is pasted.
    paste_at: ClassVar[str]
    #: What `sample` can make; the first is the default.
    kinds: ClassVar[tuple[str, ...]]

    def sends_by_get(self) -> bool:
        """Whether the query of a GET is a callback; its body is then that query."""
        return False

    @property
    def takes_lists(self) -> bool:
        """Whether its body may be a JSON list."""
        return False

    @property
    def secret_headers(self) -> frozenset[str]:
        """The (lower case) headers that `verify` reads a secret from."""
        return frozenset()

    @property
    def default_answer(self) -> Answer | None:
        """What it is answered where `answer` is unset; None: our JSON."""
        return None

    def verify(self, callback: Callback, target: str) -> bool:  # noqa: ARG002 - for those that sign
        """Whether it is signed as this provider signs, over its bytes as they came.

        `target` is the path and the query as sent; it holds the token.
        """
        return True

    @property
    def calls_nobody(self) -> bool:
        """It has no callbacks: asking is the only way in."""
        return not getattr(type(self), "encodings", True)

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        """Say it in our words. Pure: no clock, no chance, no network.

        Raises Malformed where identity or kind cannot be told; what else makes no sense costs
        the field and is named in `warnings`.
        """
        raise NotImplementedError

    def asking(self) -> Asking:
        """How it is asked: what `backfill` says, and its defaults. Raises ValueError without."""
        if self.backfill is None or self.polled is None:
            raise ValueError("backfill: not configured, or this provider cannot be asked")
        return self.polled.asking(self.backfill)

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,
        now: datetime,
        memory: Memory | None = None,
    ) -> Poll:
        """What to ask it, and what it had to tell. Pure: no clock, no chance, no network.

        `since` is how far back to look, and a hint: what is brought again is a duplicate. `memory`
        is what the polls before this one learned; without it this is the first poll.
        """
        raise NotImplementedError

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        """A realistic callback of that kind; another `number` gives another message."""
        raise NotImplementedError

    @property
    def home(self) -> str | None:
        """Where numbers that it writes without `+` are at home; None: they are international."""
        return self.country

    def service(self, id_: str | None) -> Service | None:
        """Return the service that the provider has under this id, None without an id."""
        return service(id_, None)
