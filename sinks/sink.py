"""A sink: a configured destination of events.

Rules that live here: the options that all sinks have. Each type of sink is a folder
beside this file.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar, Final, Self, TypeVar

import msgspec

from core.paths import Path as EventPath
from core.paths import parse
from core.secret import Secret
from core.units import Duration, Rate

from .redact import compile_redact
from .retry import Retry

T = TypeVar("T")

#: Bytes of an answer that are kept.
ANSWER_KEPT: Final = 1024
#: The word of a sink that will take no further event.
GONE: Final = "gone"
#: The most attempts at the same time: with more, files and sockets run out first.
_MOST_AT_ONCE = 1000


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """The event of one attempt, as the sink gets it."""

    event_id: str
    #: The CloudEvent as JSON, redacted as the sink's options say.
    body: bytes
    #: 1 for the first attempt.
    attempt: int
    #: When this attempt begins, seconds since the epoch.
    at: float
    #: A person asked for this delivery, after the event was accepted.
    replay: bool = False
    #: The span of this attempt (W3C Trace Context); None: nothing is traced.
    traceparent: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Proof that the sink has the event for good."""

    #: The sink's own status, such as an HTTP status.
    status: int | None = None
    #: The first bytes of its answer: stored, never logged. They may repeat the event.
    answer: bytes = b""
    #: Its own time, as an HTTP header Date; None: it sent none.
    date: str | None = None


class Failed(Exception):
    """The sink did not take the event this time; the delivery is retried.

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
        #: Seconds; `by_date`: from the start of the attempt until a date that the sink named.
        self.retry_after, self.by_date = retry_after, by_date


class Refused(Exception):
    """The sink will never take this event."""

    def __init__(self, word: str, *, status: int | None = None, answer: bytes = b"") -> None:
        super().__init__(word)
        self.word, self.status, self.answer = word, status, answer


class Unusable(Exception):
    """The sink cannot send any event: no thread, no descriptor.

    It says nothing about the event or the destination. If it lasts, only a restart helps.
    """


Send = Callable[[Outgoing], Awaitable[Receipt]]


class PauseAfter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to pause a failing sink, and when to probe it."""

    #: Pause the sink after this long without a success.
    failing_for: Duration
    #: The time between two probes of a paused sink. A probe that succeeds resumes it.
    probe_every: Duration = Duration(60)

    def __post_init__(self) -> None:
        if self.failing_for <= 0:
            raise ValueError("failing_for must be longer than 0s")
        if self.probe_every <= 0:
            raise ValueError("probe_every must be longer than 0s")


class Sink(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """A configured destination. Subclass, tag, and write `open`."""

    #: For one whole attempt. A longer attempt fails, and is retried.
    timeout: Duration = Duration(30)
    #: Attempts at the same time.
    concurrency: int = 8
    #: Attempts a second, a minute or an hour, such as `10/s`. Further deliveries wait. Unset: as
    #: fast as the sink takes them.
    rate: Rate | None = None
    #: A path such as `data.to`. Events with the same value there are delivered one at a time, in
    #: the order of acceptance; one that waits holds those behind it. Events without a value have
    #: no order. Unset: no order.
    ordered_by: str | None = None
    #: When to try again, and when to give up.
    retry: Retry = Retry()
    #: A pending delivery expires this long after its event was accepted. Unset: never.
    expire_after: Duration | None = None
    #: Pause a failing sink, such as `{failing_for: 1h}`. Its pending deliveries are kept. One of
    #: them is tried now and then, and its success resumes the sink. Unset: never.
    pause_after: PauseAfter | None = None
    #: Mask these fields for this sink: `codes` (text, code, urls), `people` (also both numbers),
    #: or paths such as `data.price`. Unset: the sink sees every field, and codes in clear.
    redact: str | tuple[str, ...] | None = None

    #: An automatic pause lasts until a person resumes the sink, and 410 pauses it.
    stays_paused: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError("timeout must be longer than 0s")
        if not 1 <= self.concurrency <= _MOST_AT_ONCE:
            raise ValueError(f"concurrency is from 1 to {_MOST_AT_ONCE}")
        if self.expire_after is not None and self.expire_after <= 0:
            raise ValueError("expire_after must be longer than 0s; leave it out to never expire")
        if self.ordered_by is not None:
            checked("ordered_by", parse, self.ordered_by)
        compile_redact(self.redact)  # a wrong word or path is an error of the configuration

    def open(self) -> AbstractAsyncContextManager[Send]:
        """Connect, and yield a function that sends one event, inside `async with`.

        The function returns when the sink has the event for good. It raises Refused if the sink
        will never take it, and Failed (or any other error) to be called again. Calls may overlap.
        """
        raise NotImplementedError

    def check(self, body: bytes) -> None:
        """Raise Refused or Failed if the sink may not get an event now, given as it is stored."""

    async def prepare(self) -> None:
        """Make the parts that all sinks of this type share, before the service listens.

        Raises Unusable.
        """

    def under(self, _folder: Path) -> Self:
        """Return the same with absolute paths: relative ones are below `folder`."""
        return self

    def place(self, _folder: Path) -> str:
        """Return the destination in a few words, without a secret: `http crm.example.com`."""
        return str(self.__struct_config__.tag)

    def request(self, outgoing: Outgoing) -> str:
        """Return the request as text, for a test of the sink; its own secrets are masked."""
        return outgoing.body.decode()

    def used_paths(self) -> tuple[EventPath, ...] | None:
        """Return the paths of an event that it sends; None: all of the event."""
        return None

    # `check` and `serve` use these before anything is sent.

    def written_files(self) -> Mapping[str, Path]:
        """Return the files that it appends to, by option."""
        return {}

    def sets_aside(self, _path: Path, _name: str) -> bool:
        """Return whether it makes a file `name` beside `path`, one of its `written_files`."""
        return False

    def read_files(self) -> Mapping[tuple[str, ...], Path]:
        """Return the files that it reads when it opens, by option: `("tls", "ca_file")`."""
        return {}

    def urls(self) -> Mapping[str, Secret]:
        """Return the URLs it connects to, by option; `proxy` is passed through only."""
        return {}


def checked(option: str, check: Callable[[T], object], value: T) -> None:
    """Call `check`, and put the option's name before its ValueError."""
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
