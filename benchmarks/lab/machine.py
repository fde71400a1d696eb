"""The machine: its description, how steady it is, and the memory of a process on it."""

import importlib.metadata
import os
import platform
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from pathlib import Path

import msgspec

from .processes import meanwhile

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "litestar", "msgspec", "pyreqwest", "structlog")
#: Writes of one page, each of them synced.
_SYNCS = 200
_PAGE = bytes(4096)
#: Steps of one count: a fifth of a millisecond on a slow machine.
_STEPS = 2000
#: A count that takes this many times the median was held up by something else.
_SLOW = 5.0
#: Seconds between two samples of memory.
_SAMPLE_EVERY = 1.0
_KINDS_EVERY = 10.0
#: glibc aligns the heaps of threads to this (HEAP_MAX_SIZE on 64 bits); nothing else is so far.
_THREAD_HEAP = 64 * 2**20


def described(folder: Path) -> dict[str, str]:
    """Describe the machine; `folder` is on the disk that is measured."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": _system(),
        "kernel": platform.release(),
        "file system": _first_line(
            "findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)
        ),
    }


def versions() -> dict[str, str]:
    """Versions of Python, SQLite, wrk and the libraries that handle a callback."""
    return {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "wrk": _first_line("wrk", "--version"),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def commit() -> str:
    """The commit that is checked out, with a plus if files differ from it."""
    here = str(Path(__file__).parent)
    name = _first_line("git", "-C", here, "rev-parse", "--short", "HEAD")
    changed = _first_line("git", "-C", here, "status", "--porcelain", "-uno")
    return f"{name}+" if changed else name


def fdatasync(folder: Path) -> float:
    """Milliseconds to append and sync one page, the least that a commit needs. The median."""
    path = folder / "fdatasync"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(_PAGE)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return statistics.median(took)


class Stalls(msgspec.Struct, frozen=True, kw_only=True):
    #: Part of the time in which a busy processor got next to nothing done.
    share: float
    #: Milliseconds.
    longest: float


def watch_stalls(seconds: float, *, clock: Callable[[], float] = time.perf_counter) -> Stalls:
    """Count for that long, and find the counts that were held up."""
    took, until = [], clock() + seconds
    while (began := clock()) < until:
        counted = 0
        for step in range(_STEPS):
            counted += step
        took.append(clock() - began)
    return stalls(took)


def stalls(took: Sequence[float]) -> Stalls:
    """Find the stalls in the seconds that successive counts took."""
    usual = statistics.median(took)
    longest = current = lost = 0.0
    for one in took:
        current = current + one if one > _SLOW * usual else 0.0
        lost += one - usual if current else 0.0
        longest = max(longest, current)
    return Stalls(share=lost / sum(took), longest=longest * 1000)


Points = tuple[tuple[float, float], ...]


class Memory(msgspec.Struct, frozen=True):
    #: Seconds since the beginning, and megabytes.
    points: Points
    #: The same by kind of memory.
    kinds: Mapping[str, Points] = {}

    @property
    def most(self) -> float:
        """Megabytes."""
        return max(megabytes for _, megabytes in self.points)

    @property
    def slope(self) -> float:
        """Kilobytes a minute over the second half: the first half fills caches."""
        return _slope(self.points)

    @property
    def grew(self) -> Mapping[str, float]:
        """The slope of each kind."""
        return {kind: _slope(points) for kind, points in self.kinds.items()}


def watch_memory(
    megabytes: Callable[[], float],
    work: Callable[[], object],
    *,
    kinds: Callable[[], Mapping[str, float]] = dict,
) -> Memory:
    """Call `megabytes` each second while `work` runs, and `kinds` every ten seconds.

    `kinds` returns megabytes by kind of memory. It reads all mappings, which halts the process.
    """
    began = time.monotonic()
    points, found = [(0.0, megabytes())], [(0.0, kinds())]
    with meanwhile(work) as working:
        while not working.done():
            wait([working], _SAMPLE_EVERY)
            now = time.monotonic() - began
            points.append((now, megabytes()))
            if now - found[-1][0] >= _KINDS_EVERY:
                found.append((now, kinds()))
    names = {name for _, one in found for name in one}
    by_kind = {name: tuple((at, one.get(name, 0.0)) for at, one in found) for name in sorted(names)}
    return Memory(tuple(points), by_kind)


def mapped(pid: int) -> Mapping[str, float]:
    """Return resident megabytes of a process by kind of mapping: proc(5), /proc/PID/smaps."""
    found: dict[str, float] = {}
    kind = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            *_, path = [*line.split(maxsplit=5), ""][:6]
            kind = kind_of(int(name.partition("-")[0], 16), path)
        elif name == "Rss:":
            found[kind] = found.get(kind, 0.0) + int(rest.split()[0]) * 1024 / 1e6
    return found


def kind_of(start: int, path: str) -> str:
    """Return the kind of a mapping by its address and name."""
    if not path:
        return "heaps of threads" if start % _THREAD_HEAP == 0 else "objects of Python"
    if path == "[heap]":
        return "heap of the main thread"
    if path.startswith("["):
        return "other"
    return "journal" if ".db" in path else "programs and libraries"


def _slope(points: Points) -> float:
    second_half = points[len(points) // 2 :]
    if len(second_half) < 2:  # noqa: PLR2004 - a line needs two points
        return 0.0
    x, y = zip(*second_half, strict=True)
    return statistics.linear_regression(x, y).slope * 1000 * 60


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _first_line(*words: str) -> str:
    """The first line of a program's output; empty if there is no such program or output."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - the words are ours
    except OSError:
        return ""
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""
