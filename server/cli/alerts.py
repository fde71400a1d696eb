"""List what is raised, and test alerts."""

from urllib.parse import unquote

import click

from core.printable import plain

from .command import CommandGroup, Failure
from .connection import connect, connection_options
from .lists import list_command, segment
from .output import output_option, print_json
from .table import Column
from .times import relative


@click.group(cls=CommandGroup)
def alerts() -> None:
    """Conditions that smshook reports of itself."""


alerts.add_command(
    list_command(
        "list",
        path="/v1/alerts",
        paged=False,
        none="no alert is raised",
        columns=(
            Column("name", 12),
            Column("subject", 12),
            Column("severity", rank=1),
            Column("since", field="since", value=relative),
            Column("summary", 20),
        ),
        example="alerts list",
        help="""List the alerts that are raised now.

    Alerts that ended are in the events: smshook events list --type system.sink_failing
    """,
    )
)


@alerts.command("test", example="alerts test sink_failing")
@click.argument("name", type=segment)
@output_option
@connection_options
def test(url: str | None, key: str | None, output: str, name: str) -> None:
    """Send a sample of an alert through the routes; print the sinks that get it.

    The event is marked as a sample. Exits with 1 if no route takes it.
    """
    with connect(url, key, "admin", whole=True) as client:
        answer = client.post(f"/v1/alerts/{name}/test")
    if output == "json":
        print_json(answer)
    elif answer["sinks"]:
        click.echo(plain(f"sent to {', '.join(answer['sinks'])} as event {answer['event']}"))
    if not answer["sinks"]:
        raise Failure(f"no route takes system.{unquote(name)}: add a route for system.*")
