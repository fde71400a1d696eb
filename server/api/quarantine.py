"""Callbacks that were not understood: look, read them again, drop them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath

from core.errors import InvalidRow
from journal import Journal
from journal.reads import QuarantinedById, QuarantinedCallbacks
from journal.records import QuarantinedCallback
from journal.writes import DismissQuarantined
from receiver.callback import Malformed
from receiver.intake import Accepted

from ..runtime.credentials import HeaderCredentials
from ..runtime.quarantine import QuarantineKeeper, SourceGone
from .auth import Asking, needs
from .errors import Problem, not_found
from .paging import PAGING, Cursors, PageAnswer
from .parameters import read
from .request_ids import request_id


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of it, without its bytes: they may hold codes."""

    id: str
    source: str
    reason: str
    detail: str
    peer: str
    at: datetime
    #: How often these very bytes came.
    count: int
    last_at: datetime


class WithBytes(Entry, frozen=True, kw_only=True):
    """As it came; the body in base64."""

    headers: Sequence[tuple[str, str]]
    body: bytes


class StillThere(msgspec.Struct, frozen=True, kw_only=True):
    """Read again, and still not understood."""

    status: str = "quarantined"
    id: str
    reason: str


def quarantine(
    *,
    journal: Journal,
    cursors: Cursors,
    keeper: QuarantineKeeper,
    credentials: HeaderCredentials,
) -> Router:
    @get("/")
    async def listed(request: Asking) -> PageAnswer[Entry]:
        asked = await cursors.asked(read(request.scope, PAGING))
        rows = await journal.ask(
            QuarantinedCallbacks(after=asked.after, limit=asked.limit + 1, desc=asked.desc)
        )
        return await cursors.listed(asked, [(kept.seq, _entry(kept)) for kept in rows])

    @get("/{quarantine_id:str}")
    async def one(request: Asking, quarantine_id: FromPath[str]) -> WithBytes:
        read(request.scope, {})
        kept = await _kept(journal, quarantine_id)
        known = msgspec.structs.asdict(_entry(kept))
        headers = credentials.stored(kept.source, kept.headers)
        return WithBytes(**known, headers=headers, body=kept.body)

    @post("/{quarantine_id:str}/replay", status_code=200)
    async def replay(request: Asking, quarantine_id: FromPath[str]) -> Accepted | StillThere:
        read(request.scope, {})
        kept = await _kept(journal, quarantine_id)
        try:
            return await keeper.replay(kept, request_id(request.scope))
        except Malformed as exc:
            return StillThere(id=kept.id, reason=exc.reason)
        except InvalidRow:
            return StillThere(id=kept.id, reason="error")
        except SourceGone:
            text = "its source is not configured any more; configure it again, or delete it"
            raise Problem(409, "source_gone", text) from None

    @delete("/{quarantine_id:str}")
    async def drop(request: Asking, quarantine_id: FromPath[str]) -> None:
        read(request.scope, {})
        if not await journal.submit(DismissQuarantined(quarantine_id)):
            raise _nothing()

    return Router(
        "/quarantine",
        route_handlers=[listed, one, replay, drop],
        guards=[needs("admin", whole=True)],
    )


async def _kept(journal: Journal, quarantine_id: str) -> QuarantinedCallback:
    kept = await journal.ask(QuarantinedById(quarantine_id))
    if kept is None:
        raise _nothing()
    return kept


def _nothing() -> Problem:
    return not_found("callback in quarantine")


def _entry(kept: QuarantinedCallback) -> Entry:
    return Entry(
        id=kept.id,
        source=kept.source,
        reason=kept.reason,
        detail=kept.detail,
        peer=kept.peer,
        at=datetime.fromtimestamp(kept.at, UTC),
        count=kept.count,
        last_at=datetime.fromtimestamp(kept.last_at, UTC),
    )
