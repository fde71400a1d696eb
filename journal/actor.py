"""The person, key or program on whose behalf something is done."""

from contextvars import ContextVar

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """Who does something: `key/NAME`, `session/NAME`, `cli/UID` or `service`."""

    by: str
    #: The address that the request came from.
    peer: str | None = None


#: The service itself.
SERVICE = Actor("service")
#: Writes that are submitted in this context are done on behalf of this actor.
ACTING: ContextVar[Actor] = ContextVar("acting", default=SERVICE)
