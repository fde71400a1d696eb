"""A case: something to measure, and one repetition of it."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from .lab.processes import Bench

Points = Sequence[tuple[float, float]]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of one repetition."""

    #: By the name of the figure.
    values: Mapping[str, float] = {}
    #: By the name of the curve.
    series: Mapping[str, Points] = {}
    #: Versions of programs that only this case uses.
    versions: Mapping[str, str] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Something to measure. `run` raises CaseFailed or NotMeasured."""

    name: str
    #: A description for the report.
    what: str
    #: Descriptions of other figures, by the beginning of their names.
    whats: Mapping[str, str] = {}
    unit: str = "1/s"
    #: Units of other figures, by the beginning of their names.
    units: Mapping[str, str] = {}
    #: The names of its figures. Default: the name of the case.
    #: A name that ends with a slash stands for all that begin with it.
    figures: Sequence[str] = ()
    #: The titles of a curve's axes, x and y.
    axes: tuple[str, str] = ("", "")
    run: Callable[[Bench], Measured]
    #: Approximate seconds of one repetition, until a run has measured them.
    seconds: float = 5.0
    #: Run the case once, at the end: it takes minutes, and no figure is compared with its own.
    once: bool = False
    #: Also part of a quick run.
    quick: bool = True

    @property
    def named(self) -> Sequence[str]:
        """The names of its figures, or their beginnings."""
        return self.figures or (self.name,)

    def finds(self, figure: str) -> bool:
        """Whether it measures this figure."""
        return any(
            figure.startswith(name) if name.endswith("/") else figure == name for name in self.named
        )

    def unit_of(self, figure: str) -> str:
        return _find(figure, self.units, self.unit)

    def what_of(self, figure: str) -> str:
        return _find(figure, self.whats, self.what)


def _find(figure: str, by_beginning: Mapping[str, str], default: str) -> str:
    return next((text for name, text in by_beginning.items() if figure.startswith(name)), default)
