"""Moved files of a running journal are noticed, without opening a file."""

import asyncio
import os
import shutil
import sys

import pytest
from contracts.journal import NOW, planned, record

from core.errors import Broken
from journal.lock import Lock
from journal.reads import EventFilter, Events
from journal.sqlite import journal as sqlite
from journal.sqlite.files import AGAIN, JournalFiles, Moved
from journal.sqlite.journal import SQLiteJournal

NAMES = ("smshook.db", "smshook.db-wal", "smshook.db-shm", "smshook.db.lock")


def removed(path):
    path.unlink()


def moved(path):
    path.rename(path.with_name("elsewhere"))


def replaced(path):
    """Replace the file like `sed -i`."""
    shutil.copy(path, path.with_name("new"))
    path.with_name("new").rename(path)


def copied(path):
    shutil.copy(path, path.with_name("copy"))


def touched(path):
    os.utime(path)
    path.chmod(0o640)


@pytest.fixture
def broken():
    return []


@pytest.fixture
async def journal(path, broken):
    with Lock(path) as lock:
        lock.hold()
        journal = await SQLiteJournal.open(
            path,
            seal="seal",
            now=NOW,
            version="0",
            broken=lambda: broken.append("broken"),
            beside=[lock.path],
        )
        yield journal
        await journal.close()
        # The process would end by `os._exit`; this one has other tests to run.
        journal._conn.close()


@pytest.mark.parametrize("change", [removed, moved, replaced], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", NAMES)
async def test_nothing_is_acknowledged_on_a_moved_file(journal, tmp_path, broken, name, change):
    """Mutants: a check of the journal only; a check after the answer."""
    await record(journal, planned())
    change(tmp_path / name)

    with pytest.raises(Broken, match=rf"{name} was moved, removed or replaced"):
        await record(journal, planned())

    assert (broken, journal.failure is not None) == (["broken"], True)
    assert journal.failure.startswith(str(tmp_path / name))


@pytest.mark.parametrize("change", [copied, touched], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", NAMES)
async def test_copied_or_touched_file_is_harmless(journal, tmp_path, name, change):
    change(tmp_path / name)

    assert (await record(journal, planned())).new == (True,)


async def test_idle_journal_notices_a_moved_file(journal, tmp_path, broken, monkeypatch):
    """Mutant: a check with each batch only. A second service could open the journal meanwhile."""
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 0.05)
    journal._look()
    (tmp_path / "smshook.db.lock").unlink()

    async with asyncio.timeout(30):
        while not broken:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)

    assert journal.failure is not None


def test_file_found_at_the_second_look_was_not_moved(tmp_path):
    """Mutant: a single check, so that a rename away and back ends the service."""
    path, away = tmp_path / "smshook.db", tmp_path / "away"
    path.touch()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 1:
            away.rename(path)

    files = JournalFiles(path, sleep=sleep)
    path.rename(away)
    files.check()
    path.rename(away)
    with pytest.raises(Moved, match=r"smshook\.db was moved"):
        files.check()

    assert slept == [AGAIN, AGAIN]


def test_file_that_cannot_be_checked_was_not_moved(tmp_path):
    """Mutant: a check that fails for another reason ends the service."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "smshook.db").touch()
    files = JournalFiles(folder / "smshook.db")
    files._known = {tmp_path / ("x" * 5000): (1, 1)}  # the name is too long: OSError

    files.check()


#: The paths that Python opened, or None. An audit hook cannot be removed.
_opened = []
_wanted = False


def _note(event, args):
    if _wanted and event == "open":
        _opened.append(str(args[0]))


async def test_files_in_use_by_sqlite_are_never_opened(path):
    """Closing a descriptor drops the process's locks. Mutant: a check that opens the files."""
    global _wanted  # noqa: PLW0603 - see above
    with Lock(path) as lock:
        lock.hold()
        journal = await SQLiteJournal.open(
            path, seal="seal", now=NOW, version="0", beside=[lock.path]
        )
        sys.addaudithook(_note)
        _wanted = True
        try:
            await record(journal, planned())
            await journal.ask(Events(filter=EventFilter(), limit=1))
            await journal._commits.run(journal._writer.look)
            await journal._commits.run(journal._writer.checkpoint)
            await journal.close()
        finally:
            _wanted = False

    assert [name for name in _opened if name.startswith(str(path))] == []
