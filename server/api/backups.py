"""Copy the journal into one file."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
from litestar import post

from core.clock import utc
from core.errors import Unavailable
from journal.sqlite.backup import NotABackup

from ..backups import WrongPath, back_up
from ..config.options import Config
from ..runtime.audit import AuditFacts
from .auth import ApiRequest, needs
from .errors import AGAIN, Problem, bad_body
from .idempotency import Calls
from .operation import Operation
from .parameters import Text, read_body
from .router import ApiRouter

_EXPECTED = 'write {"path": "/mnt/backups/smshook.db"}'


class BackupRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The file to write."""

    #: On the machine of the service. A relative path is relative to the folder of `smshook.yaml`.
    #: An earlier backup is replaced; any other file is refused.
    path: Text | None = None


class MadeBackup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that is complete and checked."""

    path: str
    bytes: int
    events: int
    #: Deliveries that a restored journal still owes.
    pending: int
    #: Acceptance of the newest event; null: there is no event.
    newest_at: datetime | None


def backups(*, config: Callable[[], Config], facts: AuditFacts, calls: Calls) -> ApiRouter:
    @post(
        "/",
        guards=[needs("admin", whole=True)],
        operation=Operation(
            body=BackupRequest,
            required=("path",),
            errors=("unusable_path",),
            answers={201: MadeBackup},
        ),
    )
    async def make(request: ApiRequest) -> MadeBackup:
        """Back up the journal.

        The file has every event that was accepted before the call. The call is answered when the
        file is complete and checked.
        """
        given = read_body(await request.body(), BackupRequest, _EXPECTED)
        if not given.path:
            raise bad_body("path", f"missing; {_EXPECTED}")
        now = config()
        target = now.path.parent / given.path
        async with calls.begin(request) as call:
            made = await _made(now, target)
            facts.add("backup.made", {"file": str(target), "events": made.events})
            await call.keep(made, 201)
        return made

    return ApiRouter("/backups", route_handlers=[make])


async def _made(config: Config, target: Path) -> MadeBackup:
    copied = partial(back_up, keys=config.seal.path)
    try:
        contents = await asyncio.to_thread(
            copied, config.path, config.journal.path, target, lambda _done, _all: None
        )
    except WrongPath as exc:
        raise Problem(422, "unusable_path", str(exc)) from None
    except OSError as exc:
        raise Problem(422, "unusable_path", f"{target}: {exc.strerror}") from None
    except (NotABackup, Unavailable):
        text = "the journal cannot be copied; no backup was made"
        raise Problem(503, "unavailable", text, headers=AGAIN) from None
    return MadeBackup(
        path=str(target),
        bytes=contents.bytes,
        events=contents.events,
        pending=contents.pending,
        newest_at=utc(contents.newest_at),
    )
