"""The names and descriptions of all figures, measured or not."""

from msgspec.structs import replace

from ..cases import CASES
from .results import Figure, Results


class UnknownName(Exception):
    """A page names something that no run can have."""


def find(results: Results, name: str) -> Figure | None:
    """Return a figure, or None if it was not measured. Raises UnknownName."""
    figure = results.figure(name)
    if figure is None and not any(case.finds(name) for case in CASES):
        raise UnknownName(f"no run has a figure {name!r}")
    return figure


def described(figure: Figure) -> Figure:
    """Give a figure today's description. One that no case measures any more keeps its own."""
    whats = (case.what_of(figure.name) for case in CASES if case.finds(figure.name))
    return replace(figure, what=next(whats, figure.what))
