"""The width and colours of a command's output."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

_NO_COLOR = "no color"


class Screen(NamedTuple):
    """A terminal, or a pipe or file, which has no width."""

    width: int | None
    colors: bool

    def bold(self, text: str) -> str:
        return click.style(text, bold=True) if self.colors else text

    def colored(self, text: str, color: str | None) -> str:
        return click.style(text, fg=color) if self.colors and color else text


def screen() -> Screen:
    """Return the screen of stdout. `COLUMNS` sets a width for a pipe, too."""
    terminal = sys.stdout.isatty()
    width = None
    if terminal or os.environ.get("COLUMNS", "").isdecimal():
        width = shutil.get_terminal_size().columns
    context = click.get_current_context(silent=True)
    refused = context is not None and context.find_root().meta.get(_NO_COLOR, False)
    # Source: https://no-color.org
    plain = refused or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Screen(width, terminal and not plain)


def no_color_option() -> click.Option:
    return click.Option(
        ["--no-color"],
        is_flag=True,
        expose_value=False,
        callback=remember(_NO_COLOR),
        help="Print without colours, as with NO_COLOR.",
    )


def remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return the callback of an option that may come before or after the command's name."""

    def callback(ctx: click.Context, _option: click.Parameter, value: Any) -> None:
        # The option after the command's name is read last, and wins.
        if value:
            ctx.find_root().meta[name] = value

    return callback
