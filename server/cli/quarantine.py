"""List, show, replay and delete quarantined callbacks; list rejections."""

import sys

import click

from core.printable import plain

from .client import ApiClient
from .command import Command, CommandGroup, Failure
from .connection import connect, connection_options
from .events import _print_callback
from .ids import resolve, typed_id
from .listing import newest, paging_options
from .output import output_option, print_fields, print_json, print_table
from .table import Column, id_cell
from .times import relative


@click.group(cls=CommandGroup)
def quarantine() -> None:
    """Callbacks that smshook did not understand."""


@quarantine.command("list", example="quarantine list --output json")
@paging_options
@output_option
@connection_options
def list_quarantine(
    url: str | None, key: str | None, output: str, limit: int, order: str | None, after: str | None
) -> None:
    """List the callbacks in quarantine and the reasons, the newest last."""
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/quarantine", {}, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    rows = [
        (
            relative(item["at"]),
            *(item[name] for name in ("source", "reason", "detail", "peer", "count")),
            id_cell(item["id"]),
        )
        for item in items
    ]
    print_table(_QUARANTINE, rows, none="nothing in quarantine")


_QUARANTINE = (
    Column("at"),
    Column("source", 6),
    Column("reason", 8),
    Column("detail", 8, rank=1),
    Column("peer", 9, rank=2),
    Column("count", rank=3),
    Column("id"),
)


_id_argument = click.argument("quarantine_id", metavar="ID", type=typed_id)


@quarantine.command("show", example="quarantine show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@output_option
@connection_options
def show_quarantine(url: str | None, key: str | None, output: str, quarantine_id: str) -> None:
    """Show a callback in quarantine as it came.

    ID may be the end that a list shows.
    """
    with connect(url, key, "admin", whole=True) as client:
        entry = client.get(_path(client, quarantine_id))
    if output == "json":
        print_json(entry)
        return
    print_fields({name: entry[name] for name in entry if name not in ("headers", "body")})
    _print_callback(entry)


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


@click.command(cls=Command, example="rejections")
@paging_options
@output_option
@connection_options
def rejections(
    url: str | None, key: str | None, output: str, limit: int, order: str | None, after: str | None
) -> None:
    """List the requests that were rejected, counted by reason, source and peer."""
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/rejections", {}, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    rows = [
        (
            *(item[name] for name in ("reason", "source", "peer", "count")),
            relative(item["first_at"]),
            relative(item["last_at"]),
        )
        for item in items
    ]
    print_table(_REJECTIONS, rows, none="no rejections")


_REJECTIONS = (
    Column("reason", 6),
    Column("source", 6, rank=2),
    Column("peer", 9),
    Column("count"),
    Column("first", rank=1),
    Column("last"),
)
