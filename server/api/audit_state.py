"""The state of the audit log: whether it is unchanged, and who else keeps its signed states."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from litestar import MediaType, Response, get, post
from litestar.params import FromPath

from core.clock import rfc3339, utc
from journal import Journal
from journal.actor import ACTING
from journal.audit.export import encode_proof
from journal.audit.formats import FORMATS
from journal.audit.lines import Fact
from journal.audit.note import Checkpoint, Note
from journal.reads import AuditLines, AuditLog, AuditLogs, Checkpoints, InclusionProof, LineFilter

from ..runtime.anchors import Anchors
from ..runtime.audit import AuditFacts
from ..runtime.verification import AuditVerifier
from .audit import AuditParameters
from .auth import ApiRequest, needs
from .errors import Problem, not_found
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors
from .parameters import read
from .router import ApiRouter
from .wait import CURSOR

#: Lines of one export.
MOST_EXPORTED = 10_000
_NUMBER_DIGITS = 18


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict of the service about its own log. Auditors verify an export themselves."""

    #: `unchecked`: not read since the start. `unchanged` or `changed`: the last verdict.
    outcome: Literal["unchecked", "unchanged", "changed"]
    #: The first lines of the log that signed states prove.
    lines: int
    #: When new lines were compared, or when the change was found.
    at: datetime | None
    #: When all lines were read; null: not yet, or the log was changed.
    whole_at: datetime | None
    #: Where it was changed.
    error: str | None
    #: Whether all lines are read just now, or will be soon.
    running: bool
    #: How many of them are read, between 0 and 1; null: none is read just now.
    done: float | None


class ShownAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """An anchor or a witness."""

    #: `anchor/NAME` or `witness/NAME`.
    name: str
    #: The lines of the last state that it got since the start; null: none yet.
    lines: int | None
    #: When it got the last one.
    at: datetime | None
    #: Since when it gets none; null: it works.
    failing_since: datetime | None
    #: Whether a witness refuses the log: it has seen another one.
    refuses: bool


class AuditState(msgspec.Struct, frozen=True, kw_only=True):
    """The audit log and its verification."""

    #: The name of the log.
    origin: str
    #: The key of its first epoch, with which an auditor verifies the log; null: not signed yet.
    key: str | None
    lines: int
    #: How many of the first lines are removed, as `audit.keep` says.
    pruned: int
    #: How many lines the newest signed state has.
    signed: int
    verification: Verification
    anchors: Sequence[ShownAnchor]


class ExportParameters(AuditParameters, frozen=True, kw_only=True):
    """The lines to export, and their form."""

    #: `jsonl`: as they were written. The others are those of log tools.
    form: Literal["jsonl", "ecs", "ocsf", "cef"] = "jsonl"


