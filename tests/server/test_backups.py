"""Backups and restores as whole files: nothing half, nothing replaced by accident."""

import asyncio
import io
import json
import os
import shutil
import stat

import msgspec
import pytest
from contracts.journal import planned, record
from deaths import deaths
from disks import mounted
from journals import shell
from services import configured, identity_of
from whole_files import restored

from core.secret import Secret
from journal import key_file
from journal.key_file import Damaged
from journal.keyring import KEY_FILE, Keyring
from journal.lock import Held, Lock
from journal.reads import JournalStats
from journal.sqlite.backup import NotABackup
from journal.sqlite.schema import WrongJournal
from server import backups, durable, stopped
from server.backups import WrongPath, back_up, back_up_keys, stream
from server.config.options import Server
from server.service import open_journal
from server.stopped import restore

NOTHING = ("smshook.db.lock", "smshook.erased")
RESTORED = ("smshook.db", *NOTHING)
ROOT = Secret("the root key of these tests, 0123456789")
#: The functions of the system that end a step of a restore.
STEPS = ("open", "ftruncate", "fsync", "link", "unlink")


async def journal_at(folder, events=1):
    """Make a closed journal of that many events."""
    config = configured(folder)
    journal = await open_journal(config, identity_of(config), now=1.0)
    for number in range(events):
        await record(journal, planned(text=f"the text of message {number}"))
    await journal.close()
    return config.journal.path


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """A closed journal of three events. No test may change it."""
    return asyncio.run(journal_at(tmp_path_factory.mktemp("journal"), events=3))


@pytest.fixture
def made(journal, tmp_path):
    """A backup of that journal."""
    path = tmp_path / "made.db"
    saved(journal, path)
    return path


@pytest.fixture
def empty(tmp_path):
    """The path of a journal that is not there. No content was erased."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "smshook.erased").touch()
    return tmp_path / "empty" / "smshook.db"


def ignored(_done, _whole):
    """Show no progress."""


def saved(journal, target):
    return back_up(journal.with_name("smshook.yaml"), journal, target, ignored)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def events(path):
    with shell(path) as conn:
        return conn.execute("select count(*) from events").fetchone()[0]


# Backups


def test_full_disk_of_the_backup_is_named(journal, tmp_path):
    """Mutants: the error names the journal, which is well; it names the unfinished file."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as small:
        with pytest.raises(OSError, match="No space left on device") as raised:
            saved(journal, small / "backup.db")
        left = names(small)

    assert raised.value.filename == str(small / "backup.db")
    assert left == []


def test_backup_is_private_and_alone(journal, tmp_path):
    contents = saved(journal, tmp_path / "backup.db")

    assert contents.events == 3
    assert contents.bytes == (tmp_path / "backup.db").stat().st_size
    assert stat.S_IMODE((tmp_path / "backup.db").stat().st_mode) == 0o600
    assert names(tmp_path) == ["backup.db"]


def test_earlier_backup_is_replaced(journal, made, tmp_path):
    inode = made.stat().st_ino

    saved(journal, made)

    assert made.stat().st_ino != inode
    assert names(tmp_path) == ["made.db"]


def test_failed_backup_keeps_the_earlier_one(journal, made, monkeypatch):
    """Mutant: the earlier one is removed first."""
    data = made.read_bytes()

    def damaged(path):
        raise NotABackup(f"{path} is damaged")

    monkeypatch.setattr(backups, "check", damaged)
    with pytest.raises(NotABackup):
        saved(journal, made)

    assert made.read_bytes() == data
    assert names(made.parent) == ["made.db"]


@pytest.mark.parametrize("kind", ["text", "folder", "pipe", "link to nowhere"])
def test_path_that_is_no_backup_is_not_replaced(journal, tmp_path, kind):
    """Mutant: `smshook backup events.jsonl` replaces the file of a sink."""
    path = tmp_path / "mine"
    if kind == "text":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")

    with pytest.raises(WrongPath, match="mine exists and is not a backup; name another file"):
        saved(journal, path)

    assert names(tmp_path) == ["mine"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("smshook.db", "is the journal"),
        ("smshook.db-wal", "is part of the journal"),
        ("smshook.yaml", "is this configuration"),
        ("smshook.root", "is the root key"),
    ],
)
def test_file_of_the_service_is_not_replaced(journal, name, what):
    """Mutant: the journal is replaced by its copy, and the service ends."""
    with pytest.raises(WrongPath, match=f"{name} {what}; name another file"):
        saved(journal, journal.with_name(name))


def test_missing_folder_is_named(journal, tmp_path):
    """Mutant: the error names the unfinished file."""
    with pytest.raises(WrongPath, match=f"there is no folder {tmp_path}/gone; make it"):
        saved(journal, tmp_path / "gone" / "backup.db")

    assert names(tmp_path) == []


