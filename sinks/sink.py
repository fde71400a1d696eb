"""A sink: somewhere events go."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from core.paths import parse
from core.secret import Secret
from core.units import Duration, Rate

from .redact import compile_redact
from .retry import Retry

T = TypeVar("T")

#: Bytes of an answer that are kept.
ANSWER_KEPT: Final = 1024
#: Attempts at one time; beyond it files and sockets run out before a sink gets faster.
_MOST_AT_ONCE = 1000


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one sink: one attempt at one delivery."""

    event_id: str
    #: The CloudEvent as JSON, redacted as the sink's options say.
    body: bytes
    #: 1 for the first attempt.
    attempt: int
    #: When this attempt begins, seconds since the epoch.
    at: float
    #: Somebody asked for it again, after it was owed at acceptance.
    replay: bool = False


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The sink has it for good."""

    #: The sink's own status, such as an HTTP status.
    status: int | None = None
    #: How its answer begins, for people: kept, and never logged. It may repeat what was sent.
    answer: bytes = b""


class Failed(Exception):
    """Not this time: it is tried again.

    `word` is ours (`disk_full`, `timeout`, `refused`), never a library's text.
    """

    def __init__(
        self,
        word: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        by_date: bool = False,
        answer: bytes = b"",
    ) -> None:
        super().__init__(word)
        self.word, self.status, self.answer = word, status, answer
        #: Seconds; `by_date`: from the begin of the attempt until a date that the sink named.
        self.retry_after, self.by_date = retry_after, by_date


class Refused(Exception):
    """The sink will never take this event: trying again cannot help."""

    def __init__(self, word: str, *, status: int | None = None, answer: bytes = b"") -> None:
        super().__init__(word)
        self.word, self.status, self.answer = word, status, answer


class Unusable(Exception):
    """The sink's own machinery does not work, whatever is sent: no thread, no descriptor.

    It says nothing about the event or the destination. Where it stays so, only a restart helps.
    """


Send = Callable[[Outgoing], Awaitable[Receipt]]


class PauseAfter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a sink at which all fails is left alone, and how it is found to be back."""

    #: Nothing succeeded for this long.
    failing_for: Duration
    #: One delivery is tried so often; its success resumes the sink.
    probe_every: Duration = Duration(60)

    def __post_init__(self) -> None:
        if self.failing_for <= 0:
            raise ValueError("failing_for must be longer than 0s")
        if self.probe_every <= 0:
            raise ValueError("probe_every must be longer than 0s")


class Sink(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """A configured destination. Subclass, tag, and write `open`."""

    #: For one whole attempt; longer is a failure, and it is tried again.
    timeout: Duration = Duration(30)
    #: Attempts at the same time.
    concurrency: int = 8
    #: Attempts a second, a minute or an hour, such as `10/s`: what comes faster waits its turn.
    #: Unset: as fast as the sink takes them.
    rate: Rate | None = None
    #: A path such as `data.to`: events that have the same there are delivered one at a time, in
    #: the order of acceptance; one that waits holds those behind it. Events with null or nothing
    #: there are in no order. Unset: no order.
    ordered_by: str | None = None
    #: When to try again, and when to give up.
    retry: Retry = Retry()
    #: What is not delivered this long after it was accepted expires. Unset: never.
    expire_after: Duration | None = None
    #: Leave a sink alone at which all fails, such as `{failing_for: 1h}`: what it is owed is kept,
    #: one delivery is tried now and then, and its success resumes the sink. Unset: never.
    pause_after: PauseAfter | None = None
    #: What this sink must not see: `codes` (text, code, urls), `people` (those, and both numbers),
    #: or paths such as `data.price`. Unset: it sees all, codes in clear.
    redact: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError("timeout must be longer than 0s")
        if not 1 <= self.concurrency <= _MOST_AT_ONCE:
            raise ValueError(f"concurrency is from 1 to {_MOST_AT_ONCE}")
        if self.expire_after is not None and self.expire_after <= 0:
            raise ValueError("expire_after must be longer than 0s; leave it out for never")
        if self.ordered_by is not None:
            checked("ordered_by", parse, self.ordered_by)
        compile_redact(self.redact)  # a wrong word or path is an error of the configuration

    def open(self) -> AbstractAsyncContextManager[Send]:
        """Connect; hand back the function that sends one event.

        That function returns when the sink has the event for good, raises Refused when it never
        will, and Failed (or anything else) when it might later. It may be called concurrently.
        """
        raise NotImplementedError

    async def prepare(self) -> None:
        """Make what all sinks of this type share, before the service listens.

        Raises Unusable where it cannot be made.
        """

    def under(self, _folder: Path) -> "Sink":
        """The same with the paths among its options made absolute: they are relative to it."""
        return self

    def place(self, _folder: Path) -> str:
        """Where events go, in a few words and without a secret: `http crm.example.com`."""
        return str(self.__struct_config__.tag)

    def request(self, outgoing: Outgoing) -> str:
        """Return the request as text, for a test of the sink; its own secrets are masked."""
        return outgoing.body.decode()

    # What `check` and `serve` look at before anything is sent; each by the option that names it.

    def written_files(self) -> Mapping[str, Path]:
        """Return the files that it appends to, by option."""
        return {}

    def sets_aside(self, _path: Path, _name: str) -> bool:
        """Whether it makes a file of that name beside `path`, one of its `written_files`."""
        return False

    def read_files(self) -> Mapping[tuple[str, ...], Path]:
        """Return the files that it reads when it opens, by option: `("tls", "ca_file")`."""
        return {}

    def urls(self) -> Mapping[str, Secret]:
        """Return the URLs it connects to, by option; `proxy` is passed through only."""
        return {}


def checked(option: str, check: Callable[[T], object], value: T) -> None:
    """What `check` complains of by a ValueError, with the option's name before it."""
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