def audit_state(
    *,
    journal: Journal,
    verifier: AuditVerifier,
    anchors: Anchors,
    facts: AuditFacts,
    cursors: Cursors,
    calls: Calls,
    now: Callable[[], float],
) -> ApiRouter:
    async def present() -> tuple[AuditLog, str | None]:
        """Return the present log and its newest signed state."""
        *_, log = await journal.ask(AuditLogs())
        stored = await journal.ask(Checkpoints(log.first, newest=True))
        return log, stored[0].note if stored else None

    async def shown() -> AuditState:
        log, note = await present()
        verdict, progress = verifier.verdict, verifier.progress
        total = progress.of if progress is not None else 0
        return AuditState(
            origin=log.origin,
            key=log.key,
            lines=log.size,
            pruned=log.pruned,
            signed=0 if note is None else _size(note),
            verification=Verification(
                outcome=verdict.outcome,
                lines=verdict.size,
                at=utc(verdict.at),
                whole_at=utc(verdict.whole_at),
                error=verdict.error,
                running=verifier.is_due,
                done=round(progress.lines / total, 3) if progress is not None and total else None,
            ),
            anchors=[
                ShownAnchor(
                    name=one.name,
                    lines=one.size,
                    at=utc(one.at),
                    failing_since=utc(one.failing_since),
                    refuses=one.refuses,
                )
                for one in anchors.states()
            ],
        )

    @get("/state", guards=[needs("audit:read", whole=True)], operation=Operation())
    async def state() -> AuditState:
        """Get the state of the audit log.

        Whether the service found it unchanged, how far it is signed, and which anchors have it.
        """
        return await shown()

    @post(
        "/verify",
        status_code=202,
        guards=[needs("audit:read", whole=True)],
        operation=Operation(answers={202: AuditState}),
    )
    async def verify(request: ApiRequest) -> AuditState:
        """Verify the audit log.

        All lines are read again, beside the other work. Get the state to follow it. The log gets a
        line with the verdict.
        """
        async with calls.begin(request) as call:
            verifier.start()
            answer = await shown()
            await call.keep(answer, 202)
        return answer

    @get(
        "/lines/{line:str}/proof",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(
            answers={200: str}, media_type="text/plain", errors=("not_found", "not_signed")
        ),
    )
    async def proof(line: FromPath[str]) -> Response[str]:
        """Get the proof of a line of the audit log.

        It proves that the line is in the newest signed state: c2sp.org/tlog-proof.
        """
        log, note = await present()
        if not line.isascii() or not line.isdigit() or len(line) > _NUMBER_DIGITS:
            raise not_found("line")
        n, size = int(line), 0 if note is None else _size(note)
        if size <= n < log.size:
            raise Problem(409, "not_signed", "the line is not signed yet; try again in a minute")
        hashes = await journal.ask(InclusionProof(log.first, n, size))
        if hashes is None or note is None:
            raise not_found("line")
        return _text(encode_proof(n, hashes, note))

    @get(
        "/export",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(
            query=ExportParameters,
            answers={200: str},
            media_type="text/plain",
            answer_headers={CURSOR: "The cursor to go on from, as `after`."},
        ),
    )
    async def export(request: ApiRequest) -> Response[str]:
        """Export lines of the audit log.

        One a line, at most 10,000, as they were written or in the form of a log tool. Export them
        with `smshook audit export` to prove them.
        """
        given = read(request.scope, ExportParameters)
        asked = await cursors.asked(given)
        wanted = given.filter(now())
        rows, after = await _lines(journal, asked.after, wanted)
        said = {} if wanted.since is None else {"since": rfc3339(wanted.since)}
        exported = {**ACTING.get().fields, "form": given.form, "lines": len(rows), **said}
        *_, log = await journal.ask(AuditLogs())
        # Before they leave.
        await facts.record(Fact("audit.exported", exported))
        text = await asyncio.to_thread(_written, rows, given.form, log.origin)
        [cursor] = await cursors.at([after])
        return _text(text, {CURSOR: cursor})

    return ApiRouter("/audit", route_handlers=[state, verify, proof, export])


async def _lines(
    journal: Journal, after: int | None, wanted: LineFilter
) -> tuple[list[bytes], int]:
    """Return the lines of an export, and the place to go on from."""
    rows: list[bytes] = []
    more = True
    while more and len(rows) < MOST_EXPORTED:
        limit = min(1_000, MOST_EXPORTED - len(rows))
        page = await journal.ask(AuditLines(after=after, limit=limit, filter=wanted))
        rows += [line for _, line in page.items]
        after, more = page.next_seq, page.has_more
    return rows, after or 0


def _written(rows: Sequence[bytes], form: str, origin: str) -> str:
    """Return the text of an export. Only `jsonl` has erased lines."""
    if form == "jsonl":
        return "".join(f"{row.decode()}\n" for row in rows)
    write = FORMATS[form]
    leaves = (json.loads(row) for row in rows)
    return "".join(f"{write(leaf, origin)}\n" for leaf in leaves if "erased" not in leaf)


def _size(note: str) -> int:
    return Checkpoint.parse(Note.parse(note).text).size


def _text(text: str, headers: Mapping[str, str] = {}) -> Response[str]:
    return Response(text, media_type=MediaType.TEXT, headers=headers)
