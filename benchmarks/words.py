"""How figures are written: three digits that count, and the unit. Pure."""

import math
from collections.abc import Sequence

#: Stands wherever a figure is missing.
MISSING = "not measured"


def number(value: float) -> str:
    if value == 0:
        return "0"
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def quantity(value: float, unit: str) -> str:
    if unit == "1/s":
        return f"{number(value)}/s"
    return f"{number(value)} {unit}".rstrip()


def spread(values: Sequence[float]) -> str:
    """From the lowest to the highest; nothing can be said of a single one."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else "once"


def percent(share: float) -> str:
    return f"{number(100 * share)} %"


def rounded(values: Sequence[float], *, decimals: int) -> list[float]:
    """Round such that the sum of the rounded is the rounded sum.

    What is missing goes to those that lost most (the method of the largest remainder).
    """
    unit = 10.0**-decimals
    down = [math.floor(value / unit) for value in values]
    missing = round(sum(values) / unit) - sum(down)
    by_loss = sorted(range(len(values)), key=lambda i: down[i] - values[i] / unit)
    for i in by_loss[:missing]:
        down[i] += 1
    return [round(units * unit, decimals) for units in down]
