"""Percentiles by nearest rank. Pure."""

import math
from collections.abc import Collection, Sequence

#: Those that nearly all figures have.
USUAL = (50, 90, 99, 99.9)


def percentiles(
    name: str, values: Collection[float], wanted: Sequence[float] = USUAL
) -> dict[str, float]:
    """Return percentiles of values in any order, by the names of `percentile_names`."""
    found = [percentile(values, one) for one in wanted]
    return dict(zip(percentile_names(name, wanted), found, strict=True))


def percentile_names(name: str, wanted: Sequence[float] = USUAL) -> tuple[str, ...]:
    """Return the names of figures: `NAME/p50`, `NAME/p99.9`."""
    return tuple(f"{name}/p{one:g}" for one in wanted)


def percentile(values: Collection[float], wanted: float) -> float:
    """Return a percentile of values in any order; 0.0 if there are no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * wanted / 100) - 1)]
