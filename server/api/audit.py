"""The audit log: its lines as a list, and its tree for other programs (c2sp.org/tlog-tiles)."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta

from core.instants import Instant
from journal import Journal
from journal.audit.export import entry_bundle, tile_path
from journal.audit.tree import TILE_HEIGHT, TILE_WIDTH
from journal.reads import (
    AuditLines,
    AuditLog,
    AuditLogs,
    Checkpoints,
    HashesAt,
    LeavesAt,
    LineFilter,
    LogBeginning,
)
from journal.records import LineErasure
from journal.writes import EraseLine

from ..runtime.audit import AuditKeeper
from ..runtime.readers import clean_reason
from .auth import ApiRequest, needs
from .errors import Problem, bad_body, not_found
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors, PageAnswer
from .parameters import Limit, ReasonText, Scan, Text, read, read_body, read_range
from .router import ApiRouter

#: A path below `tile/`: a level or `entries`, a number in groups of three digits, and the width of
#: a tile at the right edge.
_TILE = re.compile(
    r"/?(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?"
)

#: SQLite holds no longer number.
_NUMBER = re.compile(r"[0-9]{1,18}")

Action = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z]+\.([a-z_]+)?\Z",
        description="write an action such as key.made, or the first of its words and a dot: key.",
    ),
]


class AuditParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a list of lines."""

    #: Actions, such as `key.made`; `key.` means all actions that begin with `key.`
    do: tuple[Action, ...] = ()
    #: Who did it, such as `key/ana`, `cli/0` or `service`.
    by: tuple[Text, ...] = ()
    #: The id of an event that the line names.
    event: Text | None = None
    #: A text that the line has, such as the name of a sink.
    about: Text | None = None
    #: The earliest time: RFC 3339, or how long ago, such as `10m`.
    since: Instant | None = None
    #: The end of the range, exclusive, in the forms of `since`.
    until: Instant | None = None
    #: The maximum number of lines.
    limit: Limit = Limit(100)
    #: `asc`: the oldest first.
    order: Literal["asc", "desc"] = "asc"
    #: A `next_cursor`, or the cursor of a line.
    after: Text | None = None
    #: The number of lines that are looked at, about. With fewer, a page comes sooner.
    scan: Scan = Scan(Scan.MOST)

    def filter(self, now: float) -> LineFilter:
        """Return the filter of the journal. Raise Problem if nothing lies in the time."""
        since, until = read_range(self.since, self.until, now)
        return LineFilter(
            do=self.do,
            by=self.by,
            event=self.event,
            about=self.about,
            since=since,
            until=until,
        )


class ListedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the audit log with its place."""

    cursor: str
    #: The `origin` of its log, and its number there.
    log: str
    n: int
    #: The line, as it was written.
    leaf: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class PrunedEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an epoch in the part that is left out."""

    #: The line that names the next key.
    line: str
    #: The checkpoint that closed the epoch.
    checkpoint: str
    #: The inclusion proof of the line in it: hashes in base64.
    proof: tuple[str, ...]


class PrunedLines(msgspec.Struct, frozen=True, kw_only=True):
    """What verifies a log without its first lines: `pruned.json` of an export."""

    #: How many lines are left out.
    size: int
    #: The roots of their complete subtrees in base64, the largest first.
    frontier: tuple[str, ...]
    epochs: tuple[PrunedEpoch, ...]


class LineErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The reason to erase a line of the audit log."""

    #: The audit log keeps it. Numbers in it are replaced by `***`.
    reason: ReasonText | None = None


class ErasedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is erased."""

    n: int


def audit(
    *,
    journal: Journal,
    keeper: AuditKeeper | None,
    cursors: Cursors,
    calls: Calls,
    now: Callable[[], float],
) -> ApiRouter:
    handlers = [_list(journal, cursors, now), _erase(journal, keeper, calls), *_log(journal)]
    return ApiRouter("/audit", route_handlers=handlers)


def _list(journal: Journal, cursors: Cursors, now: Callable[[], float]) -> HTTPRouteHandler:
    @get(
        "/",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(query=AuditParameters, answers={200: PageAnswer[ListedLine]}),
    )
    async def listed(request: ApiRequest) -> PageAnswer[ListedLine]:
        """List lines of the audit log.

        A page with filters may be short or empty although more follows: see `has_more`.
        """
        given = read(request.scope, AuditParameters)
        asked = await cursors.asked(given)
        wanted = given.filter(now())
        page = await journal.ask(
            AuditLines(
                after=asked.after,
                limit=asked.limit,
                desc=asked.desc,
                filter=wanted,
                window=int(given.scan),
            )
        )
        logs = await journal.ask(AuditLogs())
        *places, end = await cursors.at([*(place for place, _ in page.items), page.next_seq])
        return PageAnswer(
            data=[
                _listed(cursor, place - 1, line, logs)
                for cursor, (place, line) in zip(places, page.items, strict=True)
            ],
            next_cursor=end,
            has_more=page.has_more,
        )

    return listed


