"""A configuration while it is read: its values, where each was written, what is wrong."""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .yaml import Path

_PLAIN = re.compile(r"[\w$-][\w$.-]*")
# Longer than any word of ours, or it may be a token in the wrong place.
_TELLABLE = re.compile(r"[\w.:*-]{0,20}")
_UNTOLD = "what is written there"


class Complaint(NamedTuple):
    #: `smshook.yaml:14`, or the name of a variable.
    where: str
    path: Path
    #: The path as it is told; empty where `where` says all.
    place: str
    text: str

    def __str__(self) -> str:
        """`smshook.yaml:14: sinks.log.type: 'fiel' is not one of file`."""
        return ": ".join(part for part in (self.where, self.place, self.text) if part)


class Complaints:
    """What `load` fills, step by step; complaints are gathered, so that all are told at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.value: dict[str, Any] = {}
        #: Of the file's bytes.
        self.digest = ""
        #: `smshook.yaml:14`, or the name of a variable.
        self.places: dict[Path, str] = {(): file}
        #: Texts that came from a variable: `8` may be meant as a number.
        self.texts: set[Path] = set()
        #: Texts that came from a secret file: shown to nobody, whatever the option.
        self.hidden: set[Path] = set()
        #: In the order they were found.
        self.complaints: list[Complaint] = []
        #: What can be meant and probably is not: a place, and what to say of it.
        self.notes: list[tuple[Path, str]] = []

    def complain(self, path: Path, text: str) -> None:
        self.complain_in(self._where(path), path, text)

    def complain_in(self, where: str, path: Path, text: str) -> None:
        """The same of another line than that of the path."""
        self.complaints.append(Complaint(where, path, dotted(path), text))

    def complain_at(self, place: str, text: str) -> None:
        """The same where a path is known as it is told only: `routes.all.when.data.code`."""
        written = {dotted(path): path for path in self.places}
        known = max((start for start in written if _begins(place, start)), key=len)
        path = written[known]
        self.complaints.append(Complaint(self._where(path), path, place, text))

    def fine(self, path: Path) -> bool:
        """Nothing is wrong at the path or below it."""
        return not any(wrong.path[: len(path)] == path for wrong in self.complaints)

    def told(self, concerns: Callable[[Complaint], bool] = lambda _: True) -> tuple[str, ...]:
        """Every complaint, or those of concern, with its place, in the order of the file."""
        found = filter(concerns, self.complaints)
        return tuple(str(it) for it in sorted(found, key=self._order))

    def warning(self, path: Path, text: str) -> str:
        return str(Complaint(self._where(path), path, dotted(path), text))

    def quoted(self, path: Path, value: object) -> str:
        """The value if it can be told: no secret, or what may be one."""
        tellable = isinstance(value, str) and _TELLABLE.fullmatch(value)
        if not tellable or path in self.texts or path in self.hidden:
            return _UNTOLD
        return repr(value)

    def untold(self, path: Path, text: str) -> str:
        """A text of others, without the values at the path that cannot be told."""
        for at, value in _texts(path, self.at(path)):
            if repr(value) in text:
                text = text.replace(repr(value), self.quoted(at, value))
        return text

    def at(self, path: Path) -> Any:
        """The value there; None if there is none."""
        value: Any = self.value
        for key in path:
            if isinstance(value, dict):
                value = value.get(str(key))
            else:
                value = value[key] if isinstance(value, list) and isinstance(key, int) else None
        return value

    def _where(self, path: Path) -> str:
        # What is missing has no line of its own; what it is missing from has.
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def _order(self, complaint: Complaint) -> tuple[bool, int]:
        line = complaint.where.removeprefix(f"{self.file}:")
        return complaint.where != self.file, int(line) if line.isdecimal() else sys.maxsize


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts((*path, key), item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts((*path, i), item)


def _begins(place: str, start: str) -> bool:
    return not start or place == start or place.startswith((f"{start}.", f"{start}["))


def dotted(path: Path) -> str:
    """`sinks.log.redact[0]`; a key that is no plain word is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if _PLAIN.fullmatch(part) else f".{part!r}"
    return text.removeprefix(".")


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'redact'?`, or nothing."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
