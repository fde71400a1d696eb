"""List, create and revoke API keys."""

import json
from collections.abc import Sequence
from typing import Any, get_args
from urllib.parse import quote

import click

from ..config.options import Scope
from .command import Choice, CommandGroup, unknown
from .connection import connect, connection_options
from .ids import SEARCHED, resolve, typed_id
from .lists import each, list_command
from .output import output_option, print_json
from .table import Column, id_cell
from .times import relative


@click.group(cls=CommandGroup)
def keys() -> None:
    """Keys of the API, each with its scopes."""


keys.add_command(
    list_command(
        "list",
        path="/v1/keys",
        scope="admin",
        none="no keys",
        columns=(
            Column("name", 8),
            Column("scopes", 11),
            Column("when", 8, rank=3),
            Column("rate", rank=4),
            Column("expires", field="expires", value=relative),
            Column("last used", field="last_used_at", value=relative),
            Column("origin", rank=2),
            Column("state", rank=1),
            Column("id", field="id", value=id_cell),
        ),
        paged=False,
        example="keys list",
        help="""List the keys of the API, those of the configuration first.

    A key itself is never shown, because only its digest is stored.
    """,
    )
)


@keys.command("create", example="keys create crm --scope codes:read --expires 90d")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=Choice(get_args(Scope)),
    help="Scope of the key.  May be given several times.",
)
@click.option(
    "--when", metavar="JSON", help="Conditions as in a route; other events are hidden from the key."
)
@click.option("--expires", metavar="TIME", help="RFC 3339, or how long from now, such as 30d.")
@click.option("--rate", metavar="RATE", help="Limit of its requests, such as 600/m.")
@click.option(
    "--reads", metavar="RATE", help="Limit of the events it gets in clear, such as 600/h."
)
@click.option(
    "--reason",
    type=Choice(["required"]),
    help="`required`: the key must give a reason to reveal a code.",
)
@output_option
@connection_options
def create_key(
    url: str | None,
    key: str | None,
    output: str,
    scopes: Sequence[str],
    when: str | None,
    **fields: str | None,
) -> None:
    """Create a key of the API, and print it once.

    The key works at once. It goes to stdout, alone, and cannot be shown again. NAME is up to 63
    of a-z 0-9 _ -.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if when is not None:
        try:
            given["when"] = json.loads(when)
        except ValueError:
            text = """--when: write JSON, such as '{"data.labels.team": "growth"}'"""
            raise click.UsageError(text) from None
    with connect(url, key, "admin", whole=True) as client:
        made = client.post("/v1/keys", json={**given, "scopes": list(scopes)})
    if output == "json":
        print_json(made)
    else:
        click.echo(made["key"])
    click.echo(
        f"{made['name']} works now. Store the key: it is not shown again. Its id: {made['id']}",
        err=True,
    )


@keys.command("revoke", example="keys revoke crm")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=typed_id)
@connection_options
def revoke_keys(url: str | None, key: str | None, names: Sequence[str]) -> None:
    """Revoke keys: from now on, requests with them get 401.

    Their streams and waits end. NAME may also be an id, or the end that the list shows. Keys of
    the configuration are removed there.
    """
    with connect(url, key, "admin", whole=True) as client:
        known = {item["name"]: item["id"] for item in client.pages("/v1/keys", {}, limit=SEARCHED)}

        def revoked(typed: str) -> str:
            if typed in known:
                id_ = quote(typed, safe="")
            elif any(str(id_).endswith(typed.lower()) for id_ in known.values()):
                id_ = resolve(client, "key", "/v1/keys", typed)
            else:
                raise unknown("key", typed, list(known))
            client.delete(f"/v1/keys/{id_}")
            return f"{typed} is revoked"

        each(names, revoked, missed=(404, 409))
