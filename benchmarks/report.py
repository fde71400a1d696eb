"""`python -m benchmarks.report`: the pages and plots of the runs that are kept, made again."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from . import tables
from .goals import GOALS, judged
from .plots import PLOTS, plots
from .results import Figure, Results, read
from .template import filled

_ROOT = Path(__file__).parents[1]
_FOLDER = Path(__file__).parent
#: Of a whole run; users are shown no other.
FULL = Path("benchmarks/results/full.json")
#: Pages of a whole run, and what each is made from.
_PAGES: Mapping[Path, Path] = {
    Path("docs/performance.md"): _FOLDER / "performance.template.md",
    Path("docs/performance-goals.md"): _FOLDER / "performance-goals.template.md",
}
_PLOTS = Path("docs/performance")

_READING = (
    "What is repeated has its median here; a ratio is the median of the ratios of each repetition."
)
#: Sections of the report of a run, and how the names of their figures begin.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "The machine": ("bare/", "machine/"),
    "Accepting": ("noop/", "accept/", "one-transaction/", "duplicates", "retry-storm"),
    "The load generator": ("generator/",),
    "The whole pipeline": ("pipeline/", "hanging/"),
    "Latency": ("latency/", "fdatasync"),
    "A large journal": ("scale/", "start/", "read/"),
    "Memory": ("memory/",),
    "Bytes": ("bytes/",),
}
#: What is said below the titles of some.
_WORDS: Mapping[str, str] = {
    "The load generator": "Shares are of one core. As long as wrk takes less than all of its core"
    " and a second thread of it makes no more of the rate, what it loads is measured and not it.",
}
#: They have tables of their own.
_APART = ("peer/", "profile/")


def main() -> int:
    """Exit 1 where there is no run."""
    runs = sorted((_ROOT / FULL).parent.glob("*.json"))
    if not runs:
        sys.stderr.write("nothing was measured yet: make bench\n")
        return 1
    for run in runs:
        write(run)
    return 0


def write(run: Path, *, root: Path = _ROOT) -> None:
    """The report of a run beside it, and for a whole one the page for users and its plots."""
    results = of(run)
    run.with_suffix(".md").write_text(report(results), encoding="utf-8")
    if run.name != FULL.name:
        return
    made = files(results)
    for old in kept(root) - made.keys():
        (root / old).unlink()
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def of(run: Path) -> Results:
    """A run that is kept, by what is wanted today: goals that came after it are judged as well."""
    results = read(run)
    named = {figure.name: figure for figure in results.figures}
    return replace(results, goals=tuple(judged(GOALS, named)))


def files(results: Results) -> Mapping[Path, str]:
    """All that is made of a whole run, by its path in the repository."""
    made = {
        FULL.with_suffix(".md"): report(results),
        **{
            page: filled(path.read_text(encoding="utf-8"), results) for page, path in _PAGES.items()
        },
    }
    return made | {_PLOTS / f"{name}.svg": svg for name, svg in plots(results).items()}


def kept(root: Path) -> set[Path]:
    """Those of them that are there."""
    named = [FULL.with_suffix(".md"), *_PAGES, *(_PLOTS / f"{name}.svg" for name in PLOTS)]
    return {path for path in named if (root / path).exists()}


def report(results: Results) -> str:
    """Every figure of a run, each once."""
    kind = "A quick run: its figures are rough." if results.quick else "A whole run."
    parts = [
        "# What was measured",
        "<!-- Made by `python -m benchmarks.report` from the file beside it. -->",
        f"{kind} smshook {results.version} ({results.commit}), {results.made_at}. {_READING}",
        f"## Goals\n\n{tables.goals_met(results)}\n\n{tables.goals(results)}",
        *_sections(results),
        f"## Beside peers\n\n{tables.peers(results)}",
        *(
            f"## Where the time of one event goes: {name}\n\n{tables.profile(results, name)}"
            for name in ("profile/accept", "profile/pipeline")
        ),
        f"## The machine\n\n{tables.pairs(results.machine)}",
        f"## Versions\n\n{tables.pairs(results.versions)}",
        f"## Not measured\n\n{tables.not_measured(results)}",
    ]
    return "\n\n".join(parts) + "\n"


def _sections(results: Results) -> Iterable[str]:
    for title, begins in _SECTIONS.items():
        words = f"{_WORDS[title]}\n\n" if title in _WORDS else ""
        yield f"## {title}\n\n{words}{_tables(results, _begins(results, begins))}"
    named = tuple(begin for begins in _SECTIONS.values() for begin in begins) + _APART
    rest = [one for one in results.figures if not one.name.startswith(named)]
    if rest:
        yield f"## Besides\n\n{_tables(results, rest)}"


def _begins(results: Results, begins: tuple[str, ...]) -> list[Figure]:
    return [one for one in results.figures if one.name.startswith(begins)]


def _tables(results: Results, chosen: list[Figure]) -> str:
    """Rates stand beside the floor, what else there is does not."""
    fast = [one for one in chosen if one.unit == "1/s"]
    rest = [one for one in chosen if one.unit != "1/s"]
    found = [tables.rates(results, fast)] if fast else []
    found += [tables.values(rest)] if rest else []
    return "\n\n".join(found) or tables.values([])


if __name__ == "__main__":
    sys.exit(main())
