"""The one way in which a percentile is found here. Pure."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], wanted: float) -> float:
    """Of values in order, by nearest rank; 0.0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * wanted / 100) - 1)]
