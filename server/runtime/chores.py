"""Work on the stored rows of a journal, done in steps while the service runs."""

import asyncio
from collections.abc import Awaitable, Callable

from core.errors import Broken, Unavailable

#: Seconds between two steps, so that callbacks come first.
_BETWEEN = 0.02
#: Seconds until a step is tried again where the journal cannot be written.
_AGAIN = 1.0


async def finish(step: Callable[[], Awaitable[bool]]) -> None:
    """Run `step`, which returns whether work is left, until none is."""
    while True:
        try:
            if not await step():
                return
            await asyncio.sleep(_BETWEEN)
        except Broken:
            return  # the service ends
        except Unavailable:
            await asyncio.sleep(_AGAIN)
