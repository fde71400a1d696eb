"""Work in a thread: in order, reported to the event loop."""

import asyncio
import contextlib
import threading

import pytest

from journal.thread import WorkThread

#: Nothing here takes longer, unless it hangs.
SOON = 10


@pytest.fixture
def thread():
    with contextlib.closing(WorkThread("worker")) as thread:
        yield thread


async def test_work_runs_in_order_and_is_reported_to_the_loop(thread):
    """Mutant: `done` is called in the thread itself."""
    reports, ended = [], asyncio.Event()
    go_on = threading.Event()

    def report(result):
        reports.append((result, threading.current_thread() is threading.main_thread()))
        if result[0] == 2:
            ended.set()

    def work(number):
        assert go_on.wait(SOON)
        return number, threading.current_thread().name

    for number in range(3):
        thread.run(lambda number=number: work(number), report)
    go_on.set()
    async with asyncio.timeout(SOON):
        await ended.wait()

    assert reports == [((number, "worker"), True) for number in range(3)]


def test_close_waits_for_the_last_work():
    """Mutant: `close` does not join the thread."""
    thread, go_on, begun, done = WorkThread("worker"), threading.Event(), threading.Event(), []

    def work():
        begun.set()
        assert go_on.wait(SOON)
        done.append("done")

    async def leave():
        thread.run(work, lambda _result: None)
        assert await asyncio.to_thread(begun.wait, SOON)

    asyncio.run(leave())
    threading.Timer(0.05, go_on.set).start()
    thread.close()

    assert done == ["done"]


def test_thread_works_on_after_its_loop_has_ended(thread):
    """Mutant: the report to a closed loop ends the thread."""
    reports, go_on, begun = [], threading.Event(), threading.Event()

    def work():
        begun.set()
        return go_on.wait(SOON)

    async def leave():
        thread.run(work, reports.append)
        assert await asyncio.to_thread(begun.wait, SOON)

    async def come_back():
        ended = asyncio.get_running_loop().create_future()
        thread.run(lambda: "again", ended.set_result)
        go_on.set()
        async with asyncio.timeout(SOON):
            return await ended

    asyncio.run(leave())

    assert asyncio.run(come_back()) == "again"
    assert reports == []
