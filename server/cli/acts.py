"""Records in the audit log what a command did beside the API."""

import os
from typing import Any, Literal

import click

from core.errors import Broken
from core.printable import plain
from journal.lock import holder

from .command import Failure, failure_of
from .connection import command_client, configured, settings
from .prune import log_on_stderr

Act = Literal["audit.exported", "audit.verified", "backup.made", "code.read", "seal.rotated"]


def record(do: Act, **fields: Any) -> None:
    """Add a line that names the user of this command. It is on disk afterwards.

    The running service writes it; if there is none, this process does. Raises the errors of
    `Command.invoke`.
    """
    found = holder(settings().journal)
    if found is not None:
        with command_client(found) as client:
            client.post("/v1/audit/acts", json={"do": do, "uid": os.getuid(), **fields})
        return
    # The framework takes a third of a second to import, which a running service does without.
    from journal.audit.lines import Fact  # noqa: PLC0415

    from ..stopped import record as write  # noqa: PLC0415

    try:
        with log_on_stderr():
            write(configured(), Fact(do, fields))
    except Broken as exc:
        click.echo(plain(str(exc)), err=True)
        os._exit(1)  # closing the file would write to it again


def note(do: Act, **fields: Any) -> None:
    """Do the same for what is done already: an error is only shown."""
    try:
        record(do, **fields)
    except Exception as exc:
        failure: Failure | None = failure_of(exc)
        if failure is None:
            raise
        click.echo(plain(f"note: this is not in the audit log: {failure.message}"), err=True)
