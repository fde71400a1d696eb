"""What was turned away at the door, counted by reason, source and peer."""

from datetime import UTC, datetime

import msgspec
from litestar import Router, get

from journal import Journal
from journal.reads import Rejections
from journal.records import Rejection

from ..runtime.rejections import RejectionCounter
from .auth import Asking, needs
from .paging import PAGING, Cursors, PageAnswer
from .parameters import read


class ShownRejection(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    #: Null where none of ours was named.
    source: str | None
    peer: str
    count: int
    first_at: datetime
    last_at: datetime


def rejections(*, journal: Journal, cursors: Cursors, counter: RejectionCounter) -> Router:
    @get("/", guards=[needs("admin", whole=True)])
    async def listed(request: Asking) -> PageAnswer[ShownRejection]:
        asked = await cursors.asked(read(request.scope, PAGING))
        # They are counted in memory and written once a second.
        await counter.write()
        rows = await journal.ask(
            Rejections(after=asked.after, limit=asked.limit + 1, desc=asked.desc)
        )
        return await cursors.listed(
            asked, [(seq, _rejection(rejection)) for seq, rejection in rows]
        )

    return Router("/rejections", route_handlers=[listed])


def _rejection(rejection: Rejection) -> ShownRejection:
    return ShownRejection(
        reason=rejection.reason,
        source=rejection.source or None,
        peer=rejection.peer,
        count=rejection.count,
        first_at=datetime.fromtimestamp(rejection.first_at, UTC),
        last_at=datetime.fromtimestamp(rejection.last_at, UTC),
    )
