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
    #: Of programs that it was measured with, beside those of every case.
    versions: Mapping[str, str] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure. `run` raises bench.Failed or NotMeasured."""

    name: str
    #: One sentence for the report.
    what: str
    #: Of figures that are something else: by how their names begin.
    whats: Mapping[str, str] = {}
    unit: str = "1/s"
    #: Of figures that are in other units than that: by how their names begin.
    units: Mapping[str, str] = {}
    #: The names of all that it finds, where that is more than one figure of the name of the case.
    #: One that ends with a slash stands for all that begin so.
    figures: Sequence[str] = ()
    #: What the series are drawn on: x and y.
    axes: tuple[str, str] = ("", "")
    run: Callable[[Bench], Measured]
    #: About how long one turn takes, in seconds, until a run knows better.
    seconds: float = 5.0
    #: At the end of a run and once: it takes minutes, and its figure is compared with no other.
    once: bool = False
    #: Also in a quick run.
    quick: bool = True

    @property
    def named(self) -> Sequence[str]:
        """The names of its figures, and the beginnings of such."""
        return self.figures or (self.name,)

    def finds(self, figure: str) -> bool:
        """Whether a figure is one of its own."""
        return any(
            figure.startswith(name) if name.endswith("/") else figure == name for name in self.named
        )

    def unit_of(self, figure: str) -> str:
        """The unit of one of its figures."""
        return _of(figure, self.units, self.unit)

    def what_of(self, figure: str) -> str:
        """One sentence on one of its figures."""
        return _of(figure, self.whats, self.what)


def _of(figure: str, by_beginning: Mapping[str, str], else_: str) -> str:
    return next((said for name, said in by_beginning.items() if figure.startswith(name)), else_)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, before anything is measured: of one figure, or of its ratio to another."""

    name: str
    what: str
    figure: str
    over: str | None = None
    bound: Literal["at least", "at most"]
    wanted: float
    unit: str = ""
