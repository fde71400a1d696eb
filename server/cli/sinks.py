"""List, test, pause and resume sinks."""

from typing import Any
from urllib.parse import unquote

import click

from core.printable import plain

from .client import ApiClient
from .command import CommandGroup, Failure
from .completion import configured_names
from .connection import connect, connection_options
from .deliveries import outcome_of
from .lists import list_command, named, segment
from .output import output_option, print_json
from .table import Column, state_cell, words
from .times import relative


@click.group(cls=CommandGroup)
def sinks() -> None:
    """Destinations of events."""


sinks.add_command(
    list_command(
        "list",
        path="/v1/sinks",
        paged=False,
        none="no sinks",
        columns=(
            Column("name", 8),
            Column("type", rank=2),
            Column(
                "state",
                8,
                value=lambda item: state_cell(
                    item["state"], f" ({item['paused_by']})" if item["state"] == "paused" else ""
                ),
            ),
            Column("pending", field="owed"),
            Column("last success", rank=1, field="last_success_at", value=relative),
            Column(
                "last error",
                10,
                field="last_error",
                value=lambda last: words(last["error"], last["status"], relative(last["at"])),
            ),
        ),
        example="sinks list",
        help="""List the sinks with their state and their pending deliveries.

    A sink is `gone` if it has pending deliveries but is no longer configured.
    """,
    )
)


@sinks.command("test", example="sinks test crm")
@click.argument("name", type=segment, shell_complete=configured_names("sinks"))
@output_option
@connection_options
def test(url: str | None, key: str | None, output: str, name: str) -> None:
    """Send one signed sample to one sink; print request, answer and time.

    The event is marked as a sample and not stored. Exits with 1 if the sink does not accept it.
    """
    with connect(url, key, "deliveries:write", whole=True) as client:
        answer = _of_sink(client, name, "test")
    if output == "json":
        print_json(answer)
    else:
        for line in answer["request"].splitlines():
            click.echo(plain(f"> {line}"))
        for line in (answer["answer"] or "").splitlines():
            click.echo(plain(f"< {line}"))
        click.echo(plain(f"{outcome_of(answer)}, {answer['took_ms']:.0f} ms"))
    if answer["outcome"] != "delivered":
        raise Failure(f"{name}: {outcome_of(answer)}")


@sinks.command("pause", example="sinks pause crm")
@click.argument("name", type=segment, shell_complete=configured_names("sinks"))
@connection_options
def pause(url: str | None, key: str | None, name: str) -> None:
    """Stop deliveries to a sink until it is resumed.

    Its deliveries stay pending, across restarts too. An attempt that is under way is finished.
    """
    _steer(url, key, name, "pause")


@sinks.command("resume", example="sinks resume crm")
@click.argument("name", type=segment, shell_complete=configured_names("sinks"))
@connection_options
def resume(url: str | None, key: str | None, name: str) -> None:
    """Resume a paused sink: deliveries that came due meanwhile are sent at once."""
    _steer(url, key, name, "resume")


def _steer(url: str | None, key: str | None, name: str, verb: str) -> None:
    with connect(url, key, "deliveries:write", whole=True) as client:
        item = _of_sink(client, name, verb)
    click.echo(plain(f"{item['name']} is {item['state']}, {item['owed']} pending"))


def _of_sink(client: ApiClient, name: str, verb: str) -> Any:
    path = f"/v1/sinks/{name}/{verb}"
    return named(client, "sink", unquote(name), "/v1/sinks", lambda: client.post(path))
