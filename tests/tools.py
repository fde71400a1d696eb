"""Programs of the machine that tests need."""

import os
import shutil
from pathlib import Path

import pytest

#: The npm packages of the tests; `make test` installs them.
JAVASCRIPT = Path(__file__).parent / "javascript"


def missing(*tools, root=False):
    """Return what a test needs and this machine lacks."""
    lacks = [f"no {tool}" for tool in tools if shutil.which(tool) is None]
    return [*lacks, *(["not root"] if root and os.geteuid() != 0 else [])]


def missing_for_javascript(package):
    """Return what a test of JavaScript needs and this machine lacks."""
    is_there = (JAVASCRIPT / "node_modules" / package).is_dir()
    return [*missing("node"), *([] if is_there else [f"no npm package {package}: run make test"])]


def require(lacks):
    """Skip the test on a developer's machine; fail in CI, which must have everything."""
    if lacks and os.environ.get("CI") != "true":
        pytest.skip(f"cannot be tested here: {', '.join(lacks)}")
    assert [] == lacks


def descendants(pid):
    """Return the process ids below `pid`, each child before its own children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [found for child in children for found in (int(child), *descendants(child))]
