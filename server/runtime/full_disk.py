"""Waits for room on a full disk, before the journal can be opened."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog

from core.errors import Unavailable, Unchanged
from httpd.listener import Listener
from journal import Journal, JournalHealth
from journal.commit import CommitMeters
from journal.seal import Opener, Sealer
from journal.sqlite.schema import DiskFull

from .readiness import MOST_WAITING

#: Seconds between two tries to open the journal.
_AGAIN = 1.0
#: Tries from one log line to the next.
_TRIES_PER_LINE = 60
#: Seconds to finish answers once the journal is open.
_LAST_ANSWERS = 0.5

log = structlog.get_logger()


class _AbsentJournal:
    """Stands for a journal that cannot be opened yet: each read and write raises Unavailable."""

    identity = generation = "0" * 32
    waiting = MOST_WAITING  # the door takes no callback
    health = JournalHealth.FAILING
    failure = None
    meters = CommitMeters()
    opener = Opener(None, journal=identity)
    sealer: Sealer | None = None
    seals_dedupe = False

    def submit(
        self,
        _write: object,
        _then: object = None,
        *,
        line: object = None,  # noqa: ARG002 - the name is part of the interface
    ) -> NoReturn:
        raise Unchanged("the disk is full")

    def put(
        self, _write: object, answer: Callable[[Unavailable], None], _then: object = None, /
    ) -> None:
        answer(Unchanged("the disk is full"))

    def listen(
        self,
        _callback: object,
        *,
        sink: str | None = None,  # noqa: ARG002 - the name is part of the interface
    ) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def ask(self, _read: object) -> NoReturn:
        raise Unchanged("the disk is full")

    async def empty_log(self) -> NoReturn:
        raise Unchanged("the disk is full")

    async def close(self) -> None: ...


async def open_when_there_is_room(
    open_: Callable[[], Awaitable[Journal]],
    *,
    listen: Callable[[Journal], Awaitable[Sequence[Listener]]],
    stop: asyncio.Event,
) -> Journal | None:
    """Return the journal that `open_` opens; None: `stop` was set while the disk was full.

    Meanwhile the listeners that `listen` starts answer 503.
    """
    with contextlib.suppress(DiskFull):
        return await open_()
    listeners = await listen(_AbsentJournal())
    try:
        tries = 0
        while not stop.is_set():
            try:
                return await open_()
            except DiskFull as exc:
                if tries % _TRIES_PER_LINE == 0:
                    log.error("journal.error", error=str(exc), then="503 until there is room")  # noqa: TRY400 - a traceback says no more
                tries += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await stop.wait()
        return None
    finally:
        await asyncio.gather(*(listener.finish(_LAST_ANSWERS) for listener in listeners))
