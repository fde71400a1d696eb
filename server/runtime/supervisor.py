"""Runs the tasks of a service, and ends the service when one of them fails."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from core.errors import Broken, Unavailable

#: Seconds between two steps of `finish`, so that callbacks come first.
_BETWEEN = 0.02
#: Seconds until a step is tried again if the journal is unavailable.
_AGAIN = 1.0

log = structlog.get_logger()


class Supervisor:
    """Runs the tasks of a service, and calls `stop` when one of them fails.

    A service that accepts callbacks and delivers nothing would look healthy from outside.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.failed = False
        self._stop = stop

    def run(self, part: str, coroutine: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Run `coroutine` until the service ends. `part` names it in the log."""

        def ended(done: "asyncio.Task[None]") -> None:
            if not done.cancelled() and (exc := done.exception()) is not None:
                self.give_up(part, type(exc).__name__)

        task = asyncio.create_task(coroutine)
        task.add_done_callback(ended)
        self.tasks.append(task)
        return task

    def give_up(self, part: str, error: str) -> None:
        """Log a failed part, and end the service with exit code 1."""
        if not self.failed:
            self.failed = True
            log.error("service.failed", part=part, error=error, then="exit 1; start again to go on")
            self._stop()


async def repeat(look: Callable[[], Awaitable[None]], every: float) -> None:
    """Call `look` each time after so many seconds, until cancelled or the journal is broken."""
    while True:
        await asyncio.sleep(every)
        try:
            await look()
        except Broken:
            return  # the service ends
        except Unavailable:
            pass  # the journal's own monitor has logged it


async def finish(step: Callable[[], Awaitable[bool]]) -> None:
    """Do some work in steps: call `step` until it returns False, because no work is left."""
    while True:
        try:
            if not await step():
                return
            await asyncio.sleep(_BETWEEN)
        except Broken:
            return  # the service ends
        except Unavailable:
            await asyncio.sleep(_AGAIN)
