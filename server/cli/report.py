"""`smshook report`: figures of orders by provider, service and country."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from core.clock import utc
from core.instants import Instant

from ..durable import replace
from .chart import share, svg
from .client import ApiClient
from .command import Choice, Command, Failure
from .completion import configured_names
from .connection import connect, connection_options
from .figures import FIELDS, FigureGroup, OrderOutcome, outcome
from .figures import report as reported
from .lists import check_names
from .output import print_json, print_table
from .progress import show_progress

#: Orders between two lines of progress.
_LOOK = 100
_BY = ("provider", "service", "country")


def _since(_ctx: click.Context, _option: click.Parameter, written: str) -> datetime:
    try:
        return utc(Instant.parse(written).at(time.time()))
    except (ValueError, OverflowError, OSError) as exc:
        raise click.BadParameter(str(exc)) from None


@click.command(cls=Command, example="report --since 7d --by provider --by service")
@click.option(
    "--since",
    default="30d",
    show_default=True,
    metavar="TIME",
    callback=_since,
    help="Orders registered since: RFC 3339, or a duration ago.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    shell_complete=configured_names("sources"),
    help="Orders of this source.",
)
@click.option(
    "--by",
    multiple=True,
    type=Choice(FIELDS),
    default=_BY,
    show_default=True,
    callback=lambda _ctx, _option, names: tuple(dict.fromkeys(names)),
    help="Field to group by; several make smaller groups.",
)
@click.option(
    "--output",
    type=Choice(["table", "json", "svg"]),
    default="table",
    show_default=True,
    help="Table, JSON or picture.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="File for the picture. Default: stdout.",
)
@connection_options
def report(
    url: str | None,
    key: str | None,
    since: datetime,
    sources: Sequence[str],
    by: Sequence[str],
    output: str,
    file: Path | None,
) -> None:
    """Show how long codes took, how many never came and what they cost.

    Cancelled orders are not counted. A service has one name across providers, such as google. The
    price of a code is the mean of the orders that received one, per currency. An option that is
    given several times matches any of its values.
    """
    if file is not None and output != "svg":
        raise click.UsageError("--file needs a picture: add --output svg")
    asked = {"source": list(sources)} if sources else {}
    with connect(url, key, "events:read", whole=True) as client:
        check_names(client, "source", sources, among="/v1/sources", holding="/v1/orders")
        made = reported(_outcomes(client, asked, since), by)
    if output == "table":
        headers = (*by, "codes", "expired", "waiting", "median", "never came", "price")
        rows = [(*group.of.values(), *_cells(group)) for group in made.groups]
        if len(rows) > 1:
            rows.append(("all", *[""] * (len(by) - 1), *_cells(made.all)))
        print_table(headers, rows, none="no orders")
    elif output == "json":
        print_json({**msgspec.to_builtins({"since": since, "by": by}), **msgspec.to_builtins(made)})
    elif file is None:
        click.echo(svg(made, _second(since)), nl=False)
    else:
        try:
            replace(file, svg(made, _second(since)))
        except OSError as exc:
            # The exception names the temporary file.
            raise Failure(f"{file}: {exc.strerror}") from None


def _second(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _outcomes(
    client: ApiClient, asked: Mapping[str, Any], since: datetime
) -> Iterator[OrderOutcome]:
    """Yield the outcomes of orders, newest first, up to the first that is too old."""
    params = {**asked, "order": "desc"}
    for number, order in enumerate(client.pages("/v1/orders", params, limit=sys.maxsize), 1):
        at = datetime.fromisoformat(order["created_at"])
        if at < since:
            break
        if number % _LOOK == 1:
            show_progress(f"{number} orders, back to {_second(at)}")
        # For an order that only the provider listed, the time of registration is unknown.
        registered = order["origin"] == "user"
        received = order["received_at"] if registered else None
        seconds = None
        if received is not None:
            # An SMS may arrive before its order is registered.
            seconds = max((datetime.fromisoformat(received) - at).total_seconds(), 0.0)
        yield outcome(order, seconds)
    show_progress("")


def _cells(group: FigureGroup) -> tuple[Any, ...]:
    seconds = group.median_seconds
    return (
        *(group.received, group.expired, group.waiting),
        None if seconds is None else f"{seconds:.1f} s",
        share(group),
        [f"{cost.price_a_code} {cost.currency or ''}".rstrip() for cost in group.costs],
    )
