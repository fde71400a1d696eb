"""Numbers in text: three significant digits and a unit. Pure."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise


def number(value: float) -> str:
    decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def quantity(value: float, unit: str) -> str:
    return f"{number(value)}/s" if unit == "1/s" else f"{number(value)} {unit}".rstrip()


def spread(values: Sequence[float]) -> str:
    """Write the lowest and the highest value; `once` if there is only one."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else "once"


def rounded(values: Iterable[float]) -> list[float]:
    """Round to one decimal such that the results sum to the rounded sum."""
    sums = [round(one, 1) for one in accumulate(values, initial=0.0)]
    return [round(now - before, 1) for before, now in pairwise(sums)]
