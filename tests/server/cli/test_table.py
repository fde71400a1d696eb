"""Tables: one line for each row on any screen, with any characters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cli.table import Cell, Column, id_cell, table_lines, width_of
from server.cli.terminal import Screen
from server.cli.times import relative, span

ID = "01931c5e-7b2a-7c3d-9e4f-0123456789ab"
PIPE, NARROW = Screen(None, colors=False), Screen(80, colors=False)
COLUMNS = (Column("name", 6), Column("state"), Column("last error", 8, rank=1), Column("id"))


def cell(text):
    return Cell(text, text)


def test_pipe_gets_every_value_in_full():
    """Mutant: an id cut to its end, which a program cannot use."""
    row = [
        cell("n" * 90),
        cell("ok"),
        cell("x" * 90),
        id_cell(ID),
    ]

    [_, line] = table_lines(COLUMNS, [row], PIPE)

    assert re.split("  +", line) == [cell_.text for cell_ in row]


def test_screen_shows_the_end_of_an_id():
    """Ids grow with time: their beginnings are alike. Mutant: the beginning."""
    row = [cell("a"), cell("ok"), cell("-"), id_cell(ID)]

    [_, line] = table_lines(COLUMNS, [row], NARROW)

    assert line.split()[-1] == "456789ab"


def test_widest_cell_is_shortened_first():
    row = [cell("n" * 30), cell("ok"), cell("x" * 60), cell("12345678")]

    [header, line] = table_lines(COLUMNS, [row], NARROW)

    assert re.split("  +", line) == ["n" * 30, "ok", "x" * 30 + "…", "12345678"]
    assert header.split()[-1] == "id"


def test_empty_column_gives_way_to_values():
    """Mutant: an empty column takes space from a value."""
    row = [cell("n" * 70), cell("ok"), cell("-"), cell("12345678")]

    [header, _] = table_lines(COLUMNS, [row], NARROW)

    assert header.split() == ["name", "state", "id"]


def test_least_important_column_is_dropped_first():
    columns = (Column("a"), Column("b", rank=1), Column("c", rank=2))
    row = [cell("x" * 30), cell("y" * 30), cell("z" * 30)]

    [header, line] = table_lines(columns, [row], NARROW)

    assert header.split() == ["a", "b"]
    assert line == f"{'x' * 30}  {'y' * 30}"


@given(
    st.lists(
        st.lists(st.text("aé漢字한😀e\u0301-", max_size=90), min_size=4, max_size=4), min_size=1
    ),
    st.integers(12, 120),
)
def test_no_line_is_wider_than_the_screen(texts, width):
    """Mutant: `len`, which halves the width of a Chinese text."""
    rows = [[cell(text) for text in row] for row in texts]

    lines = table_lines(COLUMNS, rows, Screen(width, colors=False))

    assert len(lines) == len(rows) + 1
    assert max(map(width_of, lines)) <= max(width, sum(len(it.title) for it in COLUMNS[:2]) + 16)


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("😀", 2), ("❤\ufe0f", 2), ("é", 1)],
)
def test_width_is_that_of_the_terminal(text, width):
    assert width_of(text) == width


def test_colours_are_for_terminals_only():
    row = [cell("a"), Cell("dead", "dead", "red"), cell("-"), cell("1")]

    [plain] = table_lines(COLUMNS, [row], NARROW)[1:]
    [colored] = table_lines(COLUMNS, [row], Screen(80, colors=True))[1:]

    assert "\x1b" not in plain
    assert "\x1b[31mdead\x1b[0m" in colored
    assert plain == colored.replace("\x1b[31m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-09-14T18:42:37Z", "now"),
        ("2026-09-14T18:41:08.5Z", "88 s ago"),
        ("2026-09-14T18:38:37.000000Z", "4 min ago"),
        ("2026-09-14T20:43:00Z", "in 2 h"),
        ("2026-09-01T18:42:37Z", "13 d ago"),
        ("nonsense", "nonsense"),
        (None, None),
    ],
)
def test_time_is_shown_relative_to_now(at, words):
    assert relative(at, 1789411357.0) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h")]
)
def test_span_has_one_unit(seconds, words):
    assert span(seconds) == words
