"""Numbers in text: three significant digits and a unit. Pure."""

import math
from collections.abc import Sequence

#: Stands in place of a missing figure.
MISSING = "not measured"


def number(value: float) -> str:
    if value == 0:
        return "0"
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def quantity(value: float, unit: str) -> str:
    return f"{number(value)}/s" if unit == "1/s" else f"{number(value)} {unit}".rstrip()


def spread(values: Sequence[float]) -> str:
    """Write the lowest and the highest value; `once` if there is only one."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else "once"


def rounded(values: Sequence[float]) -> list[float]:
    """Round to one decimal such that the results sum to the rounded sum.

    The method of the largest remainder: the values that lost most are rounded up.
    """
    tenths = [math.floor(value * 10) for value in values]
    lacking = round(sum(values) * 10) - sum(tenths)
    by_loss = sorted(range(len(values)), key=lambda i: tenths[i] - values[i] * 10)
    for i in by_loss[:lacking]:
        tenths[i] += 1
    return [tenth / 10 for tenth in tenths]
