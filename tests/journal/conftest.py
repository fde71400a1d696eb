"""Fixtures of the journal's tests."""

import pytest

from journal.sqlite import schema


@pytest.fixture
def path(tmp_path):
    return tmp_path / "smshook.db"


@pytest.fixture
def migrate_to(monkeypatch):
    """Return a function that makes the journal of an older version, with the steps up to `last`."""

    def migrate_to(path, last):
        steps = [step for step in schema._scripts() if step[0][:4] <= last[:4]]
        with monkeypatch.context() as older:
            older.setattr(schema, "_scripts", lambda: steps)
            schema.migrate(path)

    return migrate_to
