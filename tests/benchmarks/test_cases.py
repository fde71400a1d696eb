"""Real cases, so short that they say nothing of speed: they start, load, compare and stop."""

import secrets
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Failed, Load
from benchmarks.case import Case, Measured, NotMeasured
from benchmarks.cases import CASES
from benchmarks.goals import GOALS
from benchmarks.run import Run

NAMED = {case.name: case for case in CASES}


@pytest.fixture
def bench(tmp_path):
    return Bench(
        folder=tmp_path,
        cache=tmp_path,
        quick=True,
        python=Path(sys.executable),
        seconds=1,
        secret=secrets.token_hex(32),
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not there: apt install wrk")
@pytest.mark.parametrize(
    "name",
    [
        *("noop/64", "accept/tellabot/64/1", "accept/herosms/64/3", "one-transaction/64"),
        *("duplicates", "retry-storm", "pipeline/http", "pipeline/file", "hanging/with"),
    ],
)
def test_a_case_measures_something(bench, name):
    """Each case itself compares what was answered with what is there, and fails loudly."""
    measured = NAMED[name].run(bench)

    assert measured.values[name] > 0
    assert list(bench.folder.iterdir()) == []


def test_every_goal_is_of_a_case_and_every_case_has_a_name_of_its_own():
    beginnings = {case.name.partition("/")[0] for case in CASES}
    of_others = {"fdatasync", "duplicates"}

    assert len(NAMED) == len(CASES)
    for goal in GOALS:
        for figure in (goal.figure, goal.over or goal.figure):
            assert figure.partition("/")[0] in beginnings | of_others


def said(line):
    """Progress that nobody reads."""


def case(name, run, **named):
    return Case(name=name, what="a case of the tests", run=run, **named)


def test_all_cases_take_turns_and_those_that_take_long_come_once_at_the_end(bench):
    """Mutant: five times the first, then five times the second: another machine by then."""
    order = []

    def run(name):
        return lambda _: order.append(name) or Measured(values={name: len(order)})

    cases = [case("a", run("a")), case("long", run("long"), once=True), case("b", run("b"))]
    run_ = Run(bench, said)
    run_.take(cases, repetitions=2)

    assert order == ["a", "b", "a", "b", "long"]
    figures = {figure.name: figure.values for figure in run_.results().figures}
    assert figures == {"a": (1, 3), "b": (2, 4), "long": (5,)}


@pytest.mark.parametrize(
    ("exc", "why", "failed"),
    [
        (NotMeasured("no npm: apt install npm"), "no npm: apt install npm", False),
        (Failed("3 events of 4"), "failed: 3 events of 4", True),
        (KeyError("data"), "failed: KeyError: 'data'", True),
    ],
)
def test_a_case_that_cannot_be_measured_costs_the_run_no_other(bench, exc, why, failed):
    """Mutant: figures of another number of repetitions are compared."""
    turns = iter([Measured(values={"a": 1.0}), exc])

    def run(_):
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    run_ = Run(bench, said)
    run_.take([case("a", run), case("b", lambda _: Measured(values={"b": 2.0}))], repetitions=2)
    results = run_.results()

    assert run_.failed == failed
    assert [(one.name, one.why) for one in results.not_measured] == [("a", why)]
    kept = [(one.name, one.values) for one in results.figures]
    assert ("b", (2.0, 2.0)) in kept
    assert not failed or kept == [("b", (2.0, 2.0))]


def test_events_that_are_not_what_was_answered_are_a_failure():
    from benchmarks.bench import Product  # noqa: PLC0415 - only here

    class Told(Product, frozen=True, kw_only=True):
        def stats(self):
            return {"events": 90}

    product = Told(folder=Path(), journal=Path(), port=0, admin_port=0, token="", key="")

    assert product.check(Load(answered=80, rate=1.0), connections=10) == 90
    for answered in (79, 91):
        with pytest.raises(Failed, match="90 events are there"):
            product.check(Load(answered=answered, rate=1.0), connections=10)
