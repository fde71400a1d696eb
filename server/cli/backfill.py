"""`smshook backfill`: ask a provider for missed callbacks."""

import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import click

from core.printable import plain

from .client import ApiClient
from .command import Command, Failure
from .completion import configured_names
from .connection import connect, connection_options
from .lists import named, second, segment
from .output import output_option, print_fields, print_json
from .progress import bar, show_progress

#: Seconds between two looks at the progress.
_LOOK = 0.3
_SHOWN = ("orders", "asked", "new", "known")


@click.command(cls=Command, example="backfill tellabot --since 2d")
@click.argument("source", type=segment, shell_complete=configured_names("sources"))
@click.option(
    "--since",
    metavar="TIME",
    help="RFC 3339, or a duration ago such as 2d. Default: since the last round.",
)
@output_option
@connection_options
def backfill(url: str | None, key: str | None, output: str, source: str, since: str | None) -> None:
    """Ask a provider for messages that its callbacks did not bring.

    SOURCE is the name of a configured source with a backfill. Nothing is bought, cancelled or
    changed at the provider. A message becomes one event, however often it comes.
    """
    with connect(url, key, "admin", whole=True) as client:
        body = {} if since is None else {"since": since}
        path = f"/v1/sources/{source}/backfill"
        wanted = named(
            client, "source", unquote(source), "/v1/sources", lambda: client.post(path, json=body)
        )["run"]
        run = _followed(client, source, wanted)
    if output == "json":
        print_json(run)
    else:
        print_fields({"since": second(run["since"]), **{name: run[name] for name in _SHOWN}})
        for word, times in run["notices"].items():
            click.echo(plain(f"notice: {word} ({times})"), err=True)
    if run["error"] is not None:
        raise Failure(f"{source}: {run['error']}: {run['detail']}")


def _followed(client: ApiClient, source: str, wanted: int) -> Mapping[str, Any]:
    """Wait for the end of the round; on a terminal, show its progress."""
    seen = 0
    while True:
        listed = client.pages("/v1/sources", {}, limit=sys.maxsize)
        polled = [item["backfill"] for item in listed if item["name"] == source]
        if not polled or polled[0] is None:
            raise Failure(f"{source} has no backfill any more")
        run: Mapping[str, Any] | None = polled[0]["run"]
        number = 0 if run is None else run["number"]
        if number < seen:
            raise Failure("the service restarted meanwhile; it asks the provider when it starts")
        seen = number
        progress = "waiting for the current round to finish"
        if run is not None and number >= wanted:
            if run["finished_at"] is not None:
                break
            # Each order is one call or two.
            asked, about = run["asked"], max(run["orders"] + 1, run["asked"])
            progress = f"{bar(asked, about)} {asked} of about {about} calls"
            progress += f", {run['new']} new, {run['known']} known"
        show_progress(progress)
        time.sleep(_LOOK)
    show_progress("")
    return run
