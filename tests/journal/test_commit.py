import asyncio
import contextlib
import sqlite3
import threading

import pytest
import uvloop
from sqlite_utils import Database

from core.errors import Broken, InvalidRow, Unavailable
from journal import commit
from journal.commit import GroupCommit
from journal.thread import WorkThread

#: Nothing here takes longer, unless it hangs.
SOON = 10


class Disk:
    """A writer that waits for `go_on`, and fails with `failures`."""

    def __init__(self):
        self.batches = []
        self.stored = []
        self.invalid = set()
        self.failures = []
        self.writes = 0
        self.most_writes = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()

    def write(self, ops):
        self.writes += 1
        self.most_writes = max(self.most_writes, self.writes)
        self.begun.set()
        try:
            assert self.go_on.wait(SOON)
            self.batches.append(list(ops))
            if self.failures:
                raise self.failures.pop(0)
            if self.invalid & set(ops):
                raise InvalidRow("invalid")
            self.stored += ops
            return [f"{op} stored" for op in ops]
        finally:
            self.writes -= 1

    async def writing(self):
        assert await asyncio.to_thread(self.begun.wait, SOON)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def thread():
    with contextlib.closing(WorkThread("journal")) as thread:
        yield thread


@pytest.fixture
def broken():
    """The calls of `broken`."""
    return []


@pytest.fixture
def commits(disk, thread, broken):
    return GroupCommit(disk.write, thread=thread, broken=lambda: broken.append("broken"))


async def soon(awaitable):
    async with asyncio.timeout(SOON):
        return await awaitable


async def all_of(*futures):
    return await soon(asyncio.gather(*futures, return_exceptions=True))


# Grouping


async def test_single_operation_is_written_at_once(commits, disk):
    answer = await soon(commits.submit("a"))

    assert (answer, disk.batches) == ("a stored", [["a"]])


async def test_operations_of_one_loop_turn_share_a_batch(commits, disk):
    answers = await all_of(*(commits.submit(op) for op in "abc"))

    assert answers == ["a stored", "b stored", "c stored"]
    assert disk.batches == [["a", "b", "c"]]


async def test_operations_during_a_write_share_the_next_batch(commits, disk):
    """Mutant: a batch for each caller, which is an fsync for each caller."""
    disk.go_on.clear()
    first = commits.submit("a")
    await disk.writing()

    rest = [commits.submit(op) for op in range(50)]
    await asyncio.sleep(0.02)
    disk.go_on.set()
    await all_of(first, *rest)

    assert disk.batches == [["a"], list(range(50))]
    assert disk.most_writes == 1


async def test_batch_has_a_limit_and_the_rest_follows_in_order(disk, thread):
    commits = GroupCommit(disk.write, thread=thread, broken=lambda: None, most=3)

    await all_of(*(commits.submit(op) for op in range(8)))

    assert disk.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_waiting_operations_are_counted(commits, disk):
    disk.go_on.clear()
    first = commits.submit("a")
    await disk.writing()
    rest = [commits.submit("b"), commits.submit("c", patient=True)]

    waiting = commits.waiting
    disk.go_on.set()
    await all_of(first, *rest)

    assert (waiting, commits.waiting) == (2, 0)


async def test_patient_operation_joins_an_urgent_batch(commits, disk):
    patient = commits.submit("settled", patient=True)

    urgent = commits.submit("recorded")
    await all_of(patient, urgent)

    assert disk.batches == [["settled", "recorded"]]


async def test_patient_operation_alone_is_written_after_its_patience(disk, thread):
    """Mutants: it is written at once; it waits for the next urgent operation."""
    commits = GroupCommit(disk.write, thread=thread, broken=lambda: None, patience=0.05)
    patient = commits.submit("settled", patient=True)
    for _ in range(3):
        await asyncio.sleep(0)

    waited = list(disk.batches)
    answer = await soon(patient)

    assert (waited, answer) == ([], "settled stored")


