"""Commands that read the API: events, sources, quarantine, rejections."""

import base64
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from journal.plain import plain

from ..addresses import callback_url
from .command import (
    Command,
    Failure,
    Group,
    output_option,
    print_fields,
    print_json,
    print_table,
    unknown,
)
from .listing import limit_option, newest, second, segment, up_to
from .service import answers, configured, connect, connection_options

_FILTERS = ("type", "source", "subject", "service", "number")
_IDS = ("request-id", "activation-id", "rental-id", "reference")


def _filters(command: Any) -> Any:
    for name in reversed((*_FILTERS, *_IDS)):
        command = click.option(f"--{name}", multiple=True, metavar="TEXT")(command)
    return command


@click.group(cls=Group)
def events() -> None:
    """What was accepted."""


@events.command("list", example="events list --service google --since 10m")
@_filters
@click.option("--code", is_flag=True, default=None, help="Only events with a code.")
@click.option("--since", metavar="TIME", help="RFC 3339, or a duration ago such as 10m.")
@click.option("--until", metavar="TIME")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="From the oldest, or the newest.")
@click.option("--after", metavar="CURSOR", help="Go on from there.")
@limit_option
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
    """List events, the newest last.

    Of more than --limit, the newest are listed, unless --order or --after says else. An option
    that is given several times takes any of its values. Texts and codes are in clear if the key
    has the scope codes:read, else masked.
    """
    asked = {name: value for name, value in filters.items() if value}
    latest = order is None and after is None
    place = {"order": order or ("desc" if latest else "asc")} | ({"after": after} if after else {})
    with connect(url, key, "events:read") as client:
        found, more = up_to(client, "/v1/events", {**asked, **place}, limit)
    if more:
        order = "--order desc " if place["order"] == "desc" else ""
        cursor = plain(found[-1]["cursor"])
        click.echo(f"{limit} of more; --limit, {order}--after {cursor}", err=True)
    items = found[::-1] if latest else found
    if output == "json":
        print_json(items)
        return
    headers = ("recorded", "type", "source", "service", "to", "code", "id")
    print_table(headers, [_event_row(item["event"]) for item in items], none="no events")


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    data = event["data"]
    service = data.get("service") or {}
    name = service.get("name") or service.get("id")
    recorded = second(event["recordedtime"])
    words = (event["type"], event["source"], name, data.get("to"), data.get("code"))
    return (recorded, *words, event["id"])


