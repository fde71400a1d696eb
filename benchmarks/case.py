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
    #: The most repetitions of a case that takes long; None: as many as the run has. One with 1 runs
    #: at the end, and no figure is compared with its own.
    most: int | None = None
    #: Also part of a quick run.
    quick: bool = True
    #: It also finds the processor time of an event, `processor/NAME`, and the same by thread.
    metered: bool = False

    @property
    def named(self) -> Sequence[str]:
        """The names of its figures, or their beginnings."""
        own = self.figures or (self.name,)
        whole = f"processor/{self.name}"
        return (*own, whole, f"{whole}/") if self.metered else own

    def finds(self, figure: str) -> bool:
        """Whether it measures this figure."""
        return any(
            figure.startswith(name) if name.endswith("/") else figure == name for name in self.named
        )

    def unit_of(self, figure: str) -> str:
        if figure.startswith("processor/"):
            return "µs"
        return _find(figure, self.units, self.unit)

    def what_of(self, figure: str) -> str:
        if figure.startswith("processor/"):
            thread = figure.removeprefix(f"processor/{self.name}").removeprefix("/")
            return f"processor time of an event, {thread or 'whole process'}: {self.what}"
        return _find(figure, self.whats, self.what)


def _find(figure: str, by_beginning: Mapping[str, str], default: str) -> str:
    return next((text for name, text in by_beginning.items() if figure.startswith(name)), default)
