"""The person, key or program on whose behalf something is done."""

from collections.abc import Mapping
from contextvars import ContextVar

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who does something: `key/NAME`, `session/NAME`, `cli/UID` or `service`."""

    by: str
    #: The address that the request came from.
    peer: str | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of a line of the audit log that name it."""
        return {"by": self.by} | ({} if self.peer is None else {"from": self.peer})


#: The service itself.
SERVICE = Actor("service")
#: Writes that are submitted in this context are done on behalf of this actor.
ACTING: ContextVar[Actor] = ContextVar("acting", default=SERVICE)
