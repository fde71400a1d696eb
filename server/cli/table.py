"""Tables on a terminal: each row is one line of any width."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from core.printable import plain

from .terminal import Screen
from .times import relative

#: An item of a list, as the API returns it.
Item = Mapping[str, Any]

#: Spaces between two columns.
_GAP = 2
_ELLIPSIS = "…"
#: Characters of an id that a table shows: unambiguous in practice, accepted by every command.
_END = 8
#: After this variation selector, a character is two columns wide.
_AS_EMOJI = "\ufe0f"

_COLORS = {
    "delivered": "green",
    "receiving": "green",
    "received": "green",
    "ok": "green",
    "dead": "red",
    "failed": "red",
    "failing": "red",
    "expired": "magenta",
    "pending": "yellow",
    "sending": "yellow",
    "waiting": "yellow",
    "paused": "yellow",
    "silent": "yellow",
}


class Cell(NamedTuple):
    """A value with a shorter form for a screen of limited width."""

    text: str
    short: str
    #: A colour of click, for screens with colours.
    color: str | None = None


class Column(NamedTuple):
    """A column of a table, and how it shrinks on a narrow screen."""

    title: str
    #: Its minimum width.
    least: int = 1000
    #: Columns are dropped in this order, the highest first; 0 is kept.
    rank: int = 0
    #: How to get its value from an item; None: the field with the name of the title.
    value: Callable[[Item], Any] | None = None

    def of(self, item: Item) -> Any:
        return item[self.title] if self.value is None else self.value(item)


def id_cell(id_: str | None) -> Cell:
    """Return a cell for an id; its short form is the end, since ids begin alike."""
    text = "-" if id_ is None else plain(id_)
    return Cell(text, text if len(text) <= _END else text[-_END:])


def state_cell(state: str, more: str = "") -> Cell:
    """Return a cell for a state, in its colour."""
    text = plain(f"{state}{more}")
    return Cell(text, text, _COLORS.get(state))


def id_of(name: str) -> Callable[[Item], Cell]:
    """Return the value of a column: the id in that field."""
    return lambda item: id_cell(item[name])


def ago(name: str) -> Callable[[Item], str | None]:
    """Return the value of a column: how long ago the time in that field is."""
    return lambda item: relative(item[name])


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], screen: Screen
) -> list[str]:
    """Return the header and one line for each row, no wider than the screen.

    A pipe or a file has no width and gets every value in full. Otherwise the table shrinks until
    it fits: empty columns are dropped, then long cells are shortened, then columns are dropped
    by rank.
    """
    texts = [[cell.text if screen.width is None else cell.short for cell in row] for row in rows]
    shown = list(range(len(columns)))
    if screen.width is not None:
        shown = _dropped_empty(columns, texts, screen.width)
        shown = _dropped(columns, texts, shown, screen.width)
    widths = _fitted(columns, texts, shown, screen.width)
    header = _line([columns[i].title for i in shown], widths)
    lines = [screen.bold(header)]
    for row, line in zip(rows, texts, strict=True):
        cells = [_cut(line[i], width) for i, width in zip(shown, widths, strict=True)]
        colors = [row[i].color for i in shown]
        lines.append(_line(cells, widths, colors, screen))
    return lines


def width_of(text: str) -> int:
    """Return the width of a text; wide characters take two columns, accents none."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if char == _AS_EMOJI:
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _widths(columns: Sequence[Column], texts: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([width_of(column.title), *(width_of(row[i]) for row in texts)])
        for i, column in enumerate(columns)
    ]


def _least(column: Column, width: int) -> int:
    """Return the minimum width; the title is never cut."""
    return min(width, max(column.least, width_of(column.title)))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _dropped_empty(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], width: int
) -> list[int]:
    """Return the columns to show: all, or those with a value if the table is too wide."""
    widths = _widths(columns, texts)
    if _total(widths) <= width:
        return list(range(len(columns)))
    return [
        i
        for i, column in enumerate(columns)
        if column.rank == 0 or any(row[i] not in ("-", "") for row in texts)
    ]


def _dropped(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], shown: Sequence[int], width: int
) -> list[int]:
    """Drop columns by rank until the others fit when shortened."""
    widths = _widths(columns, texts)
    left = list(shown)

    def least() -> int:
        return _total([_least(columns[i], widths[i]) for i in left])

    while least() > width and any(columns[i].rank for i in left):
        left.remove(max(left, key=lambda i: columns[i].rank))
    return left


def _fitted(
    columns: Sequence[Column],
    texts: Sequence[Sequence[str]],
    shown: Sequence[int],
    width: int | None,
) -> list[int]:
    """Return the width of each column; the widest are shortened first."""
    every = _widths(columns, texts)
    widths = [every[i] for i in shown]
    if width is None:
        return widths
    least = [_least(columns[i], every[i]) for i in shown]
    over = _total(widths) - width
    while over > 0:
        room = [now - keep for now, keep in zip(widths, least, strict=True)]
        # The screen is narrower than the table's minimum: cut further.
        open_ = [i for i, left in enumerate(room) if left > 0] or [
            i for i, now in enumerate(widths) if now > 1
        ]
        if not open_:
            break
        widths[max(open_, key=lambda i: widths[i])] -= 1
        over -= 1
    return widths


def _cut(text: str, width: int) -> str:
    """Cut a text to a width; an ellipsis marks the cut."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept += char
    return f"{kept.rstrip()}{_ELLIPSIS}"


def _line(
    cells: Sequence[str],
    widths: Sequence[int],
    colors: Sequence[str | None] = (),
    screen: Screen | None = None,
) -> str:
    cut = [_cut(cell, width) for cell, width in zip(cells, widths, strict=True)]
    gaps = [" " * (width - width_of(cell) + _GAP) for cell, width in zip(cut, widths, strict=True)]
    if screen is not None:
        cut = [screen.colored(cell, color) for cell, color in zip(cut, colors, strict=True)]
    return "".join(f"{cell}{gap}" for cell, gap in zip(cut, gaps, strict=True)).rstrip()


def echo_lines(lines: Sequence[str], screen: Screen) -> None:
    """Print lines with their colours to stdout."""
    for line in lines:
        click.echo(line, color=screen.colors or None)


def as_cell(value: Any, text: str) -> Cell:
    """Return the value if it is a cell, else a cell of the text."""
    return value if isinstance(value, Cell) else Cell(text, text)
