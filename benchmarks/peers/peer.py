"""What a peer must say of itself, and how its process is started and stopped."""

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

#: In which form callbacks are sent: TellABot's urlencoded one, or SMS-Activate's JSON.
Form = Literal["tellabot", "sms_activate"]

#: Seconds that an installation may take; packages come from a registry that may be far.
INSTALL_WITHIN = 300.0
#: Seconds until a peer answers. Node-RED takes some on a small machine.
READY_WITHIN = 30.0
#: Seconds that each of the signals that end a process may take to do so.
STOP_WITHIN = 5.0
#: How a process is ended that has something to finish, and one that has not.
POLITELY, AT_ONCE = (signal.SIGTERM, signal.SIGKILL), (signal.SIGKILL,)

#: Written beside what was installed: from which lock file it was.
_STAMP = ".installed"


class NotMeasured(Exception):
    """The peer cannot be measured on this machine; says why, and what would do."""


class Peer(Protocol):
    """One peer in one configuration."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Which was installed; ask when it is. Raises NotMeasured where it is not there."""
        ...

    @property
    def durability(self) -> str:
        """What is on disk when it answers that it has a callback, and what it does with copies."""
        ...

    @property
    def installed_from(self) -> str: ...

    @property
    def form(self) -> Form:
        """The form in which it can read a callback."""
        ...

    def install(self, cache: Path) -> Path:
        """Its home beneath `cache`, made if need be. Raises NotMeasured."""
        ...

    def running(self, home: Path, *, folder: Path, receiver: str) -> AbstractContextManager[str]:
        """Start it on an empty `folder`, forwarding to `receiver`; the URL for callbacks."""
        ...


def made_from(lock: Path, home: Path, make: Callable[[], None]) -> Path:
    """Make `home` again unless it was made from this very lock file."""
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
    """Run one command of an installation; what it printed. Raises NotMeasured."""
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
    """Where a program of the system is. Raises NotMeasured with the package that has it."""
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
    """Keep a process running, and give its pid; at the end nothing that it started is left.

    What it prints is in `folder/output.log`. Raises NotMeasured where it does not come up.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            words,
            cwd=folder,
            env={**_foreign_to_us(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all it starts can be ended with it
        )
    try:
        _wait(process, ready, log)
        yield process.pid
    finally:
        _end(process, ended)


def _foreign_to_us() -> dict[str, str]:
    """Without the settings of who runs this: they name a configuration and a journal of theirs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SMSHOOK")}


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
    # The last is for what it started and left behind: it may have ended by itself.
    for word in words:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN)
