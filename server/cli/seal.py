"""Set up the encryption of the journal, seal older rows, show its keys, change its root key."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from core.clock import rfc3339
from core.errors import Broken
from core.printable import plain
from core.secret import Secret
from journal.keyring import DEDUPE, FoundKeys, KeyFile, Keyring, Root, UnknownRoot
from journal.lock import holder
from journal.records import Unsealed
from journal.seal import Kind
from journal.sqlite.inspection import find_rows

from ..config.kept import key_kept
from ..config.roots import root_keys
from ..config.starter import ROOT_NAME, SEAL, write_root
from .acts import note
from .client import ApiClient
from .command import CommandGroup, Failure, Wrong, config_path
from .connection import configured, connect, connection_options, near, settings
from .output import output_option, print_json, print_table
from .progress import show_progress
from .prune import log_on_stderr, print_sizes, vacuumed

_PATH = "/v1/seal"
#: Seconds between two looks at the progress.
_LOOK = 0.3
#: Seconds for a count of all rows.
_COUNTED_WITHIN = 600.0


@click.group(cls=CommandGroup)
def seal() -> None:
    """Encryption of texts, codes and numbers in the journal."""


@seal.command("init", example="seal init")
def init() -> None:
    """Write a root key, and print the lines that use it.

    The file is smshook.root in the folder of the configuration. An existing one is never changed.
    """
    path = config_path().absolute().parent / ROOT_NAME
    try:
        write_root(path)
    except FileExistsError:
        raise Failure(f"{path} exists already; nothing was written") from None
    click.echo(f"wrote {plain(near(path))}. Add these lines to {plain(str(config_path()))}:\n")
    click.echo(SEAL, nl=False)


@seal.command("show", example="seal show")
@output_option
def show(output: str) -> None:
    """Show fingerprints of root keys, the keys that they wrap, and the rows in clear.

    It reads all rows, which takes seconds in a large journal. Exits with 1 if a root key or
    a key of stored rows is missing, or the file is damaged.
    """
    path, found, _ = _found()
    file = _read(path)
    configured = [Root(root).fingerprint for root in found]
    wrapping = Counter(key.root for key in file.keys.values())
    roots = [
        {
            "root": name,
            "configured": name in configured,
            "wraps": name in configured[:1],
            "keys": wrapping[name],
        }
        for name in dict.fromkeys([*configured, *wrapping])
    ]
    kept = settings().retention
    kinds = [_kind(file, kind, key_kept(kept, kind)) for kind in (*Kind, DEDUPE)]
    missing = file.unknown_roots(found, Secret(settings().secret))
    rows = _rows(path, file, found)
    if output == "json":
        print_json({"file": str(path), "roots": roots, "kinds": kinds, **rows})
    else:
        print_table(list(roots[0]), [list(root.values()) for root in roots], none="")
        click.echo()
        print_table(list(kinds[0]), [list(kind.values()) for kind in kinds], none="")
        click.echo()
        _print_rows(rows)
    if missing:
        raise Failure(str(UnknownRoot(path, missing)))
    if any(rows["without_key"].values()):
        raise Failure(
            f"{path.name} does not have all keys of the stored rows: replace it by a copy that does"
        )


@seal.command("migrate", example="seal migrate")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Also rewrite the file, without remains of rows in clear. The service must be stopped.",
)
@output_option
@connection_options
def migrate(url: str | None, key: str | None, output: str, *, vacuum: bool) -> None:
    """Encrypt the rows that were stored in clear.

    If the service runs, it encrypts between callbacks; otherwise this command opens the journal. A
    run that was interrupted continues where it ended. A row gets the key of its own time, and is
    erased if that key is destroyed already. Exits with 1 if rows are still in clear.
    """
    sizes: Mapping[str, int] = {}
    if url is None and holder(settings().journal) is None:
        _found()
        run = _migrate_stopped()
        sizes = vacuumed() if vacuum and run["error"] is None else {}
    elif vacuum:
        raise Failure("--vacuum rewrites the whole file; stop the service first")
    else:
        with connect(url, key, "admin", whole=True) as client:
            run = _migrate_running(client)
    counts = {name: run[name] for name in ("found", "sealed", "erased")}
    if output == "json":
        print_json({**counts, "error": run["error"], **sizes})
    else:
        rows = [[table, *(each.get(table, 0) for each in counts.values())] for table in Unsealed]
        print_table(["rows", *counts], rows, none="")
        print_sizes(sizes)
    if run["error"] is not None:
        raise Failure(f"not all rows are sealed: {run['error']}; call it again")


def _migrate_running(client: ApiClient) -> Mapping[str, Any]:
    run = client.post(f"{_PATH}/migrate")
    while run["state"] == "running":
        _show(run)
        time.sleep(_LOOK)
        run = client.get(_PATH)
    show_progress("")
    return dict(run)


def _migrate_stopped() -> Mapping[str, Any]:
    # The framework takes a third of a second to import, which a running service does without.
    from ..stopped import seal as seal_rows  # noqa: PLC0415

    try:
        with log_on_stderr():
            run = seal_rows(configured(), progress=lambda run: _show(msgspec.to_builtins(run)))
    except Broken as exc:
        click.echo(plain(str(exc)), err=True)
        os._exit(1)  # closing the file would write to it again
    show_progress("")
    return dict(msgspec.to_builtins(run))


def _show(run: Mapping[str, Any]) -> None:
    """Show the progress: rows."""
    if run["found"]:
        done = sum(run["sealed"].values()) + sum(run["erased"].values())
        show_progress(f"{done} of {sum(run['found'].values())} rows")


def _rows(path: Path, file: KeyFile, roots: Sequence[Secret]) -> Mapping[str, Any]:
    """Return the rows in clear and those without a key, of the service or of its file."""
    known = settings()
    if holder(known.journal) is not None:
        # Without a key for the API, the file says the same.
        with (
            contextlib.suppress(Wrong),
            connect(None, None, "admin", whole=True, timeout=_COUNTED_WITHIN) as client,
        ):
            return dict(client.get(f"{_PATH}/rows"))
    try:
        rows = find_rows(known.journal, file.lacks, FoundKeys(path, file, roots))
    except Broken as exc:
        raise Failure(str(exc)) from None
    if rows is None:
        return {"in_clear": {}, "without_key": {}, "seals_dedupe": True}
    return msgspec.to_builtins(rows)  # type: ignore[no-any-return]


def _print_rows(rows: Mapping[str, Any]) -> None:
    in_clear, without_key = rows["in_clear"], rows["without_key"]
    columns = ["rows", "in clear", "without key"]
    counts = [[table, in_clear.get(table, 0), without_key.get(table)] for table in in_clear]
    print_table(columns, counts, none="there is no journal yet")
    if any(in_clear.values()):
        click.echo("\nsmshook seal migrate seals the rows in clear")
    if not rows["seals_dedupe"]:
        click.echo(
            "\ndedupe keys stay as they were: the journal is older than its key file, and they"
            " depend on server.secret only"
        )


@seal.command("rotate", example="seal rotate")
def rotate() -> None:
    """Wrap all keys with the first root key.

    First add the new root key before the old one, and restart the service. It may run during this
    command. Afterwards remove the old root key. Exits with 1 if the service was not restarted, and
    with 2 if the first root key wraps all keys already.
    """
    path, roots, period = _found()
    file, first = _read(path), Root(roots[0]).fingerprint
    if {key.root for key in file.keys.values()} == {first}:
        raise Wrong("the first root key wraps all keys already: add the new one before it")
    service = holder(settings().journal)
    if service is not None and service.root != first:
        # It would wrap new keys with the old root key.
        raise Failure(
            f"process {service.pid} does not use the first root key yet: restart it first"
        )
    ring = Keyring(path, roots, period=period, now=time.time())
    unneeded = ring.rotate(roots)
    if service is None and settings().journal.exists():  # a service records it itself
        note("seal.rotated", root=first)
    for name in unneeded:
        click.echo(f"the root key {name} is no longer needed: remove it from seal.root")


def _found() -> tuple[Path, Sequence[Secret], float]:
    """Return the key file, the root keys and the period. Raises Wrong if nothing is sealed."""
    known = settings()
    if not known.seal.is_on:
        raise Wrong("nothing is sealed: seal.root is not set; `smshook seal init` makes a root key")
    roots = root_keys(known.seal, known.path.parent)
    return known.seal.path, roots, known.seal.period


def _read(path: Path) -> KeyFile:
    file = KeyFile.read(path)
    if file is None:
        raise Failure(f"there is no {path}: the service makes it at its start")
    return file


def _kind(file: KeyFile, kind: str, kept: float | None) -> Mapping[str, Any]:
    """Return the keys of a kind; `kept`: seconds from the end of a period to its destruction."""
    spans = sorted(file.spans(kind))
    ends = spans[0].end * 60 + kept if spans and kept is not None else None
    return {
        "kind": str(kind),
        "keys": len(spans),
        "oldest": rfc3339(spans[0].start * 60) if spans else None,
        "newest": rfc3339(spans[-1].start * 60) if spans else None,
        "destroyed_next": None if ends is None else rfc3339(ends),
    }
