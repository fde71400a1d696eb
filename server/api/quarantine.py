"""Callbacks in quarantine: list, show, replay, delete; rejected requests: list."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath

from core.clock import utc
from core.errors import InvalidRow
from journal import Journal
from journal.reads import Page, QuarantinedById, QuarantinedCallbacks, Rejections
from journal.records import QuarantinedCallback, Rejection
from journal.seal import Reason
from journal.writes import DismissQuarantined
from receiver.callback import Malformed
from receiver.intake import Accepted

from ..runtime.credentials import HeaderCredentials
from ..runtime.keys import Access
from ..runtime.quarantine import QuarantineKeeper, SourceGone
from ..runtime.readers import Readers, clean_reason, repeated
from ..runtime.rejections import RejectionCounter
from .auth import ApiRequest, in_process, needs
from .errors import Problem, not_found
from .handlers import request_id
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors, PageAnswer, PageRequest, Paging, first_page, journal_list
from .parameters import Text
from .router import ApiRouter
from .sources import ShownRejections, recent_rejections


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A callback in quarantine without its bytes, which may contain codes."""

    id: str
    source: str
    reason: str
    detail: str
    peer: str
    at: datetime
    #: The number of times that the same bytes arrived.
    count: int
    last_at: datetime


class EntryFilter(Paging, frozen=True, kw_only=True):
    """The parameters of a list."""

    #: Those of this source.
    source: Text | None = None
    #: Those with this reason.
    reason: Text | None = None


class WholeEntry(Entry, frozen=True, kw_only=True):
    """A callback in quarantine as it arrived; the body in base64."""

    #: Null if they are erased.
    headers: Sequence[tuple[str, str]] | None
    body: bytes | None


class StillMalformed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a replay if the callback is still not understood."""

    status: str = "quarantined"
    id: str
    reason: str


def quarantine(
    *,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    keeper: QuarantineKeeper,
    readers: Readers,
    credentials: HeaderCredentials,
) -> ApiRouter:
    async def fetch(
        given: EntryFilter, asked: PageRequest, _access: Access
    ) -> Page[QuarantinedCallback]:
        return await quarantined(journal, given, asked)

    listed = journal_list(
        cursors,
        fetch,
        lambda kept, _access: entry_of(kept),
        text="List callbacks in quarantine.",
        answer=PageAnswer[Entry],
        parameters=EntryFilter,
        scope="admin",
    )

    @get("/{quarantine_id:str}", operation=Operation(errors=("reads_limited",)))
    async def one(request: ApiRequest, quarantine_id: FromPath[str]) -> WholeEntry:
        """Get a callback in quarantine.

        The answer has its headers and its body.
        """
        kept = await find_quarantined(journal, quarantine_id)
        fields = () if kept.is_erased else ("headers", "body")
        inside = in_process(request.scope)
        given = "" if inside is None else inside.reason
        reason = clean_reason(given, repeated(given, kept.body)) or None
        await readers.read(request.auth, "quarantine", fields, reason=reason, quarantine=kept.id)
        return _whole(kept, credentials)

    @post(
        "/{quarantine_id:str}/replay",
        status_code=200,
        operation=Operation(errors=("source_gone",)),
    )
    async def replay(
        request: ApiRequest, quarantine_id: FromPath[str]
    ) -> Accepted | StillMalformed:
        """Replay a callback in quarantine.

        It is read again. `quarantined`: it is still not understood.
        """
        async with calls.begin(request) as call:
            kept = await find_quarantined(journal, quarantine_id)
            guard = call.guard(Accepted.of)
            try:
                return await keeper.replay(kept, request_id(request.scope), guard)
            except Malformed as exc:
                return StillMalformed(id=kept.id, reason=exc.reason)
            except InvalidRow:
                return StillMalformed(id=kept.id, reason="error")
            except SourceGone:
                text = (
                    "its source is no longer configured; configure it again, or delete the callback"
                )
                raise Problem(409, "source_gone", text) from None

    @delete("/{quarantine_id:str}", operation=Operation())
    async def drop(quarantine_id: FromPath[str]) -> None:
        """Delete a callback in quarantine."""
        if not await journal.submit(DismissQuarantined(quarantine_id)):
            raise _not_found()

    return ApiRouter(
        "/quarantine",
        route_handlers=[listed, one, replay, drop],
        guards=[needs("admin", whole=True)],
    )


async def quarantined(
    journal: Journal, given: EntryFilter, asked: PageRequest, why: Reason | None = None
) -> Page[QuarantinedCallback]:
    """Return a page of the callbacks. `why` has the meaning that it has in QuarantinedCallbacks."""
    rows = await journal.ask(
        QuarantinedCallbacks(
            source=given.source,
            reason=given.reason,
            after=asked.after,
            limit=asked.limit + 1,
            desc=asked.desc,
            why=why,
        )
    )
    return first_page([(kept.seq, kept) for kept in rows], asked)


async def find_quarantined(
    journal: Journal, quarantine_id: str, why: Reason = Reason.QUARANTINE
) -> QuarantinedCallback:
    kept = await journal.ask(QuarantinedById(quarantine_id, why))
    if kept is None:
        raise _not_found()
    return kept


def _not_found() -> Problem:
    return not_found("callback in quarantine")


def _whole(kept: QuarantinedCallback, credentials: HeaderCredentials) -> WholeEntry:
    known = msgspec.structs.asdict(entry_of(kept))
    if kept.is_erased:
        return WholeEntry(**known, headers=None, body=None)
    headers = credentials.stored(kept.source, kept.headers)
    return WholeEntry(**known, headers=headers, body=kept.body)


def entry_of(kept: QuarantinedCallback) -> Entry:
    return Entry(
        id=kept.id,
        source=kept.source,
        reason=kept.reason,
        detail=kept.detail,
        peer=kept.peer,
        at=utc(kept.at),
        count=kept.count,
        last_at=utc(kept.last_at),
    )


class ShownRejection(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that the door rejected, of one reason, source and peer."""

    reason: str
    #: Null if the path names no configured source.
    source: str | None
    peer: str
    count: int
    first_at: datetime
    last_at: datetime