def test_missing_journal_is_refused(empty, tmp_path):
    """Mutant: an empty journal is made, and backed up."""
    with pytest.raises(WrongPath, match="there is no journal at"):
        saved(empty, tmp_path / "backup.db")

    assert names(tmp_path) == ["empty"]
    assert names(empty.parent) == ["smshook.erased"]


def test_stream_has_the_same_bytes_as_a_file(journal, made):
    out, before = io.BytesIO(), names(journal.parent)

    contents = stream(journal, out, ignored)

    assert out.getvalue() == made.read_bytes()
    assert contents.bytes == len(out.getvalue())
    assert set(names(journal.parent)) - set(before) <= {"smshook.db-shm", "smshook.db-wal"}


def test_second_backup_to_the_same_file_waits_for_none(journal, tmp_path):
    """Mutant: both write into one temporary file."""
    with (
        durable.unfinished(tmp_path / "backup.db"),
        pytest.raises(BlockingIOError, match="another process is writing it"),
    ):
        saved(journal, tmp_path / "backup.db")

    saved(journal, tmp_path / "backup.db")


# Restores


def test_restored_journal_has_the_events(made, empty):
    contents = restored(made, empty)

    assert (contents.events, events(empty)) == (3, 3)
    assert stat.S_IMODE(empty.stat().st_mode) == 0o600
    assert names(empty.parent) == [*RESTORED]


async def test_restored_journal_is_opened_and_written(made, empty):
    restored(made, empty)
    config = configured(empty.parent)

    journal = await open_journal(config, identity_of(config), now=1.0)
    await record(journal, planned())

    assert (await journal.ask(JournalStats())).events == 4
    await journal.close()


@pytest.mark.parametrize("name", ["smshook.db", "smshook.db-wal", "smshook.db-journal"])
def test_existing_file_of_a_journal_is_not_replaced(made, empty, name):
    """A log that is left beside a new journal would be written into it. Mutant: only the journal
    is looked for."""
    empty.with_name(name).write_text("mine")

    with pytest.raises(WrongPath, match=f"{name} exists; nothing was restored"):
        restored(made, empty)

    assert empty.with_name(name).read_text() == "mine"
    assert names(empty.parent) == sorted([name, *NOTHING])


def test_journal_in_use_is_refused(made, empty):
    with Lock(empty), pytest.raises(Held):
        restored(made, empty)


@pytest.mark.parametrize(
    ("data", "error"), [(b"no database\n" * 400, WrongJournal), (b"", NotABackup)]
)
def test_other_file_is_not_restored(empty, data, error):
    """Mutant: the error names the unfinished file, which is gone."""
    with pytest.raises(error, match=r"^the backup is"):
        restore(io.BytesIO(data), configured(empty.parent))

    assert names(empty.parent) == [*NOTHING]


def test_backup_of_another_secret_is_not_restored(made, empty):
    """Mutant: the service finds out at its start."""
    server = Server(secret=Secret("another secret that is long enough, 0123456789"))
    with (
        made.open("rb") as source,
        pytest.raises(WrongJournal, match=r"server\.secret is not the one"),
    ):
        restore(source, configured(empty.parent, server=server))

    assert names(empty.parent) == [*NOTHING]


def test_full_disk_leaves_nothing(made, empty, monkeypatch):
    def full(*_args, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        restored(made, empty)

    assert names(empty.parent) == [*NOTHING]


def test_death_at_any_step_leaves_no_half_journal(made, empty):
    """Mutants: the backup is copied to its place, then migrated; an unfinished file is kept; it is
    a second name of the finished journal, and the next restore empties both."""
    seen, moved = [], empty.parent.with_name("moved.db")
    for _ in deaths(STEPS, restored, made, empty):
        seen.append(events(empty) if empty.exists() else None)
        if empty.exists():
            with shell(empty) as conn:
                conn.execute("insert into meta values ('used', '1')")
            empty.rename(moved)  # as the page says
        assert restored(made, empty).events == 3
        assert names(empty.parent) == [*RESTORED]
        if seen[-1] is not None:
            with shell(moved) as conn:
                assert conn.execute("select 1 from meta where name = 'used'").fetchone()
            moved.unlink()
        empty.unlink()

    assert seen[-1] == 3
    assert set(seen) == {None, 3}
    assert len(seen) > 5


def test_unfinished_restore_keeps_no_old_log(made, empty):
    """A killed restore left its log. Mutant: SQLite would write that into the next one."""
    left = empty.with_name(".smshook.db.unfinished-wal")
    left.write_bytes(b"old")

    restored(made, empty)

    assert names(empty.parent) == [*RESTORED]


# Keys


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "smshook.keys"
    Keyring(path, (ROOT,), period=3600.0, now=1_790_000_000.0)
    return path


def test_copy_of_the_keys_is_private_and_opens(keys, tmp_path):
    target = tmp_path / "copy"
    target.write_text(f"{KEY_FILE}\nan earlier copy")

    back_up_keys(keys, target)

    assert target.read_bytes() == keys.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(tmp_path) == ["copy", "smshook.keys"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("smshook.keys", "is the key file"),
        ("mine", "exists and is not a copy of the keys"),
        ("smshook.keys.dead", "has the keys of `seal`"),
        ("smshook.keys.new", "has the keys of `seal`"),
        ("gone/copy", "gone; make it"),
    ],
)
def test_other_file_is_not_replaced_by_keys(keys, tmp_path, name, complaint):
    (tmp_path / "mine").write_text("mine")
    data = keys.read_bytes()

    with pytest.raises(WrongPath, match=complaint):
        back_up_keys(keys, tmp_path / name)

    assert (keys.read_bytes(), (tmp_path / "mine").read_text()) == (data, "mine")


