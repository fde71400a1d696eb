"""Back up the journal into one file, and restore it, on the machine of the service."""

import contextlib
import os
import sys
from functools import partial
from pathlib import Path

import click

from core.clock import rfc3339
from journal.sqlite.backup import Contents, NotABackup

from .acts import note
from .command import Command, Failure, Wrong
from .connection import configured, near, settings
from .output import output_option, print_fields, print_json
from .progress import bar, show_progress
from .prune import log_on_stderr

_STDIO = "-"
#: Added to the niceness of the command, so that the service gets the processor first.
_NICER = 10


@click.command(cls=Command, example="backup /mnt/backups/smshook.db")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--keys",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Also copy the wrapped keys of an encrypted journal there. Keep them apart from FILE.",
)
@output_option
def backup(file: Path, keys: Path | None, output: str) -> None:
    """Copy the journal into one file, also while the service runs.

    The copy has every event that was accepted before, and is checked. FILE appears when it is
    complete; an earlier backup of that name is replaced. With - as FILE, the copy goes to stdout
    and the summary to stderr. Run it as the user of the service.
    """
    # They import the libraries of the service.
    from .. import backups  # noqa: PLC0415

    known = settings()
    to_stdout = str(file) == _STDIO
    if to_stdout and sys.stdout.isatty():
        raise Wrong("a backup cannot be printed on a terminal; redirect stdout, or name a file")
    if keys is not None and keys.absolute() == file.absolute():
        raise Wrong("FILE and --keys are the same file")
    os.nice(_NICER)
    name = _STDIO if to_stdout else str(file.absolute())
    copied = {} if keys is None else {"keys": str(keys.absolute())}
    try:
        if keys is not None:
            backups.check_keys(known.key_file, keys)
        if to_stdout:
            contents = backups.stream(known.journal, sys.stdout.buffer, _show)
        else:
            own = known.key_file
            contents = backups.back_up(known.path, known.journal, file, _show, keys=own)
        try:
            if keys is not None:
                backups.back_up_keys(known.key_file, keys)
        except BaseException:
            copied = {}  # the first copy is there
            raise
        finally:
            note("backup.made", file=name, events=contents.events, **copied)
    except (backups.WrongPath, NotABackup) as exc:
        raise Failure(str(exc)) from None
    finally:
        show_progress("")
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        _print(None if to_stdout else near(file.absolute()), contents, output)


@click.command(cls=Command, example="restore /mnt/backups/smshook.db")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--without-erasures",
    is_flag=True,
    help="Restore without the file of erased events: what was erased on request comes back.",
)
@output_option
def restore(file: Path, output: str, *, without_erasures: bool) -> None:
    """Restore the journal from a backup.

    The service must be stopped. An existing journal is never replaced: move it to another folder
    first. With - as FILE, the backup is read from stdin. Content that was erased on request since
    the backup is erased again: smshook.erased must be beside the journal. Cursors from
    before the restore answer 410. The service sends the pending deliveries when it starts.
    """
    # They import the libraries of the service.
    from .. import backups, stopped  # noqa: PLC0415

    config = configured()
    restored = partial(stopped.restore, config=config, without_erasures=without_erasures)
    try:
        with log_on_stderr():
            if str(file) == _STDIO:
                contents = restored(sys.stdin.buffer)
            else:
                with file.open("rb") as source:
                    contents = restored(source)
    except (backups.WrongPath, NotABackup) as exc:
        raise Failure(str(exc)) from None
    _print(near(config.journal.path), contents, output)


def _print(file: str | None, contents: Contents, output: str) -> None:
    newest = contents.newest_at
    fields = {
        "file": file,
        "bytes": contents.bytes,
        "events": contents.events,
        "newest_at": None if newest is None else rfc3339(newest),
        "pending": contents.pending,
    }
    if output == "json":
        print_json(fields)
    else:
        print_fields(fields)


def _show(done: int, whole: int) -> None:
    """Show the progress: pages."""
    end = "" if done < whole else ", checking"
    show_progress(f"{bar(done, whole)} {done} of {whole} pages{end}")
