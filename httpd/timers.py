"""Timers that know their time."""

import asyncio
from collections.abc import Callable

#: uvloop rounds to milliseconds, and returns a handle without `when` for a delay of 0.
_LEAST = 0.001


def call_at(
    loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], object]
) -> asyncio.TimerHandle:
    """Call back at a time of the loop, at the earliest in a millisecond."""
    # Not `call_at`, which looks at the clock again: it may be later by then.
    return loop.call_later(max(when - loop.time(), _LEAST), callback)
