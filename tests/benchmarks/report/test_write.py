"""The files about a run show its findings only."""

import os
import re
from pathlib import Path

import pytest
from measured import example
from msgspec.structs import replace

from benchmarks.report import results, write
from benchmarks.report.goals import GOALS
from benchmarks.report.page import page

pytestmark = pytest.mark.uncounted

ROOT = Path(__file__).parents[3]
TEMPLATES = [ROOT / "benchmarks" / "report" / f"{name}.md.jinja" for name in write.PAGES]
PAGES = [*write.PAGES.values()]


def test_committed_pages_are_those_of_the_committed_run():
    """Before the first whole run there are no pages.

    Mutants: a figure changed by hand in a page; a template or a colour changed without
    `python -m benchmarks.report`; pages without their run.
    """
    run = ROOT / write.FULL
    wanted = write.files(write.load(run) if run.exists() else example())
    there = {
        path: (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
        for path in wanted
    }

    stale = {path.name for path in wanted if there[path] != (wanted[path] if run.exists() else "")}
    assert stale == set(), "run: .venv/bin/python -m benchmarks.report"


def test_whole_run_becomes_a_report_pages_and_plots(tmp_path):
    """Mutant: the plot of an earlier run left beside a page that does not show it."""
    run = tmp_path / write.FULL
    run.parent.mkdir(parents=True)

    run.write_bytes(results.document(example()))
    write.write(run, root=tmp_path)
    first = written(tmp_path)
    run.write_bytes(results.document(replace(example(), series=())))
    write.write(run, root=tmp_path)

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


def test_quick_run_becomes_a_report_only(tmp_path):
    """Mutant: the page for users made of a quick run."""
    run = tmp_path / "quick.json"

    run.write_bytes(results.document(replace(example(), quick=True)))
    write.write(run, root=tmp_path)

    assert written(tmp_path) == {"quick.json", "quick.md"}
    assert "its figures are rough" in (tmp_path / "quick.md").read_text()


def written(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_report_shows_each_figure_once():
    """Mutants: a figure outside of all sections left out; a figure in two sections."""
    figures = [
        results.Figure(name=name, unit=unit, what="new", values=(1.0,))
        for name, unit in (("duplicates", "1/s"), ("duplicates/bytes", "B"))
    ]
    run = replace(example(), figures=(*example().figures, *figures))

    named = re.findall(r"(?m)^\| `([^`]+)` \|", page("report", run, ()))

    apart = ("peer/", "profile/", "processor/")
    metered = ("noop/64", "accept/tellabot/64/1")  # a row for each case
    assert sorted(named) == sorted(
        [
            *(one.name for one in run.figures if not one.name.startswith(apart)),
            *(one.name for one in (*run.not_measured, *run.goals)),
            *metered,
        ]
    )


def test_figure_of_an_older_run_is_still_reported():
    """Its case may be gone. Mutant: an error, because no case of today has this figure."""
    old = results.Figure(name="news/of the day", unit="s", what="old", values=(1.0,))
    run = replace(example(), figures=(old,))

    assert "## Other figures\n\n" in page("report", run, ())
    assert "| `news/of the day` | old | 1.00 s | once |" in page("report", run, ())


def test_figure_has_todays_description(tmp_path):
    """Mutant: the words that the run stored, which a later change of a case does not reach."""
    (tmp_path / "run.json").write_bytes(results.document(example()))

    found = write.load(tmp_path / "run.json")

    described = {one.name: one.what for one in found.figures}
    assert described["noop/64"] == "a bare ASGI app on the same server, 64 connections"
    assert described["fdatasync"] != "the disk"


def test_run_without_figures_has_pages_that_say_so():
    """Mutant: a table, a ratio or a plot that needs a figure."""
    nothing = {"figures": (), "series": (), "goals": (), "not_measured": ()}

    made = write.files(replace(example(), **nothing))

    assert {path.suffix for path, text in made.items() if text} == {".md"}
    text = "".join(made[path] for path in PAGES)
    assert text.count("not measured") > 30
    assert "No goal was measured." in text
    assert gaps(made) == []


def gaps(made):
    """Places with more room than between two paragraphs, or with a blank at the end of a line."""
    return [
        found
        for path, text in made.items()
        if path.suffix == ".md"
        for found in re.findall(r".*\n\n\n.*|.+[ ]\n", text)
    ]


def test_reasons_stand_beside_missed_goals_and_aims_only(monkeypatch):
    """Mutants: a reason beside a met goal; memory called flat; an aim without its reason."""
    # Goals change no plot, and drawing takes most of the time.
    drawn = write.plots(example())
    monkeypatch.setattr(write, "plots", lambda _results: drawn)
    accept = replace(example().goals[0], aim=None)
    goals = [replace(accept, name=one.name, bound=one.bound, wanted=0.0) for one in GOALS]
    met = tuple(replace(one, bound="at least") for one in goals)
    missed = tuple(replace(one, bound="at most") for one in goals)
    unknown = tuple(replace(one, values=()) for one in goals)

    aimed = tuple(replace(one, aim=1.0) for one in met)
    variants = (met, missed, unknown, aimed)

    files = [write.files(replace(example(), goals=judged)) for judged in variants]
    pages = ["".join(made[path] for path in PAGES) for made in files]

    assert ["was tried:" in text for text in pages] == [False, True, False, True]
    assert ["climbs steadily" in text for text in pages] == [False, True, False, False]
    assert [re.findall(r"`memory-flat` \([^)]+\): ([^;]+);", text) for text in pages] == [
        ["met"],
        ["missed"],
        ["not measured"],
        ["met"],
    ]
    assert [gaps(made) for made in files] == [[], [], [], []]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_words_of_a_page_hold_no_figure(template):
    """Rates, times, sizes and shares come from the run.

    Mutant: `about 9,000/s` or `2 ms` in the template.
    """
    words = template.read_text(encoding="utf-8")

    assert re.findall(r"\d[\d,.]*(?:/s| ?(?:ms|µs|KB|MB|GB|%|times))\b", words) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_of_a_page_lead_somewhere(path):
    """The page may not be there yet, and so not among those that other tests read.

    Mutant: a plot under another name, a heading renamed.
    """
    made = write.files(example())
    text = made[path]
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text)]

    files = {Path(os.path.normpath(f"docs/{file}")) for file, _, _ in links if file}
    anchors = {anchor for file, _, anchor in links if not file}

    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.+)$", text)}
    assert {file for file in files - made.keys() if not (ROOT / file).exists()} == set()
    assert anchors <= headings


def test_pages_describe_the_run():
    run = example()

    made = write.files(run)

    for path in (Path("benchmarks/results/full.md"), Path("docs/performance.md")):
        for value in (run.version, run.commit, run.made_at[:10], *run.machine.values()):
            assert value in made[path]
