"""A report as a picture: an SVG without external files."""

from xml.etree import ElementTree as ET

from core.printable import plain

from .figures import FigureGroup, Report

#: Groups that are drawn: those with the most orders.
DRAWN = 40
#: Characters of a group's name that fit above its bars.
_LONGEST = 80
_WIDTH, _MARGIN, _TOP, _ROW = 720, 20, 88, 50
#: Where the two columns of bars begin, and the length of the longest bar: its figure still fits
#: behind it.
_MEDIAN, _SHARE, _BAR = _MARGIN, 370, 180
_HEIGHT_OF_BAR = 14

# Colours that differ without red and green, on paper and on a dark screen.
_STYLE = """
svg { color-scheme: light dark; font: 13px system-ui, sans-serif }
.paper { fill: #ffffff }
text { fill: #1f2328 }
.head { font-size: 16px; font-weight: 600 }
.small { fill: #57606a }
.median { fill: #0969da }
.share { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117 }
  text { fill: #e6edf3 }
  .small { fill: #9da7b3 }
  .median { fill: #58a6ff }
  .share { fill: #f0883e }
}
"""
_TITLE = "Codes that were ordered: how long they took, and how many never came"


def svg(report: Report, since: str) -> str:
    """Return the SVG, in ASCII: it can be printed on every terminal."""
    groups = report.groups[:DRAWN]
    height = _TOP + _ROW * max(len(groups), 1) + _MARGIN
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {height}",
            "width": str(_WIDTH),
            "height": str(height),
            "role": "img",
            "aria-labelledby": "title desc",
        },
    )
    ET.SubElement(root, "title", {"id": "title"}).text = _TITLE
    more = len(report.groups) - DRAWN
    left_out = [f"{more} more with fewer orders are not drawn."] if more > 0 else []
    figures = [f"{_in_words(group)}." for group in groups]
    description = " ".join([f"Orders since {since}.", *figures, *left_out])
    ET.SubElement(root, "desc", {"id": "desc"}).text = description
    ET.SubElement(root, "style").text = _STYLE
    ET.SubElement(root, "rect", {"class": "paper", "width": "100%", "height": "100%"})
    _text(root, _MARGIN, 30, "Seconds to a code, and codes that never came", "head")
    _text(root, _MARGIN, 50, " ".join([f"orders since {since}.", *left_out]), "small")
    _text(root, _MEDIAN, 76, "median seconds", "small")
    _text(root, _SHARE, 76, "never came", "small")
    longest = max((group.median_seconds or 0.0 for group in groups), default=0.0)
    for row, group in enumerate(groups):
        _draw(root, group, y=_TOP + _ROW * row, longest=longest)
    if not groups:
        _text(root, _MARGIN, _TOP + 20, "no orders")
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="us-ascii")
    return f"{written.decode('ascii')}\n"


def _draw(root: ET.Element, group: FigureGroup, *, y: int, longest: float) -> None:
    drawn = ET.SubElement(root, "g", {"class": "group"})
    ET.SubElement(drawn, "title").text = _in_words(group)
    name = _name(group)
    _text(drawn, _MARGIN, y + 16, name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")
    seconds = group.median_seconds
    long = seconds / longest if seconds and longest else 0.0
    _bar(drawn, _MEDIAN, y, long, "median", "-" if seconds is None else f"{seconds:.1f} s")
    _bar(drawn, _SHARE, y, group.never_came or 0.0, "share", share(group))


def _bar(drawn: ET.Element, x: int, y: int, part: float, kind: str, words: str) -> None:
    width = round(_BAR * part, 1)
    place = {"x": str(x), "y": str(y + 23), "width": str(width), "height": str(_HEIGHT_OF_BAR)}
    ET.SubElement(drawn, "rect", {"class": kind, **place})
    _text(drawn, x + width + 6, y + 23 + _HEIGHT_OF_BAR - 3, words)


def _text(parent: ET.Element, x: float, y: int, words: str, kind: str | None = None) -> None:
    place = {"x": f"{x:g}", "y": str(y)}
    ET.SubElement(parent, "text", place | ({"class": kind} if kind else {})).text = words


def _name(group: FigureGroup) -> str:
    # XML allows no control character but tab, CR and LF, not even as a reference.
    return plain(" / ".join(name or "-" for name in group.of.values()))


def _in_words(group: FigureGroup) -> str:
    seconds = group.median_seconds
    took = "no code came" if seconds is None else f"{seconds:.1f} seconds to a code"
    missed = "none has ended" if group.never_came is None else f"{share(group)} never came"
    return f"{_name(group)}: {took}; {missed}"


def share(group: FigureGroup) -> str:
    """`25% (1 of 4)`; `-` if no order has ended."""
    if group.never_came is None:
        return "-"
    return f"{100 * group.never_came:.0f}% ({group.expired} of {group.received + group.expired})"
