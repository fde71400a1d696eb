"""Removes old calls with an `Idempotency-Key` from the journal."""

import asyncio
from collections.abc import Callable

from journal import Journal
from journal.writes import ForgetCalls

from .supervisor import finish

#: Seconds for which a call is stored, and between two removals of older ones.
KEPT, _EVERY = 86_400.0, 3_600.0


async def forget_calls(journal: Journal, now: Callable[[], float]) -> None:
    """Remove old calls each hour, until cancelled. `now` returns seconds since the epoch."""
    while True:
        await finish(lambda: journal.submit(ForgetCalls(now() - KEPT)))
        await asyncio.sleep(_EVERY)
