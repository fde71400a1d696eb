"""A run takes each case in turn, keeps what it found and estimates the remaining time."""

import pytest

from benchmarks.case import Case, Measured
from benchmarks.cases import CASES
from benchmarks.lab.processes import CaseFailed
from benchmarks.peers.peer import NotMeasured
from benchmarks.run import Progress, Run, duration

SHORT = Case(name="short", what="", run=lambda _: Measured(), seconds=10)
LONG = Case(name="long", what="", run=lambda _: Measured(), seconds=100)


def test_first_estimate_is_the_sum_of_stated_seconds():
    assert Progress([SHORT, LONG]).place == "[1/2, 110 s left]"


def test_estimate_scales_with_the_measured_pace():
    """Mutant: on a machine of half the speed, the estimate is always too short."""
    progress = Progress([SHORT, SHORT, LONG])

    progress.advance(20.0)

    assert progress.left() == pytest.approx(20 + 200)
    assert progress.place == "[2/3, 4 min left]"


def test_estimate_uses_the_last_repetition():
    """The first repetition on a large journal also fills it."""
    progress = Progress([SHORT, SHORT, SHORT])

    progress.advance(500.0)
    progress.advance(12.0)

    assert progress.left() == pytest.approx(12)


def test_no_time_is_left_at_the_end():
    progress = Progress([SHORT])

    progress.advance(1.0)

    assert progress.left() == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (150, "2 min")])
def test_long_durations_are_in_minutes(seconds, text):
    assert duration(seconds) == text


def test_whole_run_takes_at_most_49_minutes():
    """Five repetitions, by the stated seconds, with kept journals."""
    whole = sum(case.seconds * min(case.most or 5, 5) for case in CASES)

    assert whole <= 49 * 60


def said(line):
    """Progress without a reader."""


def run_of(bench, say=said):
    return Run(bench, say, commit="0123abc")


def case(name, run, **named):
    return Case(name=name, what="a case of the tests", run=run, **named)


def scripted(*turns):
    """Return a run of a case: each repetition returns or raises the next of these."""
    left = iter(turns)

    def run(_):
        turn = next(left)
        if isinstance(turn, Exception):
            raise turn
        return turn

    return run


def test_cases_take_turns_and_long_ones_run_once_at_the_end(bench):
    """Mutant: all repetitions of a case in a row: the machine may change meanwhile."""
    order = []

    def run(name):
        return lambda _: order.append(name) or Measured(values={name: len(order)})

    cases = [
        case("a", run("a")),
        case("long", run("long"), most=1),
        case("twice", run("twice"), most=2),
        case("b", run("b")),
    ]
    run_ = run_of(bench)
    run_.take(cases, repetitions=3)

    assert order == ["a", "twice", "b", "a", "twice", "b", "a", "b", "long"]
    figures = {figure.name: figure.values for figure in run_.results().figures}
    assert figures == {"a": (1, 4, 7), "twice": (2, 5), "b": (3, 6, 8), "long": (9,)}


@pytest.mark.parametrize(
    ("exc", "why", "failed"),
    [
        (NotMeasured("no npm: apt install npm"), "no npm: apt install npm", False),
        (CaseFailed("3 events of 4"), "failed: 3 events of 4", True),
        (KeyError("data"), "failed: KeyError: 'data'", True),
    ],
)
def test_failing_case_does_not_stop_the_run(bench, exc, why, failed):
    """Mutant: figures with different numbers of repetitions are compared."""
    run = scripted(Measured(values={"a": 1.0}), exc, exc)
    run_ = run_of(bench)
    run_.take([case("a", run), case("b", lambda _: Measured(values={"b": 2.0}))], repetitions=2)
    results = run_.results()

    assert run_.failed == failed
    assert [(one.name, one.why) for one in results.not_measured] == [("a", why)]
    kept = [(one.name, one.values) for one in results.figures]
    assert ("b", (2.0, 2.0)) in kept
    assert not failed or kept == [("b", (2.0, 2.0))]


def test_repetition_that_fails_once_is_tried_again(bench):
    """The machine may have stood still. Mutant: its figure is missing."""
    run = scripted(CaseFailed("24.1 ms late"), Measured(values={"a": 1.0}))
    run_ = run_of(bench)
    run_.take([case("a", run)], repetitions=1)

    assert not run_.failed
    assert [("a", (1.0,))] == [(one.name, one.values) for one in run_.results().figures]


def test_figure_that_its_case_does_not_name_is_a_failure(bench):
    """Pages and goals use these names. Mutant: a figure renamed in the case only."""
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


def test_figure_has_its_own_unit_and_description(bench):
    found = case(
        "a",
        lambda _: Measured(values={"a": 1.0, "a/most": 2.0}),
        figures=("a", "a/most"),
        units={"a/most": "MB"},
        whats={"a/most": "the most of it"},
    )
    run_ = run_of(bench)
    run_.take([found], repetitions=1)

    found = {one.name: (one.unit, one.what) for one in run_.results().figures}
    assert found == {"a": ("1/s", "a case of the tests"), "a/most": ("MB", "the most of it")}


def test_progress_shows_step_and_remaining_time(bench):
    """Mutant: skipped steps are not counted, and the last step is the fifth of six."""
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


def test_run_has_the_commit_of_its_start_and_all_versions(bench):
    """Mutant: a commit that was made during the run."""
    run_ = run_of(bench)
    run_.take(
        [case("peer/a", lambda _: Measured(values={"peer/a": 1.0}, versions={"A": "1.2"}))],
        repetitions=2,
    )
    results = run_.results()

    assert results.commit == "0123abc"
    assert results.versions["A"] == "1.2"
    assert results.versions["Python"]
