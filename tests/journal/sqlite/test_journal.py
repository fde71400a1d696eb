import asyncio
import contextlib
import errno
import json
import math
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import MappingProxyType

import hypothesis
import msgspec
import pytest
from contracts.audit import AuditContract
from contracts.journal import (
    NOW,
    JournalContract,
    JournalHistory,
    arrival,
    attempt,
    handed,
    listed,
    owed,
    planned,
    record,
    spoiled,
    stats,
    take,
)
from contracts.keys import CallsContract, KeysContract
from contracts.orders import OrderContract
from contracts.visible import VisibleContract
from examples import examples
from journals import prepared

from core.delivery import State, Turn
from core.errors import Broken, InvalidRow, Unavailable
from journal.reads import (
    Deliveries,
    DeliveriesBriefly,
    DeliveryFilter,
    EventFilter,
    Events,
    JournalStats,
    PendingBySink,
)
from journal.records import Settled
from journal.sqlite import batch as sqlite_write
from journal.sqlite import deliveries, paging, queries
from journal.sqlite import journal as sqlite
from journal.sqlite import schema as sqlite_open
from journal.sqlite.batch import BatchWriter
from journal.sqlite.errors import judged
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.schema import WrongJournal, has_wal_reset_race, is_current, migrate
from journal.writes import DismissQuarantined, Probe, Record, Settle, Take, Touch

ROOT = Path(__file__).parents[3]


class Store:
    """A file and its starts. Earlier starts are left open, as after kill -9."""

    def __init__(self, path):
        self.path = path
        self.started = []

    async def start(self, *, now=NOW, seal="seal", filters=MappingProxyType({}), audit=None):
        journal = await SQLiteJournal.open(
            self.path,
            seal=seal,
            now=now,
            version="0.1.0",
            filters=lambda _keys: filters,
            audit=audit,
        )
        self.started.append(journal)
        return journal

    async def end(self):
        for journal in self.started:
            with contextlib.suppress(RuntimeError):  # the test closed it
                await journal.close()


#: The rows that a counter with a name counts.
_BY_NAME = {
    "events": "select source || '/' || type, count(*) from events group by 1",
    "unrouted": "select source || '/' || type, count(*) from events where routes = '[]' group by 1",
    "pending": "select sink, count(*) from deliveries where state = 'pending' group by 1",
    "delivered": "select sink, count(*) from deliveries where state = 'delivered' group by 1",
}


def recounted(path):
    """Return the counters, and the counts of the rows."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        kept = dict(conn.execute("select name, value from counters"))
        true = {
            "events": conn.execute("select count(*) from events").fetchone()[0],
            "quarantine": conn.execute("select count(*) from quarantine").fetchone()[0],
            "duplicates": kept["duplicates"],  # the model checks it
        }
        for state in set(State) - {State.SENDING}:
            true[f"deliveries.{state}"] = conn.execute(
                "select count(*) from deliveries where state = ?", (state,)
            ).fetchone()[0]
        for name, sql in _BY_NAME.items():
            true |= {f"{name}/{of}": count for of, count in conn.execute(sql)}
    # A retried delivery was dead or expired before, and orders change their state.
    compared = {
        name: count
        for name, count in kept.items()
        if "/" not in name or (count and name.partition("/")[0] in _BY_NAME)
    }
    return compared, true


@pytest.fixture
async def store(path, request):
    # The contracts, which are classes, need no journal from the beginning.
    store = Store(path if request.cls is None else prepared(path))
    yield store
    await store.end()


@pytest.fixture
async def journal(store):
    return await store.start()


@contextlib.contextmanager
def shell(path):
    """A second connection to the file, like that of the sqlite3 shell."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as conn:
        yield conn


def schema(path):
    with shell(path) as conn:
        return set(conn.execute("select type, name, tbl_name, sql from sqlite_schema"))


class TestSQLite(JournalContract):
    pass


class TestOrders(OrderContract):
    pass


class TestVisible(VisibleContract):
    pass


class TestKeys(KeysContract):
    pass


class TestCalls(CallsContract):
    pass


class TestAudit(AuditContract):
    pass


class SQLiteHistory(JournalHistory):
    """Mutants: a settle that does not change the counters, or counts another state; dropped keys of
    a copy; repeated bytes in quarantine that count as new."""

    def make_store(self):
        return Store(prepared(Path(tempfile.mkdtemp()) / "smshook.db"))

    async def unmake_store(self, store):
        await store.end()
        kept, true = recounted(store.path)
        shutil.rmtree(store.path.parent)
        assert kept == true


TestHistory = pytest.mark.uncounted(SQLiteHistory.TestCase)
# No shrinking: the histories are short, and each step is an fsync.
TestHistory.settings = hypothesis.settings(
    max_examples=examples(30), stateful_step_count=25, phases=[hypothesis.Phase.generate]
)


# The file


async def test_files_of_the_journal_have_mode_0600(journal, path):
    await record(journal, planned())

    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}

    assert modes == dict.fromkeys(["smshook.db", "smshook.db-shm", "smshook.db-wal"], 0o600)


async def test_writing_connection_has_durable_settings(journal):
    """Mutant: synchronous = normal, which loses acknowledged commits at a power cut."""
    pragmas = {
        name: journal._conn.execute(f"pragma {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "secure_delete")
    }

    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "wal_autocheckpoint": 0,
        "secure_delete": 1,
    }


