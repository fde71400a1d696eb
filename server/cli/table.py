"""Tables on a terminal: each row is one line of any width."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from core.printable import plain

from .terminal import Screen

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
    #: The dotted path of its field; None: the title, or the whole item if there is a `value`.
    field: str | None = None
    #: What to show of the field, unless it is null.
    value: Callable[[Any], Any] | None = None

    def of(self, item: Item) -> Any:
        found: Any = item
        if self.field is not None or self.value is None:
            for name in (self.field or self.title).split("."):
                found = found and found.get(name)
        return found if found is None or self.value is None else self.value(found)


def words(*values: Any) -> str:
    """Return the values that are not None, with spaces between."""
    return " ".join(str(value) for value in values if value is not None)


def id_cell(id_: str | None) -> Cell:
    """Return a cell for an id; its short form is the end, since ids begin alike."""
    text = "-" if id_ is None else plain(id_)
    return Cell(text, text if len(text) <= _END else text[-_END:])


def state_cell(state: str, more: str = "") -> Cell:
    """Return a cell for a state, in its colour."""
    text = plain(f"{state}{more}")
    return Cell(text, text, _COLORS.get(state))


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], screen: Screen
) -> list[str]:
    """Return the header and one line for each row, no wider than the screen.

    A pipe or a file has no width and gets every value in full. Otherwise the table shrinks until
    it fits: empty columns are dropped, then long cells are shortened, then columns are dropped
    by rank.
    """
    texts = [[cell.text if screen.width is None else cell.short for cell in row] for row in rows]
    widths = [
        max([width_of(column.title), *(width_of(row[i]) for row in texts)])
        for i, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if screen.width is not None:
        # The title is never cut.
        least = [
            min(width, max(column.least, width_of(column.title)))
            for column, width in zip(columns, widths, strict=True)
        ]
        if _total(widths) > screen.width:
            shown = _fitting(columns, texts, least, screen.width)
        widths = _shortened([(widths[i], least[i]) for i in shown], screen.width)
    lines = [screen.bold(_line([columns[i].title for i in shown], widths))]
    for row, line in zip(rows, texts, strict=True):
        colors = [row[i].color for i in shown]
        lines.append(_line([line[i] for i in shown], widths, colors, screen))
    return lines


def width_of(text: str) -> int:
    """Return the width of a text: wide characters take two columns, accents take no column."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if char == _AS_EMOJI:
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _fitting(
    columns: Sequence[Column],
    texts: Sequence[Sequence[str]],
    least: Sequence[int],
    width: int,
) -> list[int]:
    """Drop columns without a value, then by rank until the others fit when shortened."""
    left = [
        i
        for i, column in enumerate(columns)
        if column.rank == 0 or any(row[i] not in ("-", "") for row in texts)
    ]
    while _total([least[i] for i in left]) > width and any(columns[i].rank for i in left):
        left.remove(max(left, key=lambda i: columns[i].rank))
    return left


def _shortened(widths: Sequence[tuple[int, int]], width: int) -> list[int]:
    """Return the width of each column, from (wanted, minimum); the widest are shortened first."""
    now = [wanted for wanted, _ in widths]
    for _ in range(_total(now) - width):
        # The screen is narrower than the table's minimum: cut further.
        open_ = [i for i, (_, least) in enumerate(widths) if now[i] > least] or [
            i for i, one in enumerate(now) if one > 1
        ]
        if not open_:
            break
        now[max(open_, key=lambda i: now[i])] -= 1
    return now


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
