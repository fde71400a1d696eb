"""The performance goals, and which of them a run meets."""

import csv
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from .numbers import MISSING
from .results import Figure, Goal, ratios

with Path(__file__).with_name("goals.csv").open(encoding="utf-8", newline="") as _file:
    #: Without values: nothing is measured yet.
    GOALS = msgspec.convert(list(csv.DictReader(_file)), tuple[Goal, ...], strict=False)


def judged(goals: Iterable[Goal], figures: Iterable[Figure]) -> tuple[Goal, ...]:
    """Return all goals with the values of their figures, if these were measured."""
    named = {figure.name: figure for figure in figures}
    return tuple(replace(one, values=_values(one, named)) for one in goals)


def summary(goals: Iterable[Goal]) -> str:
    """Say in a sentence how many goals are met, and which are missed."""
    verdicts = {one.name: one.verdict for one in goals}
    said = list(verdicts.values())
    if said.count(MISSING) == len(said):
        return "No goal was measured."
    text = f"{said.count('met')} of {len(said)} goals are met"
    if MISSING in said:
        text += f", {said.count(MISSING)} {MISSING}"
    missed = [f"`{name}`" for name, verdict in verdicts.items() if verdict == "missed"]
    return f"{text}; missed: {', '.join(missed)}." if missed else f"{text}."


def _values(goal: Goal, figures: dict[str, Figure]) -> tuple[float, ...]:
    figure, base = figures.get(goal.figure), figures.get(goal.over)
    if figure is None or not goal.over:
        return figure.values if figure else ()
    # A ratio counts only within a repetition.
    return ratios(figure, base) if base and len(base.values) == len(figure.values) else ()
