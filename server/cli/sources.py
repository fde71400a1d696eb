"""List sources and print their callback URLs."""

from collections.abc import Sequence

import click

from core.printable import plain

from ..config.urls import callback_url
from .command import CommandGroup, Failure
from .completion import configured_names
from .connection import answers, settings
from .lists import list_command
from .table import Cell, Column, Item, state_cell, words
from .times import relative, span


@click.group(cls=CommandGroup)
def sources() -> None:
    """Accounts that send callbacks."""


def _backfill(backfill: Item) -> str:
    """Return `waiting`, `busy` or `stopped: bad_key`."""
    error = (backfill["run"] or {}).get("error")
    if backfill["state"] == "stopped":
        return f"stopped: {error}"
    return error or str(backfill["state"])


def _tokens(tokens: Sequence[Item]) -> Cell:
    used = [relative(token["last_used_at"]) or "never" for token in tokens]
    whole = [f"{token['fingerprint']} ({last})" for token, last in zip(tokens, used, strict=True)]
    return Cell(plain(", ".join(whole)) or "-", plain(", ".join(used)) or "-")


sources.add_command(
    list_command(
        "list",
        path="/v1/sources",
        paged=False,
        none="no sources",
        columns=(
            Column("name", 8),
            Column("provider", 8, rank=3),
            Column("state", field="state", value=state_cell),
            Column("last callback", field="last_callback_at", value=relative),
            Column(
                "balance",
                8,
                rank=1,
                field="balance",
                value=lambda balance: words(balance["amount"], balance["currency"]),
            ),
            Column(
                "delay",
                5,
                rank=4,
                field="clock.offset",
                value=lambda offset: f"{'-' * (offset < 0)}{span(abs(offset))}",
            ),
            Column("backfill", 8, rank=2, field="backfill", value=_backfill),
            Column("tokens used", 11, field="tokens", value=_tokens),
        ),
        warning=Column("warning", field="clock.warning"),
        example="sources list",
        help="""List the sources: whether callbacks arrive, balance, backfill, tokens.

    `delay` is the time from a provider's timestamp to the arrival of the message: the smallest of
    the last messages. Hours mean a wrong time zone. `tokens used` says when each token was last
    used, the current one first.
    """,
    )
)


@sources.command("url", example="sources url tellabot")
@click.argument("name", shell_complete=configured_names("sources"))
def url_of(name: str) -> None:
    """Print the whole callback URL of a source.

    The URL holds the source's token: keep it secret. It begins with server.public_url; if that is
    not set, with the address of the running service, or else with server.listen.
    """
    known = settings()
    source = known.source(name)
    whole = callback_url(known.public_url or answers(known), name, source)
    if whole is None:
        raise Failure(f"{name} has only sha256 tokens: smshook does not know its URL")
    click.echo(whole)
