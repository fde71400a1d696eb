"""Percentiles by nearest rank. Pure."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], wanted: float) -> float:
    """Return a percentile of values in order; 0.0 if there are no values."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * wanted / 100) - 1)]
