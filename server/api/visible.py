"""The events that a key may see, and how they are shown to it."""

import msgspec

from journal import Journal, Page, Wanted
from sinks.redact import mask, masked_paths

from .keys import Access
from .listing import Asked

#: Where each event must be decoded and asked for: so many at a time, since the door shares the
#: thread, and so many for one page; an emptier page says where to go on.
AT_ONCE = 200
MOST = 5_000

_CODES = masked_paths("codes")


async def visible(
    journal: Journal,
    access: Access,
    wanted: Wanted,
    asked: Asked,
    *,
    at_once: int = AT_ONCE,
    most: int = MOST,
) -> Page[bytes]:
    """A page of what the key may see; what it may not is passed over as if it were not there."""
    if access.sees is None:
        return await journal.events(wanted, after=asked.after, limit=asked.limit, desc=asked.desc)
    found: list[tuple[int, bytes]] = []
    after, looked_at = asked.after, 0
    while True:
        page = await journal.events(wanted, after=after, limit=at_once, desc=asked.desc)
        found += [(seq, body) for seq, body in page.items if is_visible(access, body)]
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


def is_visible(access: Access, body: bytes) -> bool:
    return access.sees is None or access.sees(msgspec.json.decode(body))


def shown(access: Access, body: bytes) -> msgspec.Raw:
    """The event as kept, byte for byte, or with its codes masked."""
    if access.may("codes:read"):
        return msgspec.Raw(body)
    return msgspec.Raw(msgspec.json.encode(mask(msgspec.json.decode(body), _CODES)))