async def test_patient_operation_after_a_batch_is_written(commits, disk):
    """Mutant: the end of a batch schedules urgent operations only."""
    disk.go_on.clear()
    first = commits.submit("a")
    await disk.writing()

    patient = commits.submit("settled", patient=True)
    disk.go_on.set()
    await all_of(first, patient)

    assert disk.batches == [["a"], ["settled"]]


def test_urgent_operation_does_not_wait_for_a_patient_one(disk, thread):
    """Mutant: a check for asyncio's class of timers, which uvloop does not use."""

    async def hurried():
        commits = GroupCommit(disk.write, thread=thread, broken=lambda: None, patience=SOON * 10)
        patient = commits.submit("settled", patient=True)
        await asyncio.sleep(0)
        return await all_of(patient, commits.submit("recorded"))

    for loop_factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(hurried()) == ["settled stored", "recorded stored"]


async def test_urgent_operations_do_not_starve_patient_ones(commits, disk):
    patient = commits.submit("settled", patient=True)

    async def traffic():
        while True:
            await commits.submit("recorded")

    tasks = [asyncio.create_task(traffic()) for _ in range(4)]
    await soon(patient)
    for task in tasks:
        task.cancel()
    await all_of(*tasks)

    assert "settled" in disk.batches[0]


# Cancelled callers: the check is a function, because mutants must fail it, too.


async def check_cancelled_callers(commits, disk):
    """A caller is cancelled before its flush, while it is written, and after."""
    outcomes = []
    before, neighbour = commits.submit("before", then=outcomes.append), commits.submit("neighbour")
    before.cancel()
    assert await all_of(neighbour) == ["neighbour stored"]

    disk.go_on.clear()
    disk.begun.clear()
    during, beside = commits.submit("during", then=outcomes.append), commits.submit("beside")
    await disk.writing()
    during.cancel()
    behind = commits.submit("behind")
    disk.go_on.set()
    assert await all_of(beside, behind) == ["beside stored", "behind stored"]

    after = commits.submit("after", then=outcomes.append)
    await asyncio.wait([after], timeout=SOON)
    assert not after.cancel()
    assert await soon(commits.submit("last")) == "last stored"

    assert disk.stored == ["before", "neighbour", "during", "beside", "behind", "after", "last"]
    assert outcomes == ["before stored", "during stored", "after stored"]


async def test_cancelled_callers_lose_no_operation_and_block_no_other(commits, disk):
    await check_cancelled_callers(commits, disk)


def naive_settle(future, outcome):
    """Set the future without a check whether it is done."""
    future.set_result(outcome)


def naive_report(entry, outcome):
    """Call the callbacks without a guard."""
    for callback in filter(None, (entry.then, entry.answer)):
        callback(outcome)


async def test_cancellation_check_detects_the_naive_answer(commits, disk, monkeypatch):
    """In the mutant, `set_result` on a cancelled future raises, and its batch waits for ever."""
    monkeypatch.setattr(commit, "settle", naive_settle)
    monkeypatch.setattr(commit, "_report", naive_report)
    monkeypatch.setitem(globals(), "SOON", 0.3)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    with pytest.raises(TimeoutError):
        await check_cancelled_callers(commits, disk)


