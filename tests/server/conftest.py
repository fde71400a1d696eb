"""Where commands are typed in tests."""

import live
import pytest
from prompt import be_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty one, which is the current one; nothing of smshook in the environment."""
    be_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Let the services of these tests write coverage."""
    monkeypatch.setattr(live, "MEASURED", True)
