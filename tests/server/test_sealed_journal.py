"""A sealed journal: pruning and a restore while it is stopped, and keys while it runs."""

import asyncio
import errno
import json
import os

import pytest
from canary import secrets_in
from contracts.journal import NOW, planned, record
from sealing import ALL
from services import clock_of, configured, identity_of, keys_of, loading
from structlog.testing import capture_logs

from core.errors import Unavailable
from core.secret import Secret
from core.units import Duration
from journal import key_file
from journal.keyring import KeyFile
from journal.reads import EventById
from journal.sqlite.schema import DiskFull, WrongJournal
from server.backups import back_up
from server.config.options import Retention, Sealing
from server.runtime.period_keys import prepare_keys
from server.runtime.supervisor import Supervisor
from server.service import open_journal, run_parts
from server.service import restore as restore_parts
from server.stopped import prune, restore

ROOT = Secret("the root key of these tests, 0123456789")
TEXTS = ("the first canary text 918273", "the second canary text 918274")


def options(folder):
    """Return a configuration that seals, and keeps codes for a day. The key file is shared."""
    return configured(
        folder,
        seal=Sealing(root=(ROOT,), file=str(folder.parent / "smshook.keys")),
        retention=Retention(codes=Duration(86_400)),
        retention_is_set=True,
    )


async def stored(config):
    """Store two events in a sealed journal; return their ids."""
    keys = keys_of(config, now=NOW)
    journal = await open_journal(config, identity_of(config), now=NOW, keys=keys)
    plans = [planned(text=text) for text in TEXTS]
    for plan in plans:
        await record(journal, plan)
    await journal.close()
    return [plan.event.id for plan in plans]


async def texts(config, ids):
    """Return the texts, as far as the keys open them."""
    keys = keys_of(config, now=NOW)
    journal = await open_journal(config, identity_of(config), now=NOW, keys=keys)
    found = [await journal.ask(EventById(id_, opening=ALL)) for id_ in ids]
    await journal.close()
    return [json.loads(one.body)["data"]["text"] for one in found]


def ignored(*_progress):
    """Show no progress."""


def test_pruning_destroys_keys_so_that_a_backup_opens_nothing(tmp_path):
    """Mutant: the pruner has no keys, and the backup from before still opens the texts."""
    (tmp_path / "made").mkdir()
    (tmp_path / "restored").mkdir()
    config, other = options(tmp_path / "made"), options(tmp_path / "restored")
    ids = asyncio.run(stored(config))
    before = asyncio.run(texts(config, ids))
    back_up(config.path, config.journal.path, other.journal.path, ignored)

    pruned = prune(config, dry_run=False, progress=ignored)

    assert (before, pruned["codes"]) == ([*TEXTS], 2)
    destroyed = KeyFile.read(config.seal.path).destroyed
    assert {kind for kind, end in destroyed.items() if end * 60 > NOW} >= {"codes", "raw"}
    assert asyncio.run(texts(other, ids)) == [None, None]


def test_restored_sealed_journal_stays_sealed_and_erased(tmp_path):
    """Mutants: the erased text comes back; a restore changes the identity."""
    (tmp_path / "made").mkdir()
    (tmp_path / "restored").mkdir()
    config, other = options(tmp_path / "made"), options(tmp_path / "restored")
    ids = asyncio.run(stored(config))
    made = tmp_path / "backup.db"
    back_up(config.path, config.journal.path, made, ignored)
    other.journal.path.with_name("smshook.erased").write_text(f"{ids[0]}\n")

    with made.open("rb") as source:
        restore(source, other)

    assert asyncio.run(texts(other, ids)) == [None, TEXTS[1]]
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert secrets_in(paths, {*TEXTS, "918273", "918274"}) == []


