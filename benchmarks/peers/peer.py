"""The interface of a peer, and how its process is installed, started and stopped."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

#: The form of callbacks: TellABot's urlencoded one, or SMS-Activate's JSON.
Form = Literal["tellabot", "sms_activate"]

#: The longest time for an installation, in seconds. The registry may be slow.
INSTALL_WITHIN = 300.0
#: The longest wait for a peer's first answer, in seconds. Node-RED starts slowly.
READY_WITHIN = 30.0
#: The longest wait for the end of a process after a signal, in seconds.
STOP_WITHIN = 5.0
#: Signals for a process that has work to finish, and for one that has not.
POLITELY, AT_ONCE = (signal.SIGTERM, signal.SIGKILL), (signal.SIGKILL,)

#: The digest of the lock file that was installed.
_STAMP = ".installed"


class NotMeasured(Exception):
    """It cannot be measured on this machine, or in this kind of run. Says why and what to do."""


class Peer(Protocol):
    """One peer in one configuration."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """The installed version. Raises NotMeasured if there is none."""
        ...

    @property
    def durability(self) -> str:
        """Its data on disk at the time of the answer, and its handling of copies."""
        ...

    @property
    def form(self) -> Form:
        """The form of callback that it can read."""
        ...

    def install(self, cache: Path) -> Path:
        """Install it below `cache` unless it is there; return its home. Raises NotMeasured."""
        ...

    def running(self, home: Path, *, folder: Path, receiver: str) -> AbstractContextManager[str]:
        """Run it in an empty `folder`, forwarding to `receiver`; yield the URL for callbacks."""
        ...


def made_from(lock: Path, home: Path, make: Callable[[], None]) -> Path:
    """Call `make` to fill `home`, unless it was made from this lock file."""
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = home / _STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    make()
    stamp.write_text(wanted)
    return home


def command(*words: str | Path, folder: Path) -> str:
    """Run a command of an installation; return its output. Raises NotMeasured."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotMeasured(f"{words[0]}: {exc}") from exc
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = lines[-1] if lines else f"exit {done.returncode}"
        raise NotMeasured(f"{' '.join(map(str, words[:3]))}: {said}")
    return done.stdout


def program(name: str, *, package: str) -> str:
    """Find a program of the system. Raises NotMeasured, naming its package."""
    found = shutil.which(name)
    if found is None:
        raise NotMeasured(f"{name} is not there: apt install {package}")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


@contextlib.contextmanager
def started(
    words: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    ready: Callable[[], bool],
    ended: Sequence[signal.Signals] = POLITELY,
) -> Iterator[int]:
    """Run a process during the block, and yield its pid. Then end it and all its children.

    Its output is in `folder/output.log`. Raises NotMeasured if it does not get ready.
    """
    log = folder / "output.log"
    # smshook's variables may name a real configuration.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SMSHOOK")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            words,
            cwd=folder,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # one signal ends it and its children
        )
    try:
        _wait(process, ready, log)
        yield process.pid
    finally:
        _end(process, ended)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN
    while not ready():
        lines = log.read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "nothing printed"
        if process.poll() is not None:
            raise NotMeasured(f"it ended with {process.returncode} at its start: {last}")
        if time.monotonic() > until:
            raise NotMeasured(f"it was not ready within {READY_WITHIN:.0f} s: {last}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[bytes], words: Sequence[signal.Signals]) -> None:
    # The process may have ended; the last signal is for children that it left behind.
    for word in words:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN)
