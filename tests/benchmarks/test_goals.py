"""A goal is judged by its figures, and one that has none still says that it is wanted."""

import pytest
from measured import example
from msgspec.structs import replace

from benchmarks import report, results
from benchmarks.case import Wanted
from benchmarks.goals import GOALS, judged
from benchmarks.results import Figure

RATIO = Wanted(name="r", what="a of b", figure="a", over="b", bound="at least", wanted=2)
PLAIN = Wanted(name="p", what="a", figure="a", bound="at most", wanted=5, unit="ms")


def figures(**values):
    return {
        name: Figure(name=name, unit="1/s", what="", values=found) for name, found in values.items()
    }


def test_a_goal_is_of_each_repetition():
    found = figures(a=(4.0, 9.0), b=(2.0, 3.0))

    ratio, plain = judged([RATIO, PLAIN], found)

    assert (ratio.values, ratio.verdict) == ((2.0, 3.0), "met")
    assert (plain.values, plain.verdict) == ((4.0, 9.0), "missed")


@pytest.mark.parametrize(
    "found", [{}, figures(a=(1.0,)), figures(b=(1.0,)), figures(a=(1.0,), b=(1.0, 2.0))]
)
def test_a_goal_whose_figures_were_not_measured_together_does_not_disappear(found):
    """Mutant: left out, so that 9 of 9 were met where 13 are wanted."""
    [ratio] = judged([RATIO], found)

    assert (ratio.name, ratio.values, ratio.verdict) == ("r", (), "not measured")


def test_memory_that_grows_is_a_goal_missed():
    [flat] = [one for one in GOALS if one.name == "memory-flat"]

    [grows] = judged([flat], {"memory/slope": figures(a=(101.0,))["a"]})

    assert (grows.verdict, grows.unit) == ("missed", "KB/min")


def test_an_older_run_is_judged_by_what_is_wanted_today(tmp_path):
    """Mutant: a goal that came after the run read `not measured`, though its figure was."""
    slope = Figure(name="memory/slope", unit="KB/min", what="", values=(50.0,))
    results.write(tmp_path / "run.json", replace(example(), figures=(slope,)))

    found = report.of(tmp_path / "run.json")

    assert {one.name: one.verdict for one in found.goals} == {
        one.name: "met" if one.name == "memory-flat" else "not measured" for one in GOALS
    }
