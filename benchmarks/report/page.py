"""Pages about a run, written by Jinja2. Their words must hold for any figures."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import tables
from .figures import UnknownName, find
from .goals import GOALS, summary
from .numbers import MISSING, number, quantity, spread
from .plots import PLOTS
from .results import Results, ratio


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
    of_run = (find, median, compared, verdict, missed)
    rows = (tables.sections, tables.contestants, tables.shares, tables.part, tables.answers)
    made.globals |= {one.__name__: partial(one, results) for one in (*of_run, *rows)}
    made.globals |= {"run": results, "plot": partial(plot, drawn), "ratio": ratio}
    made.globals |= {"summary": summary, "FLOOR": tables.FLOOR, "PIPELINE": tables.PIPELINE}
    made.filters |= {"number": number, "quantity": quantity, "spread": spread}
    return made


def median(results: Results, name: str, factor: float = 1.0, unit: str | None = None) -> str:
    """Write a figure, perhaps converted to another unit."""
    figure = find(results, name)
    if figure is None:
        return MISSING
    return quantity(factor * figure.median, figure.unit if unit is None else unit)


def compared(results: Results, name: str, base: str) -> str:
    """Write the ratio of two figures."""
    found = ratio(find(results, name), find(results, base))
    return MISSING if found is None else number(found)


def verdict(results: Results, name: str) -> str:
    """Write whether a goal was met. Raises UnknownName."""
    found = next((one.verdict for one in results.goals if one.name == name), None)
    if found is None and name not in {one.name for one in GOALS}:
        raise UnknownName(f"no run has a goal {name!r}")
    return found or MISSING


def missed(results: Results, *names: str) -> bool:
    """Whether one of these goals was missed."""
    return "missed" in [verdict(results, name) for name in names]


def plot(drawn: Collection[str], name: str) -> str:
    """Show a plot, if it was drawn."""
    if name not in PLOTS:
        raise UnknownName(f"no plot is named {name!r}; plots: {', '.join(PLOTS)}")
    alt = PLOTS[name].alt
    return f"![{alt}](performance/{name}.svg)" if name in drawn else f"{alt}: {MISSING}."