class File:
    """A SQLite file with one connection. The row `slow` waits for `go_on`."""

    def __init__(self, path):
        self.path = path
        self.conn = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.conn.execute("pragma journal_mode = wal")
        self.conn.execute("create table rows (value text)")
        self.inserted = threading.Event()
        self.go_on = threading.Event()

    def insert(self, value):
        self.conn.execute("insert into rows values (?)", (value,))
        if value == "slow":
            self.inserted.set()
            assert self.go_on.wait(SOON)

    def on_disk(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            return [value for (value,) in conn.execute("select value from rows")]

    async def inserting(self):
        assert await asyncio.to_thread(self.inserted.wait, SOON)


@pytest.fixture
def file(tmp_path):
    file = File(tmp_path / "rows.db")
    yield file
    file.go_on.set()
    file.conn.close()


class Grouped:
    """Writes like the journal: plain transactions in the one thread with the connection."""

    def __init__(self, file):
        self._file, self._thread = file, WorkThread("journal")
        self._commits = GroupCommit(self._write, thread=self._thread, broken=lambda: None)

    async def record(self, value):
        await self._commits.submit(value)

    def _write(self, values):
        self._file.conn.execute("begin immediate")
        for value in values:
            self._file.insert(value)
        self._file.conn.execute("commit")
        return values

    def close(self):
        self._thread.close()


class Locked:
    """The mutant: a lock around a thread. Cancelling the task releases the lock too early.

    The thread is still in its transaction. The next `atomic()` becomes a savepoint of it, and
    acknowledges rows that are not committed.
    """

    def __init__(self, file):
        self._file, self._db = file, Database(file.conn, execute_plugins=False)
        self._writing = asyncio.Lock()

    async def record(self, value):
        async with self._writing:
            await asyncio.to_thread(self._write, value)

    def _write(self, value):
        with self._db.atomic():
            self._file.insert(value)

    def close(self):
        """Its threads end with the loop."""


async def check_acknowledged_is_on_disk(writer, file):
    """Cancel a caller while its row is written, then await another one."""
    slow = asyncio.create_task(writer.record("slow"))
    await file.inserting()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)

    quick = asyncio.create_task(writer.record("quick"))
    await asyncio.wait([quick], timeout=0.2)
    acknowledged_early = quick.done()
    on_disk_early = file.on_disk()
    file.go_on.set()
    await soon(quick)

    if acknowledged_early:
        assert "quick" in on_disk_early, "acknowledged and not on disk"
    assert sorted(file.on_disk()) == ["quick", "slow"]


async def test_acknowledged_operation_is_on_disk_despite_cancellation(file):
    writer = Grouped(file)

    await check_acknowledged_is_on_disk(writer, file)

    writer.close()


async def test_disk_check_detects_a_lock_released_by_cancellation(file):
    with pytest.raises(AssertionError, match="acknowledged and not on disk"):
        await check_acknowledged_is_on_disk(Locked(file), file)

    file.go_on.set()


async def test_operation_of_a_cancelled_task_is_written(commits, disk):
    """A cancelled request cancels its task while the task awaits the future."""

    async def caller():
        return await commits.submit("a")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await soon(commits.submit("b"))

    assert disk.stored == ["a", "b"]


async def test_failing_then_is_reported_and_blocks_no_other(commits):
    """Mutant: its exception ends the loop, and the rest of the batch waits for ever."""
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    fault = ZeroDivisionError("a fault")

    def then(_outcome):
        raise fault

    answers = await all_of(commits.submit("a", then=then), commits.submit("b"))

    assert (answers, reported) == (["a stored", "b stored"], [fault])


# Callers without a future


async def test_answer_without_a_future_comes_once_after_then(commits):
    outcomes = []

    commits.put("a", outcomes.append, then=lambda outcome: outcomes.append(("then", outcome)))
    await soon(commits.submit("b"))

    assert outcomes == [("then", "a stored"), "a stored"]


async def test_failing_answer_is_reported_and_blocks_no_other(commits):
    """Mutant: the guard covers `then` only."""
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    fault = ZeroDivisionError("a fault")

    def answer(_outcome):
        raise fault

    commits.put("a", answer)
    answers = await all_of(commits.submit("b"), commits.submit("c"))

    assert (answers, reported) == (["b stored", "c stored"], [fault])


# Failures


async def test_invalid_row_fails_alone(commits, disk):
    disk.invalid = {7, 100}

    answers = await all_of(*(commits.submit(op) for op in range(200)))

    bad = {place: answer for place, answer in enumerate(answers) if not isinstance(answer, str)}
    assert {place: type(answer) for place, answer in bad.items()} == {
        7: InvalidRow,
        100: InvalidRow,
    }
    assert disk.stored == [op for op in range(200) if op not in disk.invalid]
    # Mutant: a commit for each of the two hundred.
    assert len(disk.batches) < 40


