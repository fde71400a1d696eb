"""Processor time of a process and its threads, in nanoseconds, as the kernel counts it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

#: The thread that takes callbacks.
LOOP = "event loop"
#: Threads that have ended, and those with no name here.
OTHERS = "other threads"
#: The work of a thread, by the beginning of its name in Python or, without one, in the kernel.
_WORK = {
    "journal-read": "reading the journal",
    "journal": "writing the journal",
    "tokio": "outbound HTTP",
    "pyreqwest": "outbound HTTP",
    "file-sink": "file sink",
    "log": "log",
}
#: All columns, in the order of an event's life.
THREADS = (LOOP, *dict.fromkeys(_WORK.values()), OTHERS)
#: The clock of a whole process, as clock_getcpuclockid(3) of Linux encodes it.
_PROCESS_CLOCK = 2


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of processor time that a process has used so far."""

    whole: float
    #: By the kernel's number of the thread.
    threads: Mapping[int, float]
    #: The kernel's name of each thread.
    names: Mapping[int, str]


def used(pid: int) -> Usage:
    """Read what a process, its ended threads included, and its threads have used."""
    threads, names = {}, {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end between being listed and being read.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            threads[int(task.name)] = nanoseconds / 1e9
            names[int(task.name)] = (task / "comm").read_text().strip()
    # Not /proc/PID/stat, which counts ticks of 10 ms.
    whole = time.clock_gettime_ns(~pid << 3 | _PROCESS_CLOCK) / 1e9
    return Usage(whole=whole, threads=threads, names=names)


class Meter:
    """Measures the processor time of a process from its making on."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before = pid, used(pid)

    def values(self, case: str, events: int) -> dict[str, float]:
        """Return the figures of a case: microseconds an event, of the process and by thread."""
        after = used(self._pid)
        spent = spent_between(self._before, after, self._pid, python_names(self._pid))
        each = {thread: seconds * 1e6 / events for thread, seconds in spent.items()}
        whole = (after.whole - self._before.whole) * 1e6 / events
        named = {f"processor/{case}/{thread}": value for thread, value in each.items()}
        return {f"processor/{case}": whole, **named}


def spent_between(
    before: Usage, after: Usage, pid: int, names: Mapping[int, str]
) -> Mapping[str, float]:
    """Return seconds by the work of the threads; the parts sum to those of the process.

    `names` are Python's names of threads: the kernel has one name for all of them.
    """
    spent = dict.fromkeys(THREADS, 0.0)
    for thread, until_now in after.threads.items():
        work = LOOP if thread == pid else _work_of(names.get(thread) or after.names[thread])
        spent[work] += until_now - before.threads.get(thread, 0.0)
    # The kernel updates the time of a running thread at its next tick: never less than nothing.
    spent[OTHERS] += max(0.0, after.whole - before.whole - sum(spent.values()))
    return {work: seconds for work, seconds in spent.items() if round(seconds, 9)}


def python_names(pid: int) -> Mapping[int, str]:
    """Return the names of Python's threads by the kernel's number; empty without py-spy."""
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        return {}
    command = [str(program), "dump", "--json", "--nonblocking", "--pid", str(pid)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        return {}
    found = msgspec.json.decode(done.stdout)
    return {one["os_thread_id"]: one["thread_name"] or "" for one in found}


def _work_of(name: str) -> str:
    return next((work for begin, work in _WORK.items() if name.startswith(begin)), OTHERS)
