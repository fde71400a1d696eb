"""Goals are judged by their figures, and stay visible without them."""

import pytest
from measured import example
from msgspec.structs import replace

from benchmarks.report import results, write
from benchmarks.report.goals import GOALS, judged, summary
from benchmarks.report.results import Figure, Goal

RATIO = Goal(name="r", what="a / b", figure="a", over="b", bound="at least", wanted=2)
PLAIN = Goal(name="p", what="a", figure="a", bound="at most", wanted=5, unit="ms")


def figures(**values):
    return [Figure(name=name, unit="1/s", what="", values=found) for name, found in values.items()]


def test_goal_is_judged_within_each_repetition():
    ratio, plain = judged([RATIO, PLAIN], figures(a=(4.0, 9.0), b=(2.0, 3.0)))

    assert (ratio.values, ratio.verdict) == ((2.0, 3.0), "met")
    assert (plain.values, plain.verdict) == ((4.0, 9.0), "missed")


@pytest.mark.parametrize(
    "found", [[], figures(a=(1.0,)), figures(b=(1.0,)), figures(a=(1.0,), b=(1.0, 2.0))]
)
def test_goal_without_comparable_figures_stays_in_the_list(found):
    """Mutant: left out, so that 9 of 9 goals are met where 13 are wanted."""
    [ratio] = judged([RATIO], found)

    assert (ratio.name, ratio.values, ratio.verdict) == ("r", (), "not measured")


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
def test_goal_is_met_by_the_median(bound, values, verdict):
    """Mutants: the best repetition counts; a value equal to the bound misses it."""
    goal = Goal(name="g", what="", bound=bound, wanted=2.0, values=values)

    assert goal.verdict == verdict


@pytest.mark.parametrize(
    ("median", "verdict", "aimed"),
    [(0.3, "missed", "not reached"), (0.4, "met", "not reached"), (0.5, "met", "reached")],
)
def test_goal_is_met_before_its_aim_is_reached(median, verdict, aimed):
    """Mutant: a goal is missed until its aim is reached."""
    goal = Goal(name="g", what="", bound="at least", wanted=0.4, aim=0.5, values=(median,))

    assert (goal.verdict, goal.aimed) == (verdict, aimed)
    assert replace(goal, values=()).aimed == "not measured"
    assert replace(goal, aim=None).aimed == ""


def test_aims_are_those_of_the_list_of_goals():
    """Mutant: an empty aim that is read as 0, and can be reached."""
    aims = {goal.name: goal.aim for goal in GOALS}

    assert (aims["accept"], aims["copies"], aims["memory-flat"]) == (0.4, None, 0.0)


def test_growing_memory_misses_its_goal():
    [flat] = [one for one in GOALS if one.name == "memory-flat"]
    slope = Figure(name="memory/slope", unit="KB/min", what="", values=(101.0,))

    [grows] = judged([flat], [slope])

    assert (grows.verdict, grows.unit) == ("missed", "KB/min")


def test_summary_without_missed_goals_does_not_mention_them():
    [accept, _] = example().goals

    assert summary([replace(accept, aim=None)]) == "1 of 1 goals are met."


def test_summary_counts_goals_that_were_not_measured():
    """Mutant: 1 of 2 goals met, where three are wanted."""
    accept, answers = example().goals
    unknown = replace(accept, name="unknown", values=())

    said = "1 of 3 goals are met, 1 not measured; missed: `answers`. 0 of 2 aims are reached."
    assert summary([accept, unknown, answers]) == said
    assert summary([unknown]) == summary([]) == "No goal was measured."


def test_older_run_is_judged_by_todays_goals(tmp_path):
    """Mutant: a goal added after the run reads `not measured`, though its figure was."""
    slope = Figure(name="memory/slope", unit="KB/min", what="", values=(50.0,))
    old = replace(example(), figures=(slope,), goals=())
    (tmp_path / "run.json").write_bytes(results.document(old))

    found = write.load(tmp_path / "run.json")

    assert {one.name: one.verdict for one in found.goals} == {
        one.name: "met" if one.name == "memory-flat" else "not measured" for one in GOALS
    }