def test_damaged_keys_are_not_copied(keys, tmp_path):
    """Mutant: the copy replaces the last good one."""
    target = tmp_path / "copy"
    back_up_keys(keys, target)
    data = target.read_bytes()
    keys.write_bytes(data[:-20])

    with pytest.raises(Damaged):
        back_up_keys(keys, target)

    assert target.read_bytes() == data


def test_keys_that_change_while_they_are_copied_are_refused(keys, tmp_path, monkeypatch):
    """Mutant: half a file becomes the copy."""
    read = key_file.read

    def replaced(path):
        lines = read(path)
        if path == keys:
            keys.write_bytes(keys.read_bytes()[:-20])
        return lines

    monkeypatch.setattr(key_file, "read", replaced)
    with pytest.raises(Damaged):
        back_up_keys(keys, tmp_path / "copy")

    assert names(tmp_path) == ["smshook.keys"]


def test_missing_keys_are_named(tmp_path):
    with pytest.raises(WrongPath, match="there is no key file at"):
        back_up_keys(tmp_path / "smshook.keys", tmp_path / "copy")


@pytest.mark.parametrize("end", ["", ".new", ".dead"])
def test_backup_is_no_file_of_a_rewrite_of_the_keys(journal, keys, tmp_path, end):
    """The next rewrite would overwrite it with zeros. Mutant: only existing files are refused."""
    target = tmp_path / f"smshook.keys{end}"

    with pytest.raises(WrongPath, match="has the keys of `seal`"):
        back_up(tmp_path / "smshook.yaml", journal, target, ignored, keys=keys)

    assert names(tmp_path) == ["smshook.keys"]


# Erased content


def bodies(path):
    with shell(path) as conn:
        return [json.loads(body) for (body,) in conn.execute("select body from events")]


def test_content_that_was_erased_is_erased_in_a_restored_journal(made, empty):
    """Mutant: the service erases it after its start, when readers may have had it."""
    before = bodies(made)
    empty.with_name("smshook.erased").write_text(f"{before[1]['id']}\n")

    restored(made, empty)

    texts = [event["data"]["text"] for event in bodies(empty)]
    assert texts == [before[0]["data"]["text"], None, before[2]["data"]["text"]]
    assert before[1]["data"]["text"] is not None
    assert before[1]["data"]["text"].encode() not in empty.read_bytes()
    # The erasure opened the journal, which makes the keys of its audit log.
    assert names(empty.parent) == [*RESTORED, "smshook.keys"]


def audited(path):
    with shell(path) as conn:
        runs = conn.execute("select lines from audit order by n").fetchall()
    return [json.loads(line) for (run,) in runs for line in run.split(b"\n")]


def test_erasures_of_a_restore_are_in_the_new_audit_log(made, empty):
    """The service has written other lines to the old log since the backup.

    Mutant: the restore erases first, and the old log that the new one names was never exported.
    """
    before, [_, erased, _] = audited(made), bodies(made)
    empty.with_name("smshook.erased").write_text(f"{erased['id']}\n")

    restored(made, empty)

    lines = audited(empty)
    assert before == lines[: len(before)]
    begun, again = lines[len(before) :]
    assert (0, "journal.restored", len(before)) == (begun["n"], begun["do"], begun["size"])
    assert (1, "content.erased", [erased["id"]]) == (again["n"], again["do"], again["events"])


def test_restore_without_the_file_of_erased_events_is_refused(made, empty):
    """Mutant: a restore on another machine brings erased content back."""
    empty.with_name("smshook.erased").unlink()

    with pytest.raises(WrongPath, match=r"there is no .*smshook\.erased: content that was erased"):
        restored(made, empty)
    assert not empty.exists()

    assert restored(made, empty, without_erasures=True).events == 3


def test_backup_of_a_version_without_erasures_is_restored(made, empty, monkeypatch):
    """Mutant: an upgrade makes earlier backups useless."""
    empty.with_name("smshook.erased").unlink()
    contents = msgspec.structs.replace(stopped.check(made), knows_erasures=False)
    monkeypatch.setattr(stopped, "check", lambda _path, _name: contents)

    assert restored(made, empty).events == 3
