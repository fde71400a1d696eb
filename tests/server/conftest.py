"""The folder in which tests run commands."""

import live
import pytest
from prompt import be_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; the environment has no variable of smshook."""
    be_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Let the services of these tests write coverage."""
    monkeypatch.setattr(live, "MEASURED", True)
