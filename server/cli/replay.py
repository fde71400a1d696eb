"""`smshook replay`: send the events of a range of time again."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from core.event import kinds
from core.printable import plain

from .client import ApiClient, ApiProblem
from .command import Command, Failure, Named, unknown
from .completion import configured_names
from .connection import connect, connection_options
from .lists import names_of
from .output import output_option, print_fields, print_json
from .progress import bar, show_progress

_PATH = "/v1/replays"
_UNPROCESSABLE = 422
#: Seconds between two looks at the progress.
_LOOK = 0.3
_SHOWN = ("id", "state", "matched", "replayed", "created")


@click.command(cls=Command, example="replay --since 2h --until 30m --sink crm")
@click.option("--since", metavar="TIME", help="Accepted since: RFC 3339, or a duration ago.")
@click.option("--until", metavar="TIME", help="Accepted before: RFC 3339, or a duration ago.")
@click.option(
    "--source",
    multiple=True,
    metavar="NAME",
    shell_complete=configured_names("sources"),
    help="From this source.",
)
@click.option(
    "--type",
    multiple=True,
    metavar="TYPE",
    type=Named("type", [kind.type for kind in kinds()]),
    help="Of this type, such as sms.received.",
)
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    metavar="NAME",
    shell_complete=configured_names("sinks"),
    help="To this sink.  Default: the sinks that each event was first sent to.",
)
@click.option("--dry-run", is_flag=True, help="Only count the events.")
@click.option("--yes", is_flag=True, help="Replay without asking.")
@click.option("--cancel", metavar="ID", help="Cancel this replay instead.")
@output_option
@connection_options
def replay(
    url: str | None,
    key: str | None,
    output: str,
    cancel: str | None,
    *,
    dry_run: bool,
    yes: bool,
    **given: str | Sequence[str] | None,
) -> None:
    """Send the events of a range of time again, with the same event ids.

    First counts the events, and asks on a terminal. Options may be given several times: any of
    their values matches. New events go before replayed ones. The replay goes on in the service if
    this command is stopped.
    """
    body: dict[str, Any] = {name: value for name, value in given.items() if value}
    with connect(url, key, "deliveries:write") as client:
        if cancel is not None:
            client.delete(f"{_PATH}/{cancel}")
            click.echo(plain(f"cancelled {cancel}"))
            return
        counted = _post(client, body | {"dry_run": True})
        found = counted["matched"]
        events = "1 event" if found == 1 else f"{found} events"
        if not dry_run and found:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Replay {events}?", abort=True)
            # The same times as were counted, also if they were given as durations.
            times = {name: counted[name] for name in ("since", "until") if counted[name]}
            counted = _followed(client, _post(client, body | times))
    if output == "json":
        print_json(counted)
    elif counted["id"] is None:
        click.echo(f"{events} to replay; nothing was made")
    else:
        print_fields({name: counted[name] for name in _SHOWN})
    if counted["state"] == "cancelled":
        raise Failure("the replay was cancelled; its deliveries stay")


def _post(client: ApiClient, body: Mapping[str, Any]) -> Any:
    try:
        return client.post(_PATH, json=body)
    except ApiProblem as exc:
        known = names_of(client, "/v1/sinks") if exc.status == _UNPROCESSABLE else None
        missing = [one for one in body.get("sinks", ()) if known is not None and one not in known]
        if not missing:
            raise
        raise unknown("sink", missing[0], known or []) from None


def _followed(client: ApiClient, replay: Mapping[str, Any]) -> Mapping[str, Any]:
    """Wait for the end of the replay; on a terminal, show its progress."""
    try:
        while replay["state"] == "running":
            done, whole = replay["replayed"], max(replay["matched"], replay["replayed"])
            progress = f"{bar(done, whole)} {done} of {whole} events"
            show_progress(f"{progress}, {replay['created']} deliveries")
            time.sleep(_LOOK)
            replay = client.get(f"{_PATH}/{replay['id']}")
    except KeyboardInterrupt:
        text = f"the replay goes on; to cancel it: smshook replay --cancel {replay['id']}"
        raise Failure(text) from None
    show_progress("")
    return replay
