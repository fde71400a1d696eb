"""The interface through which the door hands callbacks to the service."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from .callback import Callback, Happening, Malformed
from .source_state import SourceState


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The sender of a callback, authenticated by its token but not by its address."""

    source: str
    #: Fingerprint of the token.
    token: str
    request_id: str


class Stored(Protocol):
    """The events of a callback that was stored."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def new(self) -> tuple[bool, ...]:
        """For each of them, whether this callback brought it."""
        ...


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a callback that was stored."""

    status: str
    events: tuple[str, ...]

    @classmethod
    def of(cls, stored: Stored) -> "Accepted":
        return cls(status="accepted" if True in stored.new else "duplicate", events=stored.ids)


class Intake(Protocol):
    """Takes callbacks from the door: assigns ids, routes and stores them."""

    def closed(self) -> bool:
        """Whether it takes no callbacks, because it is shutting down or too many wait."""
        ...

    def draining(self) -> bool:
        """Whether it is shutting down, so that connections must be closed."""
        ...

    def accept(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        done: Callable[[Stored | Exception], None],
    ) -> None:
        """Store the happenings as events; call `done` when they are durable, or with the error."""
        ...

    def quarantine(
        self,
        caller: Caller,
        callback: Callback,
        malformed: Malformed,
        done: Callable[[str | Exception], None],
    ) -> None:
        """Store a callback that was not understood; call `done` with its id or the error."""
        ...

    def hide_credentials(self, state: SourceState, callback: Callback) -> Callback:
        """Return the callback with digests in place of the secrets in its headers."""
        ...

    def reject(self, reason: str, source: str, peer: str, request_id: str) -> None:
        """Count a rejected request."""
        ...

    def count_unavailable(self, source: str) -> None:
        """Count a callback that was answered 503."""
        ...

    def is_sample(self, source: str, body: bytes, signature: str | None) -> bool:
        """Whether `smshook send` signed the body."""
        ...

    def request_id(self) -> str:
        """Return a new request id."""
        ...
