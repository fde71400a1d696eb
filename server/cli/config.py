"""Commands on the configuration and on the journal's file, without a service."""

import contextlib
import os
from pathlib import Path

import click

from core.errors import Broken
from core.printable import is_utf8, plain
from journal.keyring import KeyFile, UnknownRoot
from journal.lock import Lock, holder
from journal.sqlite.schema import migrate as bring_up_to_date

from ..config.load import load, schema, shown
from ..config.starter import NAME, ROOT_NAME, starter, write
from .command import Command, CommandGroup, Failure, Wrong, config_path, typed_config
from .connection import configured, edited, near
from .output import print_json
from .promises import forgotten, promises, secrecy
from .welcome import program, with_config


@click.command(cls=Command, example="init")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def init(folder: Path | None) -> None:
    """Write a first smshook.yaml with new tokens and keys, and the root key of its journal.

    The file is written into DIR, which is created if needed; without DIR, to the path of --config
    or SMSHOOK_CONFIG, or into the current folder. The root key is smshook.root beside it. An
    existing file is never changed; an existing root key is used.
    """
    if folder is not None and typed_config() is not None:
        raise Wrong("DIR and --config both name a place: give only one of them")
    path = config_path() if folder is None else folder / NAME
    if not is_utf8(str(path.absolute())):  # no other command would read it
        raise Wrong(f"{path}: its folder or its name is not UTF-8; rename it")
    # A dangling link counts as an existing file.
    if os.path.lexists(path):
        raise Failure(f"{path} exists already; nothing was written")
    root = path.with_name(ROOT_NAME)
    is_new = not os.path.lexists(root)
    try:
        write(path, starter())
    except OSError as exc:
        raise Failure(f"{path} cannot be written: {exc.strerror}") from None
    click.echo(f"wrote {plain(str(path))}")
    if is_new:
        click.echo(f"wrote {plain(str(root))}: keep a copy elsewhere; the journal needs it")
    else:
        click.echo(f"kept {plain(str(root))}, which was there: the journal needs it")
    click.echo("start the service with:")
    click.echo(f"  {with_config(program(), path)} serve")


@click.command(cls=Command, example="check")
def check() -> None:
    """Validate the configuration and print what it guarantees.

    It prints who may call each source, which sinks get the events of each route, and which sinks
    see codes. All errors and warnings are printed at once, each with its line. The key file is
    read, too, but `seal.command` is not run.
    """
    loaded = load(config_path(), environ=os.environ)
    seal = loaded.config.seal
    keys = KeyFile.read(seal.path) if seal.root else None
    unknown = keys.unknown_roots(seal.root, loaded.config.server.secret) if keys else ()
    if unknown:
        raise UnknownRoot(seal.path, unknown)
    for line in (*promises(loaded.config), *secrecy(loaded.config, loaded.root_files)):
        click.echo(plain(line))
    for warning in (*loaded.warnings, *forgotten(loaded.config)):
        click.echo(plain(f"warning: {warning}"), err=True)
    with contextlib.suppress(PermissionError):  # another user may check the file, too
        found = holder(loaded.config.journal.path)
        note = None if found is None else edited(found)
        if note is not None:
            click.echo(plain(f"note: {note}"), err=True)


@click.group(cls=CommandGroup)
def config() -> None:
    """The configuration file."""


@config.command(example="config show")
def show() -> None:
    """Print the effective configuration with its secrets masked.

    It combines defaults, file and environment. Errors follow as comments.
    """
    path = config_path()
    if not path.exists():
        configured()
    click.echo(shown(path, os.environ), nl=False)


@config.command("schema", example="config schema > smshook.schema.json")
def print_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    print_json(schema())


@click.command(cls=Command, example="migrate")
def migrate() -> None:
    """Update the journal's schema.

    `serve` does this too when it starts. Refused while a service uses the journal.
    """
    path = configured().journal.path
    with Lock(path) as lock:
        lock.hold()
        try:
            steps = bring_up_to_date(path)
        except Broken as exc:
            click.echo(plain(str(exc)), err=True)
            os._exit(1)  # closing the file would write to it again
    for step in steps:
        click.echo(step)
    if not steps:
        click.echo(f"{near(path)} is up to date")
