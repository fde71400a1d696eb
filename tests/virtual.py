"""An event loop in virtual time: hours pass at once while no task or thread works."""

import asyncio
import selectors


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next scheduled call, but never while a thread works.

    So a real journal, with its real threads and fsyncs, runs for a day in seconds.
    """

    def __init__(self):
        self._passed, self._jobs = 0.0, 0
        super().__init__(_Selector(self))

    def time(self):
        return self._passed

    def run_in_executor(self, executor, func, *args):
        self._jobs += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future):
        self._jobs -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if self._loop._jobs or timeout is None or timeout <= 0:
            # A thread that ends wakes the loop; till then no time passes.
            waits = timeout is not None and timeout <= 0
            return super().select(0 if waits else 5.0)
        self._loop._passed += timeout
        return super().select(0)
