"""Set up the encryption of the journal, show its keys, and change its root key."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from core.clock import rfc3339
from core.printable import plain
from core.secret import Secret
from journal.keyring import DEDUPE, KeyFile, Keyring, Root, UnknownRoot
from journal.seal import Kind

from ..config.roots import root_keys
from ..config.starter import ROOT_NAME, SEAL, write_root
from .command import CommandGroup, Failure, Wrong, config_path
from .connection import near, settings
from .output import output_option, print_json, print_table


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
    """Show which root keys wrap the keys, and which keys exist. It shows no key.

    Exits with 1 if a root key is missing, or the file is damaged.
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
    kinds = [_kind(file, kind) for kind in (*Kind, DEDUPE)]
    if output == "json":
        print_json({"file": str(path), "roots": roots, "kinds": kinds})
    else:
        print_table(list(roots[0]), [list(root.values()) for root in roots], none="")
        click.echo()
        print_table(list(kinds[0]), [list(kind.values()) for kind in kinds], none="")
    missing = wrapping.keys() - configured
    if missing:
        raise Failure(str(UnknownRoot(path, missing)))


@seal.command("rotate", example="seal rotate")
def rotate() -> None:
    """Wrap all keys with the first root key.

    First add the new root key before the old one, and restart the service. It may run meanwhile.
    Afterwards remove the old root key. Exits with 2 if the first one wraps all keys already.
    """
    path, roots, period = _found()
    file = _read(path)
    if {key.root for key in file.keys.values()} == {Root(roots[0]).fingerprint}:
        raise Wrong("the first root key wraps all keys already: add the new one before it")
    ring = Keyring(path, roots, period=period, now=time.time())
    for name in ring.rotate(roots):
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


def _kind(file: KeyFile, kind: str) -> Mapping[str, Any]:
    spans = sorted(file.spans(kind))
    return {
        "kind": str(kind),
        "keys": len(spans),
        "oldest": rfc3339(spans[0].start * 60) if spans else None,
        "newest": rfc3339(spans[-1].start * 60) if spans else None,
    }
