"""List, show, replay and follow events."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from core.printable import plain

from .client import ApiProblem
from .command import CommandGroup, Failure, unknown
from .completion import configured_names
from .connection import connect, connection_options
from .deliveries import print_attempts, waits_for
from .erase import erase_event
from .following import FILTERS
from .ids import resolve, typed_id
from .lists import Filter, list_command, names_of, show_command
from .output import flat, output_option, print_fields, print_json, print_table
from .quarantine import print_callback
from .table import Column, Item, id_cell, state_cell
from .tail import tail, wait
from .times import relative

_UNPROCESSABLE = 422


@click.group(cls=CommandGroup)
def events() -> None:
    """Events that were accepted."""


events.add_command(
    list_command(
        "list",
        path="/v1/events",
        whole=False,
        none="no events",
        filters=(
            *FILTERS,
            Filter(
                "since",
                "Accepted since: RFC 3339, or a duration ago such as 10m.",
                "TIME",
                multiple=False,
            ),
            Filter(
                "until", "Accepted before: RFC 3339, or a duration ago.", "TIME", multiple=False
            ),
        ),
        pick=lambda item: item["event"],
        columns=(
            Column("recorded", field="recordedtime", value=relative),
            Column("type", 12),
            Column("source", 6, rank=3),
            Column(
                "service",
                6,
                rank=1,
                field="data.service",
                value=lambda service: service.get("name") or service.get("id"),
            ),
            Column("to", 13, rank=2, field="data.to"),
            Column("code", field="data.code"),
            Column("id", field="id", value=id_cell),
        ),
        example="events list --service google --since 10m",
        help="""List the newest events, the newest last.

    A filter may be given several times: any of its values matches. Texts and codes are shown only
    with a key that has the scope codes:read; otherwise they are masked.
    """,
    )
)


@show_command(
    events,
    "event",
    path="/v1/events",
    whole=False,
    flag=Filter("raw", "Also show the callback as it came; needs codes:read.", is_flag=True),
    flag_scope="codes:read",
    example="events show 01931c5e-7b2a-7c3d-9e4f-0123456789ab",
)
def show(item: Item) -> None:
    """Show an event and what happened to it.

    Shows its duplicates, its deliveries with every attempt, what each waits for, and the routes
    that matched. `probes` counts attempts that only test whether a failing sink is back; they use
    up no scheduled attempt. ID may be the end that a list shows.
    """
    print_fields(dict(flat(item["event"])))
    _print_section("duplicates", item["duplicates"])
    deliveries = [
        {
            "id": id_cell(delivery["id"]),
            "sink": delivery["sink"],
            "state": state_cell(delivery["state"]),
            "waits for": waits_for(delivery),
        }
        for delivery in item["deliveries"]
    ]
    _print_section("deliveries", deliveries)
    attempts = [
        {"sink": delivery["sink"], **attempt}
        for delivery in item["deliveries"]
        for attempt in delivery["attempts"]
    ]
    if attempts:
        click.echo("\nattempts")
        print_attempts(attempts)
    _print_section("routes", item["routes"])
    if "raw" in item:
        print_callback(item["raw"])


def _print_section(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        table = [list(row.values()) for row in rows]
        print_table(list(rows[0]), table, none="", whole=True)


@events.command("replay", example="events replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab --sink crm")
@click.argument("event_id", metavar="ID", type=typed_id)
@click.option(
    "--sink",
    "sinks_",
    multiple=True,
    metavar="NAME",
    shell_complete=configured_names("sinks"),
    help="To this sink.  Default: the sinks that the event was first sent to.",
)
@output_option
@connection_options
def replay(
    url: str | None, key: str | None, output: str, event_id: str, sinks_: Sequence[str]
) -> None:
    """Send an event again: a new delivery to each sink, with the same event id.

    An http sink receives the header smshook-replay with it. ID may be the end that a list shows.
    """
    body = {"sinks": list(sinks_)} if sinks_ else {}
    with connect(url, key, "deliveries:write") as client:
        id_ = resolve(client, "event", "/v1/events", event_id)
        try:
            answer = client.post(f"/v1/events/{id_}/replay", json=body)
        except ApiProblem as exc:
            known = names_of(client, "/v1/sinks") if exc.status == _UNPROCESSABLE else None
            missing = [name for name in sinks_ if known is not None and name not in known]
            if not missing:
                raise
            raise unknown("sink", missing[0], known or []) from None
    if output == "json":
        print_json(answer)
    else:
        for delivery_id in answer["deliveries"]:
            click.echo(plain(f"delivery {delivery_id}"))
    if not answer["deliveries"]:
        raise Failure("no sink of this event is still configured; name one with --sink")


events.add_command(erase_event)
events.add_command(tail)
events.add_command(wait)
