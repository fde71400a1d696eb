"""Commands about what is owed: deliveries, sending again, sinks."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from journal.plain import plain

from .command import (
    Failure,
    Group,
    each,
    output_option,
    print_fields,
    print_json,
    print_table,
)
from .listing import limit_option, newest, second, segment
from .reading import events
from .service import connect, connection_options

_STATES = ("pending", "sending", "delivered", "dead", "expired")


@click.group(cls=Group)
def deliveries() -> None:
    """What is owed to sinks, and what became of it."""


@deliveries.command("list", example="deliveries list --state dead --sink crm")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="In this state.")
@click.option("--sink", multiple=True, metavar="NAME", help="Owed to this sink.")
@click.option("--event", multiple=True, metavar="ID", help="Of this event.")
@limit_option
@output_option
@connection_options
def list_deliveries(
    url: str | None,
    key: str | None,
    output: str,
    limit: int,
    state: Sequence[str],
    sink: Sequence[str],
    event: Sequence[str],
) -> None:
    """List deliveries, the newest last.

    An option that is given several times takes any of its values.
    """
    given = {"state": state, "sink": sink, "event": event}
    asked = {name: list(values) for name, values in given.items() if values}
    with connect(url, key, "events:read", whole=True) as client:
        items = newest(client, "/v1/deliveries", asked, limit)
    if output == "json":
        print_json(items)
        return
    headers = ("id", "sink", "state", "attempts", "last", "next attempt", "event")
    print_table(headers, [_row(item) for item in items], none="no deliveries")


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    attempts = item["attempts"]
    next_at = item["next_at"] and second(item["next_at"])
    last = _how(attempts[-1]) if attempts else None
    return (item["id"], item["sink"], item["state"], len(attempts), last, next_at, item["event"])


def _how(attempt: Mapping[str, Any]) -> str:
    """`failed status 500`."""
    words = (attempt["outcome"], attempt["error"], attempt["status"])
    return " ".join(str(word) for word in words if word is not None)


@deliveries.command("show", example="deliveries show 4711")
@click.argument("delivery_id", metavar="ID", type=segment)
@output_option
@connection_options
def show_delivery(url: str | None, key: str | None, output: str, delivery_id: str) -> None:
    """Show a delivery with every attempt.

    How the sink answered is shown if the key has the scope codes:read: it may repeat the message.
    """
    with connect(url, key, "events:read", whole=True) as client:
        item = client.get(f"/v1/deliveries/{delivery_id}")
    if output == "json":
        print_json(item)
        return
    print_fields({name: value for name, value in item.items() if name != "attempts"})
    if item["attempts"]:
        click.echo()
        rows = [list(attempt.values()) for attempt in item["attempts"]]
        print_table(list(item["attempts"][0]), rows, none="", whole=True)


@deliveries.command("retry", example="deliveries retry 4711 4712")
@click.argument("delivery_ids", metavar="ID...", nargs=-1, required=True, type=segment)
@connection_options
def retry(url: str | None, key: str | None, delivery_ids: Sequence[str]) -> None:
    """Make deliveries due now, each with its schedule from the start.

    Also what is dead or expired. What is delivered stays so: `events replay` sends it again.
    """
    with connect(url, key, "deliveries:write", whole=True) as client:

        def due(delivery_id: str) -> str:
            item = client.post(f"/v1/deliveries/{delivery_id}/retry")
            return f"{item['id']} to {item['sink']} is {item['state']}"

        each(delivery_ids, due, missed=(404, 409))


@events.command("replay", example="events replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab --sink crm")
@click.argument("event_id", metavar="ID", type=segment)
@click.option(
    "--sink",
    "sinks_",
    multiple=True,
    metavar="NAME",
    help="To this sink, configured now; else to those it was owed to at acceptance.",
)
@output_option
@connection_options
def replay(
    url: str | None, key: str | None, output: str, event_id: str, sinks_: Sequence[str]
) -> None:
    """Send an event again: a new delivery to each sink, with the same event id.

    An http sink is told by the header smshook-replay.
    """
    body = {"sinks": list(sinks_)} if sinks_ else {}
    with connect(url, key, "deliveries:write") as client:
        answer = client.post(f"/v1/events/{event_id}/replay", json=body)
    if output == "json":
        print_json(answer)
    else:
        for delivery_id in answer["deliveries"]:
            click.echo(plain(f"delivery {delivery_id}"))
    if not answer["deliveries"]:
        raise Failure("it was owed to no sink that is configured; name one with --sink")


@click.group(cls=Group)
def sinks() -> None:
    """Where events go."""


@sinks.command("list", example="sinks list")
@limit_option
@output_option
@connection_options
def list_sinks(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List the sinks: how they fare, and what they are owed.

    A sink that is gone is owed something and not configured any more.
    """
    with connect(url, key, "events:read", whole=True) as client:
        items = list(client.pages("/v1/sinks", {}, limit=limit))
    if output == "json":
        print_json(items)
        return
    headers = ("name", "type", "state", "owed", "last success", "last error")
    print_table(headers, [_sink_row(item) for item in items], none="no sinks")


def _sink_row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    success, error = item["last_success_at"], item["last_error"]
    state = f"paused ({item['paused_by']})" if item["state"] == "paused" else item["state"]
    told = None
    if error is not None:
        words = (second(error["at"]), error["error"], error["status"])
        told = " ".join(str(word) for word in words if word is not None)
    return (item["name"], item["type"], state, item["owed"], success and second(success), told)


@sinks.command("test", example="sinks test crm")
@click.argument("name", type=segment)
@output_option
@connection_options
def test(url: str | None, key: str | None, output: str, name: str) -> None:
    """Send one signed sample to one sink; print request, answer and time.

    The event is marked as a sample and kept nowhere. Fails where the sink does not take it.
    """
    with connect(url, key, "deliveries:write", whole=True) as client:
        answer = client.post(f"/v1/sinks/{name}/test")
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
@click.argument("name", type=segment)
@connection_options
def pause(url: str | None, key: str | None, name: str) -> None:
    """Begin no delivery to a sink until it is resumed.

    What it is owed is kept, over restarts too; what is being sent just now ends as it does.
    """
    _steer(url, key, name, "pause")


@sinks.command("resume", example="sinks resume crm")
@click.argument("name", type=segment)
@connection_options
def resume(url: str | None, key: str | None, name: str) -> None:
    """Let a paused sink go on: what fell due meanwhile is sent at once."""
    _steer(url, key, name, "resume")


def _steer(url: str | None, key: str | None, name: str, verb: str) -> None:
    with connect(url, key, "deliveries:write", whole=True) as client:
        item = client.post(f"/v1/sinks/{name}/{verb}")
    click.echo(plain(f"{item['name']} is {item['state']}, owed {item['owed']}"))
