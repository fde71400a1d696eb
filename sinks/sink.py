"""A sink: somewhere events go."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from journal.quantity import Duration

from .redact import compile_redact
from .retry import Retry

#: Attempts at one time; beyond it files and sockets run out before a sink gets faster.
_MOST_AT_ONCE = 1000


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one sink: one attempt at one delivery."""

    event_id: str
    #: The CloudEvent as JSON, redacted as the sink's options say.
    body: bytes
    #: 1 for the first attempt.
    attempt: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The sink has it for good."""

    #: The sink's own status, such as an HTTP status.
    status: int | None = None


class Failed(Exception):
    """Not this time: it is tried again.

    `word` is ours (`disk_full`, `timeout`, `refused`), never a library's text.
    """

    def __init__(
        self, word: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(word)
        self.word, self.status, self.retry_after = word, status, retry_after


class Refused(Exception):
    """The sink will never take this event: trying again cannot help."""

    def __init__(self, word: str, *, status: int | None = None) -> None:
        super().__init__(word)
        self.word, self.status = word, status


Send = Callable[[Outgoing], Awaitable[Receipt]]


class Sink(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """A configured destination. Subclass, tag, and write `open`."""

    #: For one whole attempt; longer is a failure, and it is tried again.
    timeout: Duration = Duration(30)
    #: Attempts at the same time.
    concurrency: int = 8
    #: When to try again, and when to give up.
    retry: Retry = Retry()
    #: What is not delivered this long after it was accepted expires. Unset: never.
    expire_after: Duration | None = None
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
        compile_redact(self.redact)  # a wrong word or path is an error of the configuration

    def open(self) -> AbstractAsyncContextManager[Send]:
        """Connect; hand back the function that sends one event.

        That function returns when the sink has the event for good, raises Refused when it never
        will, and Failed (or anything else) when it might later. It may be called concurrently.
        """
        raise NotImplementedError
