"""m011 on deliveries of an older version."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from contracts.journal import NOW
from journals import shell

from core.delivery import Turn
from journal.reads import JournalStats
from journal.sqlite.journal import SQLiteJournal
from journal.writes import Settle, Take

ROOT = Path(__file__).parents[3]
#: The migration, killed in the middle.
KILLED = """
import os, pathlib, signal, sys
from journal.sqlite import schema
from sqlite_utils import Database

run = Database.execute
def die_in_the_middle(db, sql, *values):
    if "drop index deliveries_taken" in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(db, sql, *values)
Database.execute = die_in_the_middle
schema.migrate(pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def path(path, migrate_to):
    """A journal of the version before m011: one delivery waits, two were taken by a start."""
    migrate_to(path, "m010")
    with shell(path) as conn:
        conn.executescript("""
            insert into starts (id, at, pid, version) values (1, 500.0, 1, '0');
            insert into callbacks values (1, 's', 'callback', 't', 'p', 500.0, '[]', x'00');
            insert into events
              (seq, id, source, type, subject, recorded_at, callback, routes, body)
              values (1, 'e1', 's', 'sms.received', 'request/1', 500.0, 1, '[]', '{"data":{}}');
            insert into deliveries (id, event, sink, state, attempts, due_at, owner, accepted_at)
              values
              (1, 1, 'log', 'sending', 0, null, 1, 500.0),
              (2, 1, 'log', 'sending', 3, null, 1, 500.0),
              (3, 1, 'log', 'pending', 0, 1600009000.0, null, 500.0),
              (4, 1, 'log', 'delivered', 1, null, null, 500.0);
            update counters set value = 2 where name = 'deliveries.sending';
            update counters set value = 1
              where name in ('deliveries.pending', 'deliveries.delivered');
        """)
    return path


async def assert_sent(path):
    journal = await SQLiteJournal.open(path, seal="seal", now=NOW, version="1")
    before = (await journal.ask(JournalStats())).deliveries
    taken = [
        one for turn in Turn for one in await journal.submit(Take("log", turn, limit=9, now=NOW))
    ]
    settled = [await journal.submit(Settle(one, None, "dead", due_at=None)) for one in taken]
    after = (await journal.ask(JournalStats())).deliveries
    await journal.close()

    assert [(one.id, one.attempts) for one in taken] == [(1, 0), (2, 3)]
    assert len(settled) == 2
    assert None not in settled
    assert (before["pending"], before["sending"], before["delivered"]) == (3, 0, 1)
    assert (after["pending"], after["dead"], after["delivered"]) == (1, 2, 1)


async def test_taken_deliveries_of_an_older_version_are_sent(path):
    """Mutants: `sending` is counted twice or lost; a start takes only those without an owner."""
    await assert_sent(path)


def test_migration_killed_in_the_middle_leaves_a_usable_journal(path):
    killed = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False, timeout=60)

    assert killed.returncode == -signal.SIGKILL
    asyncio.run(assert_sent(path))
