"""Waits for room: while the disk is full on which the journal is opened, the answer is 503."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, cast

import structlog

from core.errors import Unavailable
from httpd.listener import Listener
from journal import Journal
from journal.sqlite.schema import DiskFull

from .accept import MOST_WAITING

#: Seconds from one try to open the journal to the next.
AGAIN = 1.0
#: Tries after which the log says so again.
_SAY_EACH = 60
#: Seconds for the answers that are being written when the journal is open.
_LAST_ANSWERS = 0.5

log = structlog.get_logger()


class _Absent:
    """In place of a journal that cannot be opened yet: each call of it is Unavailable."""

    identity = "0" * 32
    waiting = MOST_WAITING  # the door takes nothing
    broken = stalled = working = False
    failure = None

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def unavailable(*_values: object, **_named: object) -> NoReturn:
            raise Unavailable(f"{name}: the disk is full")

        return unavailable


async def open_when_there_is_room(
    open_: Callable[[], Awaitable[Journal]],
    *,
    listen: Callable[[Journal], Awaitable[Sequence[Listener]]],
    stop: asyncio.Event,
    again: float = AGAIN,
) -> Journal | None:
    """The journal that `open_` opens; None: `stop` was set while its disk was full.

    Until then what `listen` starts answers: unready, and 503 to callbacks and calls.
    """
    with contextlib.suppress(DiskFull):
        return await open_()
    listeners = await listen(cast("Journal", _Absent()))
    try:
        return await _tried_again(open_, stop, again)
    finally:
        await asyncio.gather(*(listener.finish(_LAST_ANSWERS) for listener in listeners))


async def _tried_again(
    open_: Callable[[], Awaitable[Journal]], stop: asyncio.Event, again: float
) -> Journal | None:
    tries = 0
    while not stop.is_set():
        try:
            return await open_()
        except DiskFull as exc:
            if tries % _SAY_EACH == 0:
                log.error("journal.error", error=str(exc), then="503 until there is room")  # noqa: TRY400 - a traceback says no more
            tries += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(again):
                await stop.wait()
    return None
