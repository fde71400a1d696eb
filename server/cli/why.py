"""`smshook why`: explain an event, or the missing code of an order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from core.printable import named, plain

from .client import ApiClient, ApiProblem
from .command import Command, Failure, Wrong
from .connection import connect, connection_options
from .deliveries import waits_for
from .ids import resolve, typed_id
from .lists import second
from .output import output_option, print_json, print_table
from .routes import written
from .table import Column, Item, id_cell, state_cell, words
from .times import relative

#: The things that an id may name, each with the list to search.
_KINDS = (
    ("event", "/v1/events"),
    ("order", "/v1/orders"),
    ("callback in quarantine", "/v1/quarantine"),
)
_FORBIDDEN, _NOT_FOUND = 403, 404
#: The most callbacks in quarantine, and rejections, to search.
_RECENT = 1000
_CLAUSES = (
    Column("matched"),
    Column("first clause that fails", 12),
    Column("wanted", 8),
    Column("saw", 8),
)
_DELIVERIES = (
    Column("sink", 6),
    Column("state"),
    Column("waits for", 9),
    Column("tries"),
    Column("last error", 10),
    Column("id"),
)


@click.command(cls=Command, example="why 45d7bd81")
@click.argument("typed", metavar="ID", type=typed_id)
@output_option
@connection_options
def why(url: str | None, key: str | None, output: str, typed: str) -> None:
    """Show why an event did or did not arrive, or why an order got no code.

    For an event: its arrival, its copies, each route with the first clause that fails, and each
    delivery with its last error. For an order: its source, backfill, quarantine and rejections.
    For a callback in quarantine: the reason. ID may be the end that a list shows.
    """
    with connect(url, key, "events:read", whole=True) as client:
        noun, found = _find(client, typed)
        if noun == "order":
            found = found | {"not_arrived": list(_reasons(client, found))}
    if output == "json":
        print_json(found)
    elif noun == "event":
        _print_event(found)
    elif noun == "order":
        names = ("state", "source", "number", "service")
        click.echo(plain(words(f"order {found['id']}:", *(found[name] for name in names))))
        for reason in found["not_arrived"]:
            click.echo(plain(f"- {reason}"))
    else:
        click.echo(plain(f"in quarantine: {found['reason']}: {found['detail']}"))
        click.echo(plain(f"arrived {second(found['at'])} from {found['peer']}; no event was made"))
        click.echo(plain(f"smshook quarantine replay {found['id'][-8:]} reads it again"))


def _find(client: ApiClient, typed: str) -> tuple[str, Any]:
    """Return the noun and the data of the thing with that id. Raise Failure if there is none."""
    for noun, path in _KINDS:
        end = "/why" if noun == "event" else ""
        try:
            return noun, client.get(f"{path}/{resolve(client, noun, path, typed)}{end}")
        except Wrong:
            raise
        except ApiProblem as exc:
            if exc.status not in (_FORBIDDEN, _NOT_FOUND):
                raise
        except Failure as exc:
            if "has an id" not in exc.message:
                raise
    raise Failure(f"no event, order or callback in quarantine has the id {named(typed)!r}")


# Events


def _print_event(found: Item) -> None:
    door = found["door"]
    if door is None:
        click.echo("made by smshook itself, not by a callback")
    else:
        token = f", token {door['token']}" if door["token"] else ""
        arrival = f"{door['channel']} from {door['peer']}{token}"
        click.echo(plain(f"accepted {second(door['at'])}: {arrival}"))
    copies = found["dedupe"]["copies"]
    if copies:
        often = "once more" if len(copies) == 1 else f"{len(copies)} more times"
        click.echo(f"arrived {often}; all are one event")
        arrivals = [(second(one["at"]), one["how"], one["channel"], one["peer"]) for one in copies]
        print_table(("at", "how", "channel", "peer"), arrivals, none="")
    click.echo()
    for noun, judged in (("route", found["routes"]), ("subscription", found["subscriptions"])):
        if judged:
            columns = (Column(noun, 8), *_CLAUSES)
            print_table(columns, [row for one in judged for row in _judged(one)], none="")
            click.echo()
    rows = [
        (
            one["sink"],
            state_cell(one["state"]),
            waits_for(one),
            sum(not attempt["probe"] for attempt in one["attempts"]),
            (error := one["last_error"]) and words(error["error"], error["status"]),
            id_cell(one["id"]),
        )
        for one in found["deliveries"]
    ]
    print_table(_DELIVERIES, rows, none="no delivery: no route of a sink matched")


def _judged(one: Item) -> Iterator[tuple[Any, ...]]:
    """Yield the row of a route or subscription, and one for each clause below the failing one."""
    clauses = [] if one["fails"] is None else list(_clauses(one["fails"]))
    now = {True: "matches now", None: "hidden, or it is gone"}
    is_same = one["matched"] == one["matches"]
    top = clauses[0] if clauses else (None if is_same else now.get(one["matches"]), None, None)
    yield one["name"], one["matched"], *top
    for clause in clauses[1:]:
        yield "", "", *clause


def _clauses(finding: Item) -> Iterator[tuple[str, str, str]]:
    saw = "missing" if finding["missing"] else written(finding["saw"])
    if finding["below"]:
        saw = "holds" if finding["holds"] else "does not hold"
    yield finding["clause"], written(finding["wanted"]), saw
    for below in finding["below"]:
        yield from _clauses(below)


# Orders


def _reasons(client: ApiClient, order: Mapping[str, Any]) -> Iterator[str]:
    """Yield the known facts about the code of an order, in sentences."""
    since, name = order["created_at"], order["source"]
    if order["events"]:
        ids = ", ".join(event["id"][-8:] for event in order["events"])
        yield f"it arrived: smshook why {ids}"
    elif order["state"] == "waiting":
        yield f"no SMS came yet; the order expires {relative(order['expires'])}"
    else:
        yield words(f"it ended as {order['state']} without an SMS", order["reason"])
    yield from _of_source(client, name, since)
    unread = [one for one in _newest(client, "/v1/quarantine") if _is_of(one, name, since)]
    if unread:
        reasons = ", ".join(sorted({one["reason"] for one in unread}))
        yield f"{len(unread)} callbacks of {name} are in quarantine since then: {reasons}"
    for one in _newest(client, "/v1/rejections"):
        if _is_of(one, name, since) or (one["source"] is None and one["last_at"] >= since):
            what = f"{one['count']} requests of {one['peer']} were rejected"
            yield f"{what}: {one['reason']}, last {relative(one['last_at'])}"


def _of_source(client: ApiClient, name: str, since: str) -> Iterator[str]:
    sources = client.pages("/v1/sources", {}, limit=_RECENT)
    source = next((one for one in sources if one["name"] == name), None)
    if source is None:
        yield f"its source {name} is not configured any more"
        return
    last = source["last_callback_at"]
    when = "never sent a callback" if last is None else f"sent its last callback {relative(last)}"
    yield f"{name} is {source['state']}; it {when}"
    backfill = source["backfill"]
    if backfill is None:
        yield f"{name} has no backfill: smshook cannot ask for missed messages"
        return
    run = backfill["run"]
    if run is None or run["started_at"] < since:
        yield f"no backfill of {name} started since then; smshook backfill {name} asks now"
    else:
        outcome = run["error"] or f"{run['new']} new messages"
        yield f"the backfill of {name} started {relative(run['started_at'])}: {outcome}"


def _newest(client: ApiClient, path: str) -> Sequence[Mapping[str, Any]]:
    """Return the newest items of a list; nothing if the key may not read it."""
    try:
        return list(client.pages(path, {"order": "desc"}, limit=_RECENT))
    except ApiProblem as exc:
        if exc.status != _FORBIDDEN:
            raise
        return ()


def _is_of(item: Mapping[str, Any], source: str, since: str) -> bool:
    return bool(item["source"] == source and item["last_at"] >= since)
