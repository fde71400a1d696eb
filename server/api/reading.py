"""The common parts of streams, waits and consumers: selecting events, and ending."""

from collections.abc import Iterable
from typing import Self

import msgspec
from litestar.exceptions import MethodNotAllowedException
from litestar.types import (
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Send,
)

from core.event import SYSTEM, kinds
from httpd.protocol import GONE
from journal import Journal
from journal.reads import EventFilter, Page
from journal.seal import Reason

from ..runtime.hub import Hub, Inbox, Kind, PlacedEvent
from ..runtime.keys import Access
from ..runtime.live_filter import live_filter
from .events import visible
from .paging import PageRequest

#: All types of events.
_TYPES = tuple(kind.type for kind in kinds())


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The events that a reader wants and its key may see, from the journal and from the hub."""

    journal: Journal
    hub: Hub
    access: Access
    wanted: EventFilter
    why: Reason

    def every(self, *, since: float | None = None, until: float | None = None) -> Self:
        """Return the selection of all events of a time that the key may see, of any type."""
        # Without a type, `system.*` events are left out. A key with a `when` sees none.
        types = _TYPES if self.access.sees is None else ()
        wanted = EventFilter(type=types, since=since, until=until)
        return msgspec.structs.replace(self, wanted=wanted)

    async def page(self, after: int | None, *, limit: int, desc: bool = False) -> Page[PlacedEvent]:
        """Return a page of the journal after a place."""
        asked = PageRequest(limit=limit, desc=desc, after=after)
        page = await visible(self.journal, self.access, self.wanted, asked, self.why)
        placed = [(place, PlacedEvent(place, body)) for place, body in page.items]
        return Page(
            items=tuple([item for item in placed if self._takes(item[1])]),
            next_seq=page.next_seq,
            has_more=page.has_more,
        )

    async def first(self, after: int | None, *, desc: bool = False) -> PlacedEvent | None:
        """Return the first event of the journal after a place; None: there is none."""
        while True:
            page = await self.page(after, limit=1, desc=desc)
            if page.items:
                return page.items[0][1]
            if not page.has_more:
                return None
            after = page.next_seq

    def inbox(self, kind: Kind) -> Inbox:
        """Return an inbox to the new events. Entering it raises TooManyReaders and ReaderEnded."""
        access = self.access
        sees = None if access.sees is None else access.sees.part
        return Inbox(self.hub, kind, access, access.name, live_filter(self.wanted, sees))

    def _takes(self, event: PlacedEvent) -> bool:
        """Whether the reader may get it: `system.*` events only if it names a type."""
        is_named = bool(self.wanted.type) and self.access.sees is None
        return is_named or not event.type.startswith(SYSTEM)


def end_with_client(scope: HTTPScope, inbox: Inbox) -> None:
    """End the inbox if the client goes away."""
    when_gone = scope["state"].get(GONE)
    if when_gone is not None:
        when_gone(inbox.end)


def only_get(scope: HTTPScope) -> None:
    """Refuse other methods: Litestar leaves that to a handler of ASGI."""
    if scope["method"] != "GET":
        raise MethodNotAllowedException(headers={"allow": "GET"})


async def begin(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Send the head of an answer."""
    await send(HTTPResponseStartEvent(type="http.response.start", status=status, headers=headers))


async def write(send: Send, body: bytes, *, more: bool = False) -> None:
    """Send a part of an answer; `more`: it is not the last one."""
    await send(HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=more))
