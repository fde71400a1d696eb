import pytest


class Hands:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def hands():
    return Hands()
