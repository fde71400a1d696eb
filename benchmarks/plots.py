"""What was measured, as plots in SVG. Same results, same bytes."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from .results import Figure, Results, Series
from .tables import FLOOR, PEER_FIGURES, PIPELINE
from .words import number

#: Of middle brightness, so that they are legible on white as well as on black: nothing is drawn
#: behind them, and a page in the dark shows through.
_INK = "#7d848e"
_OURS, _THEIRS, _BARE = "#3b82f6", "#d97706", "#8b929c"
_COLOURS = (_OURS, _THEIRS)

#: Any: matplotlib lists the names of its settings as a type that a literal is not seen to have.
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "font.size": 11.0,
    "grid.alpha": 0.35,
    "grid.color": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    # Text stays text: it is smaller, and can be searched and read aloud.
    "svg.fonttype": "none",
    # Names of parts are made from this, or each drawing would differ.
    "svg.hashsalt": "smshook",
}
#: What is written into a drawing besides: no date and no version, which would differ as well.
_METADATA = {"Date": None, "Creator": None}

#: Bars of the throughput, in this order, with what each is called.
_BARS = {
    FLOOR: "bare ASGI app (does nothing)",
    "accept/tellabot/64/1": "smshook, accept only",
    PIPELINE: "smshook, to one HTTP sink",
    PEER_FIGURES[0]: "mq-bridge (SQLite)",
    PEER_FIGURES[1]: "mq-bridge (spool)",
    PEER_FIGURES[2]: "Node-RED",
    PEER_FIGURES[3]: "webhook",
}
#: Figures of the growth, and how many events are in the journal.
_SIZES = {"scale/empty": 0.0, "scale/1m": 1e6, "scale/10m": 1e7}
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """One drawing of a run."""

    #: Read aloud to who cannot see it.
    alt: str
    #: What is drawn, as far as it was measured.
    has: Callable[[Results], bool]
    height: float
    draw: Callable[[Axes, Results], None]


def plots(results: Results) -> Mapping[str, str]:
    """Name of each plot -> its SVG; none of what was not measured."""
    return {name: _drawn(plot, results) for name, plot in PLOTS.items() if plot.has(results)}


def _drawn(plot: Plot, results: Results) -> str:
    with mpl.rc_context():
        # Whatever the settings of who runs this.
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        canvas = Canvas(figsize=(8.0, plot.height), layout="constrained")
        plot.draw(canvas.subplots(), results)
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata=_METADATA)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _bars(results: Results) -> list[Figure]:
    return [figure for name in _BARS if (figure := results.figure(name))]


def _throughput(axes: Axes, results: Results) -> None:
    found = _bars(results)
    medians = [one.median for one in found]
    below = [one.median - one.low for one in found]
    above = [one.high - one.median for one in found]
    axes.barh(
        [_BARS[one.name] for one in found],
        medians,
        xerr=[below, above],
        color=[_colour(one.name) for one in found],
        ecolor=_INK,
        capsize=3.0,
    )
    for row, one in enumerate(found):
        axes.annotate(
            number(one.median), (one.high, row), (6, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("callbacks a second: median, and from the lowest to the highest")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.grid(visible=True)
    axes.set_axisbelow(True)


def _latency(axes: Axes, results: Results) -> None:
    """By what is beyond a percentile, so that the last thousandth is as wide as the first half."""
    for series, colour in zip(_curves(results), _COLOURS, strict=False):
        shown = [(x, y) for x, y in series.points if x < 100.0]  # noqa: PLR2004 - percent
        beyond = [100.0 / (100.0 - x) for x, _ in shown]
        axes.plot(beyond, [y for _, y in shown], color=colour, label=_LATENCIES[series.name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([100.0 / (100.0 - x) for x in _PERCENTILES], [f"{x:g} %" for x in _PERCENTILES])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("of the events, within")
    axes.set_ylabel("ms")
    axes.legend(loc="upper left")
    axes.grid(visible=True)


#: Curves of the latency, with what each is called.
_LATENCIES = {
    "latency/half/answer": "callback to answer",
    "latency/half/through": "callback to the sink",
}


def _curves(results: Results) -> list[Series]:
    return [curve for name in _LATENCIES if (curve := results.curve(name)) and curve.points]


def _growth(axes: Axes, results: Results) -> None:
    """From nothing to what is beyond a million in one picture: equal steps are factors of ten."""
    series = _grown(results)
    _line(axes, series, marker="o")
    axes.set_xscale("symlog", linthresh=100_000.0)
    axes.set_xlim(left=0.0)
    axes.set_xticks(*_events([x for x, _ in series.points]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _grown(results: Results) -> Series:
    """The curve where a run has one, else through the medians of its sizes."""
    found = results.curve("growth")
    if found:
        return found
    sizes = [(size, results.figure(name)) for name, size in _SIZES.items()]
    return Series(
        name="growth",
        x="events in the journal",
        y="events a second",
        points=tuple((size, one.median) for size, one in sizes if one),
    )


def _events(counts: Sequence[float]) -> tuple[list[float], list[str]]:
    """Ticks where something was measured, at most one for each factor of ten."""
    ticks = {len(f"{x:.0f}") if x else 0: x for x in sorted(counts)}
    return list(ticks.values()), [f"{x:,.0f}" for x in ticks.values()]


def _memory(axes: Axes, results: Results) -> None:
    for series in _curve(results, "memory"):
        _line(axes, series, marker="")


def _line(axes: Axes, series: Series, *, marker: str) -> None:
    """The axis of what was measured begins at zero: a small change looks small."""
    x, y = zip(*series.points, strict=True)
    axes.plot(x, y, color=_OURS, marker=marker)
    axes.set_ylim(0, 1.15 * max(y))
    axes.set_xlabel(series.x)
    axes.set_ylabel(series.y)
    axes.grid(visible=True)


def _curve(results: Results, name: str) -> Iterator[Series]:
    found = results.curve(name)
    if found and found.points:
        yield found


def _colour(name: str) -> str:
    if name == FLOOR:
        return _BARE
    return _THEIRS if name in PEER_FIGURES else _OURS


#: By the name of the file.
PLOTS: Mapping[str, Plot] = {
    "throughput": Plot(
        alt="Callbacks a second through smshook and through its peers, as bars",
        has=lambda results: bool(_bars(results)),
        height=3.8,
        draw=_throughput,
    ),
    "latency": Plot(
        alt="Milliseconds to the answer and to the sink by percentile, at half the capacity",
        has=lambda results: bool(_curves(results)),
        height=4.0,
        draw=_latency,
    ),
    "growth": Plot(
        alt="Events a second through the whole pipeline by the number of events in the journal",
        has=lambda results: len(_grown(results).points) > 1,
        height=3.4,
        draw=_growth,
    ),
    "memory": Plot(
        alt="Megabytes of the process over time, at half the capacity",
        has=lambda results: any(_curve(results, "memory")),
        height=3.0,
        draw=_memory,
    ),
}
