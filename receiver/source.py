"""A source: who may call us, and what their words mean in ours."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from core.event import Service
from core.secret import Secret
from core.units import Duration, Rate

from .callback import _CONTENT_TYPE, Callback, Fields, Happening, Sample
from .fields.reader import FieldReader
from .fields.services import service
from .polling.options import Backfill, PollingApi, PollingSettings, polling_settings
from .polling.questions import Known, Poll, PollMemory


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    answer: Reply | None = None
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
    #: The provider's API for polling; None: it cannot be polled.
    polling_api: ClassVar[PollingApi | None] = None
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
    def default_answer(self) -> Reply | None:
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

    def common(self, callback: Callback, reading: FieldReader, *, time_from: str) -> dict[str, Any]:
        """Return the fields that every type of event has.

        Read all other fields first: `warnings` is what `reading` warned of until now.
        """
        return {
            "provider": self.__struct_config__.tag,
            "channel": callback.channel,
            "labels": self.labels,
            "sample": callback.sample,
            "time_from": time_from,
            "warnings": tuple(reading.warnings),
        }

    def polling_settings(self) -> PollingSettings:
        """Return `backfill` with the provider's defaults. Raises ValueError where it is unset."""
        if self.backfill is None or self.polling_api is None:
            raise ValueError("backfill: not configured, or this provider cannot be asked")
        return polling_settings(self.polling_api, self.backfill)

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,
        now: datetime,
        memory: PollMemory | None = None,
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