async def test_unavailable_disk_fails_one_batch_only(commits, disk):
    """Mutant: on a full disk, each row is retried."""
    disk.failures = [Unavailable("SQLITE_FULL")]

    failed = await all_of(*(commits.submit(op) for op in "abc"))
    answer = await soon(commits.submit("d"))

    assert [(type(one), str(one)) for one in failed] == [(Unavailable, "SQLITE_FULL")] * 3
    assert (answer, disk.batches) == ("d stored", [["a", "b", "c"], ["d"]])


async def test_operation_queued_behind_a_failed_batch_is_written(commits, disk):
    disk.failures = [Unavailable("SQLITE_BUSY")]
    disk.go_on.clear()
    first = commits.submit("a")
    await disk.writing()
    second = commits.submit("b")
    disk.go_on.set()

    answers = await all_of(first, second)

    assert [str(answer) for answer in answers] == ["SQLITE_BUSY", "b stored"]


async def test_unknown_error_is_unavailable_and_shows_its_name_only(commits, disk):
    disk.failures = [KeyError("a secret value")]

    (failed,) = await all_of(commits.submit("a"))

    assert (type(failed), str(failed)) == (Unavailable, "KeyError")


async def test_broken_disk_answers_all_callers_and_ends_writing(commits, disk, broken):
    """Mutant: a second try. After a failed fsync it "succeeds", but is not on disk."""
    disk.failures = [Broken("SQLITE_IOERR_FSYNC")]
    disk.go_on.clear()
    outcomes = []
    writing = [commits.submit("a", then=outcomes.append), commits.submit("b")]
    await disk.writing()
    waiting = [commits.submit("c", then=outcomes.append), commits.submit("d", patient=True)]
    disk.go_on.set()

    answers = await all_of(*writing, *waiting)
    answers += await all_of(commits.submit("e", then=outcomes.append))
    await soon(commits.close())

    assert [type(answer) for answer in answers] == [Broken] * 5
    assert [type(outcome) for outcome in outcomes] == [Broken] * 3
    assert (disk.batches, disk.stored, broken) == ([["a", "b"]], [], ["broken"])
    assert (commits.broken, commits.waiting) == (True, 0)


async def test_broken_disk_ends_the_search_for_an_invalid_row(commits, disk, broken):
    """Mutant: the other half is still written."""
    disk.failures = [InvalidRow("invalid"), Broken("SQLITE_CORRUPT")]

    answers = await all_of(*(commits.submit(op) for op in "abcd"))

    assert [type(answer) for answer in answers] == [Broken] * 4
    assert (disk.batches, broken) == ([["a", "b", "c", "d"], ["a", "b"]], ["broken"])


# A disk that hangs


@pytest.fixture
def stalling(disk, thread):
    return GroupCommit(disk.write, thread=thread, broken=lambda: None, stalled_after=0.05)


async def stalled(commits):
    async with asyncio.timeout(SOON):
        while not commits.stalled:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


async def test_stalled_commit_answers_all_waiting_callers(stalling, disk):
    """Mutants: callers wait as long as the disk; `then` never gets the outcome of the batch."""
    disk.go_on.clear()
    outcomes = []
    written = stalling.submit("a", then=outcomes.append)
    await disk.writing()
    queued = stalling.submit("b", then=outcomes.append)
    await stalled(stalling)

    early = await all_of(written, queued, stalling.submit("c", then=outcomes.append))
    early_outcomes = list(outcomes)
    disk.go_on.set()
    answer = await soon(eventually_written(stalling, "d"))

    assert [(type(one), str(one)) for one in early] == [(Unavailable, commit.STALLED)] * 3
    # Queued operations are certainly not stored. The outcome of the first one is not known yet.
    assert early_outcomes == [early[1], early[2]]
    assert outcomes == [*early_outcomes, "a stored"]
    assert (answer, disk.batches) == ("d stored", [["a"], ["d"]])