async def test_readers_cannot_write(journal):
    """Mutant: a second connection that can checkpoint, which loses the log in old SQLites."""
    with pytest.raises(Unavailable, match="SQLITE_READONLY"):
        await journal._reader.ask(lambda conn: conn.execute("delete from events"))


async def test_reader_opens_a_relative_path_with_special_characters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("odd ?#%41.db"))
    journal = await store.start()

    assert await journal.ask(JournalStats()) == stats()
    await store.end()


async def test_closed_journal_leaves_no_file_open(journal, path):
    await record(journal, planned())
    await journal.close()

    assert [name for name in open_files() if name.startswith(str(path))] == []
    assert [one.name for one in path.parent.iterdir()] == ["smshook.db"]


def open_files():
    names = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the connection that listed them
            names.append(str(fd.readlink()))
    return names


async def test_another_secret_is_refused_and_the_file_unchanged(store, path):
    journal = await store.start(seal="one")
    await record(journal, planned(owed=[owed()]))
    await journal.close()
    before = path.read_bytes()

    with pytest.raises(WrongJournal, match=r"server\.secret is not the one"):
        await store.start(seal="two")

    assert path.read_bytes() == before
    await store.start(seal="one")


async def test_another_secret_does_not_migrate_an_old_journal(store, path, monkeypatch):
    """Mutant: the seal is checked after the migration."""
    await (await store.start(seal="one")).close()
    with_a_step_more(monkeypatch, "create table more (a)")

    with pytest.raises(WrongJournal):
        await store.start(seal="two")

    assert "more" not in {name for _, name, _, _ in schema(path)}


async def test_journal_of_a_newer_version_is_refused(store, path):
    await (await store.start()).close()
    with shell(path) as conn:
        conn.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('journal', 'm999_of_tomorrow', '2027')"
        )

    for use in (lambda: migrate(path), lambda: asyncio.run(store.start())):
        with pytest.raises(WrongJournal, match="step m999_of_tomorrow, of a newer smshook"):
            await asyncio.to_thread(use)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_journal_of_another_user_is_not_called_unopenable(path):
    """Mutant: `SQLITE_CANTOPEN`, which says nothing about permissions."""
    migrate(path)
    is_current(path)  # imports first: another user may be unable to read them
    with tempfile.TemporaryDirectory() as folder:  # another user cannot pass through `tmp_path`
        copy = Path(shutil.move(path, folder))
        copy.parent.chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(Unavailable, match="cannot be opened: Permission denied"):
                is_current(copy)
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("made", [b"no database, but a letter to somebody\n" * 30, None])
async def test_file_that_is_not_a_journal_is_refused(path, store, made):
    if made is None:
        path.mkdir()
        expected = pytest.raises(Unavailable, match="cannot be opened: Is a directory")
    else:
        path.write_bytes(made)
        expected = pytest.raises(WrongJournal, match="is not an SQLite database")

    with expected:
        await store.start()

    assert made is None or path.read_bytes() == made


async def test_journal_locked_by_another_connection_is_refused(path, store):
    await (await store.start()).close()

    with shell(path) as conn:
        conn.execute("begin exclusive")
        with pytest.raises(Unavailable, match="SQLITE_BUSY"):
            await store.start()

    assert await (await store.start()).ask(JournalStats()) == stats()


# The schema


def with_a_step_more(monkeypatch, *statements, name="m900_more"):
    scripts = [*sqlite_open._scripts(), (name, statements)]
    monkeypatch.setattr(sqlite_open, "_scripts", lambda: scripts)


def test_migrated_schema_equals_a_new_schema(tmp_path, monkeypatch):
    scripts = sqlite_open._scripts()
    afresh, step_by_step = tmp_path / "a.db", tmp_path / "b.db"

    migrate(afresh)
    taken = []
    for known in range(1, len(scripts) + 1):
        monkeypatch.setattr(sqlite_open, "_scripts", lambda known=known: scripts[:known])
        taken += migrate(step_by_step)

    assert taken == [name for name, _ in scripts]
    assert schema(afresh) == schema(step_by_step)
    assert migrate(afresh) == []


def test_failed_migration_changes_nothing(path, monkeypatch):
    """Mutant: sqlite3's executescript, which commits before it begins."""
    migrate(path)
    before = schema(path)
    with_a_step_more(monkeypatch, "create table half (a)", "insert into nowhere values (1)")

    with pytest.raises(Unavailable):
        migrate(path)

    assert schema(path) == before


KILLED_IN_THE_MIDDLE = """
import os, pathlib, signal, sys
from journal.sqlite import schema as sqlite_open
from sqlite_utils import Database

more = ("m900_more", ["create table half (a)", "create table never (a)"])
scripts = [*sqlite_open._scripts(), more]
sqlite_open._scripts = lambda: scripts
run = Database.execute
def half(db, sql, *values):
    if "never" in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(db, sql, *values)
Database.execute = half
sqlite_open.migrate(pathlib.Path(sys.argv[1]))
"""


def test_killed_migration_changes_nothing(path, monkeypatch):
    migrate(path)
    before = schema(path)

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, path], cwd=ROOT, check=False, timeout=60
    )

    assert killed.returncode == -signal.SIGKILL
    assert schema(path) == before
    with_a_step_more(monkeypatch, "create table half (a)", "create table never (a)")
    assert migrate(path) == ["m900_more"]


# Failures