@events.command("show", example="events show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@click.argument("event_id", metavar="ID", type=segment)
@click.option("--raw", is_flag=True, help="Also the callback as it came; needs codes:read.")
@output_option
@connection_options
def show_event(url: str | None, key: str | None, output: str, event_id: str, *, raw: bool) -> None:
    """Show an event, and what became of it.

    Its copies that came again, its deliveries with every attempt, which routes took it.
    """
    scope, params = ("codes:read", {"raw": "true"}) if raw else ("events:read", {})
    with connect(url, key, scope) as client:
        whole = client.get(f"/v1/events/{event_id}", params)
    if output == "json":
        print_json(whole)
        return
    print_fields(dict(_flat(whole["event"])))
    _print_section("came again", whole["duplicates"])
    _print_section("deliveries", [_delivery(delivery) for delivery in whole["deliveries"]])
    _print_section("attempts", list(_attempts(whole["deliveries"])))
    _print_section("routes", whole["routes"])
    if raw:
        _print_callback(whole["raw"])


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item or None if isinstance(item, dict) else item


def _delivery(delivery: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: delivery[name] for name in ("id", "sink", "state", "next_at")}


def _attempts(deliveries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for delivery in deliveries:
        for attempt in delivery["attempts"]:
            yield {"sink": delivery["sink"], **attempt}


def _print_section(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        table = [list(row.values()) for row in rows]
        print_table(list(rows[0]), table, none="", whole=True)


def _print_callback(came: Mapping[str, Any] | None) -> None:
    if came is None:
        click.echo("\nthe callback is not kept any more")
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
    """The accounts that callbacks come from."""


@sources.command("list", example="sources list")
@limit_option
@output_option
@connection_options
def list_sources(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List the sources, and whether callbacks come.

    The clock is how many seconds after the time that they say messages arrive, at least. Tokens are
    shown by fingerprints, the current one first, with their last use.
    """
    with connect(url, key, "events:read", whole=True) as client:
        items = list(client.pages("/v1/sources", {}, limit=limit))
    if output == "json":
        print_json(items)
        return
    headers = (
        *("name", "provider", "state", "last callback", "clock", "backfill", "balance", "tokens"),
    )
    print_table(headers, [_source_row(item) for item in items], none="no sources")
    for item in items:
        if item["clock"]["warning"]:
            click.echo(plain(f"warning: {item['name']}: {item['clock']['warning']}"), err=True)


def _source_row(source: Mapping[str, Any]) -> tuple[Any, ...]:
    last = source["last_callback_at"]
    tokens = [
        f"{token['fingerprint']} ({_used(token['last_used_at'])})" for token in source["tokens"]
    ]
    offset = source["clock"]["offset"]
    clock = None if offset is None else f"{offset:+.0f} s"
    name, provider, state = source["name"], source["provider"], source["state"]
    asked, balance = _asked(source["backfill"]), _balance(source["balance"])
    return (name, provider, state, last and second(last), clock, asked, balance, tokens)


def _balance(balance: Mapping[str, Any] | None) -> str | None:
    """`4.20 USD (2026-09-08T10:15:30Z)`."""
    if balance is None:
        return None
    amount = " ".join(filter(None, (balance["amount"], balance["currency"])))
    return f"{amount} ({second(balance['at'])})"


def _asked(backfill: Mapping[str, Any] | None) -> str | None:
    """`waiting`, `busy`, `stopped: bad_key`."""
    if backfill is None:
        return None
    error = (backfill["run"] or {}).get("error")
    if backfill["state"] == "stopped":
        return f"stopped: {error}"
    return error or str(backfill["state"])


def _used(at: str | None) -> str:
    return f"used {second(at)}" if at else "not used"


@sources.command("url", example="sources url tellabot")
@click.argument("name")
def url_of(name: str) -> None:
    """Print the whole callback URL of a source.

    Its token is in it: keep it to yourself. It begins with server.public_url; where that is not
    set, with the address of the service that runs here, else with server.listen.
    """
    config = configured()
    source = config.sources.get(name)
    if source is None:
        raise unknown("source", name, list(config.sources))
    if source.calls_nobody:
        raise Failure(f"{name} sends no callbacks: its provider is asked, by its backfill")
    whole = callback_url(config.server.public_url or answers(config), name, source)
    if whole is None:
        raise Failure(
            f"the tokens of {name} are configured as sha256 only: the URL is not known here"
        )
    click.echo(whole)


@click.group(cls=Group)
def quarantine() -> None:
    """Callbacks that were not understood."""


@quarantine.command("list", example="quarantine list --output json")
@limit_option
@output_option
@connection_options
def list_quarantine(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List what waits in quarantine, and why."""
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/quarantine", {}, limit)
    if output == "json":
        print_json(items)
        return
    headers = ("at", "source", "reason", "detail", "peer", "count", "id")
    rows = [(second(item["at"]), *(item[name] for name in headers[1:])) for item in items]
    print_table(headers, rows, none="nothing in quarantine")


_id_argument = click.argument("quarantine_id", metavar="ID", type=segment)


@quarantine.command("show", example="quarantine show 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@output_option
@connection_options
def show_quarantine(url: str | None, key: str | None, output: str, quarantine_id: str) -> None:
    """Show a callback in quarantine as it came."""
    with connect(url, key, "admin", whole=True) as client:
        entry = client.get(_quarantined(quarantine_id))
    if output == "json":
        print_json(entry)
        return
    print_fields({name: entry[name] for name in entry if name not in ("headers", "body")})
    _print_callback(entry)


@quarantine.command("replay", example="quarantine replay 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@connection_options
def replay(url: str | None, key: str | None, quarantine_id: str) -> None:
    """Read it again, after an upgrade say.

    Understood, it becomes events and leaves quarantine; else it stays.
    """
    with connect(url, key, "admin", whole=True) as client:
        answer = client.post(f"{_quarantined(quarantine_id)}/replay")
    if answer["status"] == "quarantined":
        raise Failure(f"still not understood: {answer['reason']}")
    click.echo(plain(" ".join((answer["status"], *answer["events"]))))


@quarantine.command("delete", example="quarantine delete 01931c5e-7b2a-7c3d-9e4f-0123456789ab")
@_id_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection_options
def delete(url: str | None, key: str | None, quarantine_id: str, *, yes: bool) -> None:
    """Drop it for good: its bytes are gone. Asks first, on a terminal."""
    with connect(url, key, "admin", whole=True) as client:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Drop {plain(quarantine_id)} for good?", abort=True)
        client.delete(_quarantined(quarantine_id))
    click.echo(f"deleted {plain(quarantine_id)}")


def _quarantined(quarantine_id: str) -> str:
    return f"/v1/quarantine/{quarantine_id}"


@click.command(cls=Command, example="rejections")
@limit_option
@output_option
@connection_options
def rejections(url: str | None, key: str | None, output: str, limit: int) -> None:
    """List what was turned away at the door.

    Counted by reason, source and peer.
    """
    with connect(url, key, "admin", whole=True) as client:
        items = newest(client, "/v1/rejections", {}, limit)
    if output == "json":
        print_json(items)
        return
    headers = ("reason", "source", "peer", "count", "first_at", "last_at")
    rows = [
        (*(item[name] for name in headers[:4]), second(item["first_at"]), second(item["last_at"]))
        for item in items
    ]
    print_table(headers, rows, none="nothing was turned away")
