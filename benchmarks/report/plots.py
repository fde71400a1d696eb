"""Plots of a run, in SVG. Same results, same bytes."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..cases.beside import FIGURES
from .numbers import number
from .results import FLOOR, PIPELINE, Results

_STYLE = Path(__file__).with_name("plots.mplstyle")
#: No date and no version, which would differ from one drawing to the next.
_METADATA = {"Date": None, "Creator": None}
_OURS, _THEIRS, _BARE = "#3b82f6", "#d97706", "#8b929c"

#: Bars of the throughput, with their labels and colours.
_BARS = {
    FLOOR: ("bare ASGI app (does nothing)", _BARE),
    "accept/tellabot/64/1": ("smshook, accept only", _OURS),
    PIPELINE: ("smshook, to one HTTP sink", _OURS),
    **{figure: (peer, _THEIRS) for peer, figure in FIGURES.items()},
    FIGURES["mq-bridge"]: ("mq-bridge (SQLite)", _THEIRS),
}
#: Curves of the latency, with their labels and colours.
_LATENCIES = {
    "latency/half/answer": ("callback to answer", _OURS),
    "latency/half/through": ("callback to the sink", _THEIRS),
}
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
#: Figures of the growth, with the number of events in the journal.
_SIZES = {"scale/empty": 0.0, "scale/1m": 1e6, "scale/10m": 1e7}


class Plot(NamedTuple):
    """A drawing of a run."""

    #: Read aloud to people who cannot see it.
    alt: str
    height: float
    #: Return whether the run has figures for it.
    draw: Callable[[Axes, Results], bool]


def plots(results: Results) -> Mapping[str, str]:
    """Draw all plots that the run has figures for: SVG by name."""
    svgs = {}
    with mpl.rc_context():
        mpl.rc_file(_STYLE)  # replaces the user's own settings
        for name, plot in PLOTS.items():
            canvas, file = Canvas(figsize=(8.0, plot.height), layout="constrained"), io.StringIO()
            if plot.draw(canvas.subplots(), results):
                canvas.savefig(file, format="svg", transparent=True, metadata=_METADATA)
                lines = file.getvalue().splitlines()
                svgs[name] = "\n".join(line.rstrip() for line in lines) + "\n"
    return svgs


def _throughput(axes: Axes, results: Results) -> bool:
    found = [one for name in _BARS if (one := results.figure(name))]
    for one in found:
        label, colour = _BARS[one.name]
        error = [[one.median - min(one.values)], [max(one.values) - one.median]]
        ink = mpl.rcParams["text.color"]
        bar = axes.barh(label, one.median, xerr=error, color=colour, ecolor=ink, capsize=3.0)
        axes.bar_label(bar, [number(one.median)], padding=6)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel("callbacks a second: median, lowest and highest")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return bool(found)


def _latency(axes: Axes, results: Results) -> bool:
    """Draw the latency by percentile. The x axis stretches the last percentiles, the slowest."""
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
    return bool(curves)


def _beyond(percentile: float) -> float:
    return 100.0 / (100.0 - percentile)


def _growth(axes: Axes, results: Results) -> bool:
    """Equal steps are factors of ten, and an empty journal is in the picture."""
    rates = {size: one.median for name, size in _SIZES.items() if (one := results.figure(name))}
    axes.set(xlabel="events in the journal", ylabel="events a second")
    axes.plot(list(rates), list(rates.values()), color=_OURS, marker="o")
    axes.set_xscale("symlog", linthresh=100_000.0)
    axes.set_xlim(left=0.0)
    axes.set_xticks(list(rates), [f"{size:,.0f}" for size in rates])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(0, 1.15 * max(rates.values(), default=1.0))  # a small change looks small
    return len(rates) > 1


def _memory(axes: Axes, results: Results) -> bool:
    if (curve := results.curve("memory")) is None:
        return False
    axes.set(xlabel=curve.x, ylabel=curve.y)
    axes.plot(*zip(*curve.points, strict=True), color=_OURS)
    axes.set_ylim(0, 1.15 * max(y for _, y in curve.points))
    return True


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
