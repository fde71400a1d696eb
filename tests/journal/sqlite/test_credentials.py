"""Secrets of older journals are replaced, and their bytes are gone from the files."""

import contextlib
import json
import sqlite3

import pytest

from journal.sqlite.journal import SQLiteJournal
from journal.writes import HideCredentials

SECRET = "p4ssw0rd-canary"
HEADERS = [["authorization", f"Basic {SECRET}"], ["x-plain", "1"]]
SAFE = [["authorization", "digest:1"], ["x-plain", "1"]]
ROWS = 50


def hidden(_source, headers):
    return tuple((name, "digest:1" if SECRET in value else value) for name, value in headers)


@pytest.fixture
def path(path, migrate_to):
    """A journal of an older version, with secrets in both tables, and in the file and the log."""
    migrate_to(path, "m006")
    written = json.dumps(HEADERS)
    # The connection stays open: so the log stays, as after a kill.
    conn = sqlite3.connect(path)
    with conn:
        conn.executemany(
            "insert into callbacks values (?, 's', 'callback', 't', 'p', 1.0, ?, ?)",
            [(number, written, b"x" * 3000) for number in range(1, ROWS + 1)],
        )
        conn.executemany(
            "insert into quarantine (id, source, fingerprint, reason, detail, token, peer, at,"
            " last_at, headers, body) values (?, 's', ?, 'r', 'd', 't', 'p', 1.0, 1.0, ?, ?)",
            [(f"q{number}", b"%d" % number, written, b"y") for number in range(1, ROWS + 1)],
        )
    yield path
    conn.close()


def opened(path):
    return SQLiteJournal.open(path, seal="s", now=0.0, version="0")


def stored(path):
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        rows = conn.execute(
            "select headers from callbacks union all select headers from quarantine"
        )
        return [json.loads(written) for (written,) in rows]


def in_files(path):
    return [file.name for file in path.parent.iterdir() if SECRET.encode() in file.read_bytes()]


async def test_stored_secrets_are_replaced_and_gone_from_the_files(path):
    """Mutants: the log is not truncated; quarantine is left out."""
    assert in_files(path)
    journal = await opened(path)

    while await journal.submit(HideCredentials(hidden, limit=7)):
        pass
    inside = in_files(path)
    await journal.close()

    assert inside == []
    assert stored(path) == [SAFE] * (2 * ROWS)


async def test_stopped_replacement_continues_where_it_ended(path):
    """Mutant: the place is not stored, and each start begins again."""
    journal = await opened(path)
    for _ in range(3):
        assert await journal.submit(HideCredentials(hidden, limit=10))
    await journal.close()
    half = stored(path).count(SAFE)

    journal = await opened(path)
    asked = 0
    while await journal.submit(HideCredentials(hidden, limit=10)):
        asked += 1
    await journal.close()

    assert half == 30
    assert stored(path) == [SAFE] * (2 * ROWS)
    assert asked == 10  # from the start it would be 13
    assert in_files(path) == []


async def test_replaced_credentials_are_not_read_again(path):
    journal = await opened(path)
    while await journal.submit(HideCredentials(hidden)):
        pass
    await journal.close()
    seen = []

    journal = await opened(path)
    left = await journal.submit(HideCredentials(lambda *of: seen.append(of)))
    await journal.close()

    assert (left, seen) == (False, [])


async def test_new_journal_has_nothing_to_replace(tmp_path):
    journal = await opened(tmp_path / "new.db")

    assert await journal.submit(HideCredentials(lambda *_: ())) is False
    await journal.close()
