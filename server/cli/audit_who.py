"""`smshook audit who`: who got an event."""

import click

from .command import Command
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .output import output_option, print_items, print_json
from .table import Column, Item
from .times import relative


def _sees(item: Item) -> str:
    clear = "in clear" if item["clear"] else "masked"
    return f"{clear}, at most" if item["at_most"] else clear


_COLUMNS = (
    Column("who", 10, field="by"),
    Column("from", 9),
    Column("how"),
    Column("saw it", value=_sees),
    Column("fields", 8, field="fields", value=", ".join),
    Column("times", field="count"),
    Column("last", field="last_at", value=relative),
    Column("reason", 8),
)


@click.command("who", cls=Command, example="audit who 45d7bd81")
@click.argument("typed", metavar="EVENT", type=typed_id)
@output_option
@connection_options
def who(url: str | None, key: str | None, output: str, typed: str) -> None:
    """Show who got an event: sinks, keys and people, masked or in clear.

    `at most` means that it may have got the event: an attempt failed, or the service ended while it
    read. A key without events:read needs the whole id.
    """
    with connect(url, key, "audit:read", whole=True) as client:
        event = resolve(client, "event", "/v1/events", typed)
        found = client.get(f"/v1/audit/who/{event}")
    if output == "json":
        print_json(found)
    else:
        print_items(_COLUMNS, found["readers"], none="nobody got it")