async def test_write_succeeds_after_a_shell_releases_its_lock(journal, path):
    with shell(path) as conn:
        conn.execute("begin immediate")
        with pytest.raises(Unavailable, match="SQLITE_BUSY"):
            await record(journal, planned(1))
        assert await journal.ask(JournalStats()) == stats()

    plan = planned(1)
    assert (await record(journal, plan)).new == (True,)
    assert journal.failure is None


async def test_full_disk_loses_no_acknowledged_event(journal, store, path):
    """Mutants: an OperationalError is acknowledged; there is no rollback."""
    acknowledged, refused = [], 0
    pages = journal._conn.execute("pragma page_count").fetchone()[0]
    journal._conn.execute(f"pragma max_page_count = {pages + 10}")

    while not refused:
        plan = planned(owed=[owed()], text="x" * 3000)
        try:
            await record(journal, plan)
            acknowledged.append(plan.event.id)
        except Unavailable as exc:
            assert str(exc) == "SQLITE_FULL"  # noqa: PT017 - the number that fits is unknown
            refused += 1
    with pytest.raises(Unavailable):
        await asyncio.gather(*(record(journal, planned(text="y" * 90_000)) for _ in range(9)))
    journal._conn.execute("pragma max_page_count = 100000")
    healed = planned()
    await record(journal, healed)

    assert len(acknowledged) > 1
    assert await listed(journal) == [*acknowledged, healed.event.id]
    assert recounted(path)[0] == recounted(path)[1]
    assert await listed(await store.start()) == [*acknowledged, healed.event.id]


async def test_health_recovers_only_after_a_successful_write(journal):
    """Mutants: a `Take` without a result counts as a recovery, but works on a full disk; a bad row
    counts as a failure."""
    with pytest.raises(InvalidRow):
        await record(journal, spoiled(planned()))
    seen = [journal.health]
    pages = journal._conn.execute("pragma page_count").fetchone()[0]
    journal._conn.execute(f"pragma max_page_count = {pages}")

    with pytest.raises(Unavailable):
        await record(journal, planned(text="x" * 90_000))
    seen.append(journal.health)
    assert await take(journal, "log", limit=9, now=NOW) == ()
    assert await journal.submit(DismissQuarantined("nothing")) is False
    seen.append(journal.health)
    await journal.submit(Touch())
    seen.append(journal.health)

    assert seen == ["working", "failing", "failing", "working"]


def failure(name, kind=sqlite3.OperationalError):
    exc = kind("a text that may quote what it must not")
    exc.sqlite_errorname = name
    return exc


@pytest.mark.parametrize(
    ("exc", "verdict"),
    [
        (failure("SQLITE_IOERR_FSYNC"), Broken("SQLITE_IOERR_FSYNC")),
        (failure("SQLITE_IOERR_DIR_FSYNC"), Broken("SQLITE_IOERR_DIR_FSYNC")),
        (failure("SQLITE_CORRUPT", sqlite3.DatabaseError), Broken("SQLITE_CORRUPT")),
        (failure("SQLITE_CORRUPT_INDEX", sqlite3.DatabaseError), Broken("SQLITE_CORRUPT_INDEX")),
        (failure("SQLITE_NOTADB", sqlite3.DatabaseError), Broken("SQLITE_NOTADB")),
        (failure("SQLITE_FULL"), Unavailable("SQLITE_FULL")),
        (failure("SQLITE_READONLY"), Unavailable("SQLITE_READONLY")),
        (failure("SQLITE_BUSY"), Unavailable("SQLITE_BUSY")),
        (failure("SQLITE_CANTOPEN"), Unavailable("SQLITE_CANTOPEN")),
        (failure("SQLITE_IOERR_WRITE"), Unavailable("SQLITE_IOERR_WRITE")),
        (MemoryError(), Unavailable("MemoryError")),
        (TypeError("a value"), Unavailable("TypeError")),
        (failure("SQLITE_CONSTRAINT", sqlite3.IntegrityError), InvalidRow("SQLITE_CONSTRAINT")),
        (failure("SQLITE_TOOBIG", sqlite3.DataError), InvalidRow("SQLITE_TOOBIG")),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "a text"), InvalidRow("UnicodeEncodeError")),
        (OverflowError("a number"), InvalidRow("OverflowError")),
    ],
    ids=lambda one: getattr(one, "sqlite_errorname", None) or type(one).__name__,
)
def test_sqlite_error_has_a_verdict_and_a_name_without_its_text(exc, verdict):
    """Mutant: a failed fsync is only Unavailable, and the next commit "succeeds"."""
    judgement = judged(exc)

    assert (type(judgement), str(judgement)) == (type(verdict), str(verdict))


class Failing:
    """A connection on which some statements fail."""

    def __init__(self, conn, failures):
        self._conn, self.failures = conn, failures
        self.executed = []

    @property
    def in_transaction(self):
        return self._conn.in_transaction

    @property
    def total_changes(self):
        return self._conn.total_changes

    def execute(self, sql, values=()):
        self.executed.append(sql)
        for word, exc in self.failures.items():
            if sql.startswith(word):
                raise exc
        return self._conn.execute(sql, values)

    def executemany(self, sql, rows):
        for values in rows:
            self.execute(sql, values)


@pytest.fixture
def failing(path):
    migrate(path)
    conn = sqlite_open._connect(path)
    conn.execute("insert into starts values (1, 0.0, 1, '0')")
    yield Failing(conn, {})
    conn.close()


