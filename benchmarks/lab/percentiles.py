"""Percentiles by nearest rank. Pure."""

import math
from collections.abc import Sequence

#: Those that nearly all figures have.
USUAL = (50, 90, 99, 99.9)


def percentiles(
    name: str, ordered: Sequence[float], wanted: Sequence[float] = USUAL
) -> dict[str, float]:
    """Return percentiles of values in order, by the names of `percentile_names`."""
    found = [percentile(ordered, one) for one in wanted]
    return dict(zip(percentile_names(name, wanted), found, strict=True))


def percentile_names(name: str, wanted: Sequence[float] = USUAL) -> tuple[str, ...]:
    """Return the names of figures: `NAME/p50`, `NAME/p99.9`."""
    return tuple(f"{name}/p{one:g}" for one in wanted)


def percentile(ordered: Sequence[float], wanted: float) -> float:
    """Return a percentile of values in order; 0.0 if there are no values."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * wanted / 100) - 1)]
