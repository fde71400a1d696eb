"""What commands that list things share: how many, which, and how times are shown."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from ..client import Client

limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="At most so many.",
)


def segment(text: str) -> str:
    """An id as one segment of a path."""
    if not text.strip("."):
        raise click.BadParameter("write an id, as the list shows it")
    return quote(text, safe="")


def newest(
    client: Client, path: str, params: Mapping[str, Any], limit: int
) -> Sequence[Mapping[str, Any]]:
    """The last so many, in the order of the list."""
    items, more = up_to(client, path, {**params, "order": "desc"}, limit)
    if more:
        click.echo(f"{limit} of more; --limit", err=True)
    return items[::-1]


def up_to(
    client: Client, path: str, params: Mapping[str, Any], limit: int
) -> tuple[Sequence[Any], bool]:
    """So many, and whether there are more: one beyond them was found."""
    items = list(client.pages(path, params, limit=limit + 1))
    return items[:limit], len(items) > limit


def second(at: str) -> str:
    """Without its fraction: `2026-09-14T18:42:37Z`."""
    whole, dot, _ = at.partition(".")
    return f"{whole}Z" if dot else at
