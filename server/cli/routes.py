"""Which routes take an event, and which clause of the others does not."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from msgspec import UNSET

from core.paths import MISSING
from core.printable import plain
from routes.explain import Finding, explain
from routes.table import CompiledRoute, compile_table
from sinks.redact import MASK

from .command import CommandGroup, Failure, Wrong
from .connection import connect, connection_options, settings
from .deliveries import waits_for
from .ids import resolve, typed_id
from .output import output_option, print_json, print_table
from .table import Cell, Column, id_cell

#: An id, or the end of one. A file of that name goes first.
_ID = re.compile(r"…?[0-9a-f-]{6,36}", re.IGNORECASE)
#: Complaints that are said, each of another line: a file of something else has thousands.
_SAID = 10
_HEADERS = (
    Column("route", 8),
    Column("matches"),
    Column("sinks", 6, rank=1),
    Column("first clause that fails", 12),
    Column("wanted", 8),
    Column("saw", 8),
)


class _FetchedEvent(NamedTuple):
    route: CompiledRoute
    #: None: it takes the event.
    finding: Finding | None


class _RoutedEvent(NamedTuple):
    event: Mapping[str, Any]
    #: Of each route, in the order of the configuration.
    answers: Sequence[_FetchedEvent]
    #: The routes that matched when it was accepted; None for an event of a file.
    accepted: Sequence[str] | None
    #: As the service has them.
    deliveries: Sequence[Mapping[str, Any]]


@click.group(cls=CommandGroup)
def routes() -> None:
    """Which events go where."""


@routes.command("test", example="routes test events.jsonl")
@click.argument("event", metavar="FILE|ID")
@output_option
@connection_options
def judge(url: str | None, key: str | None, output: str, event: str) -> None:
    """Show which routes match an event, and why the others do not.

    The routes are read from the configuration: try them before a restart. FILE holds one event, or
    one on each line as a file sink writes them; `-` is stdin. An event with an ID is read from the
    running service with a key that has codes:read; ID may be the end that a list shows. Then the
    routes that matched when it was accepted, if they differ, and its pending deliveries are shown.
    """
    table = compile_table(settings().routes)
    if _ID.fullmatch(event) and not Path(event).exists():
        judged = [_judged(table, *_fetched(url, key, event))]
    else:
        judged = [_judged(table, each) for each in _from_file(event)]
    if output == "json":
        print_json([_as_data(each) for each in judged])
    else:
        _print(judged)
    _warn_of_masks(each.event for each in judged)


def _judged(
    table: Sequence[CompiledRoute],
    event: Mapping[str, Any],
    accepted: Sequence[str] | None = None,
    deliveries: Sequence[Mapping[str, Any]] = (),
) -> _RoutedEvent:
    answers = [_FetchedEvent(route, explain(route.when, event)) for route in table]
    return _RoutedEvent(event, answers, accepted, deliveries)


# Reading


def _fetched(
    url: str | None, key: str | None, event_id: str
) -> tuple[Mapping[str, Any], Sequence[str], Sequence[Mapping[str, Any]]]:
    """The event, the routes that matched it, and its deliveries."""
    with connect(url, key, "codes:read") as client:
        id_ = resolve(client, "event", "/v1/events", typed_id(event_id))
        whole = client.get(f"/v1/events/{id_}")
    matched = [route["name"] for route in whole["routes"] if route["matched"]]
    return whole["event"], matched, whole["deliveries"]


def _from_file(name: str) -> Sequence[Mapping[str, Any]]:
    place, text = _text(name)
    complaints: list[str] = []
    found: list[Mapping[str, Any]] = []
    for number, value in _values(text, place, complaints):
        for event in _events(value):
            if _is_event(event):
                found.append(event)
            else:
                complaints.append(f"{place}:{number}: not an event: it needs a type and data")
    if complaints:
        more = len(complaints) - _SAID
        raise Failure(*complaints[:_SAID], *([f"and {more} more"] if more > 0 else []))
    if not found:
        raise Failure(f"{place}: there is no event in it")
    return found


def _text(name: str) -> tuple[str, str]:
    """What complaints call it, and what is in it."""
    try:
        with click.open_file(name, "rb") as file:
            return "stdin" if name == "-" else name, file.read().decode(errors="replace")
    except FileNotFoundError:
        raise Wrong(
            f"{name}: no such file; write a file of events, `-`, or an event's id"
        ) from None


def _values(text: str, place: str, complaints: list[str]) -> Iterator[tuple[int, Any]]:
    """JSON values with the lines that they begin in: one a line, or one in all."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    # Of one value on several lines, the first is none by itself.
    if not lines or not _is_json(lines[0][1]):
        lines = [(1, text)] if lines else []
    for number, line in lines:
        try:
            yield number, json.loads(line, parse_constant=_refuse)
        except json.JSONDecodeError as exc:
            complaints.append(f"{place}:{number + exc.lineno - 1}: not JSON: {exc.msg}")
        except (ValueError, RecursionError):
            complaints.append(f"{place}:{number}: not JSON that an event could be")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _events(value: Any) -> Iterator[Any]:
    """An event, a list of them, or what `events list` and `events show` print as JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _events(item)
    elif isinstance(value, dict) and "type" not in value and "event" in value:
        yield value["event"]
    else:
        yield value


def _is_event(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("type"), str)
        and isinstance(value.get("data"), dict)
    )


# Saying


def _as_data(judged: _RoutedEvent) -> Mapping[str, Any]:
    return {
        "id": judged.event.get("id"),
        "type": judged.event["type"],
        "routes": [
            {
                "name": route.name,
                "matches": finding is None,
                "sinks": list(route.to),
                "fails": None if finding is None else _finding_as_data(finding),
            }
            for route, finding in judged.answers
        ],
        "matched_when_accepted": judged.accepted,
        "deliveries": judged.deliveries,
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


def _print(judged: Sequence[_RoutedEvent]) -> None:
    rows = [(_id_cell(each.event), *row) for each in judged for row in _rows(each.answers)]
    if len(judged) > 1:
        print_table((Column("event", 8), *_HEADERS), rows, none="no routes")
    else:
        print_table(_HEADERS, [row[1:] for row in rows], none="no routes")
    for each in judged:
        _print_accepted(each)


def _id_cell(event: Mapping[str, Any]) -> Cell:
    id_ = event.get("id")
    return id_cell(id_ if isinstance(id_, str) else None)


def _print_accepted(judged: _RoutedEvent) -> None:
    """Where it was others than now."""
    now = {route.name for route, finding in judged.answers if finding is None}
    if judged.accepted is not None and set(judged.accepted) != now:
        click.echo()
        click.echo(plain(f"matched when it was accepted: {', '.join(judged.accepted) or 'none'}"))
    waiting = [item for item in judged.deliveries if item["state"] == "pending"]
    if waiting:
        click.echo()
    for item in waiting:
        reason = waits_for(item) or "its turn"
        click.echo(plain(f"{item['sink']}: pending, waits for {reason}"))


def _rows(answers: Sequence[_FetchedEvent]) -> Iterator[tuple[Any, ...]]:
    for route, finding in answers:
        if finding is None:
            yield (route.name, True, route.to, None, None, None)
            continue
        first, *below = _clauses(finding)
        yield (route.name, False, route.to, *first)
        for clause in below:
            yield ("", "", "", *clause)


def _clauses(finding: Finding) -> Iterator[tuple[str, str, str]]:
    """It, and what is below it: each with what was wanted and seen."""
    yield finding.clause, _written(finding.wanted), _saw(finding)
    for each in finding.below:
        yield from _clauses(each)


def _saw(finding: Finding) -> str:
    if finding.saw is MISSING:
        return "nothing there"
    if finding.saw is not UNSET:
        return _written(finding.saw)
    if any(not each.holds for each in finding.below):
        return "none holds" if len(finding.below) > 1 else "does not hold"
    return "holds"


def _written(value: Any) -> str:
    """As JSON: `"7"` is not `7`, and no value is a word of ours."""
    return json.dumps(value, ensure_ascii=False)


def _warn_of_masks(events: Iterable[Mapping[str, Any]]) -> None:
    masked = dict.fromkeys(path for event in events for path in _masked(event, ""))
    if masked:
        click.echo(
            plain(
                f"warning: {', '.join(masked)}: masked, so that conditions on them are misjudged; "
                "`smshook routes test ID` with a key that has codes:read sees them in clear"
            ),
            err=True,
        )


def _masked(value: Any, path: str) -> Iterator[str]:
    if value in (MASK, [MASK]):
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _masked(item, f"{path}.{name}" if path else name)
