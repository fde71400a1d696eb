"""Plots of figures over time: SVG, without scripts or external files."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import msgspec

from core.printable import plain

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 150, 12, 24
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
#: Lines of one plot. Each differs from the others by its colour and by its dashes.
MOST_LINES = 6
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 5", "1 5")
#: Characters of a name that fit beside the plot.
_LONGEST = 20
_TICKS = 4
_DAY = 86_400

_STYLE = """
svg { color-scheme: light dark; font: 12px system-ui, sans-serif }
text { fill: #1f2328 }
.grid { stroke: #d4d9df }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.l0 { stroke: #0969da } .l1 { stroke: #bc4c00 } .l2 { stroke: #6639ba }
.l3 { stroke: #11682f } .l4 { stroke: #99286e } .l5 { stroke: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #363b42 }
  .l0 { stroke: #58a6ff } .l1 { stroke: #f0883e } .l2 { stroke: #bc8cff }
  .l3 { stroke: #6fd08c } .l4 { stroke: #f778ba } .l5 { stroke: #9da7b3 }
}
"""


class PlotLine(msgspec.Struct, frozen=True):
    """A named line of a plot: its value at each of the plot's times; None: there is none."""

    name: str
    values: Sequence[float | None]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over the same times."""

    title: str
    #: Behind a figure: `/s`, ` s`, or nothing.
    unit: str = ""
    #: Seconds since the epoch, ascending.
    times: Sequence[float]
    #: At most MOST_LINES.
    lines: Sequence[PlotLine]

    @property
    def in_words(self) -> str:
        """The last and the greatest value of each line, for those who cannot see the plot."""
        parts = []
        for line in self.lines:
            known = [value for value in line.values if value is not None]
            if known:
                last, most = written(known[-1]), written(max(known))
                parts.append(f"{line.name} {last}{self.unit} at the end, {most}{self.unit} at most")
        return f"{self.title}: {'; '.join(parts) or 'nothing yet'}."


def svg(plot: Plot, *, begin: float, end: float) -> str:
    """Return a picture of the plot from `begin` to `end`, in seconds since the epoch."""
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
            "width": str(_WIDTH),
            "height": str(_HEIGHT),
        },
    )
    ET.SubElement(root, "style").text = _STYLE
    top = nice(max((v for line in plot.lines for v in line.values if v is not None), default=0.0))
    for part in (0.0, 0.5, 1.0):
        y = _y(part * top, top)
        ET.SubElement(
            root,
            "line",
            {"class": "grid", "x1": f"{_LEFT}", "x2": f"{_WIDTH - _RIGHT}", "y1": y, "y2": y},
        )
        _text(root, _LEFT - 6, float(y) + 4, f"{written(part * top)}{plot.unit}", anchor="end")
    form = "%d %b" if end - begin > 2 * _DAY else "%H:%M"
    for tick in range(_TICKS + 1):
        at = begin + (end - begin) * tick / _TICKS
        words = datetime.fromtimestamp(at, UTC).strftime(form)
        _text(root, _x(at, begin, end), _HEIGHT - 6, words, anchor="middle")
    for number, line in enumerate(plot.lines):
        kind = {"class": f"line l{number}", "stroke-dasharray": _DASHES[number]}
        path = _path(plot.times, line.values, begin, end, top)
        if path:
            ET.SubElement(root, "path", {**kind, "d": path})
        beside, below = _WIDTH - _RIGHT + 10, _TOP + 10 + 18 * number
        ET.SubElement(root, "path", {**kind, "d": f"M{beside} {below}h22"})
        name = plain(line.name)
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        _text(root, beside + 28, below + 4, short)
    _text(root, _WIDTH - _RIGHT + 26, _HEIGHT - 6, "UTC")
    return ET.tostring(root, encoding="unicode")


def nice(value: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below the value."""
    for power in itertools.count(-3):
        for step in (1, 2, 5):
            if value <= step * 10.0**power:
                return step * 10.0**power
    raise AssertionError("unreachable")


def written(value: float) -> str:
    """Return a figure with three digits at most: `0.084`, `3.5`, `12431`."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - `%g` writes 1e+02


def _path(
    times: Sequence[float],
    values: Sequence[float | None],
    begin: float,
    end: float,
    top: float,
) -> str:
    """Return the path of a line. It is broken where a value, or the service, was missing."""
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    gap = 2.5 * steps[len(steps) // 2] if steps else 0.0
    drawn, before = [], None
    for at, value in zip(times, values, strict=True):
        if value is None or at < begin:
            before = None
            continue
        joined = before is not None and at - before <= gap
        drawn.append(f"{'L' if joined else 'M'}{_x(at, begin, end):.1f} {_y(value, top)}")
        before = at
    # A single point has a length, or it would not be seen.
    return " ".join(f"{one}h1" if one[0] == "M" else one for one in drawn)


def _x(at: float, begin: float, end: float) -> float:
    return _LEFT + _PLOT_WIDTH * (at - begin) / (end - begin)


def _y(value: float, top: float) -> str:
    return f"{_TOP + _PLOT_HEIGHT * (1 - value / top):.1f}"


def _text(root: ET.Element, x: float, y: float, words: str, *, anchor: str = "start") -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
    ET.SubElement(root, "text", place).text = words
