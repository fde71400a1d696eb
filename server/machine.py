"""The process and its machine: signals, sockets, descriptors, the service manager."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .log.setup import write_out

#: Ignored. logrotate and operators send the first two to make a program reopen its files. A
#: terminal sends the last to a background job that writes (`stty tostop`).
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
#: The signals that a thread of their own waits for.
_WAITED = _ENDING | {signal.SIGHUP}
#: The longest time from the first signal to the end of the process, in seconds. The log has half a
#: second more.
DEADLINE = 9.4
#: Descriptors that connections never use.
RESERVED = 128
#: The same under a low limit: half of it is in use at the start.
_SPARE = 8
_MOST_CONNECTIONS = 20_000
#: Source: linux/prctl.h.
_PR_SET_DUMPABLE = 4


def become_service() -> "Signals":
    """Ignore harmless signals, wait for the others, and raise the limit of open files.

    Call it before starting any thread.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    raise_descriptor_limit()
    return Signals()


def hide_memory() -> None:
    """Let no other program of this user read the memory: it holds keys, texts and codes.

    Source: prctl(2), Linux. Debuggers and core dumps are refused, and /proc belongs to root.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard limit: each connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # more than the kernel allows
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def descriptors_in_use() -> int:
    """Return how many files this process has open; 0 if the system does not say."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path("/dev/fd").iterdir())
    return 0


def most_connections(configured: int | None, descriptors: int, in_use: int = 0) -> int:
    """Return how many connections may be open.

    `descriptors` is the limit of open files, `in_use` the number open now. The rest is kept for
    the journal, the sinks and polls, even if more is configured.
    """
    if configured is None:
        half = min(_MOST_CONNECTIONS, descriptors // 2)
        return max(1, min(half, descriptors - in_use - _SPARE))
    return max(1, min(configured, descriptors - RESERVED))


class _Notice:
    """Calls a function when a signal comes, or later if there is no function yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._came = False
        self._then: Callable[[], object] | None = None

    def listen(self, then: Callable[[], object]) -> None:
        with self._lock:
            self._then = then
            came = self._came
        if came:
            then()

    def send(self) -> None:
        with self._lock:
            self._came = True
            then = self._then
        if then is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended already
                then()


class Signals:
    """Handles SIGTERM and SIGINT: the first ends the service in order, the second at once.

    A thread of its own waits for them, so that they work while the event loop hangs. The process
    ends at the latest `deadline` seconds after the first signal. SIGHUP reloads the configuration,
    until then.
    """

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._end, self._reload = _Notice(), _Notice()
        # Threads that start later inherit the mask, so only this one gets the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
        # `nohup` ignores it. Some systems drop an ignored signal even if it is blocked.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def on_end(self, then: Callable[[], object]) -> None:
        """Call `then` at the first signal, in another thread; now if the signal has come."""
        self._end.listen(then)

    def on_reload(self, then: Callable[[], object]) -> None:
        """Call `then` at each SIGHUP, in another thread; now if one has come."""
        self._reload.listen(then)

    def _wait(self) -> None:
        while signal.sigwait(_WAITED) == signal.SIGHUP:
            self._reload.send()
        self._end.send()
        # A second signal or the deadline: the service did not end in order.
        signal.sigtimedwait(_ENDING, self._deadline)
        leave(1)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        # Two sockets may bind one address until the first of them listens.
        sock.listen()
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def leave(code: int) -> NoReturn:
    """End the process now, without waiting for any thread.

    The last lines of the log have half a second.
    """
    _close_sockets()
    write_out(0.5)
    os._exit(code)


def _close_sockets() -> None:
    """Close all sockets but the standard streams.

    The kernel may not be able to end a thread at once, and keeps the descriptors of its process.
    Clients and the next service on this port must not wait for it.
    """
    found: list[int] = []
    with contextlib.suppress(OSError):  # no /proc
        found = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    for descriptor in found:
        with contextlib.suppress(OSError):
            if descriptor > 2 and stat.S_ISSOCK(os.fstat(descriptor).st_mode):  # noqa: PLR2004 - stderr
                os.close(descriptor)


def notify(state: str) -> None:
    """Notify the service manager of `READY=1` or `STOPPING=1`, if there is one.

    Source: sd_notify(3), a datagram to the socket that NOTIFY_SOCKET names.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # a full queue must not stop us
        # An abstract name begins with a zero byte.
        sock.sendto(state.encode(), f"\0{where[1:]}" if where[0] == "@" else where)
