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


@pytest.mark.parametrize("count", [0, 1, 2, bulk._MOST, bulk._MOST + 1, 3 * bulk._MOST - 1])
def test_each_number_of_rows_is_inserted_and_found(conn, count):
    """Mutants: a last part that is not full is lost; its rows are filled up with nulls."""
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
