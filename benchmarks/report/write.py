"""The files written about a run: its report and, for a whole run, the pages and plots of `docs`."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from ..cases import CASES
from .goals import GOALS, judged
from .page import page
from .plots import PLOTS, plots
from .results import Results, read

ROOT = Path(__file__).parents[2]
#: The only run that users are shown: a whole one.
FULL = Path("benchmarks/results/full.json")
#: Pages of a whole run, by template.
PAGES = {name: Path(f"docs/{name}.md") for name in ("performance", "performance-goals")}


def write(run: Path, *, root: Path = ROOT) -> None:
    """Write the report beside the results, and for a whole run the pages and plots."""
    results = load(run)
    run.with_suffix(".md").write_text(page("report", results, ()), encoding="utf-8")
    for path, text in files(results).items() if run.name == FULL.name else ():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if text:
            (root / path).write_text(text, encoding="utf-8")
        else:
            (root / path).unlink(missing_ok=True)


def load(run: Path) -> Results:
    """Read a run and judge it by today's goals. Today's cases describe their figures."""
    results = read(run)
    whats = {
        one.name: case.what_of(one.name)
        for one in results.figures
        for case in CASES
        if case.finds(one.name)
    }
    figures = tuple(replace(one, what=whats.get(one.name, one.what)) for one in results.figures)
    return replace(results, figures=figures, goals=judged(GOALS, figures))


def files(results: Results) -> Mapping[Path, str]:
    """Everything made of a whole run, by the path in the repository. A missing plot is empty."""
    svgs = plots(results)
    return {
        FULL.with_suffix(".md"): page("report", results, svgs),
        **{path: page(name, results, svgs) for name, path in PAGES.items()},
        **{Path(f"docs/performance/{name}.svg"): svgs.get(name, "") for name in PLOTS},
    }
