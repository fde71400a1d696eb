"""The encryption of the journal: rows that are still in clear, and sealing them."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Response, get, post

from core.clock import utc
from journal import Journal
from journal.records import Unsealed

from ..runtime.sealing import RowSealer, SealRun
from .auth import ApiRequest, needs
from .errors import Problem
from .idempotency import Calls
from .operation import Operation
from .router import ApiRouter


class ShownSeal(msgspec.Struct, frozen=True, kw_only=True):
    """A run that seals rows that were stored in clear."""

    #: `running`, `done`, `failed`, or `none` before the first run since the start.
    state: str
    #: The rows in clear when it began, by table.
    found: Mapping[str, int]
    #: The rows that it sealed so far.
    sealed: Mapping[str, int]
    #: The rows with a key that was destroyed already. What it would have sealed reads as erased.
    erased: Mapping[str, int]
    #: Why a failed run did not seal all rows.
    error: str | None
    started_at: datetime | None
    ended_at: datetime | None


class ShownRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that are not sealed, or cannot be opened, by table."""

    in_clear: Mapping[str, int]
    #: Sealed rows whose key is missing and was not destroyed, or is another one: they read as
    #: erased.
    without_key: Mapping[str, int]
    #: Whether dedupe keys need the key file. Those of a journal from before it stay as they were.
    seals_dedupe: bool


def seal(*, row_sealer: RowSealer, journal: Journal, calls: Calls) -> ApiRouter:
    def last() -> ShownSeal:
        run = None if row_sealer.is_due else row_sealer.last
        return _shown("running" if row_sealer.is_due else _state(run), run)

    @get("/", operation=Operation())
    async def one() -> ShownSeal:
        """Get the sealing.

        With the run under way, or the last run that sealed rows.
        """
        return last()

    @get("/rows", operation=Operation())
    async def rows() -> ShownRows:
        """Count the rows in clear.

        All rows are looked at, so it takes seconds in a large journal.
        """
        return ShownRows(
            in_clear=_named(await row_sealer.count()),
            without_key=_named(await row_sealer.count_without_key()),
            seals_dedupe=journal.seals_dedupe,
        )

    @post(
        "/migrate",
        status_code=202,
        operation=Operation(answers={202: ShownSeal}, errors=("not_sealed",)),
    )
    async def migrate(request: ApiRequest) -> Response[ShownSeal]:
        """Seal rows that were stored in clear.

        A run begins now. The answer is 202; get the sealing to follow the run.
        """
        async with calls.begin(request) as call:
            if not row_sealer.is_on:
                text = "seal.root is not set, so new rows are stored in clear, too"
                raise Problem(409, "not_sealed", text)
            row_sealer.start()
            answer = last()
            await call.keep(answer, 202)
        return Response(answer, status_code=202)

    handlers = [one, rows, migrate]
    return ApiRouter("/seal", route_handlers=handlers, guards=[needs("admin", whole=True)])


def _state(run: SealRun | None) -> str:
    if run is None:
        return "none"
    if run.ended_at is None:
        return "running"
    return "done" if run.error is None else "failed"


def _shown(state: str, run: SealRun | None) -> ShownSeal:
    return ShownSeal(
        state=state,
        found={} if run is None else _named(run.found),
        sealed={} if run is None else _named(run.sealed),
        erased={} if run is None else _named(run.erased),
        error=None if run is None else run.error,
        started_at=utc(None if run is None else run.started_at),
        ended_at=utc(None if run is None else run.ended_at),
    )


def _named(counts: Mapping[Unsealed, int]) -> Mapping[str, int]:
    return {table.value: counts.get(table, 0) for table in Unsealed if table in counts}
