"""What is measured: one case, one repetition of it, and what is wanted of the figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from .bench import Bench

Points = Sequence[tuple[float, float]]


class NotMeasured(Exception):
    """It cannot be measured on this machine, or in this kind of run; why, and what would do."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one repetition found."""

    #: By the name of the figure.
    values: Mapping[str, float] = {}
    #: By the name of the series.
    series: Mapping[str, Points] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure. `run` raises bench.Failed or NotMeasured."""

    name: str
    #: One sentence for the report.
    what: str
    unit: str = "1/s"
    #: Of figures that are in other units than that: by how their names begin.
    units: Mapping[str, str] = {}
    #: What the series are drawn on: x and y.
    axes: tuple[str, str] = ("", "")
    run: Callable[[Bench], Measured]
    #: At the end of a run and once: it takes minutes, and its figure is compared with no other.
    once: bool = False
    #: Also in a quick run.
    quick: bool = True

    def unit_of(self, figure: str) -> str:
        """The unit of one of its figures."""
        return next(
            (unit for name, unit in self.units.items() if figure.startswith(name)), self.unit
        )


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, before anything is measured: of one figure, or of its ratio to another."""

    name: str
    what: str
    figure: str
    over: str | None = None
    bound: Literal["at least", "at most"]
    wanted: float
    unit: str = ""
