"""Pages about a run, written by Jinja2. Their words must hold for any figures."""

import statistics
from collections.abc import Collection
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..cases import CASES
from ..cases.beside import FIGURES
from ..lab.processor import THREADS
from ..lab.profile import DISK, STAGES, WHOLE
from ..peers import PEERS
from .goals import GOALS, summary
from .numbers import number, quantity, rounded, spread
from .plots import PLOTS
from .results import FLOOR, MISSING, PIPELINE, Figure, Results, ratios

_DURABILITY = (
    "the event, its keys and its deliveries are in SQLite and synced when it answers; "
    "a copy makes no new delivery, even after a power cut"
)


class UnknownName(Exception):
    """A page names something that no run can have."""


def page(name: str, results: Results, drawn: Collection[str]) -> str:
    """Render a page; `drawn` has the names of the plots. Raises UnknownName."""
    return environment(results, drawn).get_template(f"{name}.md.jinja").render()


def environment(results: Results, drawn: Collection[str] = ()) -> Environment:
    """Return a Jinja2 environment for a run: templates call the functions below by name."""
    made = Environment(  # noqa: S701 - Markdown, and nothing in it comes from strangers
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    of_run = (find, names_of, median, compared, verdict, missed, contestants, shares, part)
    made.globals |= {one.__name__: partial(one, results) for one in of_run}
    made.globals |= {one.__name__: partial(one, results) for one in (metered, threads, unmet)}
    made.globals |= {"run": results, "plot": partial(plot, drawn), "summary": summary}
    made.globals |= {"FLOOR": FLOOR, "PIPELINE": PIPELINE}
    made.filters |= {"number": number, "quantity": quantity, "spread": spread}
    return made


def find(results: Results, name: str) -> Figure | None:
    """Return a figure, or None if it was not measured. Raises UnknownName."""
    figure = results.figure(name)
    if figure is None and not any(case.finds(name) for case in CASES):
        raise UnknownName(f"no run has a figure {name!r}")
    return figure


def names_of(results: Results, groups: Collection[str], *, others: bool = False) -> list[str]:
    """List the figures with names that begin with these words, or all `others`."""
    names = [one.name for one in results.figures]
    return [name for name in names if (name.partition("/")[0] in groups) != others]


def median(results: Results, name: str, factor: float = 1.0, unit: str | None = None) -> str:
    """Write a figure, perhaps converted to another unit."""
    figure = find(results, name)
    if figure is None:
        return MISSING
    return quantity(factor * figure.median, figure.unit if unit is None else unit)


def compared(results: Results, name: str, base: str) -> str:
    """Write the median of the ratios of two figures."""
    figure, other = find(results, name), find(results, base)
    found = ratios(figure.values, other.values) if figure and other else ()
    return number(statistics.median(found)) if found else MISSING


def verdict(results: Results, name: str) -> str:
    """Write whether a goal was met. Raises UnknownName."""
    found = next((one.verdict for one in results.goals if one.name == name), None)
    if found is None and name not in {one.name for one in GOALS}:
        raise UnknownName(f"no run has a goal {name!r}")
    return found or MISSING


def missed(results: Results, *names: str) -> bool:
    """Whether one of these goals was missed."""
    return "missed" in [verdict(results, name) for name in names]


def unmet(results: Results, *names: str) -> bool:
    """Whether one of these goals was missed, or its aim not reached."""
    aims = {one.name: one.aimed for one in results.goals}
    return missed(results, *names) or "not reached" in [aims.get(name) for name in names]


def contestants(results: Results) -> list[tuple[str, str, str]]:
    """List smshook and its peers, the fastest first: name, figure and durability."""
    found = [("**smshook**", PIPELINE, _DURABILITY)]
    found += [(peer.name, FIGURES[peer.name], peer.durability) for peer in PEERS]
    rates = {one.name: one.median for one in results.figures}
    return sorted(found, key=lambda one: -rates.get(one[1], 0.0))


def metered(results: Results) -> list[str]:
    """List the measured cases that have a processor time of an event."""
    return [one.name for one in CASES if results.figure(f"processor/{one.name}")]


def threads(results: Results) -> list[str]:
    """List the threads that used processor time in a case, in the order of an event's life."""
    names = [one.name for one in results.figures if one.name.startswith("processor/")]
    return [thread for thread in THREADS if any(name.endswith(f"/{thread}") for name in names)]


def stages(results: Results, profile: str) -> dict[str, float]:
    """Return microseconds an event by stage, in the order of an event's life.

    They are means: only means of the parts sum to the mean of the whole. `other` includes stages
    that only this run has.
    """
    found: dict[str, float] = {}
    for one in results.figures:
        group, _, stage = one.name.rpartition("/")
        if group == profile and stage not in {WHOLE, DISK}:
            stage = stage if stage in STAGES else "other"
            found[stage] = found.get(stage, 0.0) + statistics.mean(one.values)
    return {stage: found[stage] for stage in STAGES if stage in found}


def shares(results: Results, profile: str) -> list[tuple[str, float, float]]:
    """List stages with microseconds and percents; each column sums to its rounded total."""
    found = stages(results, profile)
    percents = rounded(100 * one / sum(found.values()) for one in found.values())
    return list(zip(found, rounded(found.values()), percents, strict=True))


def part(results: Results, profile: str, *wanted: str) -> str:
    """Write the share of these stages. Raises UnknownName."""
    if unknown := {*wanted} - {*STAGES}:
        raise UnknownName(f"no stage is {', '.join(unknown)}")
    found = stages(results, profile)
    if not sum(found.values()):
        return MISSING
    chosen = sum(found.get(stage, 0.0) for stage in wanted)
    return f"{number(100 * chosen / sum(found.values()))} %"


def plot(drawn: Collection[str], name: str) -> str:
    """Show a plot, if it was drawn."""
    if name not in PLOTS:
        raise UnknownName(f"no plot is named {name!r}; plots: {', '.join(PLOTS)}")
    alt = PLOTS[name].alt
    return f"![{alt}](performance/{name}.svg)" if name in drawn else f"{alt}: {MISSING}."
