"""Commands about orders: what downstream services and providers say about numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from .client import ApiClient, ApiProblem
from .command import Choice, CommandGroup, each, unknown
from .completion import configured_names
from .connection import connect, connection_options
from .events import state_cell
from .ids import resolve, typed_id
from .listing import check_names, names_of, newest, paging_options
from .output import flat, output_option, print_fields, print_json, print_table
from .table import Column, id_cell
from .times import relative

_STATES = ("waiting", "received", "expired", "cancelled")
_IDS = ("request_id", "activation_id", "rental_id")


@click.group(cls=CommandGroup)
def orders() -> None:
    """Orders: what is known about numbers that were taken."""


@orders.command("list", example="orders list --state waiting --source herosms")
@click.option("--state", multiple=True, type=Choice(_STATES), help="In this state.")
@click.option(
    "--source",
    multiple=True,
    metavar="NAME",
    shell_complete=configured_names("sources"),
    help="Of this source.",
)
@click.option("--reference", multiple=True, metavar="TEXT", help="With this reference.")
@click.option("--number", multiple=True, metavar="NUMBER", help="Of this phone number.")
@paging_options
@output_option
@connection_options
def list_orders(
    url: str | None,
    key: str | None,
    output: str,
    limit: int,
    order: str | None,
    after: str | None,
    **filters: Sequence[str],
) -> None:
    """List the newest orders, the newest last.

    A filter may be given several times: any of its values matches.
    """
    asked = {name: list(values) for name, values in filters.items() if values}
    with connect(url, key, "events:read", whole=True) as client:
        check_names(client, "source", filters["source"], among="/v1/sources", holding="/v1/orders")
        items = newest(client, "/v1/orders", asked, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    print_table(_ORDERS, [_row(item) for item in items], none="no orders")


_ORDERS = (
    Column("source", 6, rank=2),
    Column("order", 8, rank=4),
    Column("number", 13, rank=1),
    Column("service", 6, rank=3),
    Column("reference", 8, rank=5),
    Column("state"),
    Column("expires"),
    Column("id"),
)


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    words = (item["number"], item["service"], item["reference"])
    state, expires = state_cell(item["state"]), relative(item["expires"])
    return (item["source"], _name(item), *words, state, expires, id_cell(item["id"]))


def _name(item: Mapping[str, Any]) -> str | None:
    """`request 10000001`; an order of a number alone has none."""
    names = (f"{kind.removesuffix('_id')} {item[kind]}" for kind in _IDS if item[kind])
    return next(names, None)


@orders.command("show", example="orders show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("order_id", metavar="ID", type=typed_id)
@output_option
@connection_options
def show_order(url: str | None, key: str | None, output: str, order_id: str) -> None:
    """Show an order with its events.

    Codes are shown only with a key that has the scope codes:read; otherwise they are masked. ID
    may be the end that a list shows.
    """
    with connect(url, key, "events:read", whole=True) as client:
        item = client.get(_path(client, order_id))
    if output == "json":
        print_json(item)
        return
    print_fields(dict(flat({name: value for name, value in item.items() if name != "events"})))
    if item["events"]:
        click.echo()
        headers = (Column("recorded"), *(Column(name, 8) for name in _EVENT), Column("id"))
        print_table(headers, [_event_row(event) for event in item["events"]], none="")


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    words = (event["type"], data.get("from"), data.get("code"))
    return (relative(event["recordedtime"]), *words, id_cell(event["id"]))


_EVENT = ("type", "from", "code")


def _path(client: ApiClient, typed: str) -> str:
    return f"/v1/orders/{resolve(client, 'order', '/v1/orders', typed)}"


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
    if labels:
        given["labels"] = dict(map(_label, labels))
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


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--label: write NAME=TEXT, such as team=growth")
    return name, value


@orders.command("cancel", example="orders cancel 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("order_ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def cancel_orders(url: str | None, key: str | None, order_ids: Sequence[str]) -> None:
    """Cancel orders: they end without an event.

    Nothing is cancelled at the provider: do that there. An ID may be the end that a list shows.
    """
    with connect(url, key, "subscriptions:write", whole=True) as client:

        def cancelled(typed: str) -> str:
            path = _path(client, typed)
            client.delete(path)
            return f"{path.rpartition('/')[2]} is cancelled"

        each(order_ids, cancelled, missed=(404,))
