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
def path(tmp_path):
    return tmp_path / "smshook.db"


@pytest.fixture
def other(path):
    """A process that has the journal."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_with_the_pid_of_the_first(path, other):
    with pytest.raises(Held) as held:
        Lock(path)

    assert held.value.pid == other.pid
    assert str(held.value) == (
        f"{path} is in use by process {other.pid}; stop it first, or use another journal"
    )


def test_kill_9_lets_go(path, other):
    """Mutant: a pid file that outlives its process."""
    other.send_signal(signal.SIGKILL)
    other.wait()

    assert holder(path) is None
    with Lock(path):
        assert holder(path) == Holder(pid=os.getpid())


def test_a_second_lock_in_one_process_is_refused_too(path):
    """Mutant: POSIX locks, which a process always gives itself."""
    with Lock(path), pytest.raises(Held):
        Lock(path)


def test_who_holds_it_is_told_as_long_as_it_is_held(path):
    before = holder(path)
    with Lock(path) as lock:
        begun = holder(path)
        listening = Holder(
            pid=os.getpid(), url="http://127.0.0.1:8080", admin_url="http://127.0.0.1:8081"
        )
        lock.tell(listening)
        told = holder(path)
        lock.tell(Holder(pid=1))
        shorter = holder(path)

    assert (before, begun, told, shorter) == (
        None,
        Holder(pid=os.getpid()),
        listening,
        Holder(pid=1),
    )
    assert holder(path) is None


def test_looking_does_not_let_go_of_it(path):
    """Mutant: a lock that the process loses when it closes any file of that name."""
    with Lock(path):
        holder(path)

        with pytest.raises(Held):
            Lock(path)


def test_who_looks_keeps_nobody_from_starting(path):
    """Mutant: trying once, while `holder` has the lock to look at it."""
    with Lock(path):
        pass
    looking = os.open(path.with_name("smshook.db.lock"), os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    looked = threading.Timer(0.05, os.close, [looking])
    looked.start()

    with Lock(path):
        assert holder(path) == Holder(pid=os.getpid())
    looked.join()


def test_who_looks_never_finds_half_of_it(path):
    """Mutant: truncating before writing, and `holder` says that nobody is there."""
    long = Holder(pid=7, url="http://127.0.0.1:8080", admin_url="http://127.0.0.1:8081")
    seen = []
    with Lock(path) as lock:
        lock.tell(long)
        looking = threading.Thread(target=lambda: seen.extend(holder(path) for _ in range(500)))
        looking.start()
        while looking.is_alive():
            lock.tell(Holder(pid=7))
            lock.tell(long)
        looking.join()

    assert set(seen) <= {long, Holder(pid=7)}


def test_nobody_else_may_read_it(path):
    with Lock(path):
        lock_file = path.with_name("smshook.db.lock")

        assert stat.S_IMODE(lock_file.stat().st_mode) == 0o600
        assert json.loads(lock_file.read_bytes())["pid"] == os.getpid()


def test_a_holder_that_left_no_word_is_unknown(path):
    with Lock(path) as lock:
        os.ftruncate(lock._fd, 0)

        with pytest.raises(Held, match="in use by process unknown") as held:
            Lock(path)

    assert held.value.pid is None


def test_a_link_is_not_followed(path, tmp_path):
    """Whoever may write beside the journal must not choose what is overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.with_name("smshook.db.lock").symlink_to(precious)

    with pytest.raises(OSError, match="symbolic links"):
        Lock(path)

    assert precious.read_text() == "precious"


def test_a_link_to_the_journal_is_the_same_journal(path, other, tmp_path):
    """Mutant: a lock beside the link, and two services write to one file."""
    path.touch()
    link = tmp_path / "elsewhere"
    link.mkdir()
    (link / "smshook.db").symlink_to(path)

    with pytest.raises(Held):
        Lock(link / "smshook.db")

    assert holder(link / "smshook.db").pid == other.pid
