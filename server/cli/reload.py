"""Make the running service read its configuration again."""

import os
import re
from collections.abc import Sequence

import click

from core.printable import plain
from journal.lock import holder

from ..config.load import journal_of
from ..config.variables import NOT_SET
from .client import ApiClient, ApiProblem
from .command import Command, Failure, Wrong, config_path
from .connection import command_client, connect, http_url, near
from .output import output_option, print_json


@click.command(cls=Command, example="reload")
@output_option
@click.option(
    "--key",
    envvar="SMSHOOK_API_KEY",
    show_envvar=True,
    help="API key with the scope admin, for --url.  The service that runs here needs none.",
)
@click.option(
    "--url",
    envvar="SMSHOOK_URL",
    type=http_url,
    metavar="URL",
    show_envvar=True,
    help="Address of the API.  Default: the service that runs here.",
)
def reload(url: str | None, key: str | None, output: str) -> None:
    """Make the service read its configuration again, and print what changed.

    The service keeps running: no connection, stream or delivery is dropped. A wrong configuration
    changes nothing: its errors are printed, each with its line, and the exit code is 2. Some
    options cannot change while the service runs. The command names them, and applies all others.
    """
    with connect(url, key, "admin", whole=True) if url else _here() as client:
        try:
            reloaded = client.post("/v1/reload")
        except ApiProblem as exc:
            if not exc.complaints:
                raise
            notes = _notes(exc.complaints)
            raise Wrong(*exc.complaints, *notes, "nothing was changed") from None
    for warning in reloaded["warnings"]:
        click.echo(plain(f"warning: {warning}"), err=True)
    if output == "json":
        print_json(reloaded)
        return
    lines = [f"{how} {path}" for how in ("added", "changed", "removed") for path in reloaded[how]]
    lines += [
        f"not changed: {path}; restart the service to change it"
        for path in reloaded["needs_restart"]
    ]
    for line in lines or ["nothing differs"]:
        click.echo(plain(line))


def _notes(complaints: Sequence[str]) -> Sequence[str]:
    """Explain complaints about variables that are set here, but not in the service."""
    unset = (name for line in complaints for name in re.findall(rf"(\w+) {NOT_SET}", line))
    names = ", ".join(dict.fromkeys(name for name in unset if name in os.environ))
    if not names:
        return ()
    return (f"note: only a restart changes the environment of the service: {names}",)


def _here() -> ApiClient:
    """Return a client with the key that the service left for commands on this machine.

    The configuration may be wrong, or may have no key in clear.
    """
    journal = journal_of(config_path(), os.environ)
    found = holder(journal)
    if found is None:
        raise Failure(
            f"smshook is not running here (no process has {near(journal)}); "
            "a change of journal.url needs a restart"
        )
    return command_client(found)
