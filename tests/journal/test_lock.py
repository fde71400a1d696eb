import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from journal.lock import Held, Holder, Lock, holder

ROOT = Path(__file__).parents[2]
HOLDS = """
import pathlib, sys, time
from journal.lock import Holder, Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(path):
    """A process that holds the journal."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_process_is_refused_with_the_pid_of_the_first(path, other):
    with pytest.raises(Held) as held:
        Lock(path)

    assert str(held.value) == (
        f"{path} is in use by process {other.pid}; stop it first, or use another journal"
    )


def test_kill_9_releases_the_lock(path, other):
    """Mutant: a pid file that outlives its process."""
    other.send_signal(signal.SIGKILL)
    other.wait()

    assert holder(path) is None
    with Lock(path):
        assert holder(path) == Holder(pid=os.getpid())


def test_second_lock_in_one_process_is_refused(path):
    """Mutant: POSIX locks, which never exclude the same process."""
    with Lock(path), pytest.raises(Held):
        Lock(path)


def test_holder_is_known_while_the_lock_is_held(path):
    before = holder(path)
    with Lock(path) as lock:
        begun = holder(path)
        listening = Holder(
            pid=os.getpid(), url="http://127.0.0.1:8080", admin_url="http://127.0.0.1:8081"
        )
        lock.publish(listening)
        published = holder(path)
        lock.publish(Holder(pid=1))
        shorter = holder(path)

    assert (before, begun, published, shorter) == (
        None,
        Holder(pid=os.getpid()),
        listening,
        Holder(pid=1),
    )
    assert holder(path) is None


def test_reading_the_holder_keeps_the_lock(path):
    """Mutant: a lock that the process loses when it closes any file of that name."""
    with Lock(path):
        holder(path)

        with pytest.raises(Held):
            Lock(path)


def test_reading_the_holder_does_not_prevent_a_start(path):
    """Mutant: one try, while `holder` has the lock for a moment."""
    with Lock(path):
        pass
    looking = os.open(path.with_name("smshook.db.lock"), os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    looked = threading.Timer(0.05, os.close, [looking])
    looked.start()

    with Lock(path):
        assert holder(path) == Holder(pid=os.getpid())
    looked.join()


def test_holder_is_never_read_half_written(path):
    """Mutant: truncation before writing, so that `holder` finds no process."""
    long = Holder(pid=7, url="http://127.0.0.1:8080", admin_url="http://127.0.0.1:8081")
    seen = []
    with Lock(path) as lock:
        lock.publish(long)
        looking = threading.Thread(target=lambda: seen.extend(holder(path) for _ in range(500)))
        looking.start()
        while looking.is_alive():
            lock.publish(Holder(pid=7))
            lock.publish(long)
        looking.join()

    assert set(seen) <= {long, Holder(pid=7)}


def test_lock_file_has_mode_0600(path):
    with Lock(path):
        lock_file = path.with_name("smshook.db.lock")

        assert stat.S_IMODE(lock_file.stat().st_mode) == 0o600
        assert json.loads(lock_file.read_bytes())["pid"] == os.getpid()


def test_holder_of_an_empty_lock_file_is_unknown(path):
    with Lock(path) as lock:
        os.ftruncate(lock._fd, 0)

        with pytest.raises(Held, match="in use by process unknown;"):
            Lock(path)


def test_lock_file_that_is_a_link_is_not_followed(path, tmp_path):
    """A user who can write in the folder must not choose the file to overwrite."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.with_name("smshook.db.lock").symlink_to(precious)

    with pytest.raises(OSError, match="symbolic links"):
        Lock(path)

    assert precious.read_text() == "precious"


def test_link_to_a_journal_has_the_same_lock(path, other, tmp_path):
    """Mutant: the lock file is beside the link, and two services write to one file."""
    path.touch()
    link = tmp_path / "elsewhere"
    link.mkdir()
    (link / "smshook.db").symlink_to(path)

    with pytest.raises(Held):
        Lock(link / "smshook.db")

    assert holder(link / "smshook.db").pid == other.pid
