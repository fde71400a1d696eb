"""A large journal of an older version is served while its searched fields are filled."""

import contextlib
import json
import shutil
import sqlite3
import time

import live
import pytest

from benchmarks.lab import journals

#: Seconds until the service is ready, whatever the size of the journal.
READY_WITHIN = 5.0
#: Undoes m012 and m013, so that the journal is of an older version.
UNDO = """
    drop trigger if exists event_fields_stored;
    drop trigger if exists event_fields_changed;
    drop table if exists event_fields;
    delete from meta where name = 'event_fields_missing';
    delete from _sqlite_migrations where name like 'm012%' or name like 'm013%';
"""


@contextlib.contextmanager
def shell(path):
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        yield conn


def missing(path):
    """Return the number of events without searched fields."""
    with shell(path) as conn:
        row = conn.execute("select value from meta where name = 'event_fields_missing'").fetchone()
        return int(row[0]) if row else 0


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(60_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
        pytest.param(10_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(4 * 3600)]),
    ],
)
def test_older_journal_is_ready_soon_and_fills_while_served(tmp_path, events):
    """A kill interrupts the fill, too. Mutant: the migration fills the fields."""
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

    def start():
        began = time.monotonic()
        service.start()
        return time.monotonic() - began

    ready, left, took = [], [], []
    try:
        ready.append(start())
        left.append(missing(path))
        while left[-1] > events * 0.9:
            began = time.monotonic()
            number = f"1212555{len(took):04d}"
            [new] = service.post(live.sms(len(took), to=number)).json()["events"]
            took.append(time.monotonic() - began)
            assert found(number) == [new]
            left.append(missing(path))
        assert found(old["data"]["to"]) == [old["id"]]
        service.kill()
        left.append(missing(path))
        ready.append(start())
        live.eventually(lambda: not missing(path), within=3600)
        assert found(old["data"]["to"]) == [old["id"]]
        assert found("12125550000") != []
    finally:
        service.__exit__()
    assert 0 < left[-1] < events
    assert max(ready) < READY_WITHIN
    assert max(took) < READY_WITHIN
