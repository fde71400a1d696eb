"""The person, key or program on whose behalf something is done."""

from collections.abc import Mapping
from contextvars import ContextVar

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who does something: `key/NAME`, `session/NAME`, `cli/UID` or `service`."""

    by: str
    #: The address that the request came from.
    peer: str | None = None
    #: The id of the session of the console in which it is done.
    session: str | None = None

    @property
    def name(self) -> str:
        return self.by.rpartition("/")[2]

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of a line of the audit log that name it."""
        found = {"by": self.by, "from": self.peer, "session": self.session}
        return {name: text for name, text in found.items() if text is not None}


#: The service itself.
SERVICE = Actor("service")
#: Writes that are submitted in this context are done on behalf of this actor.
ACTING: ContextVar[Actor] = ContextVar("acting", default=SERVICE)
