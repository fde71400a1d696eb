"""Verify the audit log, and print the program with which an auditor does it alone."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from core.instants import Instant
from core.printable import plain
from journal.audit.formats import FORMATS

from . import audit_verify
from .acts import note
from .audit_compare import compare
from .audit_download import download
from .audit_export import FORMS, WrongExport, add_form, add_tiles, write_export
from .audit_log import found_keys, open_log
from .audit_prove import prove
from .audit_who import who
from .command import Choice, CommandGroup, Failure, Wrong, failure_of
from .connection import (
    configured,
    connect,
    connection_options,
    find,
    http_url,
    near,
    settings,
)
from .lists import Filter, list_command
from .output import output_option, print_fields, print_json
from .table import Column
from .times import relative

_KEY = "smshook/7f3a9c52e1d04b6c/epoch+c8747f6c+BCxWkETqWiMRG4xtZJFPW7BRs3f7kIb97xT98BDgwHx1"
#: What the log says of a check, by its exit code.
_OUTCOMES = {0: "unchanged", 1: "changed"}
_FOLDER = click.Path(path_type=Path)


def _read_by(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a callback that checks a value, and keeps it as it is: the program reads it again."""

    def check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value or ():
            try:
                read(text)
            except (OSError, ValueError, audit_verify.Wrong) as exc:
                raise click.BadParameter(plain(str(exc)), ctx, parameter) from None
        return value

    return check


class _Forms(Choice):
    """A choice, or several with commas between them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        for form in value.split(","):
            super().convert(form, param, ctx)
        return str(value)


def _instant(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else Instant.parse(value).at(time.time())
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, parameter) from None


@click.group(cls=CommandGroup)
def audit() -> None:
    """The audit log: acts of the service, and who read a code."""


@contextlib.contextmanager
def _checking() -> Iterator[None]:
    """Exit with 2 after an error: 1 would mean that something was changed."""
    try:
        yield
    except Exception as exc:
        failure = failure_of(exc)
        if failure is None:
            raise
        raise Wrong(f"NOT CHECKED: {failure.message}") from None


@audit.command("verify", example=f"audit verify export --key {_KEY}")
@click.argument("folders", metavar="[DIR...]", nargs=-1, type=_FOLDER)
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
    callback=_read_by(audit_verify.read_file),
    help="Checkpoints that were kept elsewhere, or `checkpoints` of an older export.",
)
@click.option(
    "--fresh",
    metavar="AGE",
    callback=_read_by(audit_verify.read_seconds),
    help="Maximum age of the last checkpoint, such as 10m. It finds an end that was cut off.",
)
@click.option(
    "--url",
    envvar="SMSHOOK_URL",
    type=http_url,
    metavar="URL",
    show_envvar=True,
    help="Without DIR: address of the API.  Default: the service that runs here.",
)
@click.option(
    "--api-key",
    envvar="SMSHOOK_API_KEY",
    show_envvar=True,
    help="Without DIR: API key.  Default: the first configured key with audit:read.",
)
@click.pass_context
def verify(
    ctx: click.Context,
    folders: tuple[Path, ...],
    keys: tuple[str, ...],
    anchors: tuple[str, ...],
    fresh: str | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Check that no line of an export was changed, added, removed or moved.

    Two folders are a log and the one that continues it after a restore, in this order. Without DIR,
    the log of a service is checked over its API. It runs the program of `audit verifier`. Exits
    with 0 if the log is unchanged, 1 if it was changed (the first place is named), 2 if it was not
    checked.
    """
    options = [("--key", key) for key in keys] + [("--anchor", anchor) for anchor in anchors]
    if fresh is not None:
        options.append(("--fresh", fresh))
    flags = [f"{name}={value}" for name, value in options]
    if folders:
        ctx.exit(audit_verify.main([*flags, "--", *map(str, folders)]))
    with tempfile.TemporaryDirectory() as folder:
        with _checking():
            size = download(find(url, api_key, "audit:read", whole=True), Path(folder))
        verdict = audit_verify.main([*flags, "--", folder])
    if verdict in _OUTCOMES and url is None:
        note("audit.verified", size=size, outcome=_OUTCOMES[verdict])
    ctx.exit(verdict)


@audit.command("verifier", example="audit verifier > audit_verify.py")
def verifier() -> None:
    """Print the program that verifies an export: one file, for Python 3.9 or newer.

    An auditor runs it without smshook: `python3 audit_verify.py export --key KEY`.
    """
    click.echo(Path(audit_verify.__file__).read_text("utf-8"), nl=False)


def _about(line: Any) -> str:
    """Return the fields that no column shows."""
    rest = {name: value for name, value in line.items() if name not in ("n", "at", "do", "by")}
    return " ".join(
        f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in rest.items()
    )


