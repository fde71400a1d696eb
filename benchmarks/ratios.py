"""One figure in terms of another. Pure."""

import statistics

from .results import Figure


def ratios(figure: Figure, base: Figure) -> tuple[float, ...]:
    """Of each repetition: what made the machine slow for a while, slowed both.

    Where they were not repeated together, the ratio of the medians, which is one value.
    """
    if len(figure.values) != len(base.values):
        return (figure.median / base.median,) if base.median else ()
    return tuple(
        value / other for value, other in zip(figure.values, base.values, strict=True) if other
    )


def ratio(figure: Figure | None, base: Figure | None) -> float | None:
    """The median of the ratios, or nothing where one of the two is missing."""
    found = ratios(figure, base) if figure and base else ()
    return statistics.median(found) if found else None
