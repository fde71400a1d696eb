"""The state of a configuration while it is read: values, their places, and complaints."""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple, TypeVar

from core.printable import PLACE, named

from .breaks import no_break
from .yaml import Path, Scalar

_WORD = re.compile(r"[\w$-][\w$.-]*")
# A longer text may be a token in the wrong place.
_SHOWABLE = re.compile(r"[\w.:*-]{0,20}")
_MASK = "'***'"

T = TypeVar("T")


class Complaint(NamedTuple):
    #: `smshook.yaml:14`, or the name of a variable.
    where: str
    path: Path
    #: The dotted path; empty where `where` says everything.
    place: str
    text: str

    def __str__(self) -> str:
        """`smshook.yaml:14: sinks.log.type: 'fiel' is not one of file`."""
        place = named(self.place, PLACE)
        return ": ".join(part for part in (self.where, place, self.text) if part)

    @property
    def line(self) -> int:
        """The line of the file; the largest number if `where` has no line."""
        number = self.where.rpartition(":")[2]
        return int(number) if number.isdecimal() else sys.maxsize


class Complaints:
    """One reading of a configuration. It collects complaints, so one run shows all of them."""

    def __init__(self, file: str, rest: Callable[[], None] = no_break) -> None:
        self.file = file
        #: Called often. It may take a break.
        self.rest = rest
        #: Dicts, lists and Scalars. None: a value that has a complaint.
        self.value: dict[str, Any] = {}
        #: Identifies the bytes of the file.
        self.digest = ""
        #: `smshook.yaml:14`, or the name of a variable.
        self.places: dict[Path, str] = {(): file}
        #: In the order they were found.
        self.complaints: list[Complaint] = []
        #: The files of `${file:…}`, by the place that names them.
        self.read_files: dict[Path, list[FilePath]] = {}
        #: Warnings about valid values, with their places.
        self.notes: list[tuple[Path, str]] = []

    def complain(self, path: Path, text: str) -> None:
        self.complain_in(self._where(path), path, text)

    def complain_in(self, where: str, path: Path, text: str) -> None:
        """Add a complaint with another line than the path has."""
        self.complaints.append(Complaint(where, path, dotted(path), text))

    def complain_at(self, place: str, text: str) -> None:
        """Add a complaint about a dotted path such as `routes.all.when.data.code`."""
        written = {dotted(path): path for path in self.places}
        starts = (at for at in written if not at or f"{place}.".startswith((f"{at}.", f"{at}[")))
        path = written[max(starts, key=len)]
        self.complaints.append(Complaint(self._where(path), path, place, text))

    def is_right(self, path: Path) -> bool:
        """Whether nothing is wrong at the path and below it."""
        return not any(wrong.path[: len(path)] == path for wrong in self.complaints)

    def texts(self) -> tuple[str, ...]:
        """Return all complaints with their places."""
        return tuple(map(str, self.in_order()))

    def in_order(self) -> list[Complaint]:
        """Return the complaints about the whole file, then by line, then those without a line."""
        return sorted(self.complaints, key=lambda it: (it.where != self.file, it.line))

    def warning(self, path: Path, text: str) -> str:
        return str(Complaint(self._where(path), path, dotted(path), text))

    def quoted(self, path: Path, value: object) -> str:
        """Return a text in quotes, or masked if it may be a secret."""
        if not isinstance(value, str):
            return "this value"
        written = self.at(path)
        is_replaced = isinstance(written, Scalar) and written.is_replaced
        return _MASK if is_replaced or not _SHOWABLE.fullmatch(value) else repr(value)

    def without_values(self, path: Path, text: str) -> str:
        """Return a text of other code, without the values at the path that may be secrets."""
        for at, value in _texts(path, self.at(path)):
            if repr(value) in text:
                text = text.replace(repr(value), self.quoted(at, value))
        return text

    def at(self, path: Path) -> Any:
        """Return the value there; None if there is none."""
        value: Any = self.value
        for key in path:
            if isinstance(value, dict):
                value = value.get(str(key))
            else:
                value = value[key] if isinstance(value, list) and isinstance(key, int) else None
        return value

    def items(self, path: Path, values: Sequence[T]) -> list[tuple[Path, T]]:
        """Return the converted items of a list, each with the place that it was written in."""
        written = self.at(path)
        # A wrong item has a complaint and is not among the values.
        places = ((*path, i) for i in range(len(written) if isinstance(written, list) else 0))
        return list(zip(filter(self.is_right, places), values, strict=False))

    def _where(self, path: Path) -> str:
        # A missing option has no line of its own. The mapping that lacks it has one.
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def _texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Scalar):
        yield path, value.text
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts((*path, key), item)


def dotted(path: Path) -> str:
    """`sinks.log.redact[0]`; a key that is no plain word is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if _WORD.fullmatch(part) else f".{part!r}"
    return text.removeprefix(".")


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'redact'?`, or nothing."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
