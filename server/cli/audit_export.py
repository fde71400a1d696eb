"""Writes an export of the audit log: a folder that an auditor can verify without the service."""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from journal.audit.export import CHECKPOINT, CHECKPOINTS, ENTRIES, LOG_KEY, PRUNED, Beginning, Tiles
from journal.audit.formats import FORMATS
from journal.audit.lines import leaf_of
from journal.audit.note import Checkpoint, Note, VerifierKey
from journal.audit.tree import Frontier, HashesAt

from ..durable import make_folder

#: What `--as` takes.
FORMS = ("jsonl", *FORMATS)


class ExportedLog(msgspec.Struct, frozen=True):
    """The part of an audit log that is exported, with what verifies it."""

    #: The key that signs all checkpoints, in addition to the keys of the epochs.
    key: VerifierKey
    #: The lines that are left out.
    beginning: Beginning
    #: The lines after them, without newlines. Lines after the last checkpoint are not read.
    lines: Iterable[bytes]
    #: The kept checkpoints, oldest first: whole notes. Those after the last one are left out.
    checkpoints: tuple[str, ...]
    #: The last checkpoint, with which the export ends: the newest, or an earlier one.
    checkpoint: str


class WrongExport(Exception):
    """The folder is in use, or the lines are not those of the last checkpoint."""


def write_export(folder: Path, log: ExportedLog) -> Checkpoint:
    """Write an export into a new or empty folder; return its last checkpoint.

    The file `checkpoint` is written last: an export without it is not complete. Raises WrongExport
    and OSError.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise WrongExport(f"{folder} is not empty; name a new folder")
    end = _state(log.checkpoint)
    frontier = Frontier(log.beginning.size, log.beginning.frontier)
    lines = iter(log.lines)
    with (folder / ENTRIES).open("xb") as file:
        while frontier.size < end.size and (line := next(lines, None)) is not None:
            file.write(line + b"\n")
            frontier.append(leaf_of(line))
    if (frontier.size, frontier.root()) != (end.size, end.root):
        raise WrongExport(f"the lines are not those of the checkpoint of {end.size} lines")
    for name, text in {
        CHECKPOINTS: "".join(note for note in log.checkpoints if _state(note).size <= end.size),
        LOG_KEY: f"{log.key}\n",
        PRUNED: log.beginning.json(),
        CHECKPOINT: log.checkpoint,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return end


def add_form(folder: Path, form: str) -> Path:
    """Write the lines of an export for another tool; return the new file.

    `form` is a name of FORMATS: `ecs` becomes `entries.ecs.jsonl`, `cef` becomes `entries.cef`.
    Erased lines are left out. Raises OSError.
    """
    origin = (folder / CHECKPOINT).read_text("utf-8").partition("\n")[0]
    write = FORMATS[form]
    target = folder / ("entries.cef" if form == "cef" else f"entries.{form}.jsonl")
    with (folder / ENTRIES).open("rb") as lines, target.open("x", encoding="utf-8") as file:
        for line in lines:
            leaf = json.loads(line)
            if "erased" not in leaf:
                file.write(f"{write(leaf, origin)}\n")
    return target


def add_tiles(folder: Path, hashes: HashesAt | None = None) -> None:
    """Add the layout of c2sp.org/tlog-tiles to an export: `tile/…`, beside its `checkpoint`.

    `hashes` reads roots of full tiles before the first line; without it, the export must begin with
    line 0. Raises OSError, and ValueError if the first line is no multiple of 256.
    """
    start = Beginning.read((folder / PRUNED).read_bytes()).size
    tiles = Tiles(start, hashes)
    with (folder / ENTRIES).open("rb") as lines:
        for line in lines:
            for tile in tiles.append(line.removesuffix(b"\n")):
                _write(folder / tile.path, tile.data)
    for tile in tiles.rest():
        _write(folder / tile.path, tile.data)


def _state(note: str) -> Checkpoint:
    return Checkpoint.parse(Note.parse(note).text)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
