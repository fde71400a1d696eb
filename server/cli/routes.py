"""Show which routes match an event, and the first failing clause of the others."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from msgspec import UNSET

from core.paths import MISSING
from core.printable import plain
from core.secret import MASK
from routes.explain import Finding, explain
from routes.table import CompiledRoute, compile_table

from .command import CommandGroup, Failure, Wrong
from .connection import connect, connection_options, settings
from .deliveries import waits_for
from .ids import resolve, typed_id
from .output import output_option, print_json, print_table
from .table import Column, id_cell

#: An id, or the end of one. A file of that name is preferred.
_ID = re.compile(r"…?[0-9a-f-]{6,36}", re.IGNORECASE)
#: Complaints that are printed: a file of another kind has thousands.
_PRINTED = 10
_HEADERS = (
    Column("route", 8),
    Column("matches"),
    Column("sinks", 6, rank=1),
    Column("first clause that fails", 12),
    Column("wanted", 8),
    Column("saw", 8),
)


class _RouteMatch(NamedTuple):
    route: CompiledRoute
    #: Why the route does not match; None if it matches.
    finding: Finding | None


class _RoutedEvent(NamedTuple):
    event: Mapping[str, Any]
    #: One for each route, in the order of the configuration.
    answers: Sequence[_RouteMatch]
    #: The routes that matched when it was accepted; None for an event of a file.
    accepted: Sequence[str] | None
    #: The deliveries as the service shows them.
    deliveries: Sequence[Mapping[str, Any]]


@click.group(cls=CommandGroup)
def routes() -> None:
    """Routes of events to sinks."""


@routes.command("test", example="routes test events.jsonl")
@click.argument("event", metavar="FILE|ID")
@output_option
@connection_options
def test(url: str | None, key: str | None, output: str, event: str) -> None:
    """Show which routes match an event, and why the others do not.

    The routes are read from the configuration: try them before a reload. FILE holds one event, or
    one on each line as a file sink writes them; `-` is stdin. An event with an ID is read from the
    running service with a key that has codes:read; ID may be the end that a list shows. For such an
    event, the command also shows its pending deliveries, and its routes at acceptance if they
    differ.
    """
    table = compile_table(settings().routes)
    if _ID.fullmatch(event) and not Path(event).exists():
        with connect(url, key, "codes:read") as client:
            id_ = resolve(client, "event", "/v1/events", typed_id(event))
            whole = client.get(f"/v1/events/{id_}")
        matched = [route["name"] for route in whole["routes"] if route["matched"]]
        routed = [_routed(table, whole["event"], matched, whole["deliveries"])]
    else:
        routed = [_routed(table, each) for each in _from_file(event)]
    if output == "json":
        print_json([_as_data(each) for each in routed])
    else:
        _print(routed)
    masked = dict.fromkeys(path for each in routed for path in _masked(each.event, ""))
    if masked:
        click.echo(
            plain(
                f"warning: {', '.join(masked)}: masked, so that conditions on them are misjudged; "
                "`smshook routes test ID` with a key that has codes:read sees them in clear"
            ),
            err=True,
        )


def _routed(
    table: Sequence[CompiledRoute],
    event: Mapping[str, Any],
    accepted: Sequence[str] | None = None,
    deliveries: Sequence[Mapping[str, Any]] = (),
) -> _RoutedEvent:
    answers = [_RouteMatch(route, explain(route.when, event)) for route in table]
    return _RoutedEvent(event, answers, accepted, deliveries)


# Reading


def _from_file(name: str) -> Sequence[Mapping[str, Any]]:
    place = "stdin" if name == "-" else name
    try:
        with click.open_file(name, "rb") as file:
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        raise Wrong(
            f"{name}: no such file; write a file of events, `-`, or an event's id"
        ) from None
    complaints: list[str] = []
    found: list[Mapping[str, Any]] = []
    for number, value in _values(text, place, complaints):
        for event in _events(value):
            has_data = isinstance(event, dict) and isinstance(event.get("data"), dict)
            if has_data and isinstance(event.get("type"), str):
                found.append(event)
            else:
                complaints.append(f"{place}:{number}: not an event: it needs a type and data")
    if complaints:
        more = len(complaints) - _PRINTED
        raise Failure(*complaints[:_PRINTED], *([f"and {more} more"] if more > 0 else []))
    if not found:
        raise Failure(f"{place}: there is no event in it")
    return found


def _values(text: str, place: str, complaints: list[str]) -> Iterator[tuple[int, Any]]:
    """Yield JSON values with their first lines: one on each line, or one in the whole text."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        return
    try:
        json.loads(lines[0][1])
    except (ValueError, RecursionError):
        # The first line is not JSON: the whole text may be one value.
        lines = [(1, text)]
    for number, line in lines:
        try:
            # `int` refuses NaN and Infinity.
            yield number, json.loads(line, parse_constant=int)
        except json.JSONDecodeError as exc:
            complaints.append(f"{place}:{number + exc.lineno - 1}: not JSON: {exc.msg}")
        except (ValueError, RecursionError):
            complaints.append(f"{place}:{number}: not JSON that an event could be")


