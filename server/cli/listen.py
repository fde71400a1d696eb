"""Forward events to a program under development."""

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import click
import msgspec

from core.delivery import Attempt
from core.printable import plain
from core.secret import Secret
from core.signing import encode_key
from sinks.attempt import Attempts, real_clock
from sinks.http.client import host_of
from sinks.http.sink import Http
from smshook_client import Event, Item

from ..log.fields import masked
from .client import ApiClient
from .command import Command
from .connection import connection_options, find
from .following import asked, filter_options, follow, newest_place
from .output import output_option
from .terminal import Screen, screen

_SCOPE = "codes:read"
_CLEAR = frozenset({_SCOPE, "admin"})


@click.command(cls=Command, example="listen --forward http://localhost:3000/hook")
@click.option(
    "--forward", "target", required=True, metavar="URL", help="POST each event to this URL."
)
@click.option(
    "--secret",
    metavar="WHSEC",
    help="Sign with this secret, `whsec_` and base64.  Default: a new one, which is printed.",
)
@filter_options
@click.option(
    "--after",
    metavar="CURSOR",
    help="Begin after this cursor, or with `start` at the oldest event.  Default: now.",
)
@output_option
@connection_options
def listen(
    url: str | None,
    key: str | None,
    output: str,
    target: str,
    secret: str | None,
    after: str | None,
    **given: Any,
) -> None:
    """Forward each event to a program under development, until Ctrl-C.

    The requests are those of an http sink, and signed (Standard Webhooks). Each answer is shown.
    Nothing is configured or stored, and a failed event is not sent again. When the service
    restarts, the command continues where it was. Codes are masked if the key has no codes:read.
    """
    secret = secret or encode_key(secrets.token_bytes(32)).reveal()
    sink = _sink(target, secret)
    people = output == "table"
    find_ = partial(find, url, key, _SCOPE)
    report = _Report(screen(), people=people)
    with contextlib.suppress(KeyboardInterrupt):
        address = find_()
        with ApiClient(*address) as client:
            filters = asked(client, given)
            begin = after or newest_place(client, filters)
            is_masked = _CLEAR.isdisjoint(client.get("/v1/me")["scopes"])
        report.say(
            f"forwarding events of {address.url} to {host_of(target)}, until Ctrl-C",
            f"signing secret: {secret}",
            *([f"note: the key has no {_SCOPE}: texts and codes are masked"] * is_masked),
        )
        asyncio.run(_forward(sink, follow(find_, filters, begin), report))
    report.end()


def _sink(url: str, secret: str) -> Http:
    """Return the sink that sends the events. Errors do not repeat the typed values."""
    try:
        return Http(url=Secret(url), secrets=(Secret(secret),))
    except ValueError as exc:
        option, _, text = str(exc).partition(": ")
        name = "--forward" if option == "url" else "--secret"
        raise click.BadParameter(text, param_hint=name) from None


async def _forward(sink: Http, items: AsyncIterator[Item], report: "_Report") -> None:
    attempts = Attempts("listen", sink, real_clock(random.random))
    async with sink.open() as send:
        async for item in items:
            event = item.event
            # As the service writes it: the same bytes as those of a sink.
            body = msgspec.json.encode(event.body)
            tried = await attempts.make(send, event.id, body, number=1, replay=False)
            report.add(event, tried.attempt)


class _Report:
    """Prints a line for each event, and counts them. For programs, only events go to stdout."""

    def __init__(self, on: Screen, *, people: bool) -> None:
        self._on, self._people = on, people
        self._delivered = self._failed = 0

    def say(self, *lines: str) -> None:
        for line in lines:
            click.echo(plain(line), err=not self._people)

    def add(self, event: Event, attempt: Attempt) -> None:
        is_delivered = attempt.outcome == "delivered"
        self._delivered += is_delivered
        self._failed += not is_delivered
        if self._people:
            click.echo(_line(event, attempt, self._on), color=self._on.colors or None)
        else:
            click.echo(json.dumps(_fields(event, attempt)))

    def end(self) -> None:
        count = self._delivered + self._failed
        events = "1 event" if count == 1 else f"{count} events"
        self.say(f"forwarded {events}: {self._delivered} delivered, {self._failed} failed")


def _fields(event: Event, attempt: Attempt) -> Mapping[str, Any]:
    service = event.data.get("service") or {}
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(attempt.at)),
        "event_id": event.id,
        "type": event.type,
        "source": event.source,
        "service": service.get("name") or service.get("id"),
        "to": masked(event.number),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "took_ms": attempt.took_ms,
    }


def _line(event: Event, attempt: Attempt, on: Screen) -> str:
    """`18:42:37 sms.received tellabot Google +1850***4729 → 200 4 ms`."""
    fields = _fields(event, attempt)
    names = ("type", "source", "service", "to")
    words = plain(" ".join(str(fields[name]) for name in names if fields[name]))
    clock = on.colored(time.strftime("%H:%M:%S", time.localtime(attempt.at)), "bright_black")
    result = str(attempt.status or attempt.error)
    color = "green" if attempt.outcome == "delivered" else "red"
    return f"{clock} {words} → {on.colored(result, color)} {attempt.took_ms:.0f} ms"
