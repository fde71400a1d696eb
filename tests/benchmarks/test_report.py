"""What is written about a run is what the run found, and nothing else."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from measured import example
from msgspec.structs import replace

from benchmarks import report, results
from benchmarks.goals import GOALS

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "benchmarks").glob("*.template.md"))
PAGES = (Path("docs/performance.md"), Path("docs/performance-goals.md"))


def test_the_pages_and_plots_are_what_the_generator_makes_of_the_committed_run():
    """Before the first whole run there is none of them.

    Mutants: a figure changed by hand in a page; words changed in the template or a colour in a
    plot, and `python -m benchmarks.report` not run; pages without the run that they are of.
    """
    run = ROOT / report.FULL
    wanted = report.files(report.of(run)) if run.exists() else {}

    committed = {path: (ROOT / path).read_text(encoding="utf-8") for path in report.kept(ROOT)}

    every = wanted.keys() | committed.keys()
    stale = {path.name for path in every if wanted.get(path) != committed.get(path)}
    assert stale == set(), "run: .venv/bin/python -m benchmarks.report"


def test_a_whole_run_becomes_a_report_a_page_and_the_plots_of_what_was_measured(tmp_path):
    """Mutant: the plot of an earlier run left beside a page that does not show it."""
    run = tmp_path / report.FULL
    run.parent.mkdir(parents=True)

    results.write(run, example())
    report.write(run, root=tmp_path)
    first = written(tmp_path)
    results.write(run, replace(example(), series=()))
    report.write(run, root=tmp_path)

    assert first == {
        "benchmarks/results/full.json",
        "benchmarks/results/full.md",
        "docs/performance-goals.md",
        "docs/performance.md",
        "docs/performance/growth.svg",
        "docs/performance/latency.svg",
        "docs/performance/memory.svg",
        "docs/performance/throughput.svg",
    }
    assert first - written(tmp_path) == {
        f"docs/performance/{name}.svg" for name in ("latency", "memory")
    }


def test_a_quick_run_becomes_a_report_only(tmp_path):
    """Mutant: the page for users made of a quick run."""
    run = tmp_path / "quick.json"

    results.write(run, replace(example(), quick=True))
    report.write(run, root=tmp_path)

    assert written(tmp_path) == {"quick.json", "quick.md"}
    assert "its figures are rough" in (tmp_path / "quick.md").read_text()


def written(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_what_was_written_is_read_again(tmp_path):
    results.write(tmp_path / "run.json", example())

    assert results.read(tmp_path / "run.json") == example()


def test_each_figure_is_in_the_report_once():
    """Mutants: a figure that no section asks for left out; two sections that both have one."""
    stranger = results.Figure(name="news/of the day", unit="s", what="new", values=(1.0,))
    run = replace(example(), figures=(*example().figures, stranger))

    named = re.findall(r"(?m)^\| `([^`]+)` \|", report.report(run))

    apart = ("peer/", "profile/")
    assert sorted(named) == sorted(
        [
            *(one.name for one in run.figures if not one.name.startswith(apart)),
            *(one.name for one in (*run.not_measured, *run.goals)),
        ]
    )


def test_a_run_that_measured_nothing_has_pages_that_say_so():
    """Mutant: a table, a ratio or a plot that needs a figure."""
    nothing = {"figures": (), "series": (), "goals": (), "not_measured": ()}

    made = report.files(replace(example(), **nothing))

    assert {path.suffix for path in made} == {".md"}
    page = "".join(made[path] for path in PAGES)
    assert page.count("not measured") > 30
    assert "No goal was measured." in page


def test_what_was_tried_for_a_goal_is_told_where_it_was_missed_only():
    """Mutants: an excuse beside a goal that is met; memory that is called flat whatever it was."""
    accept = example().goals[0]
    goals = [replace(accept, name=one.name, bound=one.bound, wanted=0.0) for one in GOALS]
    met = tuple(replace(one, bound="at least") for one in goals)
    missed = tuple(replace(one, bound="at most") for one in goals)
    unknown = tuple(replace(one, values=()) for one in goals)

    files = [report.files(replace(example(), goals=judged)) for judged in (met, missed, unknown)]
    pages = ["".join(made[path] for path in PAGES) for made in files]

    assert ["was tried:" in page for page in pages] == [False, True, False]
    assert ["tells a climb from a step" in page for page in pages] == [False, True, False]
    assert [re.findall(r"`memory-flat`, which was ([^;]+);", page) for page in pages] == [
        ["met"],
        ["missed"],
        ["not measured"],
    ]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_words_of_the_page_hold_no_figure(template):
    """Nobody types a rate, a time, a size or a share: they come from the run.

    Mutant: `about 9,000/s` or `2 ms` in the template.
    """
    words = template.read_text(encoding="utf-8")

    assert re.findall(r"\d[\d,.]*(?:/s| ?(?:ms|µs|KB|MB|GB|%|times))\b", words) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_link_of_the_page_leads_somewhere(path):
    """The page is not there before the first whole run, and so not among those that are tested.

    Mutant: a plot under another name, a heading renamed.
    """
    made = report.files(example())
    page = made[path]
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", page)]

    files = {Path(os.path.normpath(f"docs/{file}")) for file, _, _ in links if file}
    anchors = {anchor for file, _, anchor in links if not file}

    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.+)$", page)}
    assert {file for file in files - made.keys() if not (ROOT / file).exists()} == set()
    assert anchors <= headings


def test_the_run_says_what_it_was_in_both_pages():
    run = example()

    made = report.files(run)

    for path in (Path("benchmarks/results/full.md"), Path("docs/performance.md")):
        for value in (run.version, run.commit, run.made_at[:10], *run.machine.values()):
            assert value in made[path]


def test_a_figure_that_is_no_number_is_not_read(tmp_path):
    """Mutant: results read as whatever JSON they are."""
    run = tmp_path / "run.json"
    run.write_bytes(msgspec.json.encode(example()).replace(b"22000.0", b'"fast"'))

    with pytest.raises(msgspec.ValidationError, match="figures"):
        results.read(run)
