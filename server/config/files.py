"""The files that a configuration names: no two are the same, and they can be written."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from journal.keyring import KEY_FILE
from journal.links import follow_links
from sinks.sink import Sink

from .complaints import Complaints, dotted
from .options import Auditing, JournalOptions, Sealing
from .starter import ROOT_NAME
from .yaml import Path as Place

#: What SQLite and the service keep beside a journal.
BESIDE_JOURNAL = ("-wal", "-shm", "-journal", ".lock")
#: The file with the ids of erased events, beside the journal: one id a line.
ERASED_IDS = "smshook.erased"
#: The files of a rewrite of the key file (journal/key_file.py).
BESIDE_KEY_FILE = (".new", ".dead")
_JOURNAL_URL, _KEY_FILE = ("journal", "url"), ("seal", "file")
#: The first bytes of a database (sqlite.org/fileformat2.html, 1.3).
DATABASE = b"SQLite format 3\0"
#: Copies that only a person knows of, by their first bytes.
_COPIES = {DATABASE: "is a backup or another database", KEY_FILE.encode(): "is a copy of the keys"}


class WrittenFile(NamedTuple):
    """A file that a sink or the audit log appends to."""

    #: The place of the option that names it.
    at: Place
    path: Path
    #: Whether a file of that name is made beside the path.
    sets_aside: Callable[[Path, str], bool]
    #: What waits until its folder exists.
    waits: str = "deliveries wait"

    @property
    def owner(self) -> str:
        return dotted(self.at[:-1])


def written_files(sinks: Mapping[str, Sink], audit: Auditing) -> list[WrittenFile]:
    files = [
        WrittenFile(("sinks", name, option), path, sink.sets_aside)
        for name, sink in sinks.items()
        for option, path in sink.written_files().items()
    ]
    if audit.file is not None:
        sets_aside = _sets_nothing_aside if audit.rotate is None else audit.rotate.makes
        files.append(WrittenFile(("audit", "file"), Path(audit.file), sets_aside, "lines wait"))
    return files + [
        WrittenFile(
            ("audit", "anchors", name, "file"),
            Path(anchor.file),
            _sets_nothing_aside,
            "checkpoints wait",
        )
        for name, anchor in audit.anchors.items()
        if anchor.file is not None
    ]


def _sets_nothing_aside(_path: Path, _name: str) -> bool:
    return False


def reserved_files(config: Path, journal: Path) -> Mapping[Path, str]:
    """Return the files that nothing else may write, and what each of them is."""
    beside = [journal.with_name(f"{journal.name}{end}") for end in BESIDE_JOURNAL]
    return {
        config: "is this configuration",
        config.with_name(ROOT_NAME): "is the root key",
        journal: "is the journal",
        **dict.fromkeys(beside, "is part of the journal"),
        journal.with_name(ERASED_IDS): "has the ids of erased events",
    }


def key_files(path: Path) -> list[Path]:
    """Return the key file, and the files of its rewrite."""
    return [path, *(path.with_name(f"{path.name}{end}") for end in BESIDE_KEY_FILE)]


def check_files(
    reading: Complaints,
    config: Path,
    journal: JournalOptions,
    seal: Sealing,
    sinks: Mapping[str, Sink],
    audit: Auditing,
) -> None:
    """Complain of files that would spoil another file, or that cannot be made."""
    reading.rest()
    read = _read_files(reading, sinks)
    reserved: Mapping[Path, str] = {config: "is this configuration", **read}
    if reading.is_right(("journal",)):
        path = journal.path
        if _is_folder(path):
            reading.complain(_JOURNAL_URL, "is a folder; name a file in it")
        elif not _is_folder(path.parent):
            text = f"there is no folder {path.parent}; make it (mkdir -p), or name another"
            reading.complain(_JOURNAL_URL, text)
        reserved = {**read, **reserved_files(config, path)}
    if reading.is_right(("seal",)):
        reading.rest()
        conflict = _key_file_conflict(seal.path, reserved)
        if conflict is not None:
            reading.complain(_KEY_FILE, conflict)
        reserved = {**reserved, **dict.fromkeys(key_files(seal.path), "has the keys of `seal`")}
    files = written_files(sinks, audit)
    for i, file in enumerate(files):
        reading.rest()
        conflict = _conflict(file, reserved, files[:i], files[i + 1 :]) or _copy(file.path)
        if conflict is not None:
            reading.complain(file.at, conflict)


def _read_files(reading: Complaints, sinks: Mapping[str, Sink]) -> Mapping[Path, str]:
    """Return the files that options read: secrets such as the root key, and certificates."""
    secrets = [(at, path) for at, paths in reading.read_files.items() for path in paths]
    certificates = [
        (("sinks", name, *option), path)
        for name, sink in sinks.items()
        for option, path in sink.read_files().items()
    ]
    return {path: f"is read by {dotted(at)}" for at, path in (*secrets, *certificates)}


def _key_file_conflict(path: Path, reserved: Mapping[Path, str]) -> str | None:
    for each in key_files(path):
        for other, what in reserved.items():
            if is_same(each, other):
                return f"{what}; name another file"
    if _is_folder(path):
        return "is a folder; name a file in it"
    if not _is_folder(path.parent):
        return f"there is no folder {path.parent}; make it (mkdir -p), or name another"
    return None


def _conflict(
    file: WrittenFile,
    reserved: Mapping[Path, str],
    earlier: list[WrittenFile],
    later: list[WrittenFile],
) -> str | None:
    """Return the conflict of a file with a reserved file or another written one, if any."""
    if _is_folder(file.path):
        return "is a folder; name a file in it, such as events.jsonl"
    for other, what in reserved.items():
        if is_same(file.path, other):
            return f"{what}; name another file"
        if _sets_aside(file, other):
            return f"it renames full files to {other.name}, which {what}; name another file"
    for one in (*earlier, *later):
        # The later of two has the complaint.
        if one in earlier and is_same(file.path, one.path):
            return f"{one.owner} writes to this file; two writers would damage it"
        if _sets_aside(one, file.path):
            return f"{one.owner} renames its full files to this name; name another file"
    return None


def _copy(path: Path) -> str | None:
    found = (what for start, what in _COPIES.items() if begins(path, start))
    return next((f"{what}; name another file" for what in found), None)


def unwritable_files(
    reading: Complaints, sinks: Mapping[str, Sink], audit: Auditing
) -> Iterator[str]:
    """Yield a warning for each: the service starts, and writes once there is a file or a folder."""
    for file in written_files(sinks, audit):
        if not _is_folder(file.path.parent):
            text = f"there is no folder {file.path.parent}: {file.waits} until you make it"
            yield reading.warning(file.at, text)
        elif os.path.islink(file.path):  # noqa: PTH114 - raises nothing
            text = (
                f"is a symbolic link, which is not followed: {file.waits} until you name its file"
            )
            yield reading.warning(file.at, text)
        elif os.path.lexists(file.path) and not os.path.isfile(file.path):  # noqa: PTH113 - raises nothing
            text = f"is a device or a pipe: {file.waits} until you name a file"
            yield reading.warning(file.at, text)


def _is_folder(path: Path) -> bool:
    # Path.is_dir raises where a name is too long, or may not be looked at.
    return os.path.isdir(path)  # noqa: PTH112


def is_same(path: Path, other: Path) -> bool:
    """Compare names with links followed; where both exist, compare the files."""
    if follow_links(path) == follow_links(other):
        return True
    try:
        return path.samefile(other)
    except OSError:
        return False


def begins(path: Path, start: bytes) -> bool:
    """Return whether a file has these first bytes, and can be read."""
    if os.path.isfile(path):  # noqa: PTH113 - raises nothing
        with contextlib.suppress(OSError), path.open("rb") as file:
            return file.read(len(start)) == start
    return False


def _sets_aside(file: WrittenFile, path: Path) -> bool:
    return is_same(file.path.parent, path.parent) and file.sets_aside(file.path, path.name)
