"""The machine, its disk and the versions that a figure belongs to."""

import importlib.metadata
import os
import platform
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path

#: Writes of one page that are synced, one after the other.
_SYNCS = 200
_PAGE = bytes(4096)
_LIBRARIES = ("uvicorn", "uvloop", "httptools", "litestar", "msgspec", "pyreqwest", "structlog")


def described(folder: Path) -> dict[str, str]:
    """What it is called, and what it has; `folder` is on the disk that is measured."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": _system(),
        "kernel": platform.release(),
        "file system": _file_system(folder),
    }


def versions() -> dict[str, str]:
    """Of the interpreter, of SQLite, of wrk and of the libraries a callback goes through."""
    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "wrk": _first_line("wrk", "--version"),
        **found,
    }


def commit() -> str:
    """What is checked out; with a plus where files differ from it."""
    here = Path(__file__).parent
    name = _first_line("git", "-C", str(here), "rev-parse", "--short", "HEAD")
    changed = _first_line("git", "-C", str(here), "status", "--porcelain", "-uno")
    return f"{name}+" if changed else name


def fdatasync(folder: Path) -> float:
    """Milliseconds, the median: one page appended and synced, as a commit does at the least."""
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


def _file_system(folder: Path) -> str:
    return _first_line("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder))


def _first_line(*words: str) -> str:
    """Of what a program says; empty where it is not there or says nothing."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - the words are ours
    except OSError:
        return ""
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""