def test_nothing_is_executed_after_a_failed_fsync(failing):
    """Not even a rollback runs, because the state of the disk is unknown."""
    writer = BatchWriter(failing, 1)
    failing.failures["commit"] = failure("SQLITE_IOERR_FSYNC")

    with pytest.raises(Broken, match="SQLITE_IOERR_FSYNC"):
        writer.write([Record(arrival(), (planned(),), None)])

    assert failing.executed[-1] == "commit"


def test_failed_rollback_breaks_the_journal(failing):
    """Mutant: the transaction stays open, and the next batch is written into it."""
    writer = BatchWriter(failing, 1)
    failing.failures |= {"commit": failure("SQLITE_FULL"), "rollback": failure("SQLITE_IOERR")}

    with pytest.raises(Broken, match="SQLITE_IOERR"):
        writer.write([Record(arrival(), (planned(),), None)])


@pytest.mark.parametrize("exc", [failure("SQLITE_FULL"), MemoryError(), TypeError()], ids=repr)
def test_failed_batch_leaves_no_open_transaction(failing, exc):
    """Mutant: only sqlite3's errors are caught; SQLITE_NOMEM is a MemoryError."""
    writer = BatchWriter(failing, 1)
    failing.failures["insert or fail into events"] = exc

    with pytest.raises(Unavailable):
        writer.write([Record(arrival(), (planned(),), None)])
    assert not failing.in_transaction
    failing.failures.clear()
    writer.write([Record(arrival(), (planned(),), None)])

    assert failing._conn.execute("select seq from events").fetchall() == [(1,)]


def test_take_without_due_deliveries_writes_nothing(failing):
    """Mutant: adding 0 to a counter costs an fsync."""
    BatchWriter(failing, 1).write([Take("log", Turn.FRESH, 10, NOW)])

    assert [sql for sql in failing.executed if "counters" in sql] == []


def test_second_settle_in_a_batch_returns_false(failing):
    """Mutant: the first settle does not remove the id from `Outbox._delivered`."""
    writer = BatchWriter(failing, 1)
    writer.write([Record(arrival(), (planned(owed=[owed()]),), None)])
    [committed] = writer.take_committed()
    settle = Settle(committed.deliveries["log"][0], attempt(), State.DELIVERED, None)

    assert writer.write([settle, settle]) == [Settled(), None]


async def test_failed_fsync_answers_all_callers_and_ends_writing(path):
    seen = []
    journal = await SQLiteJournal.open(
        path, seal="seal", now=NOW, version="0.1.0", broken=lambda: seen.append("broken")
    )
    failing = Failing(journal._conn, {"commit": failure("SQLITE_IOERR_FSYNC")})
    journal._commits._write.__self__._conn = failing

    answers = await asyncio.gather(
        *(record(journal, planned()) for _ in range(3)), return_exceptions=True
    )
    later = await asyncio.gather(record(journal, planned()), return_exceptions=True)

    assert [type(answer) for answer in answers + later] == [Broken] * 4
    assert (seen, journal.failure is not None, failing.executed.count("commit")) == (
        ["broken"],
        True,
        1,
    )
    await journal.close()
    # The process would end here, by os._exit; this one has other tests to run.
    journal._conn.close()


# The log


def log_size(path):
    return path.with_name("smshook.db-wal").stat().st_size


@pytest.mark.parametrize("asked", [Take("log", Turn.RETRIED, limit=1, now=NOW), Probe("log")])
async def test_reading_due_deliveries_needs_no_commit_of_its_own(journal, asked):
    """A hundred failing sinks read often. Mutants: these writes are not patient."""
    journal._commits._patience = 60
    before = journal.meters.commits

    asking = journal.submit(asked)
    for _ in range(3):
        await asyncio.sleep(0)
    await record(journal, planned())

    assert (await asking, journal.meters.commits - before) == ((), 1)


@pytest.fixture
def short_log(monkeypatch):
    """A log that is written back at 40 pages, and truncated at 80; readers wait at 400."""
    frame = sqlite_write._FRAME
    monkeypatch.setattr(sqlite_write, "CHECKPOINT_AT", 40 * frame)
    monkeypatch.setattr(sqlite_write, "CHECKPOINT_STEP", 10 * frame)
    monkeypatch.setattr(sqlite_write, "TRUNCATE_AT", 80 * frame)
    monkeypatch.setattr(sqlite, "GATE_AT", 400 * frame)
    monkeypatch.setattr(sqlite, "GATE_STEP", 40 * frame)
    monkeypatch.setattr(sqlite, "GATE_WITHIN", 0.05)
    return 400 * frame


@pytest.mark.usefixtures("short_log")
async def test_write_ahead_log_stays_small(store, path):
    """Mutant: no checkpoint, and the log grows for ever."""
    journal = await store.start()
    sizes = []
    for _ in range(120):
        await record(journal, planned(text="x" * 20_000))
        sizes.append(log_size(path))

    assert max(sizes) < 150 * sqlite_write._FRAME
    assert path.stat().st_size > 120 * 20_000 // 2


async def test_overlapping_readers_do_not_keep_the_log_growing(store, path, short_log):
    """Mutant: a checkpoint does not wait for readers, and there is always one."""
    journal = await store.start()
    stop = asyncio.Event()

    def slow(conn):
        conn.execute("begin")
        conn.execute("select count(*) from events").fetchall()
        time.sleep(0.02)
        conn.execute("rollback")
        return 1

    async def reader(delay):
        await asyncio.sleep(delay)
        answers = 0
        while not stop.is_set():
            answers += await journal._reader.ask(slow, within=60)
        return answers

    readers = [asyncio.create_task(reader(delay)) for delay in (0, 0.005, 0.01, 0.015)]
    sizes = []
    for _ in range(400):
        await record(journal, planned(text="x" * 20_000))
        sizes.append(log_size(path))
    stop.set()
    answers = await asyncio.gather(*readers)

    # The log grows while readers end, for as long as the machine takes. Each event is twice in it,
    # as text and as a callback.
    assert short_log < max(sizes) < 400 * 20_000
    assert all(answers)


