"""A reader of the log that is stuck."""

import io
import threading

import pytest


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
