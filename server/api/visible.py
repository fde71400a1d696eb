"""The events that a key may see, and how they are shown to it."""

import msgspec

from journal import Journal
from journal.reads import EventById, EventFilter, Events, IsVisible, Page, VisibleEvents
from journal.records import StoredEvent
from sinks.redact import mask, masked_paths

from .auth import Access
from .paging import PageRequest

#: Where each event must be decoded and asked for: so many at a time, since the door shares the
#: thread, and so many for one page; an emptier page says where to go on.
AT_ONCE = 200
MOST = 5_000

_CODES = masked_paths("codes")


async def visible(
    journal: Journal, access: Access, wanted: EventFilter, asked: PageRequest
) -> Page[bytes]:
    """Return a page of the events that the key may see."""
    if access.sees is None:
        return await journal.ask(
            Events(filter=wanted, after=asked.after, limit=asked.limit, desc=asked.desc)
        )
    page = await journal.ask(
        VisibleEvents(
            shown_to=access.sees.digest,
            filter=wanted,
            after=asked.after,
            limit=asked.limit,
            desc=asked.desc,
        )
    )
    return await walk(journal, access, wanted, asked) if page is None else page


async def walk(
    journal: Journal,
    access: Access,
    wanted: EventFilter,
    asked: PageRequest,
    *,
    at_once: int = AT_ONCE,
    most: int = MOST,
) -> Page[bytes]:
    """Return a page, found by asking each event: while the index of the key is being filled."""
    found: list[tuple[int, bytes]] = []
    after, looked_at = asked.after, 0
    while True:
        page = await journal.ask(Events(filter=wanted, after=after, limit=at_once, desc=asked.desc))
        found += [(seq, body) for seq, body in page.items if _shows(access, body)]
        if len(found) > asked.limit:
            shown = found[: asked.limit]
            return Page(items=tuple(shown), next_seq=shown[-1][0], has_more=True)
        after, looked_at = page.next_seq, looked_at + at_once
        # A page that is not full and not the last one: the journal has looked far enough.
        if not page.has_more:
            # Not where the journal ends: a cursor that moves would tell of what is hidden.
            place = found[-1][0] if found else asked.after or 0
            return Page(items=tuple(found), next_seq=place, has_more=False)
        if len(page.items) < at_once or looked_at >= most:
            return Page(items=tuple(found), next_seq=after, has_more=True)


async def visible_event(journal: Journal, access: Access, event_id: str) -> StoredEvent | None:
    """Return the event with that id; None: there is none, or the key may not see it."""
    if access.sees is not None:
        # Asked first: a hidden event must take no more work than one that does not exist.
        shown = await journal.ask(IsVisible(access.sees.digest, event_id))
        if shown is False:
            return None
    kept = await journal.ask(EventById(event_id))
    return kept if kept is not None and _shows(access, kept.body) else None


def _shows(access: Access, body: bytes) -> bool:
    return access.sees is None or access.sees.holds(msgspec.json.decode(body))


def shown(access: Access, body: bytes) -> msgspec.Raw:
    """The event as kept, byte for byte, or with its codes masked."""
    if access.may("codes:read"):
        return msgspec.Raw(body)
    return msgspec.Raw(msgspec.json.encode(mask(msgspec.json.decode(body), _CODES)))