class Checkpointing(Failing):
    """A connection on which checkpoints fail."""

    def __init__(self, conn, name):
        super().__init__(conn, {"pragma wal_checkpoint": failure(name)})


@pytest.mark.parametrize("name", ["SQLITE_IOERR_FSYNC", "SQLITE_CORRUPT"])
async def test_fatal_checkpoint_error_breaks_the_journal(store, name):
    """Mutant: SQLite's automatic checkpoint, which does not report it."""
    journal = await store.start()
    journal._writer._conn = Checkpointing(journal._conn, name)
    journal._writer._checkpoint_at = 0

    await record(journal, planned())
    with pytest.raises(Broken, match=name):
        await record(journal, planned())

    assert journal.failure == name
    journal._conn.close()


@pytest.mark.usefixtures("short_log")
@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_BUSY"])
async def test_temporary_checkpoint_failure_is_retried(store, name):
    """Mutants: it ends the service; it is not tried again."""
    journal = await store.start()
    failing = journal._writer._conn = Checkpointing(journal._conn, name)
    for _ in range(30):
        await record(journal, planned(text="x" * 20_000))
    failing.failures.clear()
    grown = journal._writer.log_size
    for _ in range(30):
        await record(journal, planned(text="x" * 20_000))

    assert journal.failure is None
    assert grown > 80 * sqlite_write._FRAME
    assert journal._writer.log_size < grown


async def test_close_does_not_touch_a_journal_that_fails_at_its_end(store, path):
    """Mutant: the connection is closed, which checkpoints again and hides the failure."""
    journal = await store.start()
    await record(journal, planned())
    journal._writer._conn = Checkpointing(journal._conn, "SQLITE_IOERR_FSYNC")

    await journal.close()

    assert journal.failure == "SQLITE_IOERR_FSYNC"
    assert log_size(path) > 0
    journal._conn.close()


async def test_opening_a_damaged_journal_ends_the_process(store, path):
    """Mutant: Unavailable. Then the connection is closed, which writes to the damaged file."""
    await (await store.start()).close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    with pytest.raises(Broken, match="SQLITE_CORRUPT"):
        await store.start()

    sqlite_open._UNTOUCHED.pop().close()


# Reads


