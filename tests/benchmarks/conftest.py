"""Fixtures of the tests of the benchmark."""

import math
import secrets
import sys
from pathlib import Path

import pytest

from benchmarks.lab import openloop
from benchmarks.lab.processes import Bench


@pytest.fixture
def patient(monkeypatch):
    """Accept a late load generator: the machine may be busy during tests."""
    monkeypatch.setattr(openloop, "LATE", math.inf)


@pytest.fixture
def bench(tmp_path):
    return Bench(
        folder=tmp_path,
        cache=tmp_path,
        quick=True,
        python=Path(sys.executable),
        seconds=0.25,
        secret=secrets.token_hex(32),
    )
