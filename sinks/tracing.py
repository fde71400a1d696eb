"""The interface through which a worker reports its attempts to the traces."""

from typing import Protocol

import msgspec

from core.delivery import Attempt


class AttemptMade(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, and what its span shows of the delivery."""

    event_id: str
    sink: str
    #: The host of the sink's URL; None: it has no URL.
    host: str | None
    #: The id as the API shows it.
    delivery_id: str
    #: 1: the first.
    number: int
    attempt: Attempt


class AttemptTracer(Protocol):
    """Makes the spans of attempts."""

    def begin_attempt(self, event_id: str, *, at: float, replay: bool) -> str | None:
        """Return the `traceparent` that goes out with an attempt; None: tracing is off.

        `at` is when the attempt begins: seconds since the epoch.
        """
        ...

    def end_attempt(self, traceparent: str, made: AttemptMade) -> str | None:
        """Make the span of an attempt.

        Return the id of its trace; None: it is not sampled, or the span is dropped.
        """
        ...


class NoTraces:
    """Traces nothing."""

    def begin_attempt(self, _event_id: str, *, at: float, replay: bool) -> None:
        """Return None: tracing is off."""

    def end_attempt(self, _traceparent: str, _made: AttemptMade) -> None:
        """Make no span."""