class RecentRejections(ShownRejections, frozen=True, kw_only=True):
    """Requests of the last day that were rejected for one reason."""

    #: Null if the path names no configured source.
    source: str | None


class RecentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The rejections of the last day, since the start of the service."""

    #: Sorted by source; within a source, the largest count first.
    data: Sequence[RecentRejections]


def rejections(*, journal: Journal, cursors: Cursors, counter: RejectionCounter) -> ApiRouter:
    async def fetch(_given: Paging, asked: PageRequest, _access: Access) -> Page[Rejection]:
        # Rejections are counted in memory and written once a second.
        await counter.write()
        rows = await journal.ask(
            Rejections(after=asked.after, limit=asked.limit + 1, desc=asked.desc)
        )
        return first_page(rows, asked)

    def shown(rejection: Rejection, _access: Access) -> ShownRejection:
        return ShownRejection(
            reason=rejection.reason,
            source=rejection.source or None,
            peer=rejection.peer,
            count=rejection.count,
            first_at=utc(rejection.first_at),
            last_at=utc(rejection.last_at),
        )

    listed = journal_list(
        cursors,
        fetch,
        shown,
        text="List rejected requests.",
        answer=PageAnswer[ShownRejection],
        parameters=Paging,
        scope="admin",
    )

    @get("/recent", guards=[needs("events:read", whole=True)], operation=Operation())
    async def recent(request: ApiRequest) -> RecentAnswer:
        """List recent rejections.

        They are counted by source and reason, also if the path names no source. The counts begin
        with the start of the service, and go back a day at most.
        """
        return RecentAnswer(
            data=[
                RecentRejections(**msgspec.structs.asdict(one), source=source or None)
                for source in counter.recent_sources()
                for one in recent_rejections(counter, source, request.auth)
            ]
        )

    return ApiRouter("/rejections", route_handlers=[listed, recent])
