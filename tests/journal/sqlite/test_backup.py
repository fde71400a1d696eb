"""A copy of a journal is exact, whatever is written meanwhile."""

import contextlib
import os
import sqlite3

import pytest
from contracts.journal import planned, record

from benchmarks.lab import journals
from core.errors import Unavailable
from journal.sqlite import backup
from journal.sqlite.backup import Contents, NotABackup, check, copy
from journal.sqlite.journal import SQLiteJournal
from journal.sqlite.schema import WrongJournal, begin_generation

SEAL = "0" * 64


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("filled") / "smshook.db"
    journals.fill(path, 2_000)
    return path


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "copy.db"
    path.touch(mode=0o600)
    return path


@contextlib.contextmanager
def connected(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        yield conn


async def opened(path):
    return await SQLiteJournal.open(path, seal=SEAL, now=1.0, version="1")


def test_copy_has_the_rows_of_the_journal(filled, target):
    copy(filled, target)

    with connected(filled) as one, connected(target) as other:
        assert list(one.iterdump()) == list(other.iterdump())
    assert check(target) == Contents(
        bytes=target.stat().st_size,
        events=2_000,
        pending=0,
        newest_at=check(filled).newest_at,
        knows_erasures=True,
    )


def test_copy_ends_while_the_journal_is_written(filled, target, monkeypatch):
    """Another process commits between all steps.

    Mutant: no read transaction: SQLite starts over at each step, and never ends.
    """
    monkeypatch.setattr(backup, "_STEP", 20)
    steps = 0
    with connected(filled) as writer:
        (before,) = writer.execute("select count(*) from starts").fetchone()

        def write(_done, _whole):
            nonlocal steps
            steps += 1
            assert steps < 10_000
            writer.execute("insert into starts (at, pid, version) values (1, 1, 'x')")
            writer.execute("update events set type = 'changed' where seq % 100 = ?", (steps % 100,))

        copy(filled, target, write)
        (after,) = writer.execute("select count(*) from starts").fetchone()
    assert after == before + steps > before + 20
    with connected(target) as made:
        assert made.execute("select count(*) from starts").fetchone() == (before,)
        changed = made.execute("select count(*) from events where type = 'changed'")
        assert changed.fetchone() == (0,)
    assert check(target).events == 2_000


async def test_copy_has_events_that_are_only_in_the_log(tmp_path, target):
    """Mutant: the file is copied without its write-ahead log."""
    journal = await opened(tmp_path / "smshook.db")
    await record(journal, planned())

    copy(tmp_path / "smshook.db", target)

    assert check(target).events == 1
    await journal.close()


def test_copy_is_one_file_that_a_read_only_folder_can_hold(filled, target):
    """Mutant: the copy is in WAL mode, and cannot be opened there."""
    copy(filled, target)

    names = sorted(path.name for path in target.parent.iterdir())
    assert names == ["copy.db"]
    assert target.read_bytes()[18:20] == b"\1\1"  # sqlite.org/fileformat2.html, 1.3: no WAL


def test_progress_goes_up_to_the_end(filled, target):
    seen = []

    copy(filled, target, lambda done, whole: seen.append((done, whole)))

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == target.stat().st_size // 4096
    assert len(seen) > 3


def test_each_step_is_synced_before_the_next(filled, target, monkeypatch):
    """Mutant: one fsync at the end, for which commits of the service wait."""
    synced, steps = [], []
    monkeypatch.setattr(os, "fdatasync", synced.append)

    copy(filled, target, lambda *_: steps.append(len(synced)))

    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_damaged_copy_is_no_backup(filled, target, place):
    copy(filled, target)
    data = bytearray(target.read_bytes())
    at = int(len(data) * place) // 4096 * 4096
    data[at : at + 4096] = b"\x5a" * 4096
    target.write_bytes(data)

    with pytest.raises((NotABackup, Unavailable), match=r"is damaged|SQLITE_CORRUPT"):
        check(target)


def test_other_database_is_no_backup(target):
    """Mutant: it would be migrated, and become an empty journal."""
    with connected(target) as conn:
        conn.execute("create table events (seq)")

    with pytest.raises(NotABackup, match="is a database, but not a journal of smshook"):
        check(target)


def test_other_file_is_no_backup(target):
    target.write_text("no database\n" * 400)

    with pytest.raises(WrongJournal, match="is not an SQLite database"):
        check(target)


# Generations


async def test_restored_journal_is_another_generation(tmp_path, target):
    """Mutants: the identity changes, so nothing sealed opens; the generation stays."""
    journal = await opened(tmp_path / "smshook.db")
    copy(tmp_path / "smshook.db", target)
    begin_generation(target, seal=SEAL)

    restored = await opened(target)

    assert restored.identity == journal.identity == journal.generation
    assert len(bytes.fromhex(restored.generation)) == 16
    assert restored.generation != journal.generation
    await restored.close()
    await journal.close()


async def test_two_restores_of_one_backup_differ(target):
    """Mutant: a counter: cursors of the first restore are valid in the second."""
    await (await opened(target)).close()
    generations = set()
    for _ in range(2):
        begin_generation(target, seal=SEAL)
        journal = await opened(target)
        generations.add(journal.generation)
        await journal.close()

    assert len(generations) == 2


async def test_other_secret_is_refused_before_any_change(target):
    await (await opened(target)).close()
    data = target.read_bytes()

    with pytest.raises(WrongJournal, match=r"server\.secret is not the one"):
        begin_generation(target, seal="1" * 64)

    assert target.read_bytes() == data


async def test_change_is_part_of_the_new_generation(target):
    """Mutant: the change is committed alone; a crash between would serve erased content."""
    await (await opened(target)).close()

    def fail(conn):
        conn.execute("delete from meta where name = 'identity'")
        raise Unavailable("the disk is full")

    with pytest.raises(Unavailable):
        begin_generation(target, seal=SEAL, change=fail)

    journal = await opened(target)
    assert journal.generation == journal.identity
    await journal.close()
