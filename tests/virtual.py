"""An event loop in virtual time: hours pass at once while no task or thread works."""

import asyncio
import selectors

from journal.thread import WorkThread


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next scheduled call, but never while a thread works.

    So a real journal, with its real threads and fsyncs, runs for a day in seconds.
    """

    def __init__(self):
        self._passed, self._jobs = 0.0, 0
        super().__init__(_Selector(self))

    def time(self):
        return self._passed

    def begin(self):
        self._jobs += 1

    def run_in_executor(self, executor, func, *args):
        self.begin()
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self.end)
        return future

    def end(self, _result=None):
        self._jobs -= 1

    async def shutdown_default_executor(self, _timeout=None):
        # Since Python 3.12 it has a time limit, which would pass at once.
        await super().shutdown_default_executor()


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


class CountedThread(WorkThread):
    """Makes a virtual loop wait for its work."""

    def run(self, work, done):
        loop = asyncio.get_running_loop()

        def ended(result):
            loop.end()
            done(result)

        loop.begin()
        super().run(work, ended)
