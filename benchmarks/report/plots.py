"""Plots of a run, in SVG. Same results, same bytes."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..cases.beside import FIGURES
from .numbers import number
from .results import Results
from .tables import FLOOR, PIPELINE

_STYLE = Path(__file__).with_name("plots.mplstyle")
#: No date and no version, which would differ from one drawing to the next.
_METADATA = {"Date": None, "Creator": None}
_OURS, _THEIRS, _BARE = "#3b82f6", "#d97706", "#8b929c"

#: Bars of the throughput, with their labels.
_BARS = {
    FLOOR: "bare ASGI app (does nothing)",
    "accept/tellabot/64/1": "smshook, accept only",
    PIPELINE: "smshook, to one HTTP sink",
    **{figure: peer for peer, figure in FIGURES.items()},
    FIGURES["mq-bridge"]: "mq-bridge (SQLite)",
}
#: Curves of the latency, with their labels and colours.
_LATENCIES = {
    "latency/half/answer": ("callback to answer", _OURS),
    "latency/half/through": ("callback to the sink", _THEIRS),
}
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
#: Figures of the growth, with the number of events in the journal.
_SIZES = {"scale/empty": 0.0, "scale/1m": 1e6, "scale/10m": 1e7}


class Plot(msgspec.Struct, frozen=True):
    """A drawing of a run."""

    #: Read aloud to people who cannot see it.
    alt: str
    height: float
    #: Return whether the run has figures for it.
    draw: Callable[[Axes, Results], bool]


def plots(results: Results) -> Mapping[str, str]:
    """Draw all plots that the run has figures for: SVG by name."""
    svgs = {name: _svg(plot, results) for name, plot in PLOTS.items()}
    return {name: svg for name, svg in svgs.items() if svg}


def _svg(plot: Plot, results: Results) -> str:
    with mpl.rc_context():
        mpl.rc_file(_STYLE)  # replaces the user's own settings
        canvas = Canvas(figsize=(8.0, plot.height), layout="constrained")
        if not plot.draw(canvas.subplots(), results):
            return ""
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata=_METADATA)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _throughput(axes: Axes, results: Results) -> bool:
    found = [figure for name in _BARS if (figure := results.figure(name))]
    for row, one in enumerate(found):
        colour = _THEIRS if one.name in FIGURES.values() else _OURS
        axes.barh(
            _BARS[one.name],
            one.median,
            xerr=[[one.median - min(one.values)], [max(one.values) - one.median]],
            color=_BARE if one.name == FLOOR else colour,
            ecolor=mpl.rcParams["text.color"],
            capsize=3.0,
        )
        end = (max(one.values), row)
        axes.annotate(number(one.median), end, (6, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("callbacks a second: median, lowest and highest")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.grid(visible=True)
    axes.set_axisbelow(True)
    return bool(found)


def _latency(axes: Axes, results: Results) -> bool:
    """The x axis is logarithmic in the rest beyond a percentile: it shows the slowest best."""
    curves = [curve for name in _LATENCIES if (curve := results.curve(name))]
    for curve in curves:
        label, colour = _LATENCIES[curve.name]
        shown = [(_beyond(x), y) for x, y in curve.points if x < 100.0]  # noqa: PLR2004 - percent
        axes.plot(*zip(*shown, strict=True), color=colour, label=label)
        axes.legend(loc="upper left")
    axes.set(xscale="log", yscale="log", xlabel="part of the events", ylabel="ms")
    axes.set_xticks([_beyond(x) for x in _PERCENTILES], [f"{x:g} %" for x in _PERCENTILES])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True)
    return bool(curves)


def _beyond(percentile: float) -> float:
    return 100.0 / (100.0 - percentile)


def _growth(axes: Axes, results: Results) -> bool:
    """Equal steps are factors of ten, and an empty journal is in the picture."""
    sizes = {size: one for name, size in _SIZES.items() if (one := results.figure(name))}
    _line(axes, {size: one.median for size, one in sizes.items()}, marker="o")
    axes.set(xlabel="events in the journal", ylabel="events a second")
    axes.set_xscale("symlog", linthresh=100_000.0)
    axes.set_xlim(left=0.0)
    axes.set_xticks(list(sizes), [f"{size:,.0f}" for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return len(sizes) > 1


def _memory(axes: Axes, results: Results) -> bool:
    curve = results.curve("memory")
    if curve:
        _line(axes, dict(curve.points), marker="")
        axes.set(xlabel=curve.x, ylabel=curve.y)
    return curve is not None


def _line(axes: Axes, points: Mapping[float, float], *, marker: str) -> None:
    """The y axis begins at zero, so that a small change looks small."""
    axes.plot(list(points), list(points.values()), color=_OURS, marker=marker)
    axes.set_ylim(0, 1.15 * max(points.values(), default=1.0))
    axes.grid(visible=True)


#: By the name of the file.
PLOTS: Mapping[str, Plot] = {
    "throughput": Plot("Callbacks a second of smshook and its peers, as bars", 3.8, _throughput),
    "latency": Plot(
        "Milliseconds to the answer and to the sink by percentile, at half the capacity",
        4.0,
        _latency,
    ),
    "growth": Plot(
        "Events a second through the whole pipeline by the number of events in the journal",
        3.4,
        _growth,
    ),
    "memory": Plot("Megabytes of the process over time, at half the capacity", 3.0, _memory),
}
