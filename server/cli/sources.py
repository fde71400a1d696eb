"""List sources and print their callback URLs."""

from collections.abc import Mapping
from typing import Any

import click

from core.printable import plain

from ..config.urls import callback_url
from .command import CommandGroup, Failure
from .completion import configured_names
from .connection import answers, connect, connection_options, settings
from .events import state_cell
from .listing import limit_option
from .output import output_option, print_json, print_table
from .table import Cell, Column
from .times import relative, span


@click.group(cls=CommandGroup)
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
    if source.sends_no_callbacks:
        raise Failure(f"{name} has no callbacks: smshook asks its provider (backfill)")
    whole = callback_url(known.public_url or answers(known), name, source)
    if whole is None:
        raise Failure(f"{name} has only sha256 tokens: smshook does not know its URL")
    click.echo(whole)
