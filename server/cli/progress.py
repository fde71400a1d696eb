"""The progress of long work: one line on a terminal, nothing elsewhere."""

import sys

import click

_WIDTH = 20


def show_progress(text: str) -> None:
    """Show a line in place of the one before. An empty one removes it."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def bar(done: int, whole: int) -> str:
    return "[" + ("#" * (_WIDTH * done // max(whole, 1))).ljust(_WIDTH, "-") + "]"