def _events(value: Any) -> Iterator[Any]:
    """Yield events from an event, a list, or the JSON of `events list` and `events show`."""
    if isinstance(value, list):
        for item in value:
            yield from _events(item)
    elif isinstance(value, dict) and "type" not in value and "event" in value:
        yield value["event"]
    else:
        yield value


# Printing


def _as_data(routed: _RoutedEvent) -> Mapping[str, Any]:
    return {
        "id": routed.event.get("id"),
        "type": routed.event["type"],
        "routes": [
            {
                "name": route.name,
                "matches": finding is None,
                "sinks": list(route.to),
                "fails": None if finding is None else _finding_as_data(finding),
            }
            for route, finding in routed.answers
        ],
        "matched_when_accepted": routed.accepted,
        "deliveries": routed.deliveries,
    }


def _finding_as_data(finding: Finding) -> Mapping[str, Any]:
    seen = finding.saw is not UNSET and finding.saw is not MISSING
    return {
        "clause": finding.clause,
        "holds": finding.holds,
        "wanted": finding.wanted,
        "saw": finding.saw if seen else None,
        "missing": finding.saw is MISSING,
        "below": [_finding_as_data(each) for each in finding.below],
    }


def _print(routed: Sequence[_RoutedEvent]) -> None:
    rows: list[tuple[Any, ...]] = []
    for each in routed:
        id_ = each.event.get("id")
        first = id_cell(id_ if isinstance(id_, str) else None)
        for route, finding in each.answers:
            top, *below = [(None, None, None)] if finding is None else _clauses(finding)
            rows.append((first, route.name, finding is None, route.to, *top))
            rows += [(first, "", "", "", *clause) for clause in below]
    if len(routed) > 1:
        print_table((Column("event", 8), *_HEADERS), rows, none="no routes")
    else:
        print_table(_HEADERS, [row[1:] for row in rows], none="no routes")
    for each in routed:
        matching = {route.name for route, finding in each.answers if finding is None}
        if each.accepted is not None and set(each.accepted) != matching:
            click.echo()
            accepted = ", ".join(each.accepted) or "none"
            click.echo(plain(f"matched when it was accepted: {accepted}"))
        pending = [item for item in each.deliveries if item["state"] == "pending"]
        if pending:
            click.echo()
        for item in pending:
            reason = waits_for(item) or "its turn"
            click.echo(plain(f"{item['sink']}: pending, waits for {reason}"))


def _clauses(finding: Finding) -> Iterator[tuple[str, str, str]]:
    """Yield the clause and those below it, each with the wanted and the actual value."""
    if finding.saw is MISSING:
        saw = "missing"
    elif finding.saw is not UNSET:
        saw = written(finding.saw)
    elif all(each.holds for each in finding.below):
        saw = "holds"
    else:
        saw = "none holds" if len(finding.below) > 1 else "does not hold"
    yield finding.clause, written(finding.wanted), saw
    for each in finding.below:
        yield from _clauses(each)


def written(value: Any) -> str:
    """Return the value as JSON: `"7"` differs from `7`."""
    return json.dumps(value, ensure_ascii=False)


def _masked(value: Any, path: str) -> Iterator[str]:
    if value in (MASK, [MASK]):
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _masked(item, f"{path}.{name}" if path else name)
