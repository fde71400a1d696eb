"""Explains callbacks in quarantine: the events that a replay would make of them."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from core.secret import MASK
from journal import Journal
from journal.records import Planned, QuarantinedCallback
from journal.seal import Reason
from receiver.callback import Malformed
from receiver.decode import decode, encoding_of

from ..runtime.quarantine import QuarantineKeeper, SourceGone
from .auth import ApiRequest, needs
from .operation import Operation
from .paging import Cursors, PageAnswer
from .parameters import FewerItems, read
from .quarantine import Entry, EntryFilter, entry_of, find_quarantined, quarantined

#: Headers that say how a body is written, and by what.
_PLAIN = frozenset(
    {"accept", "content-encoding", "content-length", "content-type", "host", "user-agent"}
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,40}")


class ForetoldEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a replay would make."""

    type: str
    #: The key of its service, else the provider's name of it.
    service: str | None
    #: The routes that match, and the sinks that would get it.
    routes: Sequence[str]
    sinks: Sequence[str]


class ExplainedEntry(Entry, frozen=True, kw_only=True):
    """A callback in quarantine without its values, and what a replay would do."""

    #: Null if it is erased.
    bytes: int | None
    #: The values of most headers are `***`.
    headers: Sequence[tuple[str, str]] | None
    #: What the body looks like: `json`, `multipart` or `form`.
    encoding: str | None
    #: The names of its fields, as far as they can be read and look like names.
    fields: Sequence[str]
    #: Null: it is still not understood, and `why` says why.
    becomes: Sequence[ForetoldEvent] | None
    #: As `reason` and `detail`, or `source_gone`: its source is no longer configured.
    why: str | None
    why_detail: str | None


class ExplainFilter(EntryFilter, frozen=True, kw_only=True):
    """The parameters of a list of explained callbacks."""

    #: The maximum number of items, at most 100.
    limit: FewerItems = FewerItems(100)


def explain(
    *, journal: Journal, cursors: Cursors, keeper: QuarantineKeeper
) -> Sequence[HTTPRouteHandler]:
    """Declare the calls."""

    @get(
        "/quarantine/explain",
        guards=[needs("admin", whole=True)],
        operation=Operation(query=ExplainFilter),
    )
    async def many(request: ApiRequest) -> PageAnswer[ExplainedEntry]:
        """Explain callbacks in quarantine.

        For each callback, the answer shows what a replay would make of it. Values are masked, and
        nothing is changed.
        """
        given = read(request.scope, ExplainFilter)
        asked = await cursors.asked(given)
        page = await quarantined(journal, given, asked, Reason.FILTER)
        [next_cursor] = await cursors.at([page.next_seq], desc=asked.desc)
        explained = []
        for _, kept in page.items:
            explained.append(_explained(kept, keeper))
            await asyncio.sleep(0)  # the service accepts callbacks in between
        return PageAnswer(data=explained, next_cursor=next_cursor, has_more=page.has_more)

    @get(
        "/quarantine/{quarantine_id:str}/explain",
        guards=[needs("admin", whole=True)],
        operation=Operation(),
    )
    async def one(quarantine_id: FromPath[str]) -> ExplainedEntry:
        """Explain a callback in quarantine.

        The answer says what a replay would make of it. Values of the callback are masked, and
        nothing is changed.
        """
        return _explained(await find_quarantined(journal, quarantine_id, Reason.FILTER), keeper)

    return many, one


def _explained(kept: QuarantinedCallback, keeper: QuarantineKeeper) -> ExplainedEntry:
    becomes: Sequence[ForetoldEvent] | None = None
    why = detail = None
    try:
        becomes = [_foretold(planned) for planned in keeper.foretell(kept)]
    except Malformed as exc:
        why, detail = exc.reason, exc.detail
    except SourceGone:
        why, detail = "source_gone", "its source is no longer configured"
    return ExplainedEntry(
        **msgspec.structs.asdict(entry_of(kept)),
        **_masked(kept),
        becomes=becomes,
        why=why,
        why_detail=detail,
    )


def _masked(kept: QuarantinedCallback) -> dict[str, Any]:
    if kept.is_erased:
        return {"bytes": None, "headers": None, "encoding": None, "fields": ()}
    headers = [(name, text if name in _PLAIN else MASK) for name, text in kept.headers]
    encoding = encoding_of(kept.body)
    return {
        "bytes": len(kept.body),
        "headers": headers,
        "encoding": encoding,
        "fields": field_names(kept.body),
    }


def field_names(body: bytes) -> Sequence[str]:
    """Return the names of the fields of a body. A text that may be a value is left out."""
    try:
        fields = decode(body, content_encoding=None, encodings=frozenset({encoding_of(body)}))
    except Malformed:
        return ()
    # A body without any name is read as a name without a value.
    return [name for name, value in fields.items() if value != "" and _NAME.fullmatch(name)]


def _foretold(planned: Planned) -> ForetoldEvent:
    service = getattr(planned.event.data, "service", None)
    return ForetoldEvent(
        type=planned.event.type,
        service=None if service is None else service.key or service.name or service.id,
        routes=planned.routes,
        sinks=[owed.sink for owed in planned.owed],
    )