def test_restore_without_the_key_file_says_what_is_lost(tmp_path):
    """Mutant: it is said after a new key file was made, or by the next start only."""
    for name in ("made", "restored"):
        (tmp_path / name).mkdir()
    config, other = options(tmp_path / "made"), options(tmp_path / "restored")
    asyncio.run(stored(config))
    made = tmp_path / "backup.db"
    back_up(config.path, config.journal.path, made, ignored)
    config.seal.path.unlink()

    with made.open("rb") as source, capture_logs() as lines:
        restore(source, other, without_erasures=True)

    [line] = [line for line in lines if line["event"] == "seal.keys_missing"]
    assert (line["events"], line["callbacks"]) == (2, 2)
    assert not config.seal.path.exists()


def test_key_file_of_another_journal_is_refused(tmp_path):
    """Mutants: it is not refused, or the lost file is, when it is put back."""
    (tmp_path / "folder").mkdir()
    config = options(tmp_path / "folder")
    ids = asyncio.run(stored(config))
    kept = config.seal.path.rename(tmp_path / "kept")
    keys_of(config, now=NOW)

    with pytest.raises(WrongJournal, match="belongs to another journal"):
        asyncio.run(texts(config, ids))
    config.seal.path.unlink()
    lost = asyncio.run(texts(config, ids))
    again = asyncio.run(texts(config, ids))
    kept.replace(config.seal.path)

    assert (lost, again) == ([None, None], [None, None])
    assert asyncio.run(texts(config, ids)) == [*TEXTS]


async def test_keys_of_coming_periods_are_made_while_it_runs(tmp_path):
    """Mutant: the task is not started, and the first callback of a period waits for the disk."""
    config, now = options(tmp_path / "folder"), NOW
    (tmp_path / "folder").mkdir()
    keys = keys_of(config, now=NOW)
    identity = identity_of(config)
    journal = await open_journal(config, identity, now=NOW, keys=keys)
    parts = await restore_parts(
        *(config, journal, identity),
        clock=clock_of(lambda: now),
        load=loading(config),
        period_keys=keys,
    )
    newest = keys.periods("codes")[0]
    now += 3600
    supervisor = Supervisor(lambda: None)
    run_parts(parts, supervisor)
    try:
        async with asyncio.timeout(10):
            while keys.periods("codes")[0] == newest:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
    finally:
        for task in supervisor.tasks:
            task.cancel()
        await asyncio.gather(*supervisor.tasks, return_exceptions=True)
        await journal.close()
    assert keys.periods("codes")[0] == newest + 60


async def test_keys_that_cannot_be_written_are_tried_again(tmp_path, monkeypatch):
    """The disk was full. Mutant: the task ends, and so does the service."""
    (tmp_path / "folder").mkdir()
    config, now = options(tmp_path / "folder"), NOW
    keys = keys_of(config, now=now)
    newest, replace, full = keys.periods("codes")[0], key_file.replace, []

    def full_once(path, text):
        if not full:
            full.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(path, text)

    monkeypatch.setattr(key_file, "replace", full_once)
    now += 3600
    with capture_logs() as lines:
        preparing = asyncio.create_task(prepare_keys(keys, lambda: now, every=0.01))
        async with asyncio.timeout(10):
            while keys.periods("codes")[0] == newest and not preparing.done():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        is_over = preparing.done()
        preparing.cancel()
        await asyncio.gather(preparing, return_exceptions=True)

    assert (is_over, keys.periods("codes")[0]) == (False, newest + 60)
    assert [line["event"] for line in lines] == ["seal.error"]


@pytest.mark.parametrize(("error", "raised"), [(errno.ENOSPC, DiskFull), (errno.EIO, Unavailable)])
def test_start_waits_for_room_for_the_key_file(tmp_path, monkeypatch, error, raised):
    """Mutant: a full disk ends the start, where a journal in clear answers 503."""
    config = options(tmp_path / "folder")

    def full(_path, _text):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(key_file, "replace", full)
    with pytest.raises(Unavailable, match="cannot be written") as failed:
        keys_of(config, now=NOW)
    assert failed.type is raised
