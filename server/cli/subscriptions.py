"""List, show, create, rotate, resume and delete subscriptions."""

import json
from collections.abc import Sequence
from typing import Any

import click

from .command import Choice, CommandGroup
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .lists import each, list_command, show_command
from .output import flat, output_option, print_fields, print_json
from .table import Column, Item, id_cell, state_cell, words
from .times import relative

_PATH = "/v1/subscriptions"
_SCOPE = "subscriptions:write"


@click.group(cls=CommandGroup)
def subscriptions() -> None:
    """Endpoints that services subscribed by the API."""


subscriptions.add_command(
    list_command(
        "list",
        path=_PATH,
        scope=_SCOPE,
        whole=False,
        none="no subscriptions",
        columns=(
            Column("host", 10, rank=1, value=lambda item: item["url"].split("/")[2]),
            Column("key", 6, rank=3),
            Column(
                "state",
                8,
                value=lambda item: state_cell(
                    item["state"], f" ({item['paused_by']})" if item["state"] == "paused" else ""
                ),
            ),
            Column("pending", field="owed"),
            # A filter without an equality is tried for every event.
            Column(
                "tried for",
                rank=4,
                value=lambda item: "every event" if item["tried_always"] else "few events",
            ),
            Column("last success", rank=2, field="last_success_at", value=relative),
            Column(
                "last error",
                10,
                field="last_error",
                value=lambda last: words(last["error"], last["status"], relative(last["at"])),
            ),
            Column("id", field="id", value=id_cell),
        ),
        example="subscriptions list",
        help="""List the subscriptions of the key; with the scope admin, of all keys.

    `tried for` says for which events its filter runs, which takes time. With a condition such as
    data.to: "+18503814729", these are few.
    """,
    )
)


@show_command(
    subscriptions,
    "subscription",
    path=_PATH,
    scope=_SCOPE,
    whole=False,
    example="subscriptions show 01931c5e-7b2a-7c3d-9e4f-0123456789ab",
)
def show(item: Item) -> None:
    """Show a subscription with its filter and its state.

    Its secret is not shown. ID may be the end that a list shows.
    """
    when = item["when"]
    text = None if when is None else json.dumps(when, ensure_ascii=False)
    print_fields(dict(flat({**item, "when": text})))


@subscriptions.command(
    "create",
    example="subscriptions create https://app.example.com/hook --format standard",
)
@click.argument("endpoint", metavar="URL")
@click.option("--when", metavar="JSON", help="Conditions as in a route.  Default: those of routes.")
@click.option(
    "--format",
    "format_",
    type=Choice(["json", "cloudevents", "standard"]),
    default="json",
    show_default=True,
    help="The body of each delivery.",
)
@output_option
@connection_options
def create(
    url: str | None, key: str | None, output: str, endpoint: str, when: str | None, format_: str
) -> None:
    """Subscribe an endpoint; print its id and its secret.

    The endpoint must return the challenge that it is sent. The secret is shown only now. The
    subscription gets only events that the key sees.
    """
    body: dict[str, Any] = {"url": endpoint, "format": format_}
    if when is not None:
        try:
            body["when"] = json.loads(when)
        except ValueError:
            raise click.UsageError("--when: not JSON; quote it for the shell") from None
    with connect(url, key, _SCOPE) as client:
        _print_secret(client.post(_PATH, json=body), output)


@subscriptions.command(
    "rotate", example="subscriptions rotate 01931c5e-7b2a-7c3d-9e4f-0123456789ab"
)
@click.argument("typed", metavar="ID", type=typed_id)
@output_option
@connection_options
def rotate(url: str | None, key: str | None, output: str, typed: str) -> None:
    """Make a new secret and print it; the present one also signs for 24 hours.

    ID may be the end that a list shows.
    """
    with connect(url, key, _SCOPE) as client:
        id_ = resolve(client, "subscription", _PATH, typed)
        _print_secret(client.post(f"{_PATH}/{id_}/rotate"), output)


@subscriptions.command(
    "resume", example="subscriptions resume 01931c5e-7b2a-7c3d-9e4f-0123456789ab"
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def resume(url: str | None, key: str | None, ids: Sequence[str]) -> None:
    """Resume paused subscriptions: their pending deliveries are sent.

    An ID may be the end that a list shows.
    """
    with connect(url, key, _SCOPE) as client:

        def resumed(typed: str) -> str:
            id_ = resolve(client, "subscription", _PATH, typed)
            item = client.post(f"{_PATH}/{id_}/resume")
            return f"{id_} is {item['state']}, {item['owed']} pending"

        each(ids, resumed, missed=(404, 409))


@subscriptions.command(
    "delete", example="subscriptions delete 01931c5e-7b2a-7c3d-9e4f-0123456789ab"
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def delete(url: str | None, key: str | None, ids: Sequence[str]) -> None:
    """Delete subscriptions; their pending deliveries become dead.

    An ID may be the end that a list shows.
    """
    with connect(url, key, _SCOPE) as client:

        def deleted(typed: str) -> str:
            id_ = resolve(client, "subscription", _PATH, typed)
            client.delete(f"{_PATH}/{id_}")
            return f"{id_} is deleted"

        each(ids, deleted, missed=(404,))


def _print_secret(item: Item, output: str) -> None:
    if output == "json":
        print_json(item)
    else:
        print_fields(item)
