"""Real cases, so short that they say nothing of speed: they start, load, compare and stop."""

import secrets
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Failed, Grown, Load, Product
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
@pytest.mark.usefixtures("patient")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not there: apt install wrk")
@pytest.mark.parametrize(
    "name",
    [
        *("noop/64", "accept/tellabot/64/1", "accept/herosms/64/3", "one-transaction/64"),
        *("duplicates", "retry-storm", "pipeline/http", "pipeline/file", "hanging/with"),
        *("generator", "latency/storm", "latency/hanging"),
    ],
)
def test_a_case_measures_something(bench, name):
    """Each case itself compares what was answered with what is there, and fails loudly."""
    measured = NAMED[name].run(bench)

    assert set(measured.values) == set(NAMED[name].named)
    assert all(value > 0 for value in measured.values.values())
    assert list(bench.folder.iterdir()) == []


def test_every_goal_is_of_a_case_and_every_case_has_a_name_of_its_own():
    """Mutant: a goal of `latency/half/answers/p99`, which reads `not measured` for ever."""
    found = [name for case in CASES for name in case.named]
    wanted = {name for goal in GOALS for name in (goal.figure, goal.over) if name}

    assert len(NAMED) == len(CASES)
    assert len(set(found)) == len(found)
    assert wanted - set(found) == set()


def said(line):
    """Progress that nobody reads."""


def run_of(bench, say=said):
    return Run(bench, say, commit="0123abc")


def case(name, run, **named):
    return Case(name=name, what="a case of the tests", run=run, **named)


def test_all_cases_take_turns_and_those_that_take_long_come_once_at_the_end(bench):
    """Mutant: five times the first, then five times the second: another machine by then."""
    order = []

    def run(name):
        return lambda _: order.append(name) or Measured(values={name: len(order)})

    cases = [case("a", run("a")), case("long", run("long"), once=True), case("b", run("b"))]
    run_ = run_of(bench)
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

    run_ = run_of(bench)
    run_.take([case("a", run), case("b", lambda _: Measured(values={"b": 2.0}))], repetitions=2)
    results = run_.results()

    assert run_.failed == failed
    assert [(one.name, one.why) for one in results.not_measured] == [("a", why)]
    kept = [(one.name, one.values) for one in results.figures]
    assert ("b", (2.0, 2.0)) in kept
    assert not failed or kept == [("b", (2.0, 2.0))]


def test_a_figure_that_its_case_does_not_name_is_a_failure(bench):
    """Pages and goals go by those names. Mutant: a figure renamed in the case alone."""
    run_ = run_of(bench)
    run_.take(
        [
            case("a", lambda _: Measured(values={"a/p90": 1.0}), figures=("a/p50", "a/p99")),
            case("b", lambda _: Measured(values={"b/any": 2.0}), figures=("b/",)),
        ],
        repetitions=1,
    )
    results = run_.results()

    assert run_.failed
    [missing] = results.not_measured
    assert missing.why == "failed: a/p90 is not among its figures: a/p50, a/p99"
    assert [one.name for one in results.figures] == ["b/any"]


def test_a_figure_has_the_unit_and_the_words_of_its_own_kind(bench):
    found = case(
        "a",
        lambda _: Measured(values={"a": 1.0, "a/most": 2.0}),
        figures=("a", "a/most"),
        units={"a/most": "MB"},
        whats={"a/most": "the most of it"},
    )
    run_ = run_of(bench)
    run_.take([found], repetitions=1)

    told = {one.name: (one.unit, one.what) for one in run_.results().figures}
    assert told == {"a": ("1/s", "a case of the tests"), "a/most": ("MB", "the most of it")}


def test_progress_says_which_step_it_is_of_how_many_and_what_is_left(bench):
    """Mutant: those that are skipped are not counted, and the last step is the fifth of six."""
    said = []
    turns = {
        "a": lambda _: Measured(values={"a": 1.0}),
        "b": lambda _: (_ for _ in ()).throw(NotMeasured("no npm")),
    }

    run_of(bench, said.append).take(
        [case(name, run, seconds=20) for name, run in turns.items()], repetitions=2
    )

    assert [line.partition("]")[0] for line in said] == [
        "[1/4, 80 s left",
        "[2/4, 0 s left",
        "[3/4, 0 s left",
    ]
    assert [line.partition("] ")[2] for line in said] == [
        "a 1 (0 s)",
        "b: not measured: no npm",
        "a 1 (0 s)",
    ]


def test_a_run_says_what_was_checked_out_at_its_start_and_the_versions_of_what_it_met(bench):
    """Mutant: the commit that somebody made while it ran."""
    run_ = run_of(bench)
    run_.take(
        [case("peer/a", lambda _: Measured(values={"peer/a": 1.0}, versions={"A": "1.2"}))],
        repetitions=2,
    )
    results = run_.results()

    assert results.commit == "0123abc"
    assert results.versions["A"] == "1.2"
    assert results.versions["Python"]


class Told(Product, frozen=True, kw_only=True):
    """One whose counters the test says: each time it is asked the next."""

    said: list[dict[str, int]]

    def stats(self):
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]


def product(*said):
    named = {"folder": Path(), "journal": Path(), "port": 0, "admin_port": 0}
    return Told(said=list(said), token="", key="", **named)


def test_events_that_are_not_what_was_answered_are_a_failure():
    told = product({"events": 90})

    assert told.check(Load(answered=80, rate=1.0), connections=10) == 90
    for answered in (79, 91):
        with pytest.raises(Failed, match="90 events are there"):
            told.check(Load(answered=answered, rate=1.0), connections=10)


def test_copies_that_are_not_what_was_answered_are_a_failure():
    """Mutants: a rate of duplicates of which half were lost; of answers that nothing stands for."""
    before, told = {"events": 10, "duplicates": 5}, product({"events": 30, "duplicates": 65})

    assert told.check_copies(80, before=before, under_way=0) == Grown(events=20, duplicates=60)
    assert told.check_copies(70, before=before, under_way=10) == Grown(events=20, duplicates=60)
    for answered in (69, 81):
        with pytest.raises(Failed, match="20 events and 60 duplicates came of them"):
            told.check_copies(answered, before=before, under_way=10)


def test_what_is_under_way_is_waited_for():
    """Mutant: counted from before the last of another load came."""
    told = product(*({"events": 10, "duplicates": copies} for copies in (1, 2, 4, 4)))

    assert told.at_rest() == {"events": 10, "duplicates": 4}


def test_what_does_not_end_is_a_failure():
    told = product({"deliveries": {"pending": 1, "sending": 0, "delivered": 3}})

    assert told.await_delivered(3) > 0
    with pytest.raises(Failed, match=r"4 deliveries were not made within 0 s"):
        told.await_delivered(4, within=0.05)
    with pytest.raises(Failed, match=r"deliveries were still owed within 0 s"):
        told.await_settled(within=0.05)