def _listed(cursor: str, place: int, line: bytes, logs: Sequence[AuditLog]) -> ListedLine:
    found = next(one for one in reversed(logs) if one.first <= place)
    return ListedLine(
        cursor=cursor, log=found.origin, n=place - found.first, leaf=msgspec.Raw(line)
    )


def _erase(journal: Journal, keeper: AuditKeeper | None, calls: Calls) -> HTTPRouteHandler:
    @post(
        "/lines/{line:str}/erase",
        status_code=200,
        guards=[needs("admin", whole=True)],
        operation=Operation(body=LineErasureRequest, required=("reason",), errors=("line_needed",)),
    )
    async def erase(request: ApiRequest, line: FromPath[str]) -> ErasedLine:
        """Erase a line of the audit log.

        Its hash replaces it, so the log still verifies. Another line says who erased it, and why.
        Lines that a verifier needs are not erased.
        """
        expected = 'write {"reason": "TEXT"}, at most 500 characters'
        given = read_body(await request.body(), LineErasureRequest, expected)
        reason = clean_reason((given.reason or "").strip())
        if not reason:
            raise bad_body("reason", f"missing; {expected}")
        if not _NUMBER.fullmatch(line):
            raise not_found("line")
        erased = ErasedLine(n=int(line))
        async with calls.begin(request) as call:
            guard = call.guard(lambda result: erased if result is LineErasure.DONE else None)
            sign = None if keeper is None else keeper.sign
            result = await journal.submit(guard(EraseLine(erased.n, reason, sign)))
            if result is LineErasure.DONE:
                await journal.empty_log()  # it holds the line, too
        if result is LineErasure.NEEDED:
            raise Problem(409, "line_needed", "without this line, the log could not be verified")
        if result is LineErasure.MISSING:
            raise Problem(404, "not_found", "no such line, or it is erased")
        return erased

    return erase


def _log(journal: Journal) -> Sequence[HTTPRouteHandler]:
    """Declare the calls for programs that read the tree."""

    @get(
        "/log/checkpoint",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(answers={200: str}, media_type="text/plain", errors=("not_found",)),
    )
    async def checkpoint() -> Response[str]:
        """Get the newest checkpoint of the audit log.

        It is the signed state of the log, for programs: c2sp.org/tlog-checkpoint.
        """
        *_, log = await journal.ask(AuditLogs())
        stored = await journal.ask(Checkpoints(log.first, newest=True))
        if not stored:
            raise not_found("checkpoint")
        return _answer(stored[0].note, "text/plain; charset=utf-8")

    @get(
        "/log/checkpoints",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(answers={200: str}, media_type="text/plain"),
    )
    async def kept() -> Response[str]:
        """Get the kept checkpoints of the audit log.

        The oldest first, one after another. Those that end an epoch prove the key of the next one.
        """
        *_, log = await journal.ask(AuditLogs())
        stored = await journal.ask(Checkpoints(log.first))
        return _answer("".join(one.note for one in stored), "text/plain; charset=utf-8")

    @get(
        "/log/pruned",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(answers={200: PrunedLines}),
    )
    async def pruned() -> Response[str]:
        """Get the beginning of the audit log.

        It replaces the lines that are older than `audit.keep`: the right edge of their tree, and
        the proofs of the keys that they name.
        """
        *_, log = await journal.ask(AuditLogs())
        beginning = await journal.ask(LogBeginning(log.first, log.pruned))
        return _answer(beginning.json(), "application/json")

    @get(
        "/log/tile/{tile:path}",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(answers={200: bytes}, media_type="application/octet-stream"),
    )
    async def tile(tile: FromPath[str]) -> Response[bytes]:
        """Get a tile of the audit log.

        That is a part of its tree, or a bundle of its lines: c2sp.org/tlog-tiles.
        """
        found = _TILE.fullmatch(tile)
        if found is None:
            raise not_found("tile")
        level, groups, width = found.groups()
        number, wide = int(re.sub("[x/]", "", groups)), int(width or TILE_WIDTH)
        # The same tile has one path: no zeros before a number, and no width of a full tile.
        path = tile_path(None if level == "entries" else int(level), number, wide)
        if path != f"tile/{tile.removeprefix('/')}":
            raise not_found("tile")
        *_, log = await journal.ask(AuditLogs())
        begin = number * TILE_WIDTH
        if level == "entries":
            items = await journal.ask(LeavesAt(log.first, begin, wide))
        else:
            items = await journal.ask(HashesAt(log.first, int(level) * TILE_HEIGHT, begin, wide))
        if not 0 < wide <= TILE_WIDTH or len(items) != wide:
            raise not_found("tile")
        data = entry_bundle(items) if level == "entries" else b"".join(items)
        return _answer(data, "application/octet-stream")

    return checkpoint, kept, pruned, tile


def _answer(content: Any, media_type: str) -> Response[Any]:
    return Response(content, headers={"Content-Type": media_type})
