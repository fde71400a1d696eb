"""Work on stored rows, done in small steps while the service runs."""

import asyncio
from collections.abc import Awaitable, Callable

from core.errors import Broken, Unavailable

#: Seconds between two steps, so that callbacks come first.
_BETWEEN = 0.02
#: Seconds until a step is tried again if the journal is unavailable.
_AGAIN = 1.0


async def finish(step: Callable[[], Awaitable[bool]]) -> None:
    """Call `step` until it returns False: no work is left."""
    while True:
        try:
            if not await step():
                return
            await asyncio.sleep(_BETWEEN)
        except Broken:
            return  # the service ends
        except Unavailable:
            await asyncio.sleep(_AGAIN)
