"""List, show, replay and delete quarantined callbacks; list rejections."""

import base64
import sys
from collections.abc import Mapping
from typing import Any

import click

from core.printable import plain

from .client import ApiClient
from .command import CommandGroup, Failure
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .lists import list_command, show_command
from .output import print_fields
from .table import Column, Item, id_cell
from .times import relative


def print_callback(callback: Mapping[str, Any] | None) -> None:
    """Print a callback as it arrived; None if it is no longer stored."""
    if callback is None:
        click.echo("\nthe callback is no longer stored")
        return
    click.echo(f"\ncallback from {plain(callback['peer'])} at {plain(callback['at'])}")
    for name, value in callback["headers"]:
        click.echo(plain(f"{name}: {value}"))
    click.echo()
    for line in base64.b64decode(callback["body"]).decode(errors="backslashreplace").splitlines():
        click.echo(plain(line))


@click.group(cls=CommandGroup)
def quarantine() -> None:
    """Callbacks that smshook did not understand."""


quarantine.add_command(
    list_command(
        "list",
        path="/v1/quarantine",
        scope="admin",
        none="nothing in quarantine",
        columns=(
            Column("at", field="at", value=relative),
            Column("source", 6),
            Column("reason", 8),
            Column("detail", 8, rank=1),
            Column("peer", 9, rank=2),
            Column("count", rank=3),
            Column("id", field="id", value=id_cell),
        ),
        example="quarantine list --output json",
        help="List the callbacks in quarantine and the reasons, the newest last.",
    )
)


@show_command(
    quarantine,
    "callback in quarantine",
    path="/v1/quarantine",
    scope="admin",
    example="quarantine show 01931c5e-7b2a-7c3d-9e4f-0123456789ab",
)
def show(item: Item) -> None:
    """Show a callback in quarantine as it came.

    ID may be the end that a list shows.
    """
    print_fields({name: item[name] for name in item if name not in ("headers", "body")})
    print_callback(item)


_id_argument = click.argument("quarantine_id", metavar="ID", type=typed_id)


@quarantine.command("replay", example="quarantine replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@connection_options
def replay(url: str | None, key: str | None, quarantine_id: str) -> None:
    """Process a callback in quarantine again, for example after an upgrade.

    If it is understood now, it becomes events and leaves quarantine; otherwise it stays.
    """
    with connect(url, key, "admin", whole=True) as client:
        answer = client.post(f"{_path(client, quarantine_id)}/replay")
    if answer["status"] == "quarantined":
        raise Failure(f"still not understood: {answer['reason']}")
    click.echo(plain(" ".join((answer["status"], *answer["events"]))))


@quarantine.command("delete", example="quarantine delete 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@click.option("--yes", is_flag=True, help="Delete without asking.")
@connection_options
def delete(url: str | None, key: str | None, quarantine_id: str, *, yes: bool) -> None:
    """Delete a callback in quarantine for good. Asks first on a terminal."""
    with connect(url, key, "admin", whole=True) as client:
        path = _path(client, quarantine_id)
        id_ = plain(path.rpartition("/")[2])
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {id_} for good?", abort=True)
        client.delete(path)
    click.echo(f"deleted {id_}")


def _path(client: ApiClient, typed: str) -> str:
    id_ = resolve(client, "callback in quarantine", "/v1/quarantine", typed)
    return f"/v1/quarantine/{id_}"


rejections = list_command(
    "rejections",
    path="/v1/rejections",
    scope="admin",
    none="no rejections",
    columns=(
        Column("reason", 6),
        Column("source", 6, rank=2),
        Column("peer", 9),
        Column("count"),
        Column("first", rank=1, field="first_at", value=relative),
        Column("last", field="last_at", value=relative),
    ),
    example="rejections",
    help="List the requests that were rejected, counted by reason, source and peer.",
)
