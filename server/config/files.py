"""The files that a configuration names: no two of them are one, and their folders are there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sinks.file.sink import File
from sinks.sink import Sink

from .complaints import Complaints
from .options import JournalOptions

#: What SQLite and the service keep beside a journal.
BESIDE_JOURNAL = ("-wal", "-shm", "-journal", ".lock")


class ConfiguredFiles:
    """Complains where one would spoil another, or cannot be made."""

    def __init__(
        self, reading: Complaints, config: Path, journal: JournalOptions, sinks: Mapping[str, Sink]
    ) -> None:
        self.reading, self.journal = reading, journal
        self.files = {name: sink for name, sink in sinks.items() if isinstance(sink, File)}
        self.kept = {config: "is this configuration"}
        if reading.fine(("journal",)):
            self.kept[journal.path] = "is the journal"
            beside = [journal.path.with_name(f"{journal.path.name}{end}") for end in BESIDE_JOURNAL]
            self.kept |= dict.fromkeys(beside, "is part of the journal")

    def check(self) -> None:
        if self.reading.fine(("journal",)):
            self.journal_itself()
        for name, sink in self.files.items():
            text = self.complaint(name, sink)
            if text is not None:
                self.reading.complain(("sinks", name, "path"), text)

    def journal_itself(self) -> None:
        path = self.journal.path
        if _is_folder(path):
            self.reading.complain(("journal", "url"), "is a folder; name a file in it")
        elif not _is_folder(path.parent):
            text = f"there is no folder {path.parent}; make it (mkdir -p), or name another"
            self.reading.complain(("journal", "url"), text)

    def complaint(self, name: str, sink: File) -> str | None:
        path = Path(sink.path)
        if _is_folder(path):
            return "is a folder; name a file in it, such as events.jsonl"
        for other, what in self.kept.items():
            if _is_same(path, other):
                return f"{what}; name another file"
            if _sets_aside(sink, other):
                return f"it sets files aside as {other.name}, which {what}; name another file"
        return self.shared(name, path)

    def shared(self, name: str, path: Path) -> str | None:
        """Of two that write to one file the later one is complained of."""
        earlier = True
        for other, its in self.files.items():
            if other == name:
                earlier = False
            elif earlier and _is_same(path, Path(its.path)):
                return f"sinks.{other} writes to this file; two would spoil it"
            elif _sets_aside(its, path):
                return f"sinks.{other} sets files aside under this name; name another file"
        return None


def missing_folders(reading: Complaints, sinks: Mapping[str, Sink]) -> Iterator[str]:
    """Warnings: the service starts without them, and delivers when they are there."""
    for name, sink in sinks.items():
        if isinstance(sink, File) and not _is_folder(Path(sink.path).parent):
            text = f"there is no folder {Path(sink.path).parent}: deliveries wait until you make it"
            yield reading.warning(("sinks", name, "path"), text)


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


def _sets_aside(sink: File, path: Path) -> bool:
    return _is_same(Path(sink.path).parent, path.parent) and sink.sets_aside(path.name)