async def test_slow_query_is_interrupted(journal):
    """Mutant: it goes on without its caller, and the log keeps growing."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"

    with pytest.raises(Unavailable):
        await journal._reader.ask(lambda conn: conn.execute(endless).fetchall(), within=0.2)

    # Both threads are free again.
    both = [
        journal._reader.ask(lambda conn: queries.stats(conn, JournalStats()), within=60)
        for _ in range(2)
    ]
    assert await asyncio.gather(*both) == [stats(), stats()]


async def test_query_on_a_hanging_disk_is_unavailable(journal):
    """Mutant: callers wait as long as the disk takes."""
    go_on = threading.Event()
    hanging = [
        asyncio.ensure_future(journal._reader.ask(lambda _conn: go_on.wait(60), within=0.1))
        for _ in range(3)
    ]

    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    go_on.set()

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3


async def test_damage_found_by_a_reader_breaks_the_journal(path):
    seen = []
    journal = await SQLiteJournal.open(
        path, seal="seal", now=NOW, version="0", broken=lambda: seen.append("broken")
    )

    def damaged(_conn):
        raise failure("SQLITE_CORRUPT", sqlite3.DatabaseError)

    with pytest.raises(Broken, match="SQLITE_CORRUPT"):
        await journal._reader.ask(damaged)

    assert (seen, journal.failure is not None) == (["broken"], True)
    await journal.close()
    journal._conn.close()


@pytest.mark.uncounted
async def test_hundred_thousand_pending_deliveries_are_taken_in_order(store):
    """A start takes each pending delivery once, the oldest first."""
    journal = await store.start()
    plans = [planned(owed=[owed()]) for _ in range(100)]
    for plan in plans:
        await record(journal, plan)
    await journal.close()
    with shell(store.path) as conn:
        conn.execute(
            "insert into deliveries (event, sink, state, due_at, accepted_at)"
            " with recursive n(i) as (select 101 union all select i + 1 from n where i < 100000)"
            " select 1 + i % 100, 'log', 'pending', accepted_at, accepted_at"
            " from n, (select accepted_at from deliveries limit 1)"
        )
    journal = await store.start()

    taken = []
    while batch := await journal.submit(Take("log", Turn.FRESH, limit=1000, now=NOW + 60)):
        taken += [delivery.id for delivery in batch]
        with shell(store.path) as conn:
            conn.execute(
                "update deliveries set state = 'delivered', owner = null where owner is not null"
            )

    assert taken == list(range(1, 100_001))


async def test_failed_query_is_unavailable(journal):
    def bad(conn):
        conn.execute("select * from nowhere")

    with pytest.raises(Unavailable, match="SQLITE_ERROR"):
        await journal._reader.ask(bad)


async def test_failed_open_leaves_no_thread(path):
    path.mkdir()
    before = len(sys._current_frames())

    with pytest.raises(Unavailable, match=os.strerror(errno.EISDIR)):
        await SQLiteJournal.open(path, seal="seal", now=NOW, version="0.1.0")

    assert len(sys._current_frames()) == before


# Its size


async def test_page_reads_a_limited_window_and_can_be_continued(store, monkeypatch):
    """Mutant: a filter without an index that reads the whole journal for one page."""
    monkeypatch.setattr(paging, "WINDOW", 3)
    journal = await store.start()
    plans = [planned(subject="request/1") for _ in range(10)]
    plans[8] = planned(subject="request/1", code="1")
    for plan in plans:
        await record(journal, plan)

    pages = [await journal.ask(Events(filter=EventFilter(code=True), limit=5))]
    while pages[-1].has_more:
        after = pages[-1].next_seq
        pages.append(await journal.ask(Events(filter=EventFilter(code=True), after=after, limit=5)))
    down = await journal.ask(Events(filter=EventFilter(code=True), limit=5, desc=True))
    indexed = await journal.ask(
        Events(filter=EventFilter(code=True, subject=("request/1",)), limit=5)
    )

    assert [(len(page.items), page.next_seq) for page in pages] == [(0, 3), (0, 6), (1, 9), (0, 10)]
    assert (len(down.items), down.next_seq, down.has_more) == (1, 8, True)
    assert (len(indexed.items), indexed.has_more) == (1, False)
    assert await listed(journal, code=True, desc=True) == [plans[8].event.id]


@pytest.mark.parametrize(
    ("wanted", "width"),
    [
        ({"code": True}, 70),
        ({"service": ("unknown",)}, 35),
        ({"source": ("unknown",)}, 14),
        ({"source": ("unknown",), "service": ("unknown",)}, 10),
    ],
)
async def test_page_reads_fewer_events_if_each_takes_longer(store, monkeypatch, wanted, width):
    """Mutant: the time to compare services is not added to that of the source."""
    monkeypatch.setattr(paging, "WINDOW", 70)
    journal = await store.start()
    for _ in range(80):
        await record(journal, planned())

    page = await journal.ask(Events(filter=EventFilter(**wanted), limit=5))

    assert (page.items, page.next_seq, page.has_more) == ((), width, True)


@pytest.mark.uncounted
@hypothesis.given(
    ages=hypothesis.strategies.lists(
        hypothesis.strategies.sampled_from([0, 1, 2, 30, 59, 61, 200, 900]), min_size=1, max_size=25
    ),
    restarts=hypothesis.strategies.sets(hypothesis.strategies.integers(0, 24), max_size=3),
    since=hypothesis.strategies.none() | hypothesis.strategies.integers(-900, 250),
    until=hypothesis.strategies.none() | hypothesis.strategies.integers(-900, 250),
    desc=hypothesis.strategies.booleans(),
)
@hypothesis.settings(max_examples=examples(60))
async def test_time_range_is_complete_after_any_clock_changes(ages, restarts, since, until, desc):
    """Mutants: the disorder is not stored; events before it are skipped."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging, "WINDOW", 4)
        store = Store(prepared(Path(folder) / "smshook.db"))
        journal, kept = await store.start(), []
        for n, age in enumerate(ages):
            if n in restarts:
                await journal.close()
                journal = await store.start()
            plan = planned(at=NOW + 10 * n - age)
            await record(journal, plan)
            kept.append(plan)
        asked = {
            name: NOW + at for name, at in (("since", since), ("until", until)) if at is not None
        }

        found = await walked(journal, EventFilter(**asked), desc=desc)
        await store.end()

    inside = [
        plan.event.id
        for plan in kept
        if asked.get("since", 0) <= plan.at < asked.get("until", math.inf)
    ]
    assert found == (inside[::-1] if desc else inside)


async def test_reader_of_events_until_a_time_misses_none_that_come_fast(store, monkeypatch):
    """A page that matches little ends before the events that `until` leaves out.

    Mutants: the place of the first event that is later by TOLERATED; that of the window's end.
    """
    monkeypatch.setattr(paging, "WINDOW", 40)
    journal = await store.start()
    for n in range(40):
        await record(journal, planned(at=NOW + n))
    wanted, after, found = EventFilter(service=("none",)), 0, []
    for end in (10.5, 25.5, 100):
        page = await journal.ask(
            Events(filter=msgspec.structs.replace(wanted, until=NOW + end), after=after)
        )
        while page.has_more:
            after = page.next_seq
            page = await journal.ask(
                Events(filter=msgspec.structs.replace(wanted, until=NOW + end), after=after)
            )
        after = page.next_seq
        found.append(after)

    assert (found[0] <= 11, found[1] <= 26, found[2] <= 40) == (True, True, True), found


async def test_reader_of_events_until_a_time_misses_none_after_a_clock_correction(store):
    """The event behind it is read twice. Mutant: the cursor is that of the last event."""
    journal = await store.start()
    for at in (0, 100, 50):
        await record(journal, planned(at=NOW + at))

    early = await journal.ask(Events(filter=EventFilter(until=NOW + 60), limit=9))
    late = await journal.ask(
        Events(filter=EventFilter(until=NOW + 200), after=early.next_seq, limit=9)
    )

    assert [seq for seq, _ in early.items] == [1, 3]
    assert [seq for seq, _ in late.items] == [2, 3]


