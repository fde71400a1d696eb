"""What the door hands callbacks to."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from .callback import Callback, Happening, Malformed


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the door: proven by token, not yet by address."""

    source: str
    #: Fingerprint of the token that was used.
    token: str
    request_id: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    events: tuple[str, ...]


class Intake(Protocol):
    """What stands behind the door: it mints, plans and records."""

    def closed(self) -> bool:
        """Shutting down, or too many are waiting: nothing is taken."""
        ...

    def draining(self) -> bool:
        """Shutting down: connections are not kept."""
        ...

    async def accept(
        self, caller: Caller, callback: Callback, happenings: Sequence[Happening]
    ) -> Accepted:
        """Returns when nothing can be lost any more."""
        ...

    async def quarantine(self, caller: Caller, callback: Callback, malformed: Malformed) -> str:
        """Keep the bytes; the id under which they are found."""
        ...

    def without_credentials(self, source: str, callback: Callback) -> Callback:
        """Return the callback with digests in place of the secrets in its headers."""
        ...

    def reject(self, reason: str, source: str, peer: str, request_id: str) -> None:
        """Count what was turned away."""
        ...

    def is_sample(self, source: str, body: bytes, signature: str | None) -> bool: ...

    def request_id(self) -> str: ...
