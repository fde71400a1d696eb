"""List, show, add and cancel orders."""

from collections.abc import Sequence
from typing import Any

import click

from .client import ApiProblem
from .command import Choice, CommandGroup, unknown
from .completion import configured_names
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .lists import Filter, each, list_command, names_of, show_command
from .output import flat, output_option, print_fields, print_items, print_json
from .table import Column, Item, id_cell, state_cell
from .times import relative

_KINDS = ("request", "activation", "rental")


@click.group(cls=CommandGroup)
def orders() -> None:
    """Orders: the numbers that were taken."""


orders.add_command(
    list_command(
        "list",
        path="/v1/orders",
        none="no orders",
        filters=(
            Filter(
                "state",
                "In this state.",
                type=Choice(("waiting", "received", "expired", "cancelled")),
            ),
            Filter("source", "Of this source.", "NAME", names="sources"),
            Filter("reference", "With this reference.", "TEXT"),
            Filter("number", "Of this phone number.", "NUMBER"),
        ),
        columns=(
            Column("source", 6, rank=2),
            # `request 10000001`; nothing for an order that has only a number.
            Column(
                "order",
                8,
                rank=4,
                value=lambda item: next(
                    (f"{kind} {id_}" for kind in _KINDS if (id_ := item[f"{kind}_id"])), None
                ),
            ),
            Column("number", 13, rank=1),
            Column("service", 6, rank=3),
            Column("reference", 8, rank=5),
            Column("state", field="state", value=state_cell),
            Column("expires", field="expires", value=relative),
            Column("id", field="id", value=id_cell),
        ),
        example="orders list --state waiting --source herosms",
        help="""List the newest orders, the newest last.

    A filter may be given several times: any of its values matches.
    """,
    )
)

_EVENTS = (
    Column("recorded", field="recordedtime", value=relative),
    Column("type", 8),
    Column("from", 8, field="data.from"),
    Column("code", 8, field="data.code"),
    Column("id", field="id", value=id_cell),
)


@show_command(
    orders,
    "order",
    path="/v1/orders",
    example="orders show 01931c5e-7b2a-7c3d-9e4f-0123456789ab",
)
def show(item: Item) -> None:
    """Show an order with its events.

    Codes are shown only with a key that has the scope codes:read; otherwise they are masked. ID
    may be the end that a list shows.
    """
    print_fields(dict(flat({name: value for name, value in item.items() if name != "events"})))
    if item["events"]:
        click.echo()
        print_items(_EVENTS, item["events"], none="")


@orders.command("add", example="orders add herosms --activation-id 445001 --reference signup-1")
@click.argument("source", shell_complete=configured_names("sources"))
@click.option("--request-id", metavar="ID", help="TellABot's id of the request.")
@click.option("--activation-id", metavar="ID", help="The SMS-Activate dialect's activation id.")
@click.option("--rental-id", metavar="ID", help="The provider's id of the rental.")
@click.option("--number", metavar="NUMBER", help="With its country's code; alone, or with an id.")
@click.option("--service", metavar="TEXT", help="Service, in the provider's words: go, Google.")
@click.option("--country", metavar="US", help="Country, two letters of ISO 3166-1.")
@click.option("--price", metavar="AMOUNT", help="Price, such as 1.20.")
@click.option("--currency", metavar="USD", help="Currency of the price.  Default: the source's.")
@click.option("--reference", metavar="TEXT", help="Your own name for the order.")
@click.option("--label", "labels", multiple=True, metavar="NAME=TEXT", help="Label to route by.")
@click.option("--expires", metavar="TIME", help="RFC 3339, or how long from now, such as 30m.")
@output_option
@connection_options
def add_order(
    url: str | None,
    key: str | None,
    output: str,
    labels: Sequence[str],
    price: str | None,
    currency: str | None,
    **fields: str | None,
) -> None:
    """Register an order; its details are added to matching events.

    Earlier events match, too. Registering an order again adds details that were missing. SOURCE is
    a name in the configuration.
    """
    if currency and not price:
        raise click.UsageError("--currency: needs a price; give --price too")
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if price is not None:
        given["price"] = {"amount": price, "currency": currency}
    for label in labels:
        name, equals, value = label.partition("=")
        if not name or not equals:
            raise click.UsageError("--label: write NAME=TEXT, such as team=growth")
        given.setdefault("labels", {})[name] = value
    with connect(url, key, "subscriptions:write", whole=True) as client:
        try:
            item = client.post("/v1/orders", json=given)
        except ApiProblem as exc:
            known = names_of(client, "/v1/sources") if exc.code == "unknown_source" else None
            if known is None:
                raise
            raise unknown("source", str(fields["source"]), known) from None
    if output == "json":
        print_json(item)
    else:
        print_fields(dict(flat(item)))


@orders.command("cancel", example="orders cancel 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("order_ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def cancel_orders(url: str | None, key: str | None, order_ids: Sequence[str]) -> None:
    """Cancel orders: they end without an event.

    Nothing is cancelled at the provider: do that there. An ID may be the end that a list shows.
    """
    with connect(url, key, "subscriptions:write", whole=True) as client:

        def cancelled(typed: str) -> str:
            id_ = resolve(client, "order", "/v1/orders", typed)
            client.delete(f"/v1/orders/{id_}")
            return f"{id_} is cancelled"

        each(order_ids, cancelled, missed=(404,))
