"""The audit log in a SQLite file: one transaction with what it reports."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys

import pytest
from contracts.audit import Hands, lines, proven
from contracts.journal import NOW, owed, planned, record
from journals import shell

from core.errors import InvalidRow, Unavailable
from journal import JournalHealth, facts, writes
from journal.audit.lines import Fact
from journal.reads import EventById
from journal.sqlite.journal import SQLiteJournal
from journal.writes import PackLog, PauseSink, RecordFacts, RetryDelivery, Write

#: Writes that change nothing an auditor asks for, and those whose facts have another source.
WITHOUT_FACTS = {
    # The next events of a replay that has a line.
    "AdvanceReplay",
    # Deliveries that are given up, and events without a callback: see AuditBatch.
    *("EndDeliveries", "SetBalance", "RecordOwn", "SetCondition"),
    # The service reports these.
    *("CountRejections", "Shift"),
    # Reading places of keys, and how deliveries wait.
    *("MoveConsumer", "DropConsumer", "Take", "Probe", "BringForward", "Hold", "Clamp", "Reorder"),
    *("MoveOrders", "RenewOrders"),
    # Upkeep.
    *("KeepCall", "ForgetCalls", "ChangeFilters", "NoteKeyUses", "PruneKeys", "ForgetPruned"),
    *("Touch", "SetMoment", "KeepFigures", "HideCredentials", "IndexVisible", "SealStored"),
    # The log itself.
    *("RecordFacts", "RecordFactsLater", "SignCheckpoint", "AddSignatures"),
    *("PackLog", "PruneLog", "EraseLine"),
    # Around another write.
    *("Once", "OnBehalf"),
}


class Full:
    """A connection on which some statements fail, as on a full disk."""

    def __init__(self, conn, word):
        self._conn, self._word = conn, word

    def __getattr__(self, name):
        return getattr(self._conn, name)

    def execute(self, sql, values=()):
        if sql.startswith(self._word):
            exc = sqlite3.OperationalError()
            exc.sqlite_errorname = "SQLITE_FULL"
            raise exc
        return self._conn.execute(sql, values)


@contextlib.contextmanager
def failing(part, name, word):
    """Let statements that begin with `word` fail on a connection."""
    conn = getattr(part, name)
    setattr(part, name, Full(conn, word))
    yield
    setattr(part, name, conn)


@pytest.fixture
async def journal(path):
    opened = await SQLiteJournal.open(path, seal="s", now=NOW, version="0", audit=Hands().options())
    yield opened
    await opened.close()


def test_each_write_has_facts_or_needs_none():
    """A new kind of write must be in one of the two lists."""
    kinds = {
        name
        for name, kind in vars(writes).items()
        if isinstance(kind, type) and issubclass(kind, Write) and kind is not Write
    }
    with_facts = {kind.__name__ for kind in facts._FACTS}

    assert with_facts & WITHOUT_FACTS == set()
    assert with_facts | WITHOUT_FACTS == kinds


async def test_event_is_not_stored_without_its_line(journal):
    """Mutants: the lines are written in a second transaction; the lines of the failed one stay in
    the tree."""
    await record(journal, planned())
    lost, kept = planned(), planned()

    with failing(journal._writer._audit, "conn", "insert into audit "), pytest.raises(Unavailable):
        await record(journal, lost)
    await record(journal, kept)

    assert await journal.ask(EventById(lost.event.id)) is None
    assert [one["event"] for one in await lines(journal)][1:] == [kept.event.id]
    assert (await proven(journal)).size == 2


async def test_failed_commit_leaves_the_tree_as_it_was(journal):
    """Mutant: the tree is changed before the commit."""
    await record(journal, planned())

    with failing(journal._writer, "_conn", "commit"), pytest.raises(Unavailable):
        await record(journal, planned())
    await record(journal, planned())

    assert (await proven(journal)).size == 2


async def test_line_that_cannot_be_made_fails_its_own_write(journal):
    """Not the others of its batch. Mutants: `_fault` returns the error as it is, in each of the
    three places; the fault counts as a failure of the disk."""
    bad, good = planned(), [planned(), planned()]
    await record(journal, planned(owed=[owed()]))

    def commit(events):
        known = {one.event.id: "c" for one in good}
        return [known[id_] for id_, _, _ in events]

    def shown(_delivery):
        raise AttributeError

    options = journal._writer._audit.options
    options.commit, options.shown = commit, shown
    places = RecordFacts((Fact("code.read", {"places": "none"}),))
    results = await asyncio.gather(
        *(record(journal, one) for one in (good[0], bad, good[1])),
        journal.submit(places),
        journal.submit(RetryDelivery(1, NOW)),
        journal.submit(PauseSink("log", "operator", NOW)),
        return_exceptions=True,
    )

    kept = {one["event"] for one in await lines(journal) if one["do"] == "callback.accepted"}
    failed = [isinstance(one, InvalidRow) for one in results]
    assert failed == [False, True, False, True, True, False]
    assert not [one for one in results if isinstance(one, Exception) != isinstance(one, InvalidRow)]
    assert {one.event.id for one in good} < kept
    assert await journal.ask(EventById(bad.event.id)) is None
    assert journal.health is JournalHealth.WORKING
    await proven(journal)


async def test_lines_of_a_commit_share_a_row(journal, path):
    both = [record(journal, planned(owed=[owed()])), journal.submit(RecordFacts(()))]
    await asyncio.gather(*both, *(record(journal, planned()) for _ in range(2)))

    with shell(path) as conn:
        assert conn.execute("select n, count from audit").fetchall() == [(0, 3)]


async def test_packing_ends_in_a_log_without_some_rows(journal, path):
    """Whoever changes the file does not stop the service. Mutant: the lines of a run that is not
    full are stored after its end."""
    for _ in range(6):
        await journal.submit(RecordFacts((Fact("service.started", {"by": "service"}),) * 100))
    with shell(path) as conn:
        conn.execute("delete from audit where n = 100")

    async with asyncio.timeout(10):
        while await journal.submit(PackLog()):
            pass

    with shell(path) as conn:
        assert conn.execute("select packed from audit_logs").fetchall() == [(512,)]
        assert conn.execute("select n from audit").fetchall() == [(0,), (256,)]


async def test_row_of_many_runs_is_packed_in_one_step(journal):
    """Mutant: the step ends at its limit, and the rest of the row takes the place of a run."""
    await journal.submit(RecordFacts((Fact("service.started", {"by": "service"}),) * 700))
    before = await lines(journal)

    assert not await journal.submit(PackLog(limit=1))

    assert await lines(journal) == before
    assert (await proven(journal)).size == 700


async def test_idle_batch_writes_no_row(journal, path):
    await journal.submit(RecordFacts(()))

    with shell(path) as conn:
        assert conn.execute("select count(*) from audit").fetchone() == (0,)


KILLED = """
import asyncio, itertools, sys
from pathlib import Path
from contracts.audit import Hands
from contracts import journal as contract
from contracts.journal import NOW, planned, record
from journal.sqlite.journal import SQLiteJournal
from journal.writes import PackLog

async def main():
    journal = await SQLiteJournal.open(
        Path(sys.argv[1]), seal="s", now=NOW, version="0", audit=Hands().options()
    )
    for n in range(100_000):
        five = [record(journal, planned()) for _ in range(5)]
        await asyncio.gather(*five, journal.submit(PackLog()))
        print(n, flush=True)

contract.serial = itertools.count(int(sys.argv[2]) * 100_000)
asyncio.run(main())
"""


def kill_while_it_writes(path, round_):
    """Run KILLED, and kill it amid its commits."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(round_)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as ran:
        for _ in range(40 + round_):
            assert ran.stdout.readline()
        ran.send_signal(signal.SIGKILL)


async def test_killed_process_leaves_a_line_for_each_event(path):
    """Mutant: the lines of a commit are written by the next one."""
    for round_ in range(1, 4):
        kill_while_it_writes(path, round_)

    journal = await SQLiteJournal.open(path, seal="s", now=NOW, version="0")
    await proven(journal)
    with shell(path) as conn:
        events = [id_ for (id_,) in conn.execute("select id from events order by seq")]
    assert [one["event"] for one in await lines(journal)] == events
    assert len(events) >= 3 * 40 * 5
    await journal.close()
