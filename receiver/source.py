"""A source: its options, and how to read, verify, answer and poll its provider."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from core.event import Service
from core.secret import Secret
from core.units import Duration, Rate

from .callback import Callback, Fields, Happening, Sample
from .fields.reader import FieldReader
from .fields.services import service
from .polling.options import Backfill, PollingApi, PollingSettings, polling_settings
from .polling.questions import Known, Poll, PollMemory

#: RFC 9110, 8.3.1.
_CONTENT_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( ?;[ -~]{1,80})?"
)


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer that a provider gets in place of our JSON when its callback was stored."""

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
    """A configured account of a provider. Subclass, tag, and define `normalize` and `sample`."""

    #: The secret part of the callback URL. The first is current; the others are still accepted,
    #: while you change it at the provider. A text, or `sha256:` and the hex digest of one.
    tokens: tuple[Secret, ...] = ()
    #: Addresses or networks that callbacks may come from, or `documented` for those that the
    #: provider publishes. Empty: any address.
    allow_from: tuple[str, ...] = ()
    #: Copied to `data.labels` of each event, for routes and filters.
    labels: Mapping[str, str] = {}
    #: The currency of this account's prices, if you know it.
    currency: str | None = None
    #: Callbacks above this rate, such as `10/s`, are answered 429. Unset: no limit.
    rate: Rate | None = None
    #: Without a callback for this long, the source is reported as silent in the log and in
    #: `/v1/sources`. Set it if you know how often callbacks must come.
    expect_every: Duration | None = None
    #: The answer with status 200, if the provider expects another body than our JSON:
    #: `{content_type: text/plain, body: OK}`. Samples are always answered in JSON.
    answer: Reply | None = None
    #: Send one event `account.low` each time the account's balance falls below this amount, such as
    #: "5". This needs `backfill`, which reads the balance. Unset: no event.
    low_balance: str | None = None
    #: Ask the provider, read-only, for missed messages. Unset: it is not asked.
    backfill: Backfill | None = None

    #: The encodings that the provider may use, of `form`, `multipart` and `json`. Empty: it sends
    #: no callbacks and is only polled.
    encodings: ClassVar[frozenset[str]]
    #: The provider's API for polling; None: it cannot be polled.
    polling_api: ClassVar[PollingApi | None] = None
    #: The addresses that the provider documents for its callbacks.
    documented: ClassVar[tuple[str, ...]] = ()
    #: The country of all its numbers, if there is only one: ISO 3166-1 alpha-2.
    country: ClassVar[str | None] = None
    #: The place in the provider's settings for the callback URL.
    paste_at: ClassVar[str]
    #: The kinds of samples; the first is the default.
    kinds: ClassVar[tuple[str, ...]]

    @property
    def usual_encoding(self) -> str:
        """The encoding of samples, unless another is asked for."""
        return min(self.encodings, default="form")  # form, else json, else multipart

    def sends_by_get(self) -> bool:
        """Whether the query of a GET is a callback; its body is then that query."""
        return False

    @property
    def takes_lists(self) -> bool:
        """Whether a body may be a JSON list."""
        return False

    @property
    def secret_headers(self) -> frozenset[str]:
        """The (lower case) headers that `verify` reads a secret from."""
        return frozenset()

    @property
    def default_answer(self) -> Reply | None:
        """The answer if `answer` is unset; None: our JSON."""
        return None

    def verify(self, callback: Callback, target: str) -> bool:  # noqa: ARG002 - for those that sign
        """Whether the callback has the provider's signature.

        `target` is the path and the query as sent, with the token.
        """
        return True

    @property
    def sends_no_callbacks(self) -> bool:
        """Whether the provider sends no callbacks and can only be polled."""
        return not getattr(type(self), "encodings", True)

    def normalize(self, fields: Fields, callback: Callback) -> Sequence[Happening]:
        """Return the happenings in a callback. Pure: no clock, no chance, no network.

        Raises Malformed if the identity or the kind is unknown. Any other invalid field becomes
        null and is named in `warnings`.
        """
        raise NotImplementedError

    def common(self, callback: Callback, reading: FieldReader, *, time_from: str) -> dict[str, Any]:
        """Return the fields that every type of event has.

        Read all other fields first: `warnings` has the warnings of `reading` so far.
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
        """Return `backfill` with the provider's defaults. Raises ValueError if it is unset."""
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
        """Return the questions and findings of one poll. Pure: no clock, no chance, no network.

        `since` is a hint how far back to look: a message that is found again is a duplicate.
        `memory` is the result of earlier polls; without it this is the first poll.
        """
        raise NotImplementedError

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:
        """Return a realistic callback of that kind, a different one for each `number`."""
        raise NotImplementedError

    @property
    def default_region(self) -> str | None:
        """The country of numbers written without `+`; None: they are international."""
        return self.country

    def service(self, id_: str | None) -> Service | None:
        """Return the provider's service with this id; None without an id."""
        return service(id_, None)
