"""Commands about deliveries and sinks."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from core.printable import plain

from .client import ApiClient, ApiProblem
from .command import Choice, CommandGroup, Failure, each, unknown
from .completion import configured_names
from .connection import connect, connection_options
from .events import events, print_attempts, state_cell, waits_for
from .ids import resolve, typed_id
from .listing import (
    check_names,
    names_of,
    newest,
    paging_options,
    second,
)
from .output import output_option, print_fields, print_json, print_table
from .table import Column, id_cell
from .times import relative

_STATES = ("pending", "sending", "delivered", "dead", "expired")
_SINKS = configured_names("sinks")
_UNPROCESSABLE = 422


@click.group(cls=CommandGroup)
def deliveries() -> None:
    """Deliveries of events to sinks."""


@deliveries.command("list", example="deliveries list --state dead --sink crm")
@click.option("--state", multiple=True, type=Choice(_STATES), help="In this state.")
@click.option("--sink", multiple=True, metavar="NAME", shell_complete=_SINKS, help="To this sink.")
@click.option("--event", multiple=True, metavar="ID", type=typed_id, help="Of this event.")
@paging_options
@output_option
@connection_options
def list_deliveries(
    url: str | None,
    key: str | None,
    output: str,
    limit: int,
    order: str | None,
    after: str | None,
    **filters: Sequence[str],
) -> None:
    """List the newest deliveries, the newest last.

    A filter may be given several times: any of its values matches. A pending delivery says what it
    waits for: the next retry, the sink's rate, an earlier delivery of its order, a paused sink, or
    a free slot.
    """
    with connect(url, key, "events:read", whole=True) as client:
        check_names(client, "sink", filters["sink"], among="/v1/sinks", holding="/v1/deliveries")
        ids = [resolve(client, "event", "/v1/events", id_) for id_ in filters["event"]]
        given = {**filters, "event": ids}
        asked = {name: list(values) for name, values in given.items() if values}
        items = newest(client, "/v1/deliveries", asked, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    print_table(_DELIVERIES, [_row(item) for item in items], none="no deliveries")


_DELIVERIES = (
    Column("accepted"),
    Column("sink", 6),
    Column("state"),
    Column("waits for", 9, rank=1),
    Column("last attempt", 10, rank=3),
    Column("event", rank=2),
    Column("id"),
)


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        relative(item["accepted_at"]),
        item["sink"],
        state_cell(item["state"]),
        waits_for(item),
        _last(item["attempts"]),
        id_cell(item["event"]),
        id_cell(item["id"]),
    )


def _last(attempts: Sequence[Mapping[str, Any]]) -> str | None:
    """`refused, 3 tries`: how the last attempt ended, and how many there were."""
    if not attempts:
        return None
    last = attempts[-1]
    words = [str(word) for word in (last["error"], last["status"]) if word is not None]
    how = " ".join(words) if words and last["outcome"] != "delivered" else last["outcome"]
    tries = sum(not attempt.get("probe", False) for attempt in attempts)
    return how if tries == 1 else f"{how}, {tries} tries"


def _how(attempt: Mapping[str, Any]) -> str:
    """`failed status 500`."""
    words = (attempt["outcome"], attempt["error"], attempt["status"])
    return " ".join(str(word) for word in words if word is not None)


@deliveries.command("show", example="deliveries show 45d7bd81")
@click.argument("delivery_id", metavar="ID", type=typed_id)
@output_option
@connection_options
def show_delivery(url: str | None, key: str | None, output: str, delivery_id: str) -> None:
    """Show a delivery with every attempt.

    `probes` counts attempts that only test whether a failing sink is back; they use up no scheduled
    attempt. The sink's answer is shown only with a key that has the scope codes:read: it may repeat
    the message. ID may be the end that a list shows.
    """
    with connect(url, key, "events:read", whole=True) as client:
        item = client.get(_delivery(client, delivery_id))
    if output == "json":
        print_json(item)
        return
    print_fields({name: value for name, value in item.items() if name != "attempts"})
    if item["attempts"]:
        click.echo()
        print_attempts(item["attempts"])
    for attempt in item["attempts"]:
        if attempt["answer"]:
            click.echo()
            click.echo(plain(f"answer at {second(attempt['at'])}: {attempt['answer']}"))


def _delivery(client: ApiClient, typed: str) -> str:
    return f"/v1/deliveries/{resolve(client, 'delivery', '/v1/deliveries', typed)}"


@deliveries.command("retry", example="deliveries retry 45d7bd81 68c6cb0f")
@click.argument("delivery_ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def retry(url: str | None, key: str | None, delivery_ids: Sequence[str]) -> None:
    """Retry deliveries now, each with its schedule from the start.

    Dead and expired deliveries too. Schedule and expiry start now: `accepted` shows the time of the
    retry. A delivered one stays delivered: `events replay` sends it again. An ID may be the end
    that a list shows.
    """
    with connect(url, key, "deliveries:write", whole=True) as client:

        def due(typed: str) -> str:
            item = client.post(f"{_delivery(client, typed)}/retry")
            return f"{item['id']} to {item['sink']} is {item['state']}"

        each(delivery_ids, due, missed=(404, 409))


@events.command("replay", example="events replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab --sink crm")
@click.argument("event_id", metavar="ID", type=typed_id)
@click.option(
    "--sink",
    "sinks_",
    multiple=True,
    metavar="NAME",
    shell_complete=_SINKS,
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
            raise _unknown_sink(client, exc, sinks_) from None
    if output == "json":
        print_json(answer)
    else:
        for delivery_id in answer["deliveries"]:
            click.echo(plain(f"delivery {delivery_id}"))
    if not answer["deliveries"]:
        raise Failure("no sink of this event is still configured; name one with --sink")


def _unknown_sink(client: ApiClient, problem: ApiProblem, given: Sequence[str]) -> Exception:
    known = names_of(client, "/v1/sinks") if problem.status == _UNPROCESSABLE else None
    missing = [name for name in given if known is not None and name not in known]
    return unknown("sink", missing[0], known or []) if missing else problem