audit.add_command(
    list_command(
        "list",
        path="/v1/audit",
        scope="audit:read",
        none="no lines",
        pick=lambda item: dict(item["leaf"]),
        columns=(
            Column("n"),
            Column("at", field="at", value=relative),
            Column("do", 8),
            Column("by", 7),
            Column("about", 10, value=_about),
        ),
        filters=(
            Filter("do", "Actions, such as key.made; `key.` finds all actions of keys.", "ACTION"),
            Filter("by", "Who did it, such as key/ana, cli/0 or service.", "WHO"),
            Filter("event", "The event that the line names.", "ID", ids="event"),
            Filter("since", "From this time on, or how long ago: 10m.", "TIME", multiple=False),
            Filter("until", "Before this time.", "TIME", multiple=False),
        ),
        example="audit list --do key. --since 7d",
        help="List lines of the audit log.",
    )
)


audit.add_command(who)
audit.add_command(prove)


@audit.command("key", example="audit key")
@output_option
def key(output: str) -> None:
    """Show the keys that verify the log.

    The first key is that of the first epoch: `audit verify` needs it. Keep it on another machine,
    because an attacker who changes the log could change it, too. The second key is for other
    tools for transparency logs.
    """
    with open_log(settings().journal) as log:
        if log.key is None or log.signer is None:
            raise Failure("the log is not signed yet: start the service once")
        keys = {"first": log.key, "log": log.signer}
    if output == "json":
        print_json(keys)
    else:
        print_fields(keys)


@audit.command("export", example="audit export /mnt/auditor/smshook --as ecs")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--since", metavar="TIME", callback=_instant, help="From this time on, or how long ago: 30d."
)
@click.option(
    "--until", metavar="TIME", callback=_instant, help="Up to the first checkpoint after it."
)
@click.option("--tiles", is_flag=True, help="Add the files of c2sp.org/tlog-tiles.")
@click.option(
    "--as",
    "forms",
    type=_Forms(list(FORMS)),
    multiple=True,
    help="Add the lines in the form of another tool. Several: ecs,cef.",
)
def export(
    folder: Path,
    since: float | None,
    until: float | None,
    forms: tuple[str, ...],
    *,
    tiles: bool,
) -> None:
    """Write the log into a new folder, for `audit verify` or for an auditor.

    It ends with the newest checkpoint: lines of the last minute may be missing. The service may run
    meanwhile. `--since` begins at a multiple of 256 lines.
    """
    with open_log(settings().journal) as log:
        try:
            exported = log.export(since=since, until=until)
            end, begin = write_export(folder, exported), exported.beginning.size
            if tiles:
                add_tiles(folder, log.hashes)
            for form in sorted(FORMATS.keys() & ",".join(forms).split(",")):
                add_form(folder, form)
        except WrongExport as exc:
            raise Failure(str(exc)) from None
        except OSError as exc:
            raise Failure(f"{folder} cannot be written: {exc.strerror}") from None
        note("audit.exported", file=str(folder.absolute()), size=end.size)
    lines = f"lines {begin} to {end.size - 1}" if begin else f"{end.size} lines"
    click.echo(f"wrote {plain(near(folder.absolute()))}: {end.origin}, {lines}")


@audit.command("erase", example="audit erase 4711 --reason ticket-4711")
@click.argument("n", metavar="N", type=click.IntRange(min=0))
@click.option(
    "--reason",
    required=True,
    metavar="TEXT",
    help="Why it is erased. The log keeps it; phone numbers in it are replaced by ***.",
)
@output_option
@connection_options
def erase_line(url: str | None, key: str | None, output: str, n: int, reason: str) -> None:
    """Erase a line of the audit log, such as one with the address of a person.

    N is its number. Its hash replaces it, so the log still verifies, and another line says who
    erased it, and why. Copies of the log stay as they are: the file of `audit.file`, exports and
    backups. Lines that a verifier needs are not erased.
    """
    with connect(url, key, "admin", whole=True) as client:
        erased = client.post(f"/v1/audit/lines/{n}/erase", json={"reason": reason})
    if output == "json":
        print_json(erased)
    else:
        click.echo(f"erased line {n}")


@audit.command("compare", example="audit compare")
def compare_journal() -> None:
    """Compare the journal with its audit log, also while the service runs.

    Each event, attempt and key needs its line, and an event must say what its line commits to.
    Content that is erased cannot be compared. It does not verify the log: `audit export` and
    `audit verify` do. Exits with 0 if all agrees, 1 if something differs, 2 if it was not compared.
    """
    with _checking():
        config = configured()
        with open_log(config.journal.path) as log:
            found = compare(log.conn, found_keys(config))
    for text in found.differences:
        click.echo(f"CHANGED: {plain(text)}")
    click.echo(
        f"compared {found.events} events, {found.erased} of them without their content,"
        f" {found.attempts} attempts, {found.keys} keys"
    )
    if found.differences:
        click.get_current_context().exit(1)
    if not found.is_complete:
        raise Wrong("the log never recorded callbacks: set audit.record to `all`")