async def test_stalled_answer_comes_at_once_and_only_once(stalling, disk):
    """Mutant: a second answer, when the disk has written it after all."""
    disk.go_on.clear()
    answers, outcomes = [], []
    stalling.put("a", answers.append, then=outcomes.append)
    await disk.writing()
    await stalled(stalling)

    early = [str(one) for one in answers]
    disk.go_on.set()
    await soon(eventually_written(stalling, "b"))

    assert early == [commit.STALLED]
    assert (len(answers), outcomes) == (1, ["a stored"])


async def eventually_written(commits, op):
    while commits.stalled:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.005)
    return await commits.submit(op)


async def test_endless_operation_waits_for_a_stalled_disk(stalling, disk):
    """Otherwise its caller would lose the result. Mutant: it gets Unavailable like the others."""
    disk.go_on.clear()
    first = stalling.submit("take", endless=True)
    await disk.writing()
    second = stalling.submit("settle", endless=True, patient=True)
    await stalled(stalling)
    third = stalling.submit("probe", endless=True)

    waited = [first.done(), second.done(), third.done()]
    disk.go_on.set()

    assert await all_of(first, second, third) == ["take stored", "settle stored", "probe stored"]
    assert waited == [False] * 3


# Work between batches


async def test_work_runs_between_batches(commits, disk):
    """Mutant: work runs during a batch, on the same connection."""
    disk.go_on.clear()
    first = commits.submit("a")
    await disk.writing()
    work = commits.run(lambda: (disk.writes, list(disk.stored)))
    second = commits.submit("b")
    disk.go_on.set()

    assert await all_of(first, work, second) == ["a stored", (0, ["a"]), "b stored"]


async def test_broken_work_ends_writing(commits, broken):
    def breaks():
        raise Broken("SQLITE_IOERR_FSYNC")

    answers = await all_of(commits.run(breaks), commits.submit("a"))
    answers += await all_of(commits.run(list))

    assert [(type(one), str(one)) for one in answers] == [(Broken, "SQLITE_IOERR_FSYNC")] * 3
    assert (broken, commits.broken) == (["broken"], True)


async def test_nothing_is_acknowledged_after_a_reader_found_damage(commits, disk, broken):
    """Mutant: the callers of the current batch still get results."""
    disk.go_on.clear()
    written = commits.submit("a")
    await disk.writing()
    commits.fail(Broken("SQLITE_CORRUPT"))
    disk.go_on.set()

    (answer,) = await all_of(written)

    assert (type(answer), broken) == (Broken, ["broken"])


# The end


async def test_close_writes_all_waiting_operations(disk, thread):
    commits = GroupCommit(disk.write, thread=thread, broken=lambda: None, most=2, patience=SOON)
    futures = [commits.submit(op, patient=True) for op in range(5)]

    await soon(commits.close())

    assert disk.batches == [[0, 1], [2, 3], [4]]
    assert all(future.done() for future in futures)


async def test_close_waits_for_the_batch_being_written(commits, disk):
    """Mutant: a second batch is written at the same time."""
    disk.go_on.clear()
    futures = [commits.submit("a")]
    await disk.writing()
    futures += [commits.submit("b")]
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0.01)
    futures += [commits.submit("c")]

    ended_early = closing.done()
    disk.go_on.set()
    await soon(closing)

    assert (ended_early, disk.batches) == (False, [["a"], ["b", "c"]])
    assert await all_of(*futures) == ["a stored", "b stored", "c stored"]


async def test_operation_after_close_is_unavailable(commits, disk):
    """Mutant: a future that is never done."""
    await commits.close()
    outcomes = []

    (answer,) = await all_of(commits.submit("late", then=outcomes.append))

    assert (type(answer), outcomes, disk.batches) == (Unavailable, [answer], [])


def test_end_of_the_loop_does_not_fail_the_writing_thread(disk, thread, caplog):
    """The batch in progress is written; the queued operation is never acknowledged."""
    disk.go_on.clear()

    async def left_alone():
        commits = GroupCommit(disk.write, thread=thread, broken=lambda: None)
        commits.submit("a")
        await disk.writing()
        commits.submit("b")

    asyncio.run(left_alone())
    disk.go_on.set()
    thread.close()

    assert (disk.stored, caplog.text) == (["a"], "")
