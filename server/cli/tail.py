"""Follow events as they are accepted, and wait for one."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import click

from core.event import kinds
from core.printable import plain
from sinks.redact import mask, masked_paths

from .client import ApiClient, ApiProblem
from .command import Command, Failure, Named
from .connection import connect, connection_options
from .lists import Filter
from .output import flat, output_option, print_fields, print_json
from .table import id_cell, width_of
from .terminal import Screen, screen

#: The filters of events, as of `events list`.
FILTERS = (
    Filter(
        "type",
        "Of this type, such as sms.received.",
        "TYPE",
        type=Named("type", [kind.type for kind in kinds()]),
    ),
    Filter("source", "From this source.", "NAME", names="sources"),
    Filter("subject", "About this subject, such as request/10000001.", "TEXT"),
    Filter("service", "For this service: its key, name or the provider's id.", "TEXT"),
    Filter("number", "To this phone number, with its country's code.", "NUMBER"),
    Filter("request-id", "Of this request (TellABot).", "ID"),
    Filter("activation-id", "Of this activation (SMS-Activate's dialect).", "ID"),
    Filter("rental-id", "Of this rental.", "ID"),
    Filter("reference", "Of the order with this reference.", "TEXT"),
    Filter("code", "With a code.", is_flag=True),
)
_EVENTS = "/v1/events"
_CODES = masked_paths("codes")
#: Seconds between two tries to reach the service.
_AGAIN = 1.0
#: Answers after which another try may succeed.
_BUSY = frozenset({429, 502, 503, 504})
#: The width of each column of a line, but the last.
_WIDTHS = (8, 13, 10, 12, 13)


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each filter of events."""
    for each in reversed(FILTERS):
        command = each.option()(command)
    return command


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
    open_ = partial(connect, url, key, "codes:read" if reveal else "events:read")
    with contextlib.suppress(KeyboardInterrupt):
        on = screen()
        for event in _followed(open_, given, after):
            shown = event if reveal else mask(event, _CODES)
            if output == "json":
                click.echo(json.dumps(shown))  # in ASCII: no character controls the terminal
            else:
                click.echo(_line(shown, on), color=on.colors or None)


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
    type=click.FloatRange(min=0),
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

    Exits with 1 if none comes in time. With the scope codes:read it shows text and code, otherwise
    they are masked.
    """
    with connect(url, key, "codes:read" if field else "events:read") as client:
        asked = _asked(client, given)
        named = {"subject", "request_id", "activation_id", "rental_id", "reference"} & asked.keys()
        if since is None and after is None and not named:
            since = "0s"
        if since is not None:
            asked["since"] = since
        found = client.wait(asked, after=after, timeout=timeout)
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


def _asked(client: ApiClient, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query parameters of the typed filters."""
    asked: dict[str, Any] = {}
    for each in FILTERS:
        name = each.name.replace("-", "_")
        if given[name]:
            value = each.checked(client, _EVENTS, given[name])
            asked[name] = value
    return asked


def _followed(
    open_: Callable[[], ApiClient], given: Mapping[str, Any], after: str | None
) -> Iterator[dict[str, Any]]:
    """Yield events; connect again whenever the connection is lost."""
    with open_() as client:
        asked = _asked(client, given)
        if after is None:
            # A place to continue from, even if the service restarts before the first event.
            newest = client.get(_EVENTS, {"order": "desc", "limit": 1})
            after = newest["next_cursor"]
    while True:
        try:
            with open_() as client:
                for cursor, event in client.stream(asked, after=after):
                    after = cursor
                    yield event
        except ApiProblem as exc:
            if exc.status not in _BUSY:
                raise
        except Failure:
            pass
        time.sleep(_AGAIN)


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
