"""The files that a configuration names: no two of them are one, and their folders are there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sinks.sink import Sink

from .complaints import Complaints
from .options import JournalOptions

#: What SQLite and the service keep beside a journal.
BESIDE_JOURNAL = ("-wal", "-shm", "-journal", ".lock")


class WrittenFile(NamedTuple):
    """A file that a sink appends to, by the option that names it."""

    name: str
    option: str
    sink: Sink
    path: Path


def written_files(sinks: Mapping[str, Sink]) -> list[WrittenFile]:
    return [
        WrittenFile(name, option, sink, path)
        for name, sink in sinks.items()
        for option, path in sink.written_files().items()
    ]


class ConfiguredFiles:
    """Complains where one would spoil another, or cannot be made."""

    def __init__(
        self, reading: Complaints, config: Path, journal: JournalOptions, sinks: Mapping[str, Sink]
    ) -> None:
        self.reading, self.journal = reading, journal
        self.files = written_files(sinks)
        self.kept = {config: "is this configuration"}
        if reading.fine(("journal",)):
            self.kept[journal.path] = "is the journal"
            beside = [journal.path.with_name(f"{journal.path.name}{end}") for end in BESIDE_JOURNAL]
            self.kept |= dict.fromkeys(beside, "is part of the journal")

    def check(self) -> None:
        if self.reading.fine(("journal",)):
            self.journal_itself()
        for file in self.files:
            text = self.complaint(file)
            if text is not None:
                self.reading.complain(("sinks", file.name, file.option), text)

    def journal_itself(self) -> None:
        path = self.journal.path
        if _is_folder(path):
            self.reading.complain(("journal", "url"), "is a folder; name a file in it")
        elif not _is_folder(path.parent):
            text = f"there is no folder {path.parent}; make it (mkdir -p), or name another"
            self.reading.complain(("journal", "url"), text)

    def complaint(self, file: WrittenFile) -> str | None:
        if _is_folder(file.path):
            return "is a folder; name a file in it, such as events.jsonl"
        for other, what in self.kept.items():
            if _is_same(file.path, other):
                return f"{what}; name another file"
            if _sets_aside(file, other):
                return f"it sets files aside as {other.name}, which {what}; name another file"
        return self.shared(file)

    def shared(self, file: WrittenFile) -> str | None:
        """Return a complaint about the later of two sinks that write to one file."""
        earlier = True
        for other in self.files:
            if other is file:
                earlier = False
            elif earlier and _is_same(file.path, other.path):
                return f"sinks.{other.name} writes to this file; two would spoil it"
            elif _sets_aside(other, file.path):
                return f"sinks.{other.name} sets files aside under this name; name another file"
        return None


def missing_folders(reading: Complaints, sinks: Mapping[str, Sink]) -> Iterator[str]:
    """Warnings: the service starts without them, and delivers when they are there."""
    for file in written_files(sinks):
        if not _is_folder(file.path.parent):
            text = f"there is no folder {file.path.parent}: deliveries wait until you make it"
            yield reading.warning(("sinks", file.name, file.option), text)


def _is_folder(path: Path) -> bool:
    # Path.is_dir raises where a name is too long, or may not be looked at.
    return os.path.isdir(path)  # noqa: PTH112


def _is_same(path: Path, other: Path) -> bool:
    """By name with links followed, or, where both are there, by what they are."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    try:
        return path.samefile(other)
    except OSError:
        return False


def _sets_aside(file: WrittenFile, path: Path) -> bool:
    return _is_same(file.path.parent, path.parent) and file.sink.sets_aside(file.path, path.name)
