"""A page whose figures are placeholders, filled from a run. Pure.

What a page says besides must be true whatever was measured: words that depend on a figure are
placeholders as well.
"""

import re
from collections.abc import Callable, Mapping

from . import tables, words
from .figures import known
from .goals import GOALS
from .plots import PLOTS
from .ratios import ratio
from .results import Figure, Results
from .stages import STAGES

_ROOM = re.compile(r"\n{3,}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class UnknownPlaceholder(Exception):
    """A page asks for what no run has; says which."""


def filled(template: str, results: Results) -> str:
    """The page. Raises UnknownPlaceholder."""
    page = _PLACEHOLDER.sub(lambda found: _value(found[1], results), template)
    # What was left out leaves no more room than there is between two paragraphs.
    return _ROOM.sub("\n\n", page)


def _value(placeholder: str, results: Results) -> str:
    if placeholder in _WHOLE:
        return _WHOLE[placeholder](results)
    word, _, rest = placeholder.partition(" ")
    if word not in _OF:
        raise UnknownPlaceholder(f"{{{placeholder}}}: {word!r} is not one of {', '.join(_OF)}")
    return _OF[word](rest, results)


def _made(results: Results) -> str:
    day, _, time = results.made_at.partition("T")
    return f"{day} at {time[:5]} UTC"


def _kind(results: Results) -> str:
    return "a quick run, whose figures are rough" if results.quick else "a whole run"


def _median(name: str, results: Results) -> str:
    figure = _figure(name, results)
    return words.quantity(figure.median, figure.unit) if figure else words.MISSING


def _spread(name: str, results: Results) -> str:
    figure = _figure(name, results)
    return words.spread(figure.values) if figure else words.MISSING


def _ratio(names: str, results: Results) -> str:
    """`{ratio A B}`: how much of B is A."""
    found = _ratio_of(names, results)
    return words.MISSING if found is None else words.number(found)


def _speed(names: str, results: Results) -> str:
    """`{speed A B}`, after "is": how fast A is beside B, whichever of them is faster."""
    found = _ratio_of(names, results)
    if found is None:
        return f"{words.MISSING} beside"
    return f"{words.number(found)} times as fast as"


def _ratio_of(names: str, results: Results) -> float | None:
    figure, _, base = names.partition(" ")
    return ratio(_figure(figure, results), _figure(base, results))


def _day(name: str, results: Results) -> str:
    """What a rate comes to in a day, in millions."""
    figure = _figure(name, results)
    return f"{words.number(figure.median * 86_400 / 1e6)} million" if figure else words.MISSING


def _million(name: str, results: Results) -> str:
    """What bytes an event come to for a million events."""
    figure = _figure(name, results)
    return words.quantity(figure.median * 1e6 / 1e9, "GB") if figure else words.MISSING


def _goal(name: str, results: Results) -> str:
    """`{goal A}`, after "is": whether it was met."""
    found = results.goal(name)
    if found is None and name not in {one.name for one in GOALS}:
        raise UnknownPlaceholder(f"no run has a goal {name!r}")
    return found.verdict if found else words.MISSING


def _missed(names_and_text: str, results: Results) -> str:
    """`{missed A B: text}`: the text where one of these goals was missed, else nothing."""
    names, _, text = names_and_text.partition(":")
    verdicts = [_goal(name, results) for name in names.split()]
    return text.removeprefix(" ") if "missed" in verdicts else ""


def _part(wanted: str, results: Results) -> str:
    """`{part profile/pipeline: decode + log}`: the share of these stages."""
    name, _, stages = wanted.partition(": ")
    asked = stages.split(" + ")
    if unknown := [stage for stage in asked if stage not in STAGES]:
        raise UnknownPlaceholder(f"{{part {wanted}}}: no stage is {', '.join(unknown)}")
    return tables.part(results, name, asked)


def _figures(names: str, results: Results) -> str:
    """`{figures A B C}`: a table of these."""
    for name in names.split():
        _figure(name, results)
    return tables.figures(results, names.split())


def _group(name: str, results: Results) -> str:
    """`{group A}`: a table of all whose names begin with `A/`."""
    return tables.values(results.figures_of(name))


def _table(name: str, results: Results) -> str:
    if name not in tables.TABLES:
        raise UnknownPlaceholder(f"{{table {name}}}: not one of {', '.join(tables.TABLES)}")
    return tables.TABLES[name](results)


def _plot(name: str, results: Results) -> str:
    if name not in PLOTS:
        raise UnknownPlaceholder(f"{{plot {name}}}: not one of {', '.join(PLOTS)}")
    plot = PLOTS[name]
    if not plot.has(results):
        return f"{plot.alt}: {words.MISSING}."
    return f"![{plot.alt}](performance/{name}.svg)"


def _figure(name: str, results: Results) -> Figure | None:
    """Nothing where it was not measured; a name that no run ever has is a mistake of the page."""
    figure = results.figure(name)
    if figure is None and not known(name):
        raise UnknownPlaceholder(f"no run has a figure {name!r}")
    return figure


#: Placeholders that are one word.
_WHOLE: Mapping[str, Callable[[Results], str]] = {
    "commit": lambda results: results.commit,
    "goals met": tables.goals_met,
    "kind": _kind,
    "made": _made,
    "version": lambda results: results.version,
}
#: Those that say of what.
_OF: Mapping[str, Callable[[str, Results], str]] = {
    "day": _day,
    "figures": _figures,
    "goal": _goal,
    "group": _group,
    "median": _median,
    "million": _million,
    "missed": _missed,
    "part": _part,
    "plot": _plot,
    "ratio": _ratio,
    "speed": _speed,
    "spread": _spread,
    "table": _table,
}
