"""The files that a configuration names: no two of them are one, and their folders are there."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sinks.file import File
from sinks.sink import Sink

from .options import Journal
from .reading import Reading

#: What SQLite and the service keep beside a journal.
_BESIDE = ("-wal", "-shm", "-journal", ".lock")


class Files:
    """Complains where one would spoil another, or cannot be made."""

    def __init__(
        self, reading: Reading, config: Path, journal: Journal, sinks: Mapping[str, Sink]
    ) -> None:
        self.reading, self.journal = reading, journal
        self.files = {name: sink for name, sink in sinks.items() if isinstance(sink, File)}
        self.kept = {config: "is this file, the configuration"}
        if reading.fine(("journal",)):
            self.kept[journal.path] = "is the journal"
            beside = [journal.path.with_name(f"{journal.path.name}{end}") for end in _BESIDE]
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
        if path.is_dir():
            self.reading.complain(("journal", "url"), "is a folder; name a file in it")
        elif not path.parent.is_dir():
            text = f"there is no folder {path.parent}; make it (mkdir -p), or name another"
            self.reading.complain(("journal", "url"), text)

    def complaint(self, name: str, sink: File) -> str | None:
        path = Path(sink.path)
        if path.is_dir():
            return "is a folder; name a file in it, such as events.jsonl"
        for other, what in self.kept.items():
            if _is_same(path, other):
                return f"{what}; name another"
            if _sets_aside(sink, other):
                return f"when it rotates, its {other.name} {what}; name another"
        return self.shared(name, sink, path)

    def shared(self, name: str, sink: File, path: Path) -> str | None:
        """Said once of two: of the later one, unless only the earlier one's path is in the way."""
        earlier = True
        for other, its in self.files.items():
            if other == name:
                earlier = False
            elif earlier and _is_same(path, Path(its.path)):
                return f"sinks.{other} writes to this file; two would spoil it"
            elif _sets_aside(its, path):
                return f"sinks.{other} sets files aside under this name; name another"
            elif earlier and _share_a_name(sink, its):
                return f"sinks.{other} sets files aside under names of this one's; name another"
        return None


def missing_folders(reading: Reading, sinks: Mapping[str, Sink]) -> Iterator[str]:
    """Warnings: the service starts without them, and delivers when they are there."""
    for name, sink in sinks.items():
        if isinstance(sink, File) and not Path(sink.path).parent.is_dir():
            text = f"there is no folder {Path(sink.path).parent}: deliveries wait until you make it"
            yield reading.warning(("sinks", name, "path"), text)


def _is_same(path: Path, other: Path) -> bool:
    """By name with links followed, or, where both are there, by what they are."""
    if path.resolve() == other.resolve():
        return True
    try:
        return path.samefile(other)
    except OSError:
        return False


def _sets_aside(sink: File, path: Path) -> bool:
    return _is_same(Path(sink.path).parent, path.parent) and sink.sets_aside(path.name)
