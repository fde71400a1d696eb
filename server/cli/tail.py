"""Follow events as they are accepted, and wait for one."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import click

from core.erasure import CODES
from core.printable import plain
from sinks.redact import mask

from .client import ApiClient
from .command import Command, Failure, FiniteRange
from .connection import connect, connection_options, find
from .following import asked, filter_options, follow, newest_place
from .output import flat, output_option, print_fields, print_json
from .table import id_cell, width_of
from .terminal import Screen, screen

#: The width of each column of a line, but the last.
_WIDTHS = (8, 13, 10, 12, 13)


@click.command("tail", cls=Command, example="events tail --service google --reveal")
@filter_options
@click.option(
    "--after",
    metavar="CURSOR",
    help="Begin after this cursor, or with `start` at the oldest event.  Default: now.",
)
@click.option("--reveal", is_flag=True, help="Show texts and codes; needs codes:read.")
@output_option
@connection_options
def tail(
    url: str | None,
    key: str | None,
    output: str,
    after: str | None,
    *,
    reveal: bool,
    **given: Any,
) -> None:
    """Print each event as soon as it is accepted, until Ctrl-C.

    Texts and codes are masked. When the service restarts, the command continues where it was: it
    misses no event. With `--output json` each line is one event.
    """
    find_ = partial(find, url, key, "codes:read" if reveal else "events:read")
    on = screen()

    async def print_all(filters: Mapping[str, Any], after: str) -> None:
        async for item in follow(find_, filters, after):
            shown = item.event.body if reveal else mask(dict(item.event.body), CODES)
            if output == "json":
                click.echo(json.dumps(shown))  # in ASCII: no character controls the terminal
            else:
                click.echo(_line(shown, on), color=on.colors or None)

    with contextlib.suppress(KeyboardInterrupt):
        with ApiClient(*find_()) as client:
            filters = asked(client, given)
            begin = after or newest_place(client, filters)
        asyncio.run(print_all(filters, begin))


@click.command("wait", cls=Command, example="events wait --number 18503814729 --field data.code")
@filter_options
@click.option(
    "--since",
    metavar="TIME",
    help="Take the newest event since then: RFC 3339, or a duration ago such as 10m.  "
    "Default: now, unless a subject, an id or a reference is given.",
)
@click.option("--after", metavar="CURSOR", help="Take the first event after this cursor.")
@click.option(
    "--timeout",
    type=FiniteRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this time.",
)
@click.option("--field", metavar="PATH", help="Print only this field, such as data.code.")
@output_option
@connection_options
def wait(
    url: str | None,
    key: str | None,
    output: str,
    timeout: float,
    field: str | None,
    since: str | None,
    after: str | None,
    **given: Any,
) -> None:
    """Wait for an event and print it.

    Exits with 1 if no event comes in time. Without the scope codes:read, text and code are masked.
    """
    with connect(url, key, "codes:read" if field else "events:read") as client:
        filters = asked(client, given)
        ids = {"subject", "request_id", "activation_id", "rental_id", "reference"}
        if since is None and after is None and not ids & filters.keys():
            # A `since` of now would move each time that the wait asks again.
            after = newest_place(client, filters)
        if since is not None:
            filters["since"] = since
        found = client.wait(filters, after=after, timeout=timeout)
    if found is None:
        raise Failure(f"no event came within {timeout:g} s")
    if field is not None:
        values = dict(flat(found["event"]))
        if values.get(field) is None:
            raise Failure(f"the event {plain(found['event']['id'])} has no {field}")
        click.echo(plain(str(values[field])))
    elif output == "json":
        print_json(found)
    else:
        print_fields(dict(flat(found["event"])))


def _line(event: Mapping[str, Any], on: Screen) -> str:
    data = event["data"]
    service = data.get("service") or {}
    at = datetime.fromisoformat(event["recordedtime"]).astimezone()
    words: Sequence[Any] = (
        at.strftime("%H:%M:%S"),
        event["type"],
        event["source"],
        service.get("name") or service.get("id"),
        data.get("to"),
        data.get("code"),
    )
    cells = ["-" if word is None else plain(str(word)) for word in words]
    padded = [
        f"{cell}{' ' * (width - width_of(cell))}"
        for cell, width in zip(cells, (*_WIDTHS, 8), strict=True)
    ]
    clock, kind, *rest, code = padded
    has_code = data.get("code") is not None
    shown = [
        on.colored(clock, "bright_black"),
        on.colored(kind, "cyan"),
        *rest,
        on.colored(code, "green") if has_code else code,
    ]
    return "  ".join([*shown, id_cell(event["id"]).short]).rstrip()
