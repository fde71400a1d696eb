"""The results of a run, as its JSON file holds them."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

#: Stands in place of a missing figure.
MISSING = "not measured"
#: A server that only answers. Rates are compared with its rate.
FLOOR = "noop/64"
#: The rate of smshook that stands beside those of its peers.
PIPELINE = "pipeline/http"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured quantity, with one value for each repetition."""

    name: str
    unit: str = ""
    #: A description for the report.
    what: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Goal(Figure, frozen=True, kw_only=True):
    """A bound for a figure, or for the ratio of two figures within a repetition."""

    figure: str = ""
    #: The figure to divide by. Empty: no ratio.
    over: str = ""
    bound: Literal["at least", "at most"]
    wanted: float
    #: A better value that is worth work. None: there is none.
    aim: float | None = None
    #: Empty if it was not measured.
    values: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """`met` or `missed` by the median, or `not measured`."""
        return self._compared(self.wanted, "met", "missed")

    @property
    def aimed(self) -> str:
        """`reached` or `not reached` by the median, or `not measured`; empty without an aim."""
        return "" if self.aim is None else self._compared(self.aim, "reached", "not reached")

    def _compared(self, bound: float, good: str, bad: str) -> str:
        if not self.values:
            return MISSING
        sign = 1 if self.bound == "at least" else -1
        return good if sign * (self.median - bound) >= 0 else bad


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A curve, with the titles of its axes."""

    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A figure or a case that this run did not measure."""

    name: str
    why: str


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    #: RFC 3339, in UTC.
    made_at: str
    #: The version of smshook.
    version: str
    commit: str
    quick: bool
    machine: dict[str, str]
    versions: dict[str, str]
    figures: tuple[Figure, ...]
    series: tuple[Series, ...]
    goals: tuple[Goal, ...]
    not_measured: tuple[Unmeasured, ...]

    def figure(self, name: str) -> Figure | None:
        return next((one for one in self.figures if one.name == name), None)

    def curve(self, name: str) -> Series | None:
        return next((one for one in self.series if one.name == name and one.points), None)

    def reason(self, name: str) -> str:
        """Return why a figure, or its whole case, was not measured; `-` if that is unknown."""
        whys = (one.why for one in self.not_measured if f"{name}/".startswith(f"{one.name}/"))
        return next(whys, "-")


def ratios(values: Sequence[float], base: Sequence[float]) -> tuple[float, ...]:
    """Divide within each repetition: a slow minute of the machine slows both.

    With different numbers of repetitions, return the ratio of the medians only.
    """
    if values and base and len(values) != len(base):
        values, base = [statistics.median(values)], [statistics.median(base)]
    return tuple(one / other for one, other in zip(values, base, strict=False) if other)


def read(file: Path) -> Results:
    return msgspec.json.decode(file.read_bytes(), type=Results)


def document(results: Results) -> bytes:
    """Encode the results as JSON, one value a line: two runs can be compared with `diff`."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"