async def walked(journal, wanted, *, desc):
    """Return the ids of all pages."""
    found, after = [], None
    while True:
        page = await journal.ask(Events(filter=wanted, after=after, limit=3, desc=desc))
        found += [json.loads(body)["id"] for _, body in page.items]
        if not page.has_more:
            return found
        assert page.next_seq != after
        after = page.next_seq


@pytest.mark.parametrize(
    ("times", "restart_before", "asked", "places"),
    [
        ((0, 100, 50, 51, 52), None, {"since": 90}, [2]),
        ((0, 100, 50), None, {"until": 60}, [1, 3]),
        ((150, 100, 75, 76, 77), 2, {"since": 140}, [1]),
    ],
    ids=["since", "until", "a start"],
)
async def test_small_clock_correction_hides_no_event(store, times, restart_before, asked, places):
    """Mutants: no tolerance around `since` or `until`; a start takes the last for the newest."""
    journal = await store.start()
    for n, at in enumerate(times):
        if n == restart_before:
            await journal.close()
            journal = await store.start()
        await record(journal, planned(at=NOW + at))
    wanted = EventFilter(**{name: NOW + at for name, at in asked.items()})

    page = await journal.ask(Events(filter=wanted, limit=9))

    assert [seq for seq, _ in page.items] == places


@pytest.mark.parametrize("desc", [False, True])
async def test_events_outside_the_time_range_are_skipped(store, monkeypatch, desc):
    """Mutant: after a year, hundreds of empty pages precede the events of the last hour."""
    monkeypatch.setattr(paging, "WINDOW", 3)
    journal = await store.start()
    plans = [planned(at=NOW + 3600 * n) for n in range(40)]
    for plan in plans:
        await record(journal, plan)
    wanted = EventFilter(since=NOW + 3600 * 20, until=NOW + 3600 * 21)

    page = await journal.ask(Events(filter=wanted, limit=5, desc=desc))

    assert [seq for seq, _ in page.items] == [21]
    assert not page.has_more


async def test_events_of_an_older_version_may_be_out_of_order(path, store):
    """Mutant: an older journal counts as ordered, though its clock may have been set back."""
    journal = await store.start()
    plans = [planned(at=NOW + at) for at in (9000, 0, 1)]
    for plan in plans:
        await record(journal, plan)
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("delete from meta where name = 'unordered_until'")
        conn.execute("delete from _sqlite_migrations where name like 'm003%'")
        conn.commit()

    journal = await store.start()

    assert await listed(journal, since=NOW + 5000) == [plans[0].event.id]


MINE = "select id from deliveries where"


@pytest.mark.parametrize(
    ("question", "index"),
    [
        *(
            (f"{question} sink = 'a' and state = 'pending' and {tried}{more}", index)
            for tried, index in (
                (deliveries.TURNS[Turn.FRESH], "_fresh"),
                (deliveries.TURNS[Turn.RETRIED], "_retried"),
                (deliveries.TURNS[Turn.REPLAYED], "_fresh"),
            )
            for question, more in (
                ("select due_at from deliveries where", " and due_at is not null order by due_at"),
                (MINE, " and due_at <= 1 order by due_at, id"),
            )
        ),
        (
            f"{MINE} sink = 'a' and state = 'pending' and held = 1 order by id limit 10",
            "_held",
        ),
        (f"{MINE} event = 1", "_event"),
        (
            f"{MINE} sink = 'a' and state = 'pending' and attempts > 0 order by id limit 1",
            "_failed",
        ),
        (
            f"{MINE} sink = 'a' and ordering = 'x' and state in ('pending', 'sending') order by id",
            "_ordered",
        ),
    ],
)
def test_queries_of_the_worker_use_an_index_without_a_sort(path, question, index):
    migrate(path)
    with shell(path) as conn:
        steps = [row[3] for row in conn.execute(f"explain query plan {question}")]

    assert len(steps) == 1
    assert f"USING INDEX deliveries{index}" in steps[0].replace("COVERING ", "")


@pytest.mark.parametrize(
    ("turn", "index"),
    [
        (Turn.FRESH, "_fresh (sink=? AND replay=? AND due_at<?)"),
        (Turn.RETRIED, "_retried (sink=? AND due_at<?)"),
        (Turn.REPLAYED, "_fresh (sink=? AND replay=? AND due_at<?)"),
    ],
)
def test_take_reads_an_index_without_a_sort(path, turn, index):
    """Mutant: an order without an index: each read sorts the whole backlog."""
    conn, start, *_ = sqlite_open.begin(path, seal="seal", now=NOW, version="0.1.0")
    statements = []
    conn.set_trace_callback(statements.append)

    BatchWriter(conn, start).write([Take("log", turn, 10, NOW, (1, 2))])

    conn.set_trace_callback(None)
    [sql] = [statement for statement in statements if "cross join events" in statement]
    steps = [row[3] for row in conn.execute(f"explain query plan {sql}")]
    conn.close()
    assert any(f"INDEX deliveries{index}" in step for step in steps)
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN deliv")]


@pytest.mark.parametrize("state", sorted(set(State) - {State.DELIVERED, State.SENDING}))
def test_undelivered_deliveries_are_found_through_an_index(path, state):
    """Mutant: no index is named, and the id has no plus: SQLite reads all rows in their order."""
    migrate(path)
    statements = []
    with shell(path) as conn:
        conn.set_trace_callback(statements.append)
        assert deliveries._few(conn, DeliveryFilter(state=(state,)), 1, 9, 5, desc=True) == []
        conn.set_trace_callback(None)
        steps = [row[3] for sql in statements for row in conn.execute(f"explain query plan {sql}")]

    ways = {State.PENDING: ("INDEX deliveries_fresh", "INDEX deliveries_retried")}
    assert [step for step in steps if step.startswith("SCAN deliv") and "INDEX" not in step] == []
    for way in ways.get(state, ("SEARCH given_up USING PRIMARY KEY",)):
        assert any(way in step for step in steps)


