"""Commands that read the API: events, sources, quarantine, rejections."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from core.printable import plain

from ..config.clauses import known_types
from .command import CommandGroup, Named
from .completion import configured_names
from .connection import connect, connection_options
from .ids import resolve, typed_id
from .listing import check_names, newest, paging_options, second
from .output import flat, output_option, print_fields, print_json, print_table
from .table import Cell, Column, id_cell
from .times import relative

_FILTERS = (
    ("type", "TYPE", "Of this type, such as sms.received."),
    ("source", "NAME", "From this source."),
    ("subject", "TEXT", "About this subject, such as request/10000001."),
    ("service", "TEXT", "For this service: its key, name or the provider's id."),
    ("number", "NUMBER", "To this phone number, with its country's code."),
    ("request-id", "ID", "Of this request (TellABot)."),
    ("activation-id", "ID", "Of this activation (SMS-Activate's dialect)."),
    ("rental-id", "ID", "Of this rental."),
    ("reference", "TEXT", "Of the order with this reference."),
)
_SPECIAL: Mapping[str, Mapping[str, Any]] = {
    "type": {"type": Named("type", known_types)},
    "source": {"shell_complete": configured_names("sources")},
}


def _filters(command: Any) -> Any:
    for name, metavar, words in reversed(_FILTERS):
        more = _SPECIAL.get(name, {})
        option = click.option(f"--{name}", multiple=True, metavar=metavar, help=words, **more)
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def events() -> None:
    """Events that were accepted."""


@events.command("list", example="events list --service google --since 10m")
@_filters
@click.option("--code", is_flag=True, default=None, help="With a code.")
@click.option(
    "--since", metavar="TIME", help="Accepted since: RFC 3339, or a duration ago such as 10m."
)
@click.option("--until", metavar="TIME", help="Accepted before: RFC 3339, or a duration ago.")
@paging_options
@output_option
@connection_options
def list_events(
    url: str | None,
    key: str | None,
    output: str,
    limit: int,
    order: str | None,
    after: str | None,
    **filters: Any,
) -> None:
    """List the newest events, the newest last.

    A filter may be given several times: any of its values matches. Texts and codes are shown only
    with a key that has the scope codes:read; otherwise they are masked.
    """
    asked = {name: value for name, value in filters.items() if value}
    with connect(url, key, "events:read") as client:
        check_names(client, "source", filters["source"], among="/v1/sources", holding="/v1/events")
        items = newest(client, "/v1/events", asked, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    print_table(_EVENTS, [_event_row(item["event"]) for item in items], none="no events")


_EVENTS = (
    Column("recorded"),
    Column("type", 12),
    Column("source", 6, rank=3),
    Column("service", 6, rank=1),
    Column("to", 13, rank=2),
    Column("code"),
    Column("id"),
)


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    service = data.get("service") or {}
    name = service.get("name") or service.get("id")
    words = (event["type"], event["source"], name, data.get("to"), data.get("code"))
    return (relative(event["recordedtime"]), *words, id_cell(event["id"]))


@events.command("show", example="events show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("event_id", metavar="ID", type=typed_id)
@click.option("--raw", is_flag=True, help="Also show the callback as it came; needs codes:read.")
@output_option
@connection_options
def show_event(url: str | None, key: str | None, output: str, event_id: str, *, raw: bool) -> None:
    """Show an event and what happened to it.

    Shows its duplicates, its deliveries with every attempt, what each waits for, and the routes
    that matched. `probes` counts attempts that only test whether a failing sink is back; they use
    up no scheduled attempt. ID may be the end that a list shows.
    """
    scope, params = ("codes:read", {"raw": "true"}) if raw else ("events:read", {})
    with connect(url, key, scope) as client:
        id_ = resolve(client, "event", "/v1/events", event_id)
        whole = client.get(f"/v1/events/{id_}", params)
    if output == "json":
        print_json(whole)
        return
    print_fields(dict(flat(whole["event"])))
    _print_section("duplicates", whole["duplicates"])
    _print_section("deliveries", [_delivery(delivery) for delivery in whole["deliveries"]])
    attempts = list(_attempts(whole["deliveries"]))
    if attempts:
        click.echo("\nattempts")
        print_attempts(attempts)
    _print_section("routes", whole["routes"])
    if raw:
        _print_callback(whole["raw"])


def _delivery(delivery: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "id": id_cell(delivery["id"]),
        "sink": delivery["sink"],
        "state": state_cell(delivery["state"]),
        "waits for": waits_for(delivery),
    }


def waits_for(delivery: Mapping[str, Any]) -> str | None:
    """What a pending delivery is waiting for, and until when: `retry in 4 min`."""
    reason, when = delivery.get("waits_for"), relative(delivery["next_at"])
    if reason is None:
        return when
    # A time that has passed is not what it waits for: a pause, say, has no known end.
    return f"{reason} {when}" if when and when.startswith("in ") else str(reason)


_COLORS = {
    "delivered": "green",
    "receiving": "green",
    "received": "green",
    "ok": "green",
    "dead": "red",
    "failed": "red",
    "failing": "red",
    "expired": "magenta",
    "pending": "yellow",
    "sending": "yellow",
    "waiting": "yellow",
    "paused": "yellow",
    "silent": "yellow",
}


def state_cell(state: str, more: str = "") -> Cell:
    """A state in its colour."""
    text = plain(f"{state}{more}")
    return Cell(text, text, _COLORS.get(state))


def _attempts(deliveries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for delivery in deliveries:
        for attempt in delivery["attempts"]:
            yield {"sink": delivery["sink"], **attempt}


def print_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each attempt, with its sink where they have different ones."""
    of_sinks = [Column("sink", 6)] if "sink" in attempts[0] else []
    rows = [
        (
            *([attempt["sink"]] if of_sinks else []),
            second(attempt["at"]),
            *(attempt[name] for name in ("outcome", "status", "error")),
            f"{attempt['took_ms']:.0f} ms",
            _probes(attempt),
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


def _probes(attempt: Mapping[str, Any]) -> int | None:
    """How many probes a row stands for; they are no attempts of the schedule."""
    return attempt.get("count", 1) if attempt.get("probe") else None


def _print_section(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        table = [list(row.values()) for row in rows]
        print_table(list(rows[0]), table, none="", whole=True)


def _print_callback(came: Mapping[str, Any] | None) -> None:
    if came is None:
        click.echo("\nthe callback is no longer stored")
        return
    click.echo(f"\ncallback from {plain(came['peer'])} at {plain(came['at'])}")
    for name, value in came["headers"]:
        click.echo(plain(f"{name}: {value}"))
    click.echo()
    for line in _text(came["body"]).splitlines():
        click.echo(plain(line))


def _text(body: str) -> str:
    return base64.b64decode(body).decode(errors="backslashreplace")
