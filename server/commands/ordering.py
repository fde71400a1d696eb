"""Commands about orders: the numbers that were taken."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from .command import (
    Group,
    each,
    output_option,
    print_fields,
    print_json,
    print_table,
)
from .listing import limit_option, newest, second, segment
from .service import connect, connection_options

_STATES = ("waiting", "received", "expired", "cancelled")
_IDS = ("request_id", "activation_id", "rental_id")


@click.group(cls=Group)
def orders() -> None:
    """Numbers that were taken, and what came to them."""


@orders.command("list", example="orders list --state waiting --source herosms")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Orders in this state.")
@click.option("--source", multiple=True, metavar="NAME", help="Orders of this source.")
@click.option("--reference", multiple=True, metavar="TEXT", help="Your name for the order.")
@click.option("--number", multiple=True, metavar="NUMBER", help="Orders of this phone number.")
@limit_option
@output_option
@connection_options
def list_orders(
    url: str | None, key: str | None, output: str, limit: int, **filters: Sequence[str]
) -> None:
    """List orders, the newest last.

    An option that is given several times matches any of its values.
    """
    asked = {name: list(values) for name, values in filters.items() if values}
    with connect(url, key, "events:read", whole=True) as client:
        items = newest(client, "/v1/orders", asked, limit)
    if output == "json":
        print_json(items)
        return
    headers = ("id", "source", "order", "number", "service", "reference", "state", "expires")
    print_table(headers, [_row(item) for item in items], none="no orders")


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    words = (item["number"], item["service"], item["reference"], item["state"])
    return (item["id"], item["source"], _name(item), *words, second(item["expires"]))


def _name(item: Mapping[str, Any]) -> str | None:
    """`request 10000001`; by its number alone it has none."""
    names = (f"{kind.removesuffix('_id')} {item[kind]}" for kind in _IDS if item[kind])
    return next(names, None)


@orders.command("show", example="orders show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("order_id", metavar="ID", type=segment)
@output_option
@connection_options
def show_order(url: str | None, key: str | None, output: str, order_id: str) -> None:
    """Show an order with its events.

    Codes are in clear if the key has the scope codes:read, else masked.
    """
    with connect(url, key, "events:read", whole=True) as client:
        item = client.get(f"/v1/orders/{order_id}")
    if output == "json":
        print_json(item)
        return
    print_fields({name: value for name, value in item.items() if name != "events"})
    if item["events"]:
        click.echo()
        headers = ("recorded", "type", "from", "code", "id")
        print_table(headers, [_event_row(event) for event in item["events"]], none="")


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    words = (event["type"], data.get("from"), data.get("code"), event["id"])
    return (second(event["recordedtime"]), *words)


@orders.command("add", example="orders add herosms --activation-id 445001 --reference signup-1")
@click.argument("source")
@click.option("--request-id", metavar="ID", help="Request id of TellABot.")
@click.option("--activation-id", metavar="ID", help="Activation id of the provider.")
@click.option("--rental-id", metavar="ID", help="Rental id of the provider.")
@click.option("--number", metavar="NUMBER", help="Phone number with country code.")
@click.option("--service", metavar="TEXT", help="Service as the provider calls it: go, Google.")
@click.option("--country", metavar="US", help="Country, two letters (ISO 3166-1).")
@click.option("--price", metavar="AMOUNT", help="Price, such as 1.20.")
@click.option("--currency", metavar="USD", help="Currency of the price. Default: the source's.")
@click.option("--reference", metavar="TEXT", help="Your name for the order.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=TEXT", help="Label for routes and filters."
)
@click.option("--expires", metavar="TIME", help="End: RFC 3339, or a duration such as 30m.")
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

    Events that came before the order get them too. Registering the same order again adds what is
    new. SOURCE is the name of a configured source.
    """
    if currency and not price:
        raise click.UsageError("--currency needs --price")
    order: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if price is not None:
        order["price"] = {"amount": price, "currency": currency}
    if labels:
        order["labels"] = dict(map(_label, labels))
    with connect(url, key, "subscriptions:write", whole=True) as client:
        item = client.post("/v1/orders", json=order)
    if output == "json":
        print_json(item)
    else:
        print_fields(item)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--label: write NAME=TEXT, such as team=growth")
    return name, value


@orders.command("cancel", example="orders cancel 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("order_ids", metavar="ID...", nargs=-1, required=True, type=segment)
@connection_options
def cancel_orders(url: str | None, key: str | None, order_ids: Sequence[str]) -> None:
    """Cancel orders here; they end without an event.

    This cancels nothing at the provider.
    """
    with connect(url, key, "subscriptions:write", whole=True) as client:

        def cancelled(order_id: str) -> str:
            client.delete(f"/v1/orders/{order_id}")
            return f"{order_id} is cancelled"

        each(order_ids, cancelled, missed=(404,))
