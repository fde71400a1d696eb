"""Verify the audit log, and print the program with which an auditor does it alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from core.printable import plain

from . import audit_verify
from .command import CommandGroup

_KEY = "smshook/7f3a9c52e1d04b6c/epoch+c8747f6c+BCxWkETqWiMRG4xtZJFPW7BRs3f7kIb97xT98BDgwHx1"
_FOLDER = click.Path(path_type=Path)


def _read_by(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a callback that checks a value, and keeps it as it is: the program reads it again."""

    def check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value or ():
            try:
                read(text)
            except (OSError, ValueError) as exc:
                raise click.BadParameter(plain(str(exc)), ctx, parameter) from None
        return value

    return check


@click.group(cls=CommandGroup)
def audit() -> None:
    """The log of what the service and its readers did."""


@audit.command("verify", example=f"audit verify export --key {_KEY}")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--key",
    "keys",
    multiple=True,
    callback=_read_by(audit_verify.read_key),
    help="Key of the first epoch, which the service printed when the log was made. "
    "One for each folder.",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    callback=_read_by(audit_verify.read_anchors),
    help="Checkpoints that somebody else kept, or `checkpoints` of an older export.",
)
@click.option(
    "--fresh",
    metavar="AGE",
    callback=_read_by(audit_verify.read_seconds),
    help="The last checkpoint must not be older, such as 10m: an end that was cut off shows.",
)
@click.pass_context
def verify(
    ctx: click.Context,
    folders: tuple[Path, ...],
    keys: tuple[str, ...],
    anchors: tuple[str, ...],
    fresh: str | None,
) -> None:
    """Check that no line of an export was changed, added, removed or moved.

    Two folders are a log and the one that continues it after a restore, in this order. It runs the
    program of `audit verifier`. Exits with 0 if the log is unchanged, 1 if it was changed (the
    first place is named), 2 if it was not checked.
    """
    options = [("--key", key) for key in keys] + [("--anchor", anchor) for anchor in anchors]
    if fresh is not None:
        options.append(("--fresh", fresh))
    flags = [f"{name}={value}" for name, value in options]
    ctx.exit(audit_verify.main([*flags, "--", *map(str, folders)]))


@audit.command("verifier", example="audit verifier > audit_verify.py")
def verifier() -> None:
    """Print the program that verifies an export: one file, for Python 3.9 or newer.

    An auditor runs it without smshook: `python3 audit_verify.py export --key KEY`.
    """
    click.echo(Path(audit_verify.__file__).read_text("utf-8"), nl=False)
