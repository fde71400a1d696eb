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
from .table import Column, Item, ago, id_of, state_cell

_IDS = ("request_id", "activation_id", "rental_id")


@click.group(cls=CommandGroup)
def orders() -> None:
    """Orders: what is known about numbers that were taken."""


def _name(item: Item) -> str | None:
    """Return `request 10000001`; None for an order that has only a number."""
    names = (f"{kind.removesuffix('_id')} {item[kind]}" for kind in _IDS if item[kind])
    return next(names, None)


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
            Column("order", 8, rank=4, value=_name),
            Column("number", 13, rank=1),
            Column("service", 6, rank=3),
            Column("reference", 8, rank=5),
            Column("state", value=lambda item: state_cell(item["state"])),
            Column("expires", value=ago("expires")),
            Column("id", value=id_of("id")),
        ),
        example="orders list --state waiting --source herosms",
        help="""List the newest orders, the newest last.

    A filter may be given several times: any of its values matches.
    """,
    )
)

_EVENTS = (
    Column("recorded", value=ago("recordedtime")),
    Column("type", 8),
    Column("from", 8, value=lambda event: event["data"].get("from")),
    Column("code", 8, value=lambda event: event["data"].get("code")),
    Column("id", value=id_of("id")),
)


def _print_order(item: Item) -> None:
    print_fields(dict(flat({name: value for name, value in item.items() if name != "events"})))
    if item["events"]:
        click.echo()
        print_items(_EVENTS, item["events"], none="")


orders.add_command(
    show_command(
        "order",
        path="/v1/orders",
        printed=_print_order,
        example="orders show 01931c5e-7b2a-7c3d-9e4f-0123456789ab",
        help="""Show an order with its events.

    Codes are shown only with a key that has the scope codes:read; otherwise they are masked. ID
    may be the end that a list shows.
    """,
    )
)


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

    Earlier events match too. Registering it again adds what was not known. SOURCE is a name in the
    configuration.
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
