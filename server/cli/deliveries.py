"""List, show and retry deliveries."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from core.printable import plain

from .command import Choice, CommandGroup
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .lists import Filter, each, list_command, second, show_command
from .output import print_fields, print_table
from .table import Column, Item, id_cell, state_cell, words
from .times import relative


@click.group(cls=CommandGroup)
def deliveries() -> None:
    """Deliveries of events to sinks."""


def waits_for(delivery: Item) -> str | None:
    """Return what a pending delivery waits for and until when: `retry in 4 min`."""
    reason, when = delivery.get("waits_for"), relative(delivery["next_at"])
    if reason is None:
        return when
    # A time in the past is not the reason, and a pause has no known end.
    has_end = reason != "pause" and when is not None and when.startswith("in ")
    return f"{reason} {when}" if has_end else str(reason)


def _last(attempts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the outcome of the last attempt and their number: `refused, 3 attempts`."""
    if not attempts:
        return None
    last = attempts[-1]
    why = "" if last["outcome"] == "delivered" else words(last["error"], last["status"])
    how = why or last["outcome"]
    count = sum(not attempt.get("probe", False) for attempt in attempts)
    return how if count == 1 else f"{how}, {count} attempts"


def outcome_of(attempt: Mapping[str, Any]) -> str:
    """Return the outcome in words: `failed: status 500`."""
    why = words(attempt["error"], attempt["status"])
    return f"{attempt['outcome']}: {why}" if why else str(attempt["outcome"])


deliveries.add_command(
    list_command(
        "list",
        path="/v1/deliveries",
        none="no deliveries",
        filters=(
            Filter(
                "state",
                "In this state.",
                type=Choice(("pending", "sending", "delivered", "dead", "expired", "failing")),
            ),
            Filter("sink", "To this sink.", "NAME", names="sinks"),
            Filter("event", "Of this event.", "ID", ids="event"),
            Filter("source", "Of an event of this source.", "NAME", names="sources"),
        ),
        columns=(
            Column("accepted", field="accepted_at", value=relative),
            Column("sink", 6),
            Column("state", field="state", value=state_cell),
            Column("waits for", 9, rank=1, value=waits_for),
            Column("last attempt", 10, rank=3, field="attempts", value=_last),
            Column("event", rank=2, field="event", value=id_cell),
            Column("id", field="id", value=id_cell),
        ),
        example="deliveries list --state dead --sink crm",
        help="""List the newest deliveries, the newest last.

    A filter may be given several times: any of its values matches. A pending delivery says what it
    waits for: the next retry, the sink's rate, an earlier delivery of its order, a paused sink, or
    a free slot.
    """,
    )
)


def print_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each attempt, with its sink if the attempts name one."""
    of_sinks = [Column("sink", 6)] if "sink" in attempts[0] else []
    rows = [
        (
            *([attempt["sink"]] if of_sinks else []),
            second(attempt["at"]),
            *(attempt[name] for name in ("outcome", "status", "error")),
            f"{attempt['took_ms']:.0f} ms",
            # Probes are no attempts of the schedule.
            attempt.get("count", 1) if attempt.get("probe") else None,
        )
        for attempt in attempts
    ]
    print_table((*of_sinks, *_ATTEMPTS), rows, none="")


_ATTEMPTS = (
    Column("at"),
    Column("outcome"),
    Column("status", rank=1),
    Column("error", 8),
    Column("took", rank=2),
    Column("probes", rank=3),
)


@show_command(deliveries, "delivery", path="/v1/deliveries", example="deliveries show 45d7bd81")
def show(item: Item) -> None:
    """Show a delivery with every attempt.

    `probes` counts attempts that only test whether a failing sink is back; they use up no scheduled
    attempt. The sink's answer is shown only with a key that has the scope codes:read: it may repeat
    the message. ID may be the end that a list shows.
    """
    print_fields({name: value for name, value in item.items() if name != "attempts"})
    if item["attempts"]:
        click.echo()
        print_attempts(item["attempts"])
    for attempt in item["attempts"]:
        if attempt["answer"]:
            click.echo()
            click.echo(plain(f"answer at {second(attempt['at'])}: {attempt['answer']}"))


@deliveries.command("retry", example="deliveries retry 45d7bd81 68c6cb0f")
@click.argument("delivery_ids", metavar="ID...", nargs=-1, required=True, type=typed_id)
@connection_options
def retry(url: str | None, key: str | None, delivery_ids: Sequence[str]) -> None:
    """Retry deliveries now, each with its schedule from the start.

    This also works for dead and expired deliveries. Schedule and expiry start now: `accepted` shows
    the time of the retry. A delivered one stays delivered: `events replay` sends it again. An ID
    may be the end that a list shows.
    """
    with connect(url, key, "deliveries:write", whole=True) as client:

        def retried(typed: str) -> str:
            id_ = resolve(client, "delivery", "/v1/deliveries", typed)
            item = client.post(f"/v1/deliveries/{id_}/retry")
            return f"{item['id']} to {item['sink']} is {item['state']}"

        each(delivery_ids, retried, missed=(404, 409))
