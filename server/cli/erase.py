"""Erase content on request: of one event, or all that holds a number."""

from typing import Any

import click

from core.printable import plain

from .command import Command, Failure
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .output import output_option, print_fields, print_json

#: Seconds for the search of a number in all events.
_SEARCHED_WITHIN = 600.0


@click.command(cls=Command, example="erase --number +18503814729 --dry-run")
@click.option("--number", required=True, metavar="NUMBER", help="A number with its country's code.")
@click.option("--dry-run", is_flag=True, help="Only count what holds the number.")
@output_option
@connection_options
def erase(url: str | None, key: str | None, output: str, number: str, *, dry_run: bool) -> None:
    """Erase the content of all events that hold a number.

    Texts, codes, links, numbers, callbacks and answers of sinks are gone afterwards; the rest of
    the events stays. Open orders of the number are cancelled. Files that sinks wrote are not
    changed.
    """
    with connect(url, key, "admin", whole=True, timeout=_SEARCHED_WITHIN) as client:
        answer = client.post("/v1/erasures", json={"number": number, "dry_run": dry_run})
    if output == "json":
        print_json(answer)
    else:
        print_fields(answer)
    if not answer["events"] and not answer["orders"] and not answer["quarantine"]:
        raise Failure("nothing holds this number")


@click.command("erase", cls=Command, example="events erase 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("event_id", metavar="ID", type=typed_id)
@output_option
@connection_options
def erase_event(url: str | None, key: str | None, output: str, event_id: str) -> None:
    """Erase the content of an event.

    The text, the code, links, numbers, the callback and the answers of sinks are gone afterwards;
    the rest stays. ID may be the end that a list shows.
    """
    with connect(url, key, "admin") as client:
        id_ = resolve(client, "event", "/v1/events", event_id)
        client.delete(f"/v1/events/{id_}/content")
    erased: dict[str, Any] = {"id": id_, "erased": True}
    if output == "json":
        print_json(erased)
    else:
        click.echo(plain(f"erased {id_}"))
