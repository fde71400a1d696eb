"""List, move and delete consumers."""

from typing import Any
from urllib.parse import unquote

import click

from core.printable import plain

from .client import ApiClient
from .command import CommandGroup, Wrong
from .connection import connect, connection_options
from .lists import each, list_command, named, segment
from .output import output_option, print_json
from .table import Column
from .times import relative

_PATH = "/v1/consumers"


@click.group(cls=CommandGroup)
def consumers() -> None:
    """Named readers of events, each with its place."""


consumers.add_command(
    list_command(
        "list",
        path=_PATH,
        whole=False,
        paged=False,
        none="no consumers",
        columns=(
            Column("name", 8),
            Column("behind"),
            Column("moved", field="moved_at", value=relative),
            Column("created", rank=1, field="created_at", value=relative),
        ),
        example="consumers list",
        help="""List the consumers of the key, with the number of events after their place.

    A consumer belongs to the key that made it: other keys do not see it.
    """,
    )
)


@consumers.command("seek", example="consumers seek crm --time 2h")
@click.argument("name", type=segment)
@click.option("--cursor", metavar="CURSOR", help="Continue after this event.")
@click.option(
    "--time",
    "at",
    metavar="TIME",
    help="Continue with the first event since then: RFC 3339, or a duration ago such as 2h.",
)
@output_option
@connection_options
def seek(
    url: str | None, key: str | None, output: str, name: str, cursor: str | None, at: str | None
) -> None:
    """Move a consumer forward or back. A missing one is created."""
    if (cursor is None) == (at is None):
        raise Wrong("write --cursor or --time")
    body = {"time": at} if cursor is None else {"cursor": cursor}
    with connect(url, key, "events:read") as client:
        moved: Any = client.post(f"{_PATH}/{name}/seek", json=body)
    if output == "json":
        print_json(moved)
    else:
        behind = "" if moved["behind"] is None else f", {moved['behind']} events behind"
        click.echo(plain(f"{moved['name']} moved{behind}"))


@consumers.command("delete", example="consumers delete crm")
@click.argument("names", metavar="NAME...", type=segment, nargs=-1, required=True)
@connection_options
def delete(url: str | None, key: str | None, names: tuple[str, ...]) -> None:
    """Delete consumers. A new one of the same name begins at the oldest event."""
    with connect(url, key, "events:read") as client:
        each(names, lambda name: _deleted(client, name), missed=())


def _deleted(client: ApiClient, name: str) -> str:
    plain_name = unquote(name)
    named(client, "consumer", plain_name, _PATH, lambda: client.delete(f"{_PATH}/{name}"))
    return f"{plain_name} deleted"
