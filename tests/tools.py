"""Programs of the machine that tests need."""

import os
import shutil
from pathlib import Path

import pytest


def missing(*tools, root=False):
    """Return what a test needs and this machine lacks."""
    lacks = [f"no {tool}" for tool in tools if shutil.which(tool) is None]
    return [*lacks, *(["not root"] if root and os.geteuid() != 0 else [])]


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
