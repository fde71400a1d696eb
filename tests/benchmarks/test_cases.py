"""Real cases with very short loads: they start, load, compare and stop."""

import shutil

import pytest

from benchmarks.cases import CASES
from benchmarks.cases.delivering import _forget_clock
from benchmarks.report.goals import GOALS
from core.clock import AgeClock, WallClock
from journal.sqlite.journal import SQLiteJournal
from journal.writes import SetMoment
from server.runtime.retention import AGES

NAMED = {case.name: case for case in CASES}


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not there: apt install wrk")
@pytest.mark.parametrize(
    "name",
    [
        *("duplicates", "pipeline/http", "generator", "latency/hanging"),
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in (
                *("noop/64", "accept/herosms/64/3", "accept/tellabot/64/1", "pipeline/file"),
                *("one-transaction/64", "retry-storm"),
                *("hanging/with", "filters/1000", "scrape", "latency/800", "latency/storm"),
                *("pruning", "sealing", "auditing", "tracing", "backup", "alerts-storm"),
                *("console", "paint", "streaming"),
            )
        ),
    ],
)
def test_case_measures_its_figures(bench, name):
    """Each case compares the answers with the journal, and raises CaseFailed."""
    measured = NAMED[name].run(bench)

    case = NAMED[name]
    assert {one for one in case.named if not one.endswith("/")} <= set(measured.values)
    assert all(case.finds(one) for one in measured.values)
    assert all(value > 0 for value in measured.values.values())
    its = measured.values.items() if case.metered else ()
    parts = [value for one, value in its if one.startswith("processor/")]
    # The kernel shows the time of a running thread up to its last tick.
    assert not parts or sum(parts[1:]) == pytest.approx(parts[0], rel=0.1)
    assert list(bench.folder.iterdir()) == []


def test_goals_name_figures_of_cases_and_names_are_unique():
    """Mutant: a goal of `latency/half/answers/p99`, which reads `not measured` for ever."""
    found = [name for case in CASES for name in case.named]
    wanted = {name for goal in GOALS for name in (goal.figure, goal.over) if name}

    assert len(NAMED) == len(CASES)
    assert len(set(found)) == len(found)
    assert wanted - set(found) == set()


async def test_kept_journal_of_days_ago_is_pruned_at_once(tmp_path):
    """Mutant: the row stays, and the case that prunes waits for an hour."""
    path, now = tmp_path / "smshook.db", 1_790_000_000.0

    async def wait(forget):
        if forget:
            _forget_clock(path)
        journal = await SQLiteJournal.open(path, seal="s", now=now, version="0")
        ages = AgeClock(WallClock(wall=lambda: now, ticks=lambda: 0.0), await journal.ask(AGES))
        await journal.submit(SetMoment(AGES.name, now - 86_400))
        await journal.close()
        return ages.wait

    assert [await wait(forget) for forget in (False, False, True)] == [0.0, 3600.0, 0.0]
