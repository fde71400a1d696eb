"""Fixtures of the log's tests: a stuck reader, and the state of logging."""

import io
import logging
import threading

import pytest
import structlog


class Stuck(io.BytesIO):
    """A reader that takes nothing until it is released."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()
        self.writes = 0

    def write(self, data):
        self.writes += 1
        assert self.released.wait(60)
        return super().write(data)


@pytest.fixture
def stuck():
    return Stuck()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Set local time to UTC, and restore the logging of other tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("TZ", "UTC")
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
