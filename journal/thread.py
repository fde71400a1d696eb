"""A thread for work that blocks, in the order of the calls."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class WorkThread:
    """Runs one function after the other, and reports to the event loop.

    An executor of the standard library makes two futures and two more turns of the event loop for
    each function.
    """

    def __init__(self, name: str) -> None:
        self._given: SimpleQueue[
            tuple[Callable[[], Any], Callable[[Any], None], asyncio.AbstractEventLoop] | None
        ] = SimpleQueue()
        # A daemon: a disk that does not answer must not keep the process alive.
        self._thread = threading.Thread(target=self._run_all, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run `work`, which raises nothing, and call `done` with its result on this event loop."""
        self._given.put((work, done, asyncio.get_running_loop()))

    def close(self) -> None:
        """Wait for the last function, and end."""
        self._given.put(None)
        self._thread.join()

    def _run_all(self) -> None:
        while (given := self._given.get()) is not None:
            work, done, loop = given
            result = work()
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(done, result)
