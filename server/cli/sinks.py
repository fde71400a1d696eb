"""List, test, pause and resume sinks."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import click

from core.printable import plain

from .client import ApiClient
from .command import CommandGroup, Failure
from .connection import connect, connection_options
from .deliveries import _SINKS, _how
from .events import state_cell
from .listing import limit_option, named, segment
from .output import output_option, print_json, print_table
from .table import Column
from .times import relative


@click.group(cls=CommandGroup)
def sinks() -> None:
    """Destinations of events."""


@sinks.command("list", example="sinks list")
@limit_option
@output_option
@connection_options
def list_sinks(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List the sinks with their state and their pending deliveries.

    A sink is `gone` if it has pending deliveries but is no longer configured.
    """
    with connect(url, key, "events:read", whole=True) as client:
        items = list(client.pages("/v1/sinks", {}, limit=limit))
    if output == "json":
        print_json(items)
        return
    print_table(_SINK_COLUMNS, [_sink_row(item) for item in items], none="no sinks")


_SINK_COLUMNS = (
    Column("name", 8),
    Column("type", rank=2),
    Column("state", 8),
    Column("pending"),
    Column("last success", rank=1),
    Column("last error", 10),
)


def _sink_row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    error = item["last_error"]
    by = f" ({item['paused_by']})" if item["state"] == "paused" else ""
    last = None
    if error is not None:
        words = (error["error"], error["status"], relative(error["at"]))
        last = " ".join(str(word) for word in words if word is not None)
    return (
        item["name"],
        item["type"],
        state_cell(item["state"], by),
        item["owed"],
        relative(item["last_success_at"]),
        last,
    )


@sinks.command("test", example="sinks test crm")
@click.argument("name", type=segment, shell_complete=_SINKS)
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
        _print_test(answer)
    if answer["outcome"] != "delivered":
        raise Failure(f"{name}: {_how(answer)}")


def _print_test(answer: Mapping[str, Any]) -> None:
    for line in answer["request"].splitlines():
        click.echo(plain(f"> {line}"))
    for line in (answer["answer"] or "").splitlines():
        click.echo(plain(f"< {line}"))
    click.echo(plain(f"{_how(answer)}, {answer['took_ms']:.0f} ms"))


@sinks.command("pause", example="sinks pause crm")
@click.argument("name", type=segment, shell_complete=_SINKS)
@connection_options
def pause(url: str | None, key: str | None, name: str) -> None:
    """Stop deliveries to a sink until it is resumed.

    Its deliveries stay pending, across restarts too. An attempt that is under way is finished.
    """
    _steer(url, key, name, "pause")


@sinks.command("resume", example="sinks resume crm")
@click.argument("name", type=segment, shell_complete=_SINKS)
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