def test_retry_of_all_that_are_given_up_reads_no_event(path):
    """Mutants: the table `deliveries` with its events is read, too; the rows are sorted."""
    migrate(path)
    statements = []
    wanted = DeliveryFilter(state=(State.DEAD, State.EXPIRED), source=("tellabot",), sink=("log",))
    with shell(path) as conn:
        conn.set_trace_callback(statements.append)
        assert deliveries.brief(conn, DeliveriesBriefly(filter=wanted, limit=9)) == []
        conn.set_trace_callback(None)
        steps = [row[3] for sql in statements for row in conn.execute(f"explain query plan {sql}")]

    assert steps == ["SEARCH deliveries USING PRIMARY KEY (state=? AND id>?)"] * 2
    assert all("from given_up as deliveries" in sql for sql in statements)


@pytest.mark.parametrize("desc", [False, True])
async def test_page_looks_at_a_limited_number_of_dead_deliveries(store, monkeypatch, desc):
    """Mutant: the page ends with the last row that it found, and the next one reads it all again.

    Mutants: a page reads fewer rows than it may show; the whole list of dead deliveries is read
    for a rare source.
    """
    monkeypatch.setattr(paging, "AMONG", 2)
    monkeypatch.setattr(paging, "_AT_ONCE", 3)
    journal = await store.start()
    plans = [planned(owed=[owed()], source="rare" if n == 5 else "common") for n in range(11)]
    for plan in plans:
        (delivery,) = await handed(journal, plan)
        await journal.submit(Settle(delivery, attempt(), State.DEAD, due_at=None))

    pages, after = [], None
    while not pages or pages[-1].has_more:
        wanted = DeliveryFilter(state=(State.DEAD,), source=("rare",))
        asked = Deliveries(filter=wanted, after=after, limit=4, desc=desc)
        pages.append(await journal.ask(asked))
        after = pages[-1].next_seq

    assert [[place for place, _ in page.items] for page in pages] == [[], [6], []]
    assert [page.next_seq for page in pages] == ([8, 4, 1] if desc else [4, 8, 11])


@pytest.mark.parametrize("window", [3, 50])
async def test_many_pending_deliveries_are_found_among_the_newest(store, monkeypatch, window):
    """Mutants: only the newest window is read; its rows are not those of the sink.

    With few of them among the newest deliveries, the index is read.
    """
    monkeypatch.setattr(paging, "AMONG", 3)
    monkeypatch.setattr(deliveries, "WINDOW", window)
    journal = await store.start()
    for sinks in (("a",), ("b",), ("a", "b"), ("b",), ("a",), ("b",), ("b",)):
        await record(journal, planned(owed=[owed(sink) for sink in sinks]))

    pages, after, has_more = [], None, True
    wanted = DeliveryFilter(state=(State.PENDING,), sink=("a",))
    while has_more:
        page = await journal.ask(Deliveries(filter=wanted, after=after, limit=2, desc=True))
        pages.append([place for place, _ in page.items])
        after, has_more = page.next_seq, page.has_more

    assert pages == [[6, 3], [1]]


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_sqlite_versions_with_the_wal_reset_bug_are_known(version, has_it):
    assert has_wal_reset_race(version) is has_it


# A process that is killed

ACKNOWLEDGES = """
import asyncio, pathlib, sys
sys.path.insert(0, "tests")
from contracts.journal import handed, NOW, owed, planned, record
from journal.sqlite.journal import SQLiteJournal

async def main():
    path = pathlib.Path(sys.argv[1])
    journal = await SQLiteJournal.open(path, seal="seal", now=NOW, version="0")
    async def client():
        while True:
            plan = planned(owed=[owed()])
            await record(journal, plan)
            print(plan.event.id, flush=True)
    await asyncio.gather(*(client() for _ in range(8)))

asyncio.run(main())
"""


def acknowledged_until_killed(path):
    with subprocess.Popen(
        [sys.executable, "-c", ACKNOWLEDGES, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        acknowledged = [process.stdout.readline().strip() for _ in range(100)]
        process.kill()
        return acknowledged + process.stdout.read().split("\n")[:-1]


async def test_kill_9_loses_no_acknowledged_event(store, path):
    acknowledged = await asyncio.to_thread(acknowledged_until_killed, path)

    journal = await store.start()

    kept = await listed(journal)
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)
    assert await journal.ask(JournalStats()) == stats(events=len(kept), pending=len(kept))
    assert await journal.ask(PendingBySink()) == {"log": len(kept)}


async def test_slow_query_does_not_delay_writes(journal):
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(conn):
        conn.execute("begin")
        conn.execute("select count(*) from events").fetchall()
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        conn.execute("rollback")

    asked = asyncio.ensure_future(journal._reader.ask(slow))
    recorded = await record(journal, planned())
    (delivery,) = await handed(journal, planned(owed=[owed()]))
    settled = await journal.submit(Settle(delivery, attempt(), State.DEAD, due_at=None))
    release.set()
    await asked

    assert (recorded.new, settled) == ((True,), Settled())
