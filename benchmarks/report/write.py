"""The files written about a run: its report and, for a whole run, the pages and plots of `docs`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from .figures import described
from .goals import GOALS, judged
from .page import page
from .plots import PLOTS, plots
from .results import Results, read

_ROOT = Path(__file__).parents[2]
#: The only run that users are shown: a whole one.
FULL = Path("benchmarks/results/full.json")
#: Pages of a whole run, by template.
PAGES = {name: Path(f"docs/{name}.md") for name in ("performance", "performance-goals")}
_PLOTS = {name: Path(f"docs/performance/{name}.svg") for name in PLOTS}


def main() -> int:
    """Write all files again. Exit 1 if there is no run."""
    runs = sorted((_ROOT / FULL).parent.glob("*.json"))
    if not runs:
        sys.stderr.write("no run was measured yet: make bench\n")
    for run in runs:
        write(run)
    return int(not runs)


def write(run: Path, *, root: Path = _ROOT) -> None:
    """Write the report beside the results, and for a whole run the pages and plots."""
    results = load(run)
    run.with_suffix(".md").write_text(page("report", results, ()), encoding="utf-8")
    if run.name != FULL.name:
        return
    for path, text in files(results).items():
        if text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        else:
            (root / path).unlink(missing_ok=True)


def load(run: Path) -> Results:
    """Read a run and judge it by today's goals, in today's words."""
    results = read(run)
    return replace(
        results,
        figures=tuple(map(described, results.figures)),
        goals=judged(GOALS, results.figures),
    )


def files(results: Results) -> Mapping[Path, str]:
    """Everything made of a whole run, by the path in the repository. A missing plot is empty."""
    svgs = plots(results)
    return {
        FULL.with_suffix(".md"): page("report", results, svgs),
        **{path: page(name, results, svgs) for name, path in PAGES.items()},
        **{path: svgs.get(name, "") for name, path in _PLOTS.items()},
    }
