"""Prune old data at once."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping

import click
import structlog

from core.errors import Broken
from core.printable import plain
from journal.lock import Lock, holder
from journal.sqlite.schema import DiskFull
from journal.sqlite.schema import vacuum as rewrite

from .client import ApiClient
from .command import Command, Failure
from .connection import configured, connect, connection_options, near, settings
from .output import output_option, print_json, print_table
from .progress import show_progress

_PATH = "/v1/retention"
#: Seconds between two looks at the progress.
_LOOK = 0.3


@click.command(cls=Command, example="prune --dry-run")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed or erased.")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Also give the space back to the disk. The service must be stopped.",
)
@output_option
@connection_options
def prune(url: str | None, key: str | None, output: str, *, dry_run: bool, vacuum: bool) -> None:
    """Remove and erase data that is older than `retention`, at once.

    The service does this all the time. If it runs, it prunes beside its work; otherwise this
    command opens the journal. The rows are counted by kind.
    """
    sizes: Mapping[str, int] = {}
    if url is None and holder(settings().journal) is None:
        counts = _prune_stopped(dry_run=dry_run)
        sizes = vacuumed() if vacuum and not dry_run else {}
    elif vacuum:
        raise Failure("--vacuum rewrites the whole file; stop the service first")
    else:
        with connect(url, key, "admin", whole=True) as client:
            counts = _prune_running(client, dry_run=dry_run)
    if output == "json":
        print_json({"dry_run": dry_run, "counts": counts, **sizes})
        return
    print_table(["kind", "rows"], list(counts.items()), none="retention keeps everything")
    print_sizes(sizes)


def _prune_running(client: ApiClient, *, dry_run: bool) -> Mapping[str, int]:
    run = client.post(f"{_PATH}/prune", json={"dry_run": dry_run})
    while run["state"] == "running":
        _show(run["counts"])
        time.sleep(_LOOK)
        run = client.get(_PATH)
    show_progress("")
    counts: Mapping[str, int] = run["counts"]
    return counts


def _prune_stopped(*, dry_run: bool) -> Mapping[str, int]:
    # The framework takes a third of a second to import, which a running service does without.
    from ..stopped import prune as run  # noqa: PLC0415

    try:
        with log_on_stderr():
            counts = run(configured(), dry_run=dry_run, progress=_show)
    except Broken as exc:
        click.echo(plain(str(exc)), err=True)
        os._exit(1)  # closing the file would write to it again
    show_progress("")
    return counts


@contextlib.contextmanager
def log_on_stderr() -> Iterator[None]:
    """Keep log lines out of the output; only warnings are shown."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def vacuumed() -> Mapping[str, int]:
    """Rewrite the file of a stopped service; return `bytes_before` and `bytes_after`."""
    path = configured().journal.path
    with Lock(path) as lock:
        lock.hold()
        before = path.stat().st_size
        try:
            rewrite(path)
        except DiskFull as exc:
            raise Failure(
                f"there is no space to rewrite {near(path)}: its disk needs {2 * before} free bytes"
            ) from exc
        except Broken as exc:
            click.echo(plain(f"{near(path)}: {exc}"), err=True)
            os._exit(1)  # closing the file would write to it again
        return {"bytes_before": before, "bytes_after": path.stat().st_size}


def print_sizes(sizes: Mapping[str, int]) -> None:
    """Print what `vacuumed` returned; nothing if it was not called."""
    if sizes:
        click.echo("the file had {bytes_before} bytes, and has {bytes_after} now".format(**sizes))


def _show(counts: Mapping[str, int]) -> None:
    """Show the progress: rows so far."""
    show_progress(", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
