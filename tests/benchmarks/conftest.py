"""What several tests of the benchmark need."""

import math

import pytest

from benchmarks import openloop


@pytest.fixture
def patient(monkeypatch):
    """How late a load is on a busy machine is not what is tested."""
    monkeypatch.setattr(openloop, "LATE", math.inf)
