"""What the pages get from the service that runs beside the simulation, if there is one."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec


class SeenDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery of an event."""

    #: `ok`, `wait` or `bad`.
    kind: str
    #: Its sink and its state: `log delivered`.
    words: str


class SeenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the service made of a callback or of an answer to a poll."""

    #: When it was recorded, as RFC 3339.
    at: str
    #: Its type, service and number.
    words: str
    #: Its page in the console; null without a console.
    url: str | None
    deliveries: Sequence[SeenDelivery]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the service has of one source, newest first, and the end of its log."""

    events: Sequence[SeenEvent] = ()
    log: Sequence[str] = ()


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The surroundings of the pages."""

    #: The style sheet: that of the console.
    style: str = ""
    #: The address of the console; null without one.
    console: str | None = None
    #: Returns what the service has of a source. Null: no service is known.
    seen: Callable[[str], Awaitable[Seen]] | None = None
