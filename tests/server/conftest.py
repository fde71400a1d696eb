"""The folder in which tests run commands, and a lock on a journal in it."""

import contextlib
import sqlite3

import pytest
from prompt import be_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; the environment has no variable of smshook."""
    be_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def locked(tmp_path):
    """Return a context in which no write of the journal in `tmp_path` succeeds."""

    @contextlib.contextmanager
    def held():
        path = tmp_path / "smshook.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            yield

    return held
