"""Where commands are typed in tests."""

import os

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty one, which is the current one; nothing of smshook in the environment."""
    for name in os.environ:
        if name.startswith("SMSHOOK"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
