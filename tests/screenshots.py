"""Screenshots of tabs, if a test fails: its report names the files.

They are in a folder below `--basetemp`, or without it in a new temporary folder.
"""

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

#: The open tabs. Each has a `picture`.
OPEN = []
#: Pictures of tabs that were closed with faults.
CLOSED = []
#: File names have a limit of 255 bytes.
_LONGEST = 200
_folder = pytest.StashKey[Path]()


class Picture(NamedTuple):
    """A screenshot of a tab as PNG, its address, and the console messages of its page."""

    url: str
    png: bytes
    said: tuple[str, ...]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        name = re.sub(r"[^\w.-]+", "-", f"{item.nodeid}-{call.when}")[-_LONGEST:]
        pictures = [*CLOSED, *(tab.picture() for tab in OPEN)]
        CLOSED.clear()
        for n, picture in enumerate(pictures, 1):
            path = _made(item.config) / f"{name}-{n}.png"
            path.write_bytes(picture.png)
            report.sections.append((f"tab {picture.url}", "\n".join([str(path), *picture.said])))
    return report


def _made(config):
    """Return the folder. The first failure makes it."""
    if _folder not in config.stash:
        parent = config.getoption("basetemp") or tempfile.mkdtemp(prefix="smshook-tests-")
        config.stash[_folder] = Path(parent) / "screenshots"
        config.stash[_folder].mkdir(parents=True, exist_ok=True)
    return config.stash[_folder]
