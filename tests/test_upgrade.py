"""A large journal of an older version is served while its searched fields are filled."""

import json
import shutil

import live
import pytest
from journals import shell

from benchmarks.lab import journals
from journal.sqlite import schema

#: The instructions of SQLite between two counts.
COUNTED = 100
#: Undoes m012 and m013, so that the journal is of an older version.
UNDO = """
    drop trigger if exists event_fields_stored;
    drop trigger if exists event_fields_changed;
    drop table if exists event_fields;
    delete from meta where name = 'event_fields_missing';
    delete from _sqlite_migrations where name like 'm012%' or name like 'm013%';
"""


def missing(path):
    """Return the number of events without searched fields."""
    with shell(path) as conn:
        row = conn.execute("select value from meta where name = 'event_fields_missing'").fetchone()
        return int(row[0]) if row else 0


def instructions(path, monkeypatch):
    """Bring the schema up to date; return how many instructions of SQLite that took."""
    counts, connect = [], schema._connect

    def counted(path):
        conn = connect(path)
        conn.set_progress_handler(lambda: counts.append(COUNTED), COUNTED)
        return conn

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_connect", counted)
        assert any(name.startswith("m013") for name in schema.migrate(path))
    return sum(counts)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(30_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
        pytest.param(10_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(4 * 3600)]),
    ],
)
def test_older_journal_is_ready_soon_and_fills_while_served(tmp_path, events, monkeypatch):
    """Steps and rows are counted: times say more about the machine. A kill interrupts the fill.

    Mutants: the migration fills the fields; it looks at each event; the fields are filled in one
    transaction.
    """
    folder, path = tmp_path, tmp_path / "smshook.db"
    if events < 10**6:
        journals.fill(path, events)
    else:  # kept for all runs, because it takes most of an hour; the test ends as it began
        kept = journals.journal(events)
        folder = kept.with_suffix(".upgrade")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "smshook.db"
        path.hardlink_to(kept)
    with shell(path) as conn:
        conn.executescript(UNDO)
        (body,) = conn.execute("select body from events where seq = ?", (events - 500,)).fetchone()
    old = json.loads(body)
    service = live.Live(folder, in_clear="an older version stored its events")

    def found(number):
        page = service.api(f"/events?number={number.removeprefix('+')}&order=desc").json()
        return [item["event"]["id"] for item in page["data"]]

    took = instructions(path, monkeypatch)
    assert missing(path) == events
    with shell(path) as conn:
        conn.executescript(UNDO)
    accepted = 0
    try:
        service.start()
        while missing(path) > events * 9 / 10:
            assert found(old["data"]["to"]) == [old["id"]]
            number = f"1212555{accepted:04d}"
            new = service.accept(accepted, to=number)
            assert found(number) == [new]
            accepted += missing(path) > 0
        service.kill()
        left = missing(path)
        service.start()
        live.eventually(lambda: not missing(path), within=3600)
        assert found(old["data"]["to"]) == [old["id"]]
        assert found("12125550000") != []
    finally:
        service.__exit__()
    assert took < events / 2
    assert accepted > 0
    assert 0 < left < events
