"""Streams, signals and descriptors, in processes of their own."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import forks
from hypothesis import given
from hypothesis import strategies as st

from server.machine import RESERVED, hide_memory, most_connections

ROOT = Path(__file__).parents[2]


class Script:
    """A Python process that runs a text and prints `up`."""

    def __init__(self, text, *, before=""):
        command = f"{before} exec {sys.executable} -c '{text}'"
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def __enter__(self):
        assert self.process.stdout.readline() == "up\n"
        return self

    def __exit__(self, *_exc):
        self.process.kill()
        self.process.communicate()

    def send(self, number):
        self.process.send_signal(number)

    def ended(self):
        return self.process.wait(30)


BUSY = """
from server.machine import Signals
signals = Signals({deadline})
signals.on_end(lambda: print("called", flush=True))
print("up", flush=True)
while True: pass
"""


def test_hanging_process_ends_at_the_deadline():
    """The main thread never yields. Mutant: a handler of the event loop, which never runs."""
    with Script(BUSY.format(deadline=0.2)) as script:
        script.send(signal.SIGTERM)

        assert script.ended() == 1
        assert script.process.stdout.read() == "called\n"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_a_hanging_process_at_once(second):
    """Mutant: only the deadline ends it."""
    with Script(BUSY.format(deadline=600)) as script:
        script.send(signal.SIGINT)
        assert script.process.stdout.readline() == "called\n"
        script.send(second)

        assert script.ended() == 1


LATE = """
import os, signal
from server.machine import Signals
signals = Signals(600)
os.kill(os.getpid(), signal.{name})
while not signals.{notice}._came: pass
signals.{on}(lambda: print("up", flush=True))
"""


@pytest.mark.parametrize(
    ("name", "notice", "on"), [("SIGTERM", "_end", "on_end"), ("SIGHUP", "_reload", "on_reload")]
)
def test_signal_during_the_start_is_kept(name, notice, on):
    """Mutant: the signal is lost, because `on_end` comes later."""
    with Script(LATE.format(name=name, notice=notice, on=on)):
        pass


RELOADED = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from server.machine import become_service
signals = become_service()
signals.on_reload(lambda: print("reload", flush=True))
signals.on_end(lambda: print("end", flush=True))
print("up", flush=True)
while True: pass
"""


def test_each_sighup_reloads_until_the_end():
    """Also under `nohup`, which ignores SIGHUP. Mutants: only the first; also after SIGTERM."""
    with Script(RELOADED) as script:
        for _ in range(2):
            script.send(signal.SIGHUP)
            assert script.process.stdout.readline() == "reload\n"
        script.send(signal.SIGTERM)
        assert script.process.stdout.readline() == "end\n"
        script.send(signal.SIGHUP)
        script.send(signal.SIGTERM)

        assert script.ended() == 1
        assert script.process.stdout.read() == ""


IGNORING = """
import signal, time
for number in range(1, 32):
    # As after a start without `nohup`; the two are ignored by Python itself.
    if signal.getsignal(number) is signal.SIG_IGN and number not in (13, 25):
        signal.signal(number, signal.SIG_DFL)
from server.machine import become_service
signals = become_service()
print("up", flush=True)
time.sleep(600)
"""
IGNORED = ["HUP", "USR1", "USR2", "TTOU", "PIPE", "WINCH", "CHLD", "URG", "CONT"]


def test_other_signals_do_not_end_a_service():
    """Of logrotate or a closing terminal. Mutants: one of _IGNORED left out; SIGHUP not blocked."""
    with Script(IGNORING) as script:
        for name in IGNORED:
            script.send(signal.Signals[f"SIG{name}"])

        with pytest.raises(subprocess.TimeoutExpired):
            script.process.wait(0.5)
        # It is not stopped either.
        state = Path(f"/proc/{script.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state == "S"


SOCKETS = """
import os, socket
from server.machine import _close_sockets
listening = socket.create_server(("127.0.0.1", 0))
number = listening.getsockname()[1]
read, write = os.pipe()
print("up", flush=True)
_close_sockets()
os.write(write, b"x")
try:
    socket.create_connection(("127.0.0.1", number))
except ConnectionRefusedError:
    print("refused", flush=True)
os._exit(0)
"""


def test_sockets_are_closed_and_files_stay_open():
    """A closed journal loses its locks while a thread still writes to it.

    Mutants: `os.closerange`; nothing closed, so the port is in use while the kernel keeps a thread.
    """
    with Script(SOCKETS) as script:
        assert script.ended() == 0
        assert script.process.stdout.read() == "refused\n"


FILLED = """
import os
from server.cli.main import fill_standard_streams
fill_standard_streams()
print(*[os.readlink(f"/proc/self/fd/{n}") for n in range(3)], file=os.fdopen(3, "w"))
print("to /dev/null")
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_become_dev_null(tmp_path, closed):
    """Mutant: the next open file is descriptor 1, and printed lines go into it."""
    text = FILLED.replace('"', "'")
    said = tmp_path / "said"

    ended = subprocess.run(
        ["sh", "-c", f'exec {sys.executable} -c "$0" 3>{said} {closed}', text],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    streams = said.read_text().split()
    closed_ones = [n for n, sign in enumerate(("<&-", " >&-", "2>&-")) if sign in f" {closed}"]
    assert [n for n, where in enumerate(streams) if where == "/dev/null"] == closed_ones


LIMIT = """
import resource
from server.machine import descriptor_limit, raise_descriptor_limit
raise_descriptor_limit()
print("up", flush=True)
print(descriptor_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_soft_descriptor_limit_becomes_the_hard_limit():
    """1,024 is the usual soft limit. Mutant: it stays."""
    with Script(LIMIT, before="ulimit -Sn 200; ulimit -Hn 300;") as script:
        assert script.process.stdout.read() == "300 (300, 300)\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 300


@pytest.mark.parametrize(
    ("configured", "descriptors", "most"),
    [
        (None, 1024, 512),
        (None, 1_000_000, 20_000),
        (None, sys.maxsize, 20_000),
        (9, 1024, 9),
        (100_000, 1024, 1024 - RESERVED),
        (100_000, sys.maxsize, 100_000),
    ],
)
def test_connections_use_half_of_the_descriptors(configured, descriptors, most):
    """Mutant: the configured number, with no descriptor left for the journal."""
    assert most_connections(configured, descriptors) == most


@pytest.mark.parametrize(
    ("descriptors", "in_use", "most"), [(40, 23, 9), (24, 23, 1), (256, 30, 128)]
)
def test_connections_use_only_free_descriptors(descriptors, in_use, most):
    """Under `ulimit -n 40` half of the limit is more than is free: callbacks are reset.

    Mutant: half of the limit, without regard to `in_use`.
    """
    assert most_connections(None, descriptors, in_use) == most


@given(st.none() | st.integers(1), st.integers(1))
def test_one_connection_and_one_descriptor_are_always_left(configured, descriptors):
    most = most_connections(configured, descriptors)

    assert most >= 1
    assert most == 1 or most < descriptors


def dumpable(hidden):
    """In a process of its own: return whether other programs may read its memory."""
    if hidden:
        hide_memory()
    os._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE


@pytest.mark.parametrize("hidden", [True, False])
def test_hidden_memory_is_not_dumpable(hidden):
    process = forks().Process(target=dumpable, args=(hidden,))
    process.start()
    process.join(20)

    assert process.exitcode == (0 if hidden else 1)
