"""Medians, ratios, goals and shares, and how they are written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import example
from msgspec.structs import replace

from benchmarks import tables
from benchmarks.peers import PEERS
from benchmarks.ratios import ratio, ratios
from benchmarks.results import Figure, Goal
from benchmarks.words import number, quantity, rounded, spread


def figure(*values, name="f"):
    return Figure(name=name, unit="1/s", what="", values=values)


def test_a_median_is_that_of_the_repetitions():
    found = figure(3.0, 1.0, 100.0)

    assert (found.median, found.low, found.high) == (3.0, 1.0, 100.0)
    assert figure(1.0, 2.0).median == 1.5


def test_a_ratio_is_that_of_each_repetition():
    """A slow minute slows both. Mutant: the ratio of the medians, 1.0 here."""
    fast, slow = figure(10.0, 20.0, 60.0), figure(5.0, 20.0, 20.0)

    assert ratios(fast, slow) == (2.0, 1.0, 3.0)
    assert ratio(fast, slow) == 2.0


def test_what_was_not_repeated_together_is_compared_by_the_medians():
    assert ratios(figure(10.0), figure(1.0, 2.0, 3.0)) == (5.0,)


@pytest.mark.parametrize("base", [None, figure(0.0), figure(0.0, 0.0, 0.0)])
def test_there_is_no_ratio_to_nothing(base):
    assert ratio(figure(10.0), base) is None


@pytest.mark.parametrize(
    ("bound", "values", "verdict"),
    [
        ("at least", (1.0, 2.0, 3.0), "met"),
        ("at least", (1.0, 1.9, 3.0), "missed"),
        ("at most", (1.0, 2.0, 3.0), "met"),
        ("at most", (1.0, 2.1, 3.0), "missed"),
        ("at most", (), "not measured"),
    ],
)
def test_a_goal_is_met_by_the_median(bound, values, verdict):
    """Mutants: by the best of the repetitions; a bound that is not met by what it names."""
    goal = Goal(name="g", what="", bound=bound, wanted=2.0, unit="", values=values)

    assert goal.verdict == verdict


def test_goals_show_each_repetition_and_whether_they_are_met():
    assert tables.goals(example()).splitlines()[2:] == [
        "| `accept` | accept / bare | at least 0.4 | 0.450 | met | 0.450, 0.440, 0.500 |",
        "| `answers` | p99 of answers | at most 10 ms | 11.0 ms | **missed** | 12.0, 9.00, 11.0 |",
    ]


def test_goals_that_are_all_met_leave_no_word_of_missing():
    [accept, _] = example().goals

    assert tables.goals_met(replace(example(), goals=(accept,))) == "1 of 1 goals are met."


def test_goals_that_were_not_measured_are_counted_and_have_their_row():
    """Mutant: 1 of 2 goals met, where three are wanted."""
    accept, answers = example().goals
    unknown = replace(accept, name="unknown", values=())
    run = replace(example(), goals=(accept, unknown, answers))

    said = "1 of 3 goals are met, 1 not measured; missed: `answers`."
    assert tables.goals_met(run) == said
    assert tables.goals(run).splitlines()[3:4] == [
        "| `unknown` | accept / bare | at least 0.4 | - | not measured | - |"
    ]
    assert tables.goals_met(replace(run, goals=(unknown,))) == "No goal was measured."


def test_the_rows_of_a_profile_sum_to_the_whole():
    """Mutant: each row rounded by itself, which makes 100.0 of 100.16 and of 100 %."""
    rows = tables.profile(example(), "profile/pipeline").splitlines()[2:]

    found = [re.findall(r"[\d.]+", row.partition("|")[2].partition("|")[2]) for row in rows]
    [*parts, whole, disk] = [[float(cell) for cell in row] for row in found]
    assert round(sum(time for time, _ in parts), 1) == whole[0] == 100.2
    assert round(sum(share for _, share in parts), 1) == whole[1] == 100.0
    assert disk == [25.0]


def test_stages_are_in_the_order_of_an_events_way():
    assert list(tables.stages(example(), "profile/pipeline")) == [
        "door",
        "decode",
        "other",
        "a stage of tomorrow",
    ]


def test_peers_stand_beside_what_is_on_disk_when_they_answer():
    """Mutants: smshook always first; a peer that was not measured left out."""
    rows = tables.peers(example()).splitlines()[2:]

    assert [row.split(" | ")[:5] for row in rows] == [
        ["| mq-bridge", "11,000/s", "10,000 to 12,500", "0.500", "2.00"],
        ["| **smshook**", "5,000/s", "5,000 to 5,500", "0.250", "1.00"],
        ["| Node-RED", "550/s", "500 to 600", "0.0250", "0.100"],
        ["| mq-bridge (spool)", "not measured", "-", "-", "-"],
        ["| webhook", "not measured", "-", "-", "-"],
    ]
    assert all(any(peer.durability in row for row in rows) for peer in PEERS)


def test_a_question_has_its_row():
    assert tables.reads(example()).splitlines()[2:] == ["| a page | 1.25 ms | - |"]


def test_what_is_missing_says_why_where_that_is_known():
    assert tables.figures(example(), ["peer/webhook", "start/10m", "noop/256"]).splitlines()[
        2:
    ] == [
        "| `peer/webhook` | webhook is not there | not measured | - |",
        "| `start/10m` | no journal is kept | not measured | - |",
        "| `noop/256` | - | not measured | - |",
    ]


def test_a_bar_in_a_cell_does_not_end_it():
    assert tables.pairs({"a": "b | c"}).endswith("| a | b \\| c |")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (0.4, "0.400"),
        (1.256, "1.26"),
        (12.34, "12.3"),
        (123.4, "123"),
        (9_314.2, "9,310"),
        (1_234_567, "1,230,000"),
        (-2.5, "-2.50"),
    ],
)
def test_three_digits_count(value, text):
    assert number(value) == text


def test_a_rate_and_a_time_have_their_unit():
    assert quantity(9_314.2, "1/s") == "9,310/s"
    assert quantity(1.5, "ms") == "1.50 ms"
    assert quantity(1.5, "") == "1.50"
    assert spread([2.0, 1.0]) == "1.00 to 2.00"
    assert spread([2.0]) == "once"


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20))
def test_what_is_rounded_sums_to_the_rounded_sum(values):
    """Mutant: each rounded by itself."""
    found = rounded(values, decimals=1)

    assert abs(sum(found) - sum(values)) <= 0.05 + 1e-6
    assert all(abs(one - value) < 0.1 + 1e-6 for one, value in zip(found, values, strict=True))
