"""Commands that read the API: events, sources, quarantine, rejections."""

import base64
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from journal.plain import plain

from ..addresses import callback_url
from ..clauses import known_types
from ..client import Client
from .command import (
    Command,
    Failure,
    Group,
    Named,
    flat,
    output_option,
    print_fields,
    print_json,
    print_table,
)
from .completion import configured_names
from .ids import resolve, typed_id
from .listing import check_names, limit_option, newest, paging_options, second
from .service import answers, connect, connection_options, settings
from .table import Cell, Column, id_cell
from .times import relative, span

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


@click.group(cls=Group)
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


@click.group(cls=Group)
def sources() -> None:
    """Accounts that send callbacks."""


@sources.command("list", example="sources list")
@limit_option
@output_option
@connection_options
def list_sources(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List the sources: whether callbacks arrive, balance, backfill, tokens.

    `delay` is the smallest time of the last messages from the provider's timestamp to arrival;
    hours mean a wrong time zone. `tokens used` says when each token was last used, the current one
    first.
    """
    with connect(url, key, "events:read", whole=True) as client:
        items = list(client.pages("/v1/sources", {}, limit=limit))
    if output == "json":
        print_json(items)
        return
    print_table(_SOURCES, [_source_row(item) for item in items], none="no sources")
    for item in items:
        if item["clock"]["warning"]:
            click.echo(plain(f"warning: {item['name']}: {item['clock']['warning']}"), err=True)


_SOURCES = (
    Column("name", 8),
    Column("provider", 8, rank=3),
    Column("state"),
    Column("last callback"),
    Column("balance", 8, rank=1),
    Column("delay", 5, rank=4),
    Column("backfill", 8, rank=2),
    Column("tokens used", 11),
)


def _source_row(source: Mapping[str, Any]) -> tuple[Any, ...]:
    tokens = source["tokens"]
    used = [relative(token["last_used_at"]) or "never" for token in tokens]
    whole = [f"{token['fingerprint']} ({last})" for token, last in zip(tokens, used, strict=True)]
    offset = source["clock"]["offset"]
    return (
        source["name"],
        source["provider"],
        state_cell(source["state"]),
        relative(source["last_callback_at"]),
        _balance(source.get("balance")),
        None if offset is None else f"{'-' * (offset < 0)}{span(abs(offset))}",
        _backfill(source["backfill"]),
        Cell(plain(", ".join(whole)) or "-", plain(", ".join(used)) or "-"),
    )


def _balance(balance: Mapping[str, Any] | None) -> str | None:
    if balance is None:
        return None
    return " ".join(str(word) for word in (balance["amount"], balance["currency"]) if word)


def _backfill(backfill: Mapping[str, Any] | None) -> str | None:
    """`waiting`, `busy`, `stopped: bad_key`."""
    if backfill is None:
        return None
    error = (backfill["run"] or {}).get("error")
    if backfill["state"] == "stopped":
        return f"stopped: {error}"
    return error or str(backfill["state"])


@sources.command("url", example="sources url tellabot")
@click.argument("name", shell_complete=configured_names("sources"))
def url_of(name: str) -> None:
    """Print the whole callback URL of a source.

    The URL holds the source's token: keep it secret. It begins with server.public_url; if that is
    not set, with the address of the running service, or else with server.listen.
    """
    known = settings()
    source = known.source(name)
    if source.calls_nobody:
        raise Failure(f"{name} has no callbacks: smshook asks its provider (backfill)")
    whole = callback_url(known.public_url or answers(known), name, source)
    if whole is None:
        raise Failure(f"{name} has only sha256 tokens: smshook does not know its URL")
    click.echo(whole)


@click.group(cls=Group)
def quarantine() -> None:
    """Callbacks that smshook did not understand."""


@quarantine.command("list", example="quarantine list --output json")
@paging_options
@output_option
@connection_options
def list_quarantine(
    url: str | None, key: str | None, output: str, limit: int, order: str | None, after: str | None
) -> None:
    """List the callbacks in quarantine and the reasons, the newest last."""
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/quarantine", {}, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    rows = [
        (
            relative(item["at"]),
            *(item[name] for name in ("source", "reason", "detail", "peer", "count")),
            id_cell(item["id"]),
        )
        for item in items
    ]
    print_table(_QUARANTINE, rows, none="nothing in quarantine")


_QUARANTINE = (
    Column("at"),
    Column("source", 6),
    Column("reason", 8),
    Column("detail", 8, rank=1),
    Column("peer", 9, rank=2),
    Column("count", rank=3),
    Column("id"),
)


_id_argument = click.argument("quarantine_id", metavar="ID", type=typed_id)


@quarantine.command("show", example="quarantine show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@output_option
@connection_options
def show_quarantine(url: str | None, key: str | None, output: str, quarantine_id: str) -> None:
    """Show a callback in quarantine as it came.

    ID may be the end that a list shows.
    """
    with connect(url, key, "admin", whole=True) as client:
        entry = client.get(_path(client, quarantine_id))
    if output == "json":
        print_json(entry)
        return
    print_fields({name: entry[name] for name in entry if name not in ("headers", "body")})
    _print_callback(entry)


@quarantine.command("replay", example="quarantine replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@connection_options
def replay(url: str | None, key: str | None, quarantine_id: str) -> None:
    """Process a callback in quarantine again, for example after an upgrade.

    If it is understood now, it becomes events and leaves quarantine; otherwise it stays.
    """
    with connect(url, key, "admin", whole=True) as client:
        answer = client.post(f"{_path(client, quarantine_id)}/replay")
    if answer["status"] == "quarantined":
        raise Failure(f"still not understood: {answer['reason']}")
    click.echo(plain(" ".join((answer["status"], *answer["events"]))))


@quarantine.command("delete", example="quarantine delete 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@click.option("--yes", is_flag=True, help="Delete without asking.")
@connection_options
def delete(url: str | None, key: str | None, quarantine_id: str, *, yes: bool) -> None:
    """Delete a callback in quarantine for good. Asks first on a terminal."""
    with connect(url, key, "admin", whole=True) as client:
        path = _path(client, quarantine_id)
        id_ = plain(path.rpartition("/")[2])
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {id_} for good?", abort=True)
        client.delete(path)
    click.echo(f"deleted {id_}")


def _path(client: Client, typed: str) -> str:
    id_ = resolve(client, "callback in quarantine", "/v1/quarantine", typed)
    return f"/v1/quarantine/{id_}"


@click.command(cls=Command, example="rejections")
@paging_options
@output_option
@connection_options
def rejections(
    url: str | None, key: str | None, output: str, limit: int, order: str | None, after: str | None
) -> None:
    """List the requests that were rejected, counted by reason, source and peer."""
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/rejections", {}, limit, order=order, after=after)
    if output == "json":
        print_json(items)
        return
    rows = [
        (
            *(item[name] for name in ("reason", "source", "peer", "count")),
            relative(item["first_at"]),
            relative(item["last_at"]),
        )
        for item in items
    ]
    print_table(_REJECTIONS, rows, none="no rejections")


_REJECTIONS = (
    Column("reason", 6),
    Column("source", 6, rank=2),
    Column("peer", 9),
    Column("count"),
    Column("first", rank=1),
    Column("last"),
)
