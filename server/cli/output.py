"""JSON for machines, tables for people."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from core.printable import is_unseen, plain

from .command import Choice
from .table import Cell, Column, as_cell, echo_lines, table_lines, width_of
from .terminal import screen

#: Characters of a cell in a list.
_LONGEST_CELL = 60


output_option = click.option(
    "--output",
    type=Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON for programs.",
)


def print_json(value: Any) -> None:
    """Print a value as JSON, with characters escaped that could control the terminal."""
    text = _json(value, is_unseen)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # With another encoding, Python would print `\xe9`, which is not JSON.
        text = _json(value, lambda char: is_unseen(char) or not char.isascii())
    click.echo(text)


def _json(value: Any, is_escaped: Callable[[str], bool]) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # JSON has escaped the line ends of texts. Those of the layout stay.
    # A character becomes `\u001b`, or two of these if it is beyond 16 bits.
    return "".join(
        json.dumps(char)[1:-1] if char != "\n" and is_escaped(char) else char for char in text
    )


def print_table(
    headers: Sequence[str | Column],
    rows: Sequence[Sequence[Any]],
    *,
    none: str,
    whole: bool = False,
) -> None:
    """Print rows of values or Cells, one line each, no wider than the terminal.

    For no rows, `none` goes to stderr: a program that counts lines of stdout gets 0. In a pipe,
    cells are cut to 60 characters unless `whole` is set.
    """
    if not rows:
        click.echo(none, err=True)
        return
    columns = [header if isinstance(header, Column) else Column(header, 8) for header in headers]
    show = cell if whole else _short
    cells = [[as_cell(value, show(value)) for value in row] for row in rows]
    on = screen()
    echo_lines(table_lines(columns, cells, on), on)


def print_items(
    columns: Sequence[Column], items: Sequence[Mapping[str, Any]], *, none: str
) -> None:
    """Print items of the API as rows of a table."""
    print_table(columns, [[column.of(item) for column in columns] for item in items], none=none)


def _short(value: Any) -> str:
    if isinstance(value, Cell):
        return value.text
    if isinstance(value, list | tuple):
        # Each item is cut separately: a rotation needs the last use of the second token.
        return ", ".join(_short(item) for item in value) or "-"
    text = cell(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one line for each field, the names in one column."""
    widest = max(map(width_of, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name}{' ' * (widest - width_of(name))}  {cell(value)}".rstrip())


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field with its dotted name, such as `price.amount`; an empty object is None."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from flat(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item or None if isinstance(item, dict) else item


def cell(value: Any) -> str:
    """Return a value of the API as one line without control characters."""
    match value:
        case None:
            return "-"
        case str():
            return plain(value)
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(cell(item) for item in value) or "-"
        case dict():
            return plain(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return plain(str(value))
