"""The results document: what a run measured, on which machine, and what it could not measure."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was measured, once a repetition."""

    name: str
    unit: str
    #: One sentence for the report.
    what: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A curve, whose axes are named in words and with their units."""

    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a figure, or of the ratio of two in one repetition."""

    name: str
    what: str
    bound: Literal["at least", "at most"]
    wanted: float
    unit: str
    #: One a repetition; none where it was not measured.
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of a goal that was measured."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> Literal["met", "missed", "not measured"]:
        if not self.values:
            return "not measured"
        return "met" if self._met() else "missed"

    def _met(self) -> bool:
        if self.bound == "at least":
            return self.median >= self.wanted
        return self.median <= self.wanted


class NotMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure or a goal that this run does not have."""

    name: str
    why: str


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    #: RFC 3339, in UTC.
    made_at: str
    #: Of smshook.
    version: str
    commit: str
    quick: bool
    machine: dict[str, str]
    versions: dict[str, str]
    figures: tuple[Figure, ...]
    series: tuple[Series, ...]
    goals: tuple[Goal, ...]
    not_measured: tuple[NotMeasured, ...]

    def figure(self, name: str) -> Figure | None:
        return next((one for one in self.figures if one.name == name), None)

    def curve(self, name: str) -> Series | None:
        return next((one for one in self.series if one.name == name), None)

    def goal(self, name: str) -> Goal | None:
        return next((one for one in self.goals if one.name == name), None)

    def figures_of(self, group: str) -> Iterator[Figure]:
        """Those whose names begin with `group/`."""
        return (one for one in self.figures if one.name.startswith(f"{group}/"))


def read(file: Path) -> Results:
    return msgspec.json.decode(file.read_bytes(), type=Results)


def document(results: Results) -> bytes:
    """JSON, with a line for each value's place, so that two runs can be compared by eye."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def write(file: Path, results: Results) -> None:
    file.write_bytes(document(results))
