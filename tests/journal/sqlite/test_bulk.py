"""Statements for many rows."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from journal.sqlite import bulk


@pytest.fixture
def conn():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        conn.execute("create table pairs (name text, number integer)")
        yield conn


@pytest.mark.parametrize("count", [*range(2 * bulk._MOST), 3 * bulk._MOST - 1])
def test_each_number_of_rows_is_inserted_and_found_in_order(conn, count):
    """Mutants: a last part that is not full is lost; a later part comes first."""
    rows = [(f"name {number}" if number else None, number) for number in range(count)]

    bulk.insert(conn, "pairs", rows)
    found = bulk.search(
        conn,
        "wanted(its_number)",
        "select name, number from wanted cross join pairs on number = its_number",
        [(number,) for _, number in rows],
    )

    assert conn.execute("select * from pairs").fetchall() == rows
    assert found == rows


class Recording(sqlite3.Connection):
    """Notes the text of each statement: sqlite3 prepares each text once."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.run = set()

    def execute(self, sql, *parameters):
        self.run.add(sql)
        return super().execute(sql, *parameters)


def test_all_numbers_of_rows_share_few_statements():
    """Mutants: all numbers up to 32 are sizes; `add` has a statement for each number of counters.

    The cache of a connection has room for 40 such kinds: the look-ups and writes have fewer.
    """
    with contextlib.closing(Recording(":memory:", isolation_level=None)) as conn:
        conn.execute("create table counters (name text primary key, value integer)")
        conn.execute("create table pairs (name text, number integer)")
        conn.run.clear()

        for count in range(1, 201):
            rows = [(f"name {number}", number) for number in range(count)]
            bulk.insert(conn, "pairs", rows)
            bulk.search(conn, "wanted(name, number)", "select 1 from wanted limit 1", rows)
            bulk.add(conn, dict(rows))

        totals = dict(conn.execute("select name, value from counters"))
    assert totals == {f"name {number}": number * (200 - number) for number in range(200)}
    assert len(conn.run) <= 3 * 12
    assert 40 * len(conn.run) / 3 <= bulk.CACHED_STATEMENTS


def test_value_with_an_adapter_is_stored_as_it_is(conn):
    """Mutants: the adapter of None, of bytes or of booleans makes a text of the value."""
    bulk.insert(conn, "pairs", [(None, True), (b"\0", False)])

    stored = conn.execute("select name, typeof(name), number, typeof(number) from pairs").fetchall()

    assert stored == [(None, "null", 1, "integer"), (b"\0", "blob", 0, "integer")]


def test_rows_in_many_pages_need_no_temporary_file(tmp_path):
    """Mutant: `insert into`: SQLite copies the pages of the index into a file."""
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as conn:
        conn.execute("pragma journal_mode = wal")
        conn.execute("create table texts (text text primary key) without rowid")
        rows = [(f"{number:03}" * 300,) for number in range(8 * bulk._MOST)]
        new = rows[4::8]
        bulk.insert(conn, "texts", [row for row in rows if row not in new])

        conn.execute("begin immediate")
        before = [*Path("/proc/self/fd").iterdir()]
        bulk.insert(conn, "texts", new)

        assert [*Path("/proc/self/fd").iterdir()] == before
        assert conn.execute("select text from texts order by text").fetchall() == rows
